"""The order of the log."""

from datetime import datetime
from typing import Any

import pytest
from django.db import connection, connections, transaction

from events_app import services
from events_app.log import reading, sequencing
from events_app.models import Event, Ledger
from orchestrator_site.core.actors import Actor

pytestmark = pytest.mark.django_db


def say(event_type: str, by: Actor, now: datetime, **said: Any) -> Event:
    return services.publish(event_type=event_type, source_agent="dev_agent", by=by, now=now, **said)


def read(after: int | None = None, limit: int = 100, **asked: Any) -> tuple[list[str], int]:
    events, position = reading.read(after=after, limit=limit, **asked)
    return [event.event_type for event in events], position


def test_events_get_dense_positions_in_their_order(dev: Actor, now: datetime) -> None:
    for number in range(5):
        say(f"n{number}", dev, now)

    assert sequencing.number_events() == 5 and sequencing.number_events() == 0
    assert list(Event.objects.order_by("pk").values_list("position", flat=True)) == [1, 2, 3, 4, 5]
    assert Ledger.objects.get().head == sequencing.head() == 5


def test_more_than_a_batch_is_numbered(
    dev: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencing, "BATCH", 2)
    for number in range(5):
        say(f"n{number}", dev, now)

    assert sequencing.number_events() == 5
    assert [event.event_type for event in reading.read(after=1, limit=10)[0]] == [
        "n1",
        "n2",
        "n3",
        "n4",
    ]


def test_what_is_rolled_back_leaves_no_hole(dev: Actor, now: datetime) -> None:
    say("first", dev, now)
    with pytest.raises(RuntimeError), transaction.atomic():
        say("never", dev, now)
        raise RuntimeError
    say("second", dev, now)

    assert read() == (["first", "second"], 2)


def test_an_empty_log_is_read(dev: Actor) -> None:
    assert read() == ([], 0) and sequencing.head() == 0


def test_the_place_to_go_on_from_is_behind_what_was_looked_at(dev: Actor, now: datetime) -> None:
    for event_type in ("a", "b", "a", "b"):
        say(event_type, dev, now)

    assert read(limit=2) == (["a", "b"], 2)
    assert read(types=["a"], limit=1) == (["a"], 1)
    assert read(types=["a"], limit=2) == (["a", "a"], 3)
    assert read(types=["a"], limit=3) == (["a", "a"], 4)
    assert read(after=4) == ([], 4)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer")
def test_what_commits_late_is_read_later_and_not_passed_over(dev: Actor, now: datetime) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def in_other_connection() -> None:
        say("late id, early commit", dev, now)
        connections.close_all()

    with transaction.atomic():
        say("early id, late commit", dev, now)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(in_other_connection).result()
            before = pool.submit(lambda: (read(), connections.close_all())).result()[0]

    assert before == (["late id, early commit"], 1)
    assert read(after=1) == (["early id, late commit"], 2)
