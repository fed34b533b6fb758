"""What is no longer kept: old events, but for those that somebody still needs."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Min, QuerySet

from events_app import ledger
from events_app.models import Consumer, ConsumerDelivery, Event, Ledger

BATCH = 1000  # rows deleted in one statement

# Those who read the log on say after which position they still need it, or None.
keepers: list[Callable[[], int | None]] = []
# Those who need single events, however old, leave them out of the events they are given.
sparers: list[Callable[["QuerySet[Event]"], "QuerySet[Event]"]] = []


class Prunable(NamedTuple):
    """What may go: events up to a position; how many; how many of them are spared."""

    position: int
    events: int
    spared: int


def prunable(*, older_than: timedelta, now: datetime) -> Prunable:
    """Return what `prune` would delete."""
    position = last_prunable(now - older_than, now=now)
    old = Event.objects.filter(position__lte=position)
    events = spared(old).count()
    return Prunable(position, events, old.count() - events)


def prune(*, older_than: timedelta, now: datetime) -> Prunable:
    """Delete old events in batches; readers who come too late are told so from the first one on."""
    found = prunable(older_than=older_than, now=now)
    Ledger.objects.filter(pruned_to__lt=found.position).update(pruned_to=found.position)
    deleted = BATCH
    while deleted == BATCH:
        deleted = delete_batch(found.position)
    return found


def last_prunable(before: datetime, *, now: datetime) -> int:
    """Return the position up to which all events are older than a time, and nobody has still to read any."""
    pruned_to, end = ledger.bounds()
    younger = Event.objects.after(pruned_to).filter(created_at__gte=before).values_list("position", flat=True).first()
    needed = [younger and younger - 1, needed_by_consumers(now), *(keep() for keep in keepers)]
    return max(pruned_to, min(position for position in [end, *needed] if position is not None))


def spared(events: "QuerySet[Event]") -> "QuerySet[Event]":
    """Return the events without those that somebody needs."""
    for spare in sparers:
        events = spare(events)
    return events


def delete_batch(position: int) -> int:
    """Delete some events up to a position; return how many."""
    rows = spared(Event.objects.filter(position__lte=position)).order_by("position").values_list("pk", flat=True)
    batch = Event.objects.filter(pk__in=list(rows[:BATCH]))
    return batch._raw_delete(batch.db)


def needed_by_consumers(now: datetime) -> int | None:
    """Return the position after which a live consumer has something to read or to acknowledge, or None."""
    live = Consumer.objects.live(now)
    read = live.aggregate(least=Min("position"))["least"]
    waiting = ConsumerDelivery.objects.in_flight().filter(consumer__in=live).aggregate(least=Min("position"))["least"]
    return min((place for place in (read, waiting and waiting - 1) if place is not None), default=None)


def spare_parked(events: "QuerySet[Event]") -> "QuerySet[Event]":
    """Keep what a consumer has parked: it can be replayed."""
    return events.exclude(event_id__in=ConsumerDelivery.objects.parked().values("event_id"))


sparers.append(spare_parked)
