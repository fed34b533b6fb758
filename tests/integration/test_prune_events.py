"""What is kept of the log, and what goes."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events_app import services
from events_app.consumers import services as consumers
from events_app.errors import CursorExpired
from events_app.log import reading, retention
from events_app.models import Event, Ledger
from orchestrator_site.core.actors import Actor

pytestmark = pytest.mark.django_db
WEEK = timedelta(days=7)


@pytest.fixture
def old(dev: Actor, now: datetime) -> list[Event]:
    """Ten events, eight days old, and one of today."""
    for number in range(10):
        say(f"old.n{number}", dev, now - timedelta(days=8))
    say("new", dev, now)
    return list(Event.objects.order_by("position"))


def say(event_type: str, by: Actor, now: datetime, **said: Any) -> Event:
    return services.publish(event_type=event_type, source_agent="dev_agent", by=by, now=now, **said)


def prune(now: datetime) -> retention.Prunable:
    """Count what is over a week old, and delete it."""
    found = retention.prunable(older_than=WEEK, now=now)
    assert not retention.prune(older_than=WEEK, now=now)
    return found


def left() -> list[str]:
    return list(Event.objects.order_by("pk").values_list("event_type", flat=True))


def test_old_events_go_and_young_ones_stay(old: list[Event], now: datetime) -> None:
    found = prune(now)

    assert found.events == 10 and left() == ["new"]
    assert Ledger.objects.get().pruned_to == 10


def test_counting_deletes_nothing(old: list[Event], now: datetime) -> None:
    found = retention.prunable(older_than=WEEK, now=now)

    assert (found.events, len(left()), Ledger.objects.get().pruned_to) == (10, 11, 0)


def test_pruning_goes_on_in_batches(
    old: list[Event], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)

    prune(now)

    assert left() == ["new"]


def test_pruning_looks_at_what_is_spared_once_and_stops_where_it_is_told(
    make_task: Callable[..., Any], dev: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    task, old = make_task(now=now - timedelta(days=8)), now - timedelta(days=8)
    for number in range(6):
        say(f"old.n{number}", dev, old, task_id=task.task_id if number % 2 else "")
    done: list[int] = []

    some_left = retention.prune(older_than=WEEK, now=now, steps=1, between=done.append)
    again = retention.prune(older_than=WEEK, now=now, between=done.append)

    assert (some_left, again, done) == (True, False, [2, 1])
    assert left() == ["task.created", "task.assigned", "old.n1", "old.n3", "old.n5"]


def test_an_old_event_behind_a_young_one_waits_for_it(dev: Actor, now: datetime) -> None:
    say("new", dev, now)
    say("old", dev, now - timedelta(days=8))

    assert prune(now).events == 0


def test_a_reader_who_comes_too_late_is_told_so(old: list[Event], now: datetime) -> None:
    prune(now)

    with pytest.raises(CursorExpired):
        reading.read(after=9, limit=10)
    assert reading.read(after=10, limit=10)[0][0].event_type == "new"
    assert reading.read(after=None, limit=10)[0][0].event_type == "new"


def test_what_a_live_consumer_has_not_read_stays(
    old: list[Event], dev: Actor, now: datetime
) -> None:
    consumers.create(name="slow", start=4, by=dev, now=now)

    prune(now)

    assert left()[0] == "old.n4"
    assert consumers.fetch(name="slow", by=dev, now=now)[0].event.event_type == "old.n4"


def test_what_comes_after_the_slowest_reader_is_not_even_looked_at(
    old: list[Event], dev: Actor, now: datetime
) -> None:
    consumers.create(name="slow", start=4, by=dev, now=now)

    with CaptureQueriesContext(connection) as queries:
        assert retention.last_prunable(now - WEEK, now=now) == 4

    [young] = [query["sql"] for query in queries if 'created_at" >=' in query["sql"]]
    assert '"position" <= 4' in young


def test_what_a_consumer_has_not_acknowledged_stays(
    old: list[Event], dev: Actor, now: datetime
) -> None:
    consumers.create(name="slow", start=0, by=dev, now=now)
    taken = consumers.fetch(name="slow", by=dev, now=now, limit=6)
    consumers.ack(name="slow", event_ids=[each.event.event_id for each in taken[:2]], by=dev)

    prune(now)

    assert left()[0] == "old.n2"


def test_what_a_consumer_has_parked_stays_alone(
    old: list[Event], dev: Actor, now: datetime
) -> None:
    consumers.create(name="bad", start=2, by=dev, now=now, max_deliveries=1)
    consumers.fetch(name="bad", by=dev, now=now)
    later = now + timedelta(hours=1)
    rest = consumers.fetch(name="bad", by=dev, now=later, limit=100)
    consumers.ack(name="bad", event_ids=[each.event.event_id for each in rest], by=dev)

    found = prune(later)

    assert left()[:2] == ["old.n2", "new"] and found.needed == 1
    [(row, event)], _ = consumers.parked(name="bad", by=dev)
    assert event is not None and event.event_type == "old.n2" and row.deliveries == 1
    consumers.replay(name="bad", by=dev, now=later)
    assert consumers.fetch(name="bad", by=dev, now=later)[0].event.event_type == "old.n2"


def test_an_abandoned_consumer_holds_nothing_back_and_is_told(
    old: list[Event], dev: Actor, now: datetime
) -> None:
    consumers.create(name="gone", start=0, by=dev, now=now - timedelta(days=31))

    prune(now)

    assert "old.n9" not in left()
    with pytest.raises(CursorExpired):
        consumers.fetch(name="gone", by=dev, now=now)


def test_events_of_an_open_task_stay(
    make_task: Callable[..., Any], dev: Actor, now: datetime
) -> None:
    task = make_task(now=now - timedelta(days=8))
    say("pr.merged", dev, now - timedelta(days=8), task_id=task.task_id)
    say("pr.merged", dev, now - timedelta(days=8), task_id="task_of_nobody")

    prune(now)

    assert set(Event.objects.values_list("task_id", flat=True)) == {task.task_id}


def test_the_command_counts_first_and_deletes_when_told(old: list[Event]) -> None:
    def run(*options: str) -> dict[str, Any]:
        out = StringIO()
        call_command("prune_events", "--older-than-days", "0", "--json", *options, stdout=out)
        return dict(json.loads(out.getvalue()))

    assert run() == {"deleted": False, "events": 11, "kept_though_old": 0} and len(left()) == 11
    assert run("--delete")["events"] == 11 and left() == []
