"""Named consumers: programs come and go, the service remembers how far they are.

Everything about one consumer happens under the lock of its row, so that several processes share a name:
no event is handed to two of them at once, and none is passed over.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import F

from events_app import services
from events_app.errors import NameTaken, NotYours, UnknownConsumer
from events_app.event_types import CONSUMER_CREATED, CONSUMER_DELETED
from events_app.log import reading, sequencing
from events_app.models import Consumer, ConsumerDelivery, Event
from orchestrator_site.core.actors import Actor, Role
from orchestrator_site.core.errors import Invalid
from orchestrator_site.infra.pagination import MOST_BYTES, bytes_of, fitting

MOST_IN_FLIGHT = (
    10_000  # unacknowledged events of one consumer; then it gets only what it had before
)
MOST_OBJECT_BYTES = 262_144  # of one event's payload
PAGES = 4  # looked through in one fetch for something that matches


class Delivered(NamedTuple):
    """An event, and the how manieth time it is handed out."""

    event: Event
    delivery: int


def create(*, name: str, start: int, by: Actor, now: datetime, **stated: Any) -> Consumer:
    """Make a consumer; made again with the same settings it stays as it is.

    start: the position to read on from. stated: types, ack_seconds, max_deliveries. Raise NotYours or NameTaken.
    """
    place = sequencing.marked(start)
    made = stated | {"owner": by.name, "position": start, "mark": place.mark, "created_at": now}
    with transaction.atomic():
        _, is_new = Consumer.objects.get_or_create(name=name, defaults=made)
        kept = find(name, by=by)
        if is_new:
            services.record(event_type=CONSUMER_CREATED, by=by, now=now, payload={"name": name})
    if any(getattr(kept, field) != value for field, value in stated.items()):
        raise NameTaken(name=name)
    return kept


def find(name: str, *, by: Actor, lock: bool = False) -> Consumer:
    """Return a consumer; raise UnknownConsumer or NotYours."""
    rows = Consumer.objects.select_for_update() if lock else Consumer.objects
    consumer = rows.filter(name=name).first()
    if consumer is None:
        raise UnknownConsumer(f"There is no consumer {name}.")
    if by.name != consumer.owner and not by.role.covers(Role.ADMIN):
        raise NotYours
    return consumer


def owned(*, by: Actor, limit: int = 1000) -> list[Consumer]:
    """Return the caller's consumers by name; all of them for an administrator."""
    mine = (
        Consumer.objects.all()
        if by.role.covers(Role.ADMIN)
        else Consumer.objects.filter(owner=by.name)
    )
    return list(mine.order_by("name")[:limit])


@transaction.atomic
def delete(*, name: str, by: Actor, now: datetime) -> None:
    """Forget a consumer and what it has not acknowledged. Raise UnknownConsumer or NotYours."""
    find(name, by=by, lock=True).delete()
    services.record(event_type=CONSUMER_DELETED, by=by, now=now, payload={"name": name})


def fetch(
    *, name: str, by: Actor, now: datetime, limit: int = 1, ack_seconds: int | None = None
) -> list[Delivered]:
    """Hand out events: first those not acknowledged in time, then new ones, each in order.

    ack_seconds: until when they must be acknowledged, if not as the consumer says.
    Raise UnknownConsumer, NotYours, CursorExpired if events it has not read were pruned, or
    CursorAhead if the log was replaced by an older copy.
    """
    sequencing.number_events()  # outside, so that nobody waits for us with the ledger locked
    with transaction.atomic():
        consumer = find(name, by=by, lock=True)
        until = now + timedelta(seconds=ack_seconds or consumer.ack_seconds)
        again, more = hand_out_again(consumer, limit, now=now, until=until)
        room = MOST_BYTES - sum(bytes_of(each.event, ["payload"]) for each in again)
        left = 0 if more or room < MOST_OBJECT_BYTES else limit - len(again)
        found = again + hand_out_new(consumer, left, room=room, until=until)
        consumer.fetched_at = now
        consumer.save(update_fields=["position", "mark", "fetched_at"])
    return found


def hand_out_again(
    consumer: Consumer, limit: int, *, now: datetime, until: datetime
) -> tuple[list[Delivered], bool]:
    """Park what was handed out too often, hand out again what is due, and return whether more is due."""
    due = consumer.deliveries.in_flight().filter(due_at__lte=now)
    due.filter(deliveries__gte=consumer.max_deliveries).update(parked_at=now)
    rows = {row.event_id: row for row in due.order_by("position")[:limit]}
    if not rows:
        return [], False
    events = Event.objects.filter(event_id__in=rows).order_by("position")
    found, more = fitting(events, limit=limit, large=["payload"])
    handed = [rows[event.event_id] for event in found] if more else rows.values()
    consumer.deliveries.filter(pk__in=[row.pk for row in handed]).update(
        deliveries=F("deliveries") + 1, due_at=until
    )
    return [Delivered(event, rows[event.event_id].deliveries + 1) for event in found], more


def hand_out_new(consumer: Consumer, limit: int, *, room: int, until: datetime) -> list[Delivered]:
    """Hand out events it never had, and move it on. room: bytes of payload at most."""
    limit = (
        min(limit, MOST_IN_FLIGHT - consumer.deliveries.in_flight()[:MOST_IN_FLIGHT].count())
        if limit
        else 0
    )
    if limit <= 0:
        return []
    events = next_events(consumer, limit, room)
    ConsumerDelivery.objects.bulk_create(
        ConsumerDelivery(
            consumer=consumer, event_id=event.event_id, position=event.position, due_at=until
        )
        for event in events
    )
    return [Delivered(event, 1) for event in events]


def next_events(consumer: Consumer, limit: int, room: int) -> list[Event]:
    """Return the next events that match, and move the consumer behind them, or behind what was looked through."""
    for _ in range(PAGES):
        before = consumer.place
        events, consumer.place = reading.page(
            after=before, limit=limit, types=consumer.types, room=room
        )
        if events or consumer.position == before:
            break
    return events


def ack(*, name: str, event_ids: Iterable[str], by: Actor) -> int:
    """Take events as done, late ones and parked ones too; return how many were waiting for it."""
    consumer = find(name, by=by)
    return remove(consumer.deliveries.filter(event_id__in=set(event_ids)))


def parked(
    *, name: str, by: Actor, limit: int = 100, after: int = 0
) -> tuple[list[tuple[ConsumerDelivery, Event | None]], int | None]:
    """Return what was given up, oldest first, with the events that are still kept, and where to go on.

    after: a position, where the last page ended.
    """
    given_up = find(name, by=by).deliveries.parked().filter(position__gt=after).order_by("position")
    rows = list(given_up[: limit + 1])
    more, rows = len(rows) > limit, rows[:limit]
    kept = Event.objects.filter(event_id__in=[row.event_id for row in rows]).order_by("position")
    found, cut = fitting(kept, limit=limit, large=["payload"])
    if cut:
        rows = [row for row in rows if row.position <= found[-1].position]
    events = {event.event_id: event for event in found}
    following = rows[-1].position if rows and (more or cut) else None
    return [(row, events.get(row.event_id)) for row in rows], following


@transaction.atomic
def replay(
    *,
    name: str,
    by: Actor,
    now: datetime,
    event_ids: Iterable[str] | None = None,
    after: int | None = None,
) -> int:
    """Hand out again: parked events (all, or those named), or everything after a position.

    Return how many parked events came back; going back to a position counts none. Raise CursorExpired.
    """
    if event_ids is not None and after is not None:
        raise Invalid("Name events or a place to go back to, not both.", field="after")
    consumer = find(name, by=by, lock=True)
    if after is not None:
        go_back(consumer, after)
        return 0
    rows = consumer.deliveries.parked()
    rows = rows if event_ids is None else rows.filter(event_id__in=set(event_ids))
    return rows.update(parked_at=None, deliveries=0, due_at=now)


def go_back(consumer: Consumer, position: int) -> None:
    """Read everything after a position anew."""
    reading.ensure_readable(position)
    remove(consumer.deliveries.filter(position__gt=position))
    consumer.place = sequencing.marked(position)
    consumer.save(update_fields=["position", "mark"])


def remove(rows: Any) -> int:
    """Delete rows nothing depends on in one statement; return how many."""
    return rows._raw_delete(rows.db) or 0  # None where Django sees that no row can match
