"""An older version stores events first and numbers them later; the migration does what is left."""

from datetime import datetime
from importlib import import_module
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from events_app.log import reading
from events_app.models import Event, Ledger
from tasks_app.services.statistics import counts

BEFORE = [("events_app", "0007_by_type_and_publisher")]
MOVES = [("", "assigned"), ("assigned", "in_progress"), ("in_progress", "completed"), ("", "")]


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_what_was_not_numbered_gets_its_place_and_is_counted(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = import_module("events_app.migrations.0008_number_old_events")
    monkeypatch.setattr(migration, "BATCH", 2)  # more than one
    executor = MigrationExecutor(connection)
    executor.migrate(BEFORE)
    try:
        old = executor.loader.project_state(BEFORE).apps.get_model("events_app", "Event")
        store(old, now)
        Ledger.objects.update(head=1)
    finally:
        call_command("migrate", "events_app", verbosity=0)

    events, end = reading.read(after=None, limit=10)
    assert [(event.event_id, event.position) for event in events] == [
        (f"evt_{number}", number + 1) for number in range(6)
    ]
    assert end == Ledger.objects.get().head == 6
    assert (counts()["completed"], counts()["assigned"], counts()["sla_warnings"]) == (1, 0, 1)
    assert not Event._meta.get_field("position").null


def store(model: Any, now: datetime) -> None:
    """Store a numbered event, four that moved a task, and a warning."""
    told = [("a.b", "", ""), *(("task.moved", *move) for move in MOVES), ("sla.warning", "", "")]
    for number, (event_type, left, taken) in enumerate(told):
        model.objects.create(
            event_id=f"evt_{number}",
            position=None if number else 1,
            event_type=event_type,
            moved_from=left,
            moved_to=taken,
            created_at=now,
        )
