"""What one connection to PostgreSQL costs in round trips, and that it is not asked how it is."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.db import DataError, IntegrityError, connection, connections, transaction
from django.db.transaction import TransactionManagementError

from events_app import services
from events_app.models import Ledger
from orchestrator_site.config import env
from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from orchestrator_site.core.times import now
from orchestrator_site.infra import rows
from tasks_app.models import Task
from tasks_app.services import intake
from tasks_app.services.batches import Batch, create_batches
from tasks_app.services.intake import NewTask
from tests.support.wire import wire_of

ALICE = Actor("alice", Role.AGENT, Door.API, Assurance.PERSONAL, "key:alice")
pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL"),
    pytest.mark.django_db,
]


@pytest.fixture
def database() -> Iterator[Any]:
    """A connection of our own, as a request finds it: open since the last one."""
    wrapper = connections.create_connection("default")
    ask(wrapper)
    yield wrapper
    wrapper.close()


def ask(wrapper: Any, number: int = 1) -> None:
    for value in range(number):
        with wrapper.cursor() as cursor:
            cursor.execute("SELECT %s::int", [value])
            assert cursor.fetchone() == (value,)


def begin_request(wrapper: Any) -> None:
    """Do what Django does to each connection at the start of a request."""
    wrapper.close_if_unusable_or_obsolete()


def test_nothing_is_asked_before_the_first_statement_of_a_request(database: Any) -> None:
    with wire_of(database) as wire:
        begin_request(database)
        ask(database)

    assert wire.trips == 1


@pytest.mark.parametrize("way", ["cursor", "run", "run_last"])
def test_a_connection_that_the_server_ended_is_replaced_before_it_is_used(
    database: Any, way: str
) -> None:
    pid = database.connection.info.backend_pid
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    begin_request(database)
    if way == "cursor":
        ask(database)
    else:
        assert getattr(database, way)("SELECT 1", ()) == [(1,)]

    assert database.connection.info.backend_pid != pid


def test_a_connection_is_asked_after_a_fault(database: Any) -> None:
    database.errors_occurred = True

    with wire_of(database) as wire:
        begin_request(database)

    assert wire.trips == 1


def test_what_is_said_often_is_prepared(database: Any) -> None:
    ask(database, env.PREPARED_AFTER)
    with wire_of(database) as wire:
        ask(database)

    assert "Bind" in wire.sent and "Parse" not in wire.sent


def test_behind_a_pooler_nothing_is_prepared(tmp_path: Path) -> None:
    entry = env.database("postgres://db/name", data_dir=tmp_path, prepared=False)
    wrapper = connections.create_connection("default")
    wrapper.settings_dict = wrapper.settings_dict | {"OPTIONS": entry["OPTIONS"]}
    ask(wrapper, env.PREPARED_AFTER + 1)

    with wire_of(wrapper) as wire:
        ask(wrapper)

    assert "Parse" in wire.sent
    assert not wrapper.connection._prepared._names, "a later statement may reach another server"
    wrapper.close()


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_publishing_is_one_round_trip() -> None:
    said = services.Publication(
        "pr.merged", "dev_agent", by=ALICE, now=now(), fields={"payload": {}}
    )
    services.publish_all([said])

    with wire_of(connection) as wire:
        services.publish_all([said])

    assert wire.trips == 1


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_new_tasks_with_their_events_are_one_round_trip() -> None:
    new = NewTask({"type": "bugfix", "payload": {}, "priority": "P2"}, by=ALICE, now=now())
    intake.create_all([new])

    with wire_of(connection) as wire:
        tasks = intake.create_all([new, new, new])

    with wire_of(connection) as wire_of_batch:
        create_batches([Batch([new, new], all_or_none=True)])

    assert (wire.trips, wire_of_batch.trips) == (1, 1)
    stored = [Task.objects.get(pk=task.pk) for task in tasks if isinstance(task, Task)]
    assert [task.task_id for task in stored] == [getattr(task, "task_id", "") for task in tasks]


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_new_task_whose_statement_fails_leaves_nothing() -> None:
    new = NewTask({"type": "bugfix", "payload": {}, "priority": "P2"}, by=ALICE, now=now())
    before = Ledger.objects.get().head

    same = mock.patch("tasks_app.models.task.new_id", return_value="task_1")
    with same, pytest.raises(IntegrityError):
        intake.create_all([new, new])

    assert not Task.objects.exists() and Ledger.objects.get().head == before
    assert isinstance(intake.create_all([new])[0], Task)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-30 09:00:00+00", datetime(2026, 11, 30, 9, tzinfo=UTC)),
        ("2026-11-30 09:00:00.5+05:30", datetime(2026, 11, 30, 3, 30, 0, 500_000, UTC)),
        ("0001-01-01 00:00:00+00", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31 23:59:59.999999+00", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_time_is_read_in_utc(database: Any, text: str, time: datetime) -> None:
    [(read,)] = database.run("SELECT %s::timestamptz", [text])

    assert (read, read.tzinfo) == (time, UTC)


@pytest.mark.parametrize("text", ["infinity", "0044-03-15 BC", "10000-01-01 00:00:00+00"])
def test_a_time_that_python_does_not_have_is_refused(database: Any, text: str) -> None:
    with pytest.raises(DataError):
        database.run("SELECT %s::timestamptz", [text])


def test_a_statement_of_our_own_is_refused_in_a_transaction_that_is_broken() -> None:
    with pytest.raises(TransactionManagementError), transaction.atomic():
        transaction.set_rollback(True)
        rows.select(Ledger, "TRUE", [])
