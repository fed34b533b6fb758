"""Named consumers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections

from events_app import services
from events_app.consumers import services as consumers
from events_app.consumers.serializers import start_position
from events_app.consumers.services import Delivered
from events_app.errors import NameTaken, NotYours, UnknownConsumer
from events_app.log import reading
from events_app.models import Consumer, ConsumerDelivery
from events_app.rules import cursor
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.cursors import BadCursor
from orchestrator_site.core.errors import Invalid

pytestmark = pytest.mark.django_db


@pytest.fixture
def say(db: None, dev: Actor, now: datetime) -> Callable[..., None]:
    """Publish some events: `say("a.n1", "a.n2")`."""

    def publish(*event_types: str, when: datetime = now) -> None:
        for event_type in event_types:
            services.publish(event_type=event_type, source_agent="dev_agent", by=dev, now=when)

    return publish


@pytest.fixture
def fetch(dev: Actor, now: datetime) -> Callable[..., list[Delivered]]:
    """Fetch from the consumer `c`."""

    def take(limit: int = 10, when: datetime = now, **asked: Any) -> list[Delivered]:
        return consumers.fetch(name="c", by=dev, now=when, limit=limit, **asked)

    return take


@pytest.fixture
def consumer(dev: Actor, now: datetime) -> Consumer:
    """A consumer `c` of the types `a.*`, from the beginning on."""
    return consumers.create(
        name="c", start=0, by=dev, now=now, types=["a.*"], ack_seconds=60, max_deliveries=3
    )


def types(found: list[Delivered]) -> list[str]:
    return [each.event.event_type for each in found]


def ids(found: list[Delivered]) -> list[str]:
    return [each.event.event_id for each in found]


def test_a_consumer_gets_each_event_once_and_in_order(consumer, say, fetch) -> None:
    say("a.n1", "b.n1", "a.n2", "a.n3")

    assert types(fetch(2)) == ["a.n1", "a.n2"]
    assert types(fetch(2)) == ["a.n3"]
    assert fetch() == []


def test_what_is_acknowledged_does_not_come_again(consumer, say, fetch, dev, now) -> None:
    say("a.n1", "a.n2")
    taken = fetch()

    assert consumers.ack(name="c", event_ids=ids(taken), by=dev) == 2
    assert consumers.ack(name="c", event_ids=ids(taken), by=dev) == 0
    assert fetch(when=now + timedelta(hours=1)) == []
    assert not ConsumerDelivery.objects.exists()


@pytest.mark.parametrize(("seconds", "found"), [(59, []), (60, ["a.n1"]), (61, ["a.n1"])])
def test_what_is_not_acknowledged_in_time_comes_again(
    consumer, say, fetch, now, seconds, found
) -> None:
    say("a.n1")
    fetch()

    again = fetch(when=now + timedelta(seconds=seconds))

    assert types(again) == found and all(each.delivery == 2 for each in again)


def test_a_fetch_may_ask_for_more_time(consumer, say, fetch, now) -> None:
    say("a.n1")
    fetch(ack_seconds=600)

    assert fetch(when=now + timedelta(seconds=599)) == []
    assert types(fetch(when=now + timedelta(seconds=600))) == ["a.n1"]


def test_after_its_deliveries_an_event_is_parked_and_can_be_replayed(
    consumer, say, fetch, dev, now
) -> None:
    say("a.bad", "a.good")
    consumers.ack(name="c", event_ids=ids(fetch())[1:], by=dev)
    hours = [now + timedelta(hours=hour) for hour in range(1, 5)]

    counts = [[each.delivery for each in fetch(when=hour)] for hour in hours]

    assert counts == [[2], [3], [], []]
    [(row, event)], _ = consumers.parked(name="c", by=dev)
    assert event is not None and event.event_type == "a.bad" and row.parked_at == hours[2]
    assert consumers.replay(name="c", by=dev, now=hours[3]) == 1
    assert [(each.event.event_type, each.delivery) for each in fetch(when=hours[3])] == [
        ("a.bad", 1)
    ]
    assert consumers.parked(name="c", by=dev) == ([], None)


def test_a_late_acknowledgement_takes_an_event_out_of_the_car_park(
    consumer, say, fetch, dev, now
) -> None:
    say("a.bad")
    taken, *_ = [fetch(when=now + timedelta(hours=hour)) for hour in range(4)]

    assert consumers.ack(name="c", event_ids=ids(taken), by=dev) == 1
    assert consumers.parked(name="c", by=dev) == ([], None)


def test_replay_can_name_events_or_go_back(consumer, say, fetch, dev, now) -> None:
    say("a.n1", "a.n2", "a.n3")
    taken = fetch()
    consumers.ack(name="c", event_ids=ids(taken)[:2], by=dev)

    assert (
        consumers.replay(name="c", by=dev, now=now, event_ids=ids(taken)) == 0
    )  # none of them is parked
    consumers.replay(name="c", by=dev, now=now, after=taken[0].event.position)

    assert types(fetch()) == ["a.n2", "a.n3"]
    with pytest.raises(Invalid):
        consumers.replay(name="c", by=dev, now=now, event_ids=[], after=0)


def test_unfinished_events_come_before_new_ones_and_fill_the_limit_first(
    consumer, say, fetch, now
) -> None:
    say("a.n1", "a.n2")
    fetch()
    say("a.n3", "a.n4")

    assert types(fetch(3, when=now + timedelta(hours=1))) == ["a.n1", "a.n2", "a.n3"]


def test_a_consumer_is_not_handed_more_than_it_can_lose(consumer, say, fetch, monkeypatch) -> None:
    monkeypatch.setattr(consumers, "MOST_IN_FLIGHT", 2)
    say("a.n1", "a.n2", "a.n3")

    assert types(fetch()) == ["a.n1", "a.n2"]
    assert fetch() == []


def test_making_it_again_keeps_its_place(consumer, say, fetch, dev, now) -> None:
    say("a.n1")
    fetch()

    again = consumers.create(
        name="c", start=0, by=dev, now=now, types=["a.*"], ack_seconds=60, max_deliveries=3
    )

    assert again.pk == consumer.pk and fetch() == []
    with pytest.raises(NameTaken):
        consumers.create(name="c", start=0, by=dev, now=now, types=["b.*"])


def test_a_consumer_belongs_to_who_made_it(consumer, ops, admin, now) -> None:
    with pytest.raises(NotYours):
        consumers.fetch(name="c", by=ops, now=now)
    with pytest.raises(NotYours):
        consumers.create(name="c", start=0, by=ops, now=now)
    with pytest.raises(UnknownConsumer):
        consumers.fetch(name="other", by=ops, now=now)
    assert consumers.owned(by=ops) == [] and consumers.owned(by=admin) == [consumer]
    assert consumers.fetch(name="c", by=admin, now=now) == []


def test_a_deleted_consumer_leaves_nothing(consumer, say, fetch, dev, now) -> None:
    say("a.n1")
    fetch()

    consumers.delete(name="c", by=dev, now=now)

    assert not Consumer.objects.exists() and not ConsumerDelivery.objects.exists()


def test_a_start_is_now_the_beginning_a_cursor_or_a_time(say, now) -> None:
    say("a.n1", when=now - timedelta(hours=2))
    say("a.n2", when=now - timedelta(hours=1))
    say("a.n3")

    assert start_position("now") == 3 and start_position("beginning") == 0
    assert start_position(cursor(2)) == 2
    assert start_position("2026-01-31T11:00:00Z") == 1
    assert start_position("2026-01-31T12:30:00+01:00") == 2
    assert start_position("2026-01-31T12:00:01Z") == 3
    for bad in ("yesterday", "2026-02-31T00:00:00Z", "", "-1"):
        with pytest.raises(BadCursor):
            start_position(bad)


def test_a_time_finds_its_place_although_commits_are_out_of_order(say, now) -> None:
    for second in (0, 30, 10, 40, 20, 90, 70, 80):
        say("a.n", when=now + timedelta(seconds=second))

    assert reading.position_at(now + timedelta(seconds=35)) == 3
    assert reading.position_at(now + timedelta(seconds=85)) == 5


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_several_processes_share_a_name_without_doubles_or_gaps(say, dev, now) -> None:
    consumers.create(name="c", start=0, by=dev, now=now, types=["a.*"])
    say(*[f"a.n{number}" for number in range(60)])

    def take(_: int) -> list[str]:
        try:
            return types(consumers.fetch(name="c", by=dev, now=now, limit=2))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        found = [event_type for taken in pool.map(take, range(40)) for event_type in taken]

    assert sorted(found) == sorted(f"a.n{number}" for number in range(60)), connection.vendor
