"""What is no longer kept: old events, but for those that somebody still needs."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Min, QuerySet

from events_app import ledger
from events_app.models import Consumer, ConsumerDelivery, Event, Ledger

BATCH = 1000  # rows deleted in one statement

# Those who read the log by position say from where on they still need it: the lowest position, or None.
keepers: list[Callable[[datetime], int | None]] = []
# Those who need single events take them out of what may be deleted.
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
    """Return the position up to which all events are older than a time, and nobody reads any more."""
    pruned_to, end = ledger.bounds()
    younger = Event.objects.after(pruned_to).filter(created_at__gte=before).values_list("position", flat=True).first()
    needed = [position for keep in keepers if (position := keep(now)) is not None]
    return max(pruned_to, min([end, *(position - 1 for position in [*needed, younger] if position)]))


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
    """Return the first position that a live consumer has not been handed, or not acknowledged yet."""
    live = Consumer.objects.live(now)
    unread = live.aggregate(least=Min("position"))["least"]
    waiting = ConsumerDelivery.objects.in_flight().filter(consumer__in=live).aggregate(least=Min("position"))["least"]
    needed = [position for position in (None if unread is None else unread + 1, waiting) if position is not None]
    return min(needed, default=None)


def spare_parked(events: "QuerySet[Event]") -> "QuerySet[Event]":
    """Keep what a consumer has parked: it can be replayed."""
    return events.exclude(event_id__in=ConsumerDelivery.objects.parked().values("event_id"))


keepers.append(needed_by_consumers)
sparers.append(spare_parked)
