"""Named consumers: programs come and go, the service remembers how far they are.

Everything about one consumer happens under the lock of its row, so that several processes share a
name: no event is handed to two of them at once, and none is passed over.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import F

from events_app import services
from events_app.errors import NameTaken, NotYours, UnknownConsumer
from events_app.event_types import CONSUMER_CREATED, CONSUMER_DELETED
from events_app.log import reading, sequencing
from events_app.models import Consumer, ConsumerDelivery, Event
from events_app.services import change
from orchestrator_site.core.actors import Actor, Role
from orchestrator_site.core.errors import Invalid
from orchestrator_site.infra.pagination import MOST_BYTES, bytes_of, fitting

MOST_IN_FLIGHT = 10_000  # unacknowledged events of one consumer; then it gets no new ones
MOST_OBJECT_BYTES = 262_144  # of one event's payload
PAGES = 4  # looked through in one fetch for something that matches


class Delivered(NamedTuple):
    """An event, and how many times it has been handed out, this time included."""

    event: Event
    delivery: int


def create(*, name: str, start: int, by: Actor, now: datetime, **stated: Any) -> Consumer:
    """Make a consumer; made again with the same settings it stays as it is.

    start: the position to read on from. stated: types, ack_seconds, max_deliveries.
    Raise NotYours or NameTaken.
    """
    mark = sequencing.marked(start).mark
    fields = stated | {"owner": by.name, "position": start, "mark": mark, "created_at": now}
    with change():
        _, created = Consumer.objects.get_or_create(name=name, defaults=fields)
        consumer = find(name, by=by)
        if created:
            services.record(event_type=CONSUMER_CREATED, by=by, now=now, payload={"name": name})
    if any(getattr(consumer, field) != value for field, value in stated.items()):
        raise NameTaken(name=name)
    return consumer


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
    rows = Consumer.objects.order_by("name")
    return list((rows if by.role.covers(Role.ADMIN) else rows.filter(owner=by.name))[:limit])


@change
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
    with change():
        consumer = find(name, by=by, lock=True)
        until = now + timedelta(seconds=ack_seconds or consumer.ack_seconds)
        delivered, more = hand_out_again(consumer, limit, now=now, until=until)
        room = MOST_BYTES - sum(bytes_of(each.event, ["payload"]) for each in delivered)
        if not more and room >= MOST_OBJECT_BYTES and len(delivered) < limit:
            delivered += hand_out_new(consumer, limit - len(delivered), room=room, until=until)
        consumer.fetched_at = now
        consumer.save(update_fields=["position", "mark", "fetched_at"])
    return delivered


def hand_out_again(
    consumer: Consumer, limit: int, *, now: datetime, until: datetime
) -> tuple[list[Delivered], bool]:
    """Park what was handed out too often, and hand out again what is due.

    Return it, and whether more is due.
    """
    due = consumer.deliveries.in_flight().filter(due_at__lte=now)
    due.filter(deliveries__gte=consumer.max_deliveries).update(parked_at=now)
    rows = {row.event_id: row for row in due.order_by("position")[:limit]}
    if not rows:
        return [], False
    events = Event.objects.filter(event_id__in=rows).order_by("position")
    page, more = fitting(events, limit=limit, large=["payload"])
    delivered = [rows[event.event_id] for event in page] if more else rows.values()
    consumer.deliveries.filter(pk__in=[row.pk for row in delivered]).update(
        deliveries=F("deliveries") + 1, due_at=until
    )
    return [Delivered(event, rows[event.event_id].deliveries + 1) for event in page], more


def hand_out_new(consumer: Consumer, limit: int, *, room: int, until: datetime) -> list[Delivered]:
    """Hand out new events, and move the consumer behind them, or behind what was looked through.

    room: bytes of payload at most.
    """
    in_flight = consumer.deliveries.in_flight()[:MOST_IN_FLIGHT].count()
    if in_flight == MOST_IN_FLIGHT:
        return []
    limit = min(limit, MOST_IN_FLIGHT - in_flight)
    for _ in range(PAGES):
        before = consumer.place
        events, consumer.place = reading.page(
            after=before, limit=limit, types=consumer.types, room=room
        )
        if events or consumer.position == before:
            break
    ConsumerDelivery.objects.bulk_create(
        ConsumerDelivery(
            consumer=consumer, event_id=event.event_id, position=event.place, due_at=until
        )
        for event in events
    )
    return [Delivered(event, 1) for event in events]


def ack(*, name: str, event_ids: Iterable[str], by: Actor) -> int:
    """Forget events that are done, late and parked ones too; return how many were not yet."""
    return remove(find(name, by=by).deliveries.filter(event_id__in=set(event_ids)))


def parked(
    *, name: str, by: Actor, limit: int = 100, after: int = 0
) -> tuple[list[tuple[ConsumerDelivery, Event | None]], int | None]:
    """Return parked deliveries, oldest first, each with its event if that is kept.

    after: a position, where the last page ended. The second value is where this page ended, None
    on the last page.
    """
    parked = find(name, by=by).deliveries.parked().filter(position__gt=after).order_by("position")
    rows = list(parked[: limit + 1])
    more, rows = len(rows) > limit, rows[:limit]
    kept = Event.objects.filter(event_id__in=[row.event_id for row in rows]).order_by("position")
    page, cut = fitting(kept, limit=limit, large=["payload"])
    if cut:
        rows = [row for row in rows if row.position <= page[-1].position]
    events = {event.event_id: event for event in page}
    end = rows[-1].position if rows and (more or cut) else None
    return [(row, events.get(row.event_id)) for row in rows], end


@change
def replay(
    *,
    name: str,
    by: Actor,
    now: datetime,
    event_ids: Iterable[str] | None = None,
    after: int | None = None,
) -> int:
    """Hand out again: parked events (all, or those named), or everything after a position.

    Return how many parked events came back; going back to a position counts none.
    Raise CursorExpired or CursorAhead.
    """
    if event_ids is not None and after is not None:
        raise Invalid("Name events or a place to go back to, not both.", field="after")
    consumer = find(name, by=by, lock=True)
    services.wake_after_commit()
    if after is not None:
        reading.ensure_readable(after)
        remove(consumer.deliveries.filter(position__gt=after))
        consumer.place = sequencing.marked(after)
        consumer.save(update_fields=["position", "mark"])
        return 0
    rows = consumer.deliveries.parked()
    rows = rows if event_ids is None else rows.filter(event_id__in=set(event_ids))
    return rows.update(parked_at=None, deliveries=0, due_at=now)


def remove(rows: Any) -> int:
    """Delete rows nothing depends on in one statement; return how many."""
    return rows._raw_delete(rows.db) or 0  # None where Django sees that no row can match
