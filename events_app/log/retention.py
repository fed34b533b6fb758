"""Prune old events, except those that a reader or an open task still needs."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Min, QuerySet

from events_app.hooks import event_keepers, keeps_events, position_keepers
from events_app.log import sequencing
from events_app.models import Consumer, ConsumerDelivery, Event, Ledger
from orchestrator_site.core.pacing import StepSize, no_rest
from orchestrator_site.infra.sqlite import small_checkpoints

BATCH = 2000  # events deleted in one transaction, where they are deleted quickly


class Prunable(NamedTuple):
    """Up to which position events are old, how many may be deleted, how many are still needed."""

    position: int
    events: int
    needed: int


def prunable(*, older_than: timedelta, now: datetime) -> Prunable:
    """Return what `prune` would delete."""
    position = last_prunable(now - older_than, now=now)
    old = Event.objects.filter(position__lte=position)
    events = deletable(old).count()
    return Prunable(position, events, old.count() - events)


def prune(
    *,
    older_than: timedelta,
    now: datetime,
    steps: int | None = None,
    between: Callable[[int], None] = no_rest,
) -> bool:
    """Delete old events in steps of about 40 ms, each looked at once; return if some are left.

    steps: how many, None for all. between: called after each step with how many went so far.
    Readers who come too late are told so from the first one on.
    """
    end, place, deleted = last_prunable(now - older_than, now=now), 0, 0
    size = StepSize(most=BATCH)
    Ledger.objects.filter(pruned_to__lt=end).update(pruned_to=end)
    with small_checkpoints():
        while steps is None or steps > 0:
            old = Event.objects.filter(position__gt=place, position__lte=end)
            rows = deletable(old).order_by("position").values_list("pk", "position")
            batch = dict(rows[: size.rows])
            if not batch:
                return False
            gone = Event.objects.filter(pk__in=batch)
            with size.transaction():
                gone._raw_delete(gone.db)  # one statement: nothing else hangs on them
            place = max(filter(None, batch.values()))
            deleted += len(batch)
            steps = steps if steps is None else steps - 1
            between(deleted)
    return True


def last_prunable(before: datetime, *, now: datetime) -> int:
    """Return the position up to which all events are older than a time, and read by everybody."""
    pruned_to, end = sequencing.bounds()
    needed = [end, needed_by_consumers(now), *(keeper() for keeper in position_keepers)]
    read = min(position for position in needed if position is not None)
    young = Event.objects.after(pruned_to).filter(position__lte=read, created_at__gte=before)
    first = young.values_list("position", flat=True).first()
    return max(pruned_to, read if first is None else first - 1)


def deletable(events: "QuerySet[Event]") -> "QuerySet[Event]":
    """Return the events that nobody needs."""
    for keeper in event_keepers:
        events = keeper(events)
    return events


def needed_by_consumers(now: datetime) -> int | None:
    """Return the position after which live consumers have still to read or acknowledge events."""
    live = Consumer.objects.live(now)
    in_flight = ConsumerDelivery.objects.in_flight().filter(consumer__in=live)
    read = live.aggregate(least=Min("position"))["least"]
    waiting = in_flight.aggregate(least=Min("position"))["least"]
    return min(read, waiting - 1) if waiting else read


@keeps_events
def without_parked(events: "QuerySet[Event]") -> "QuerySet[Event]":
    """Keep what a consumer has parked: it can be replayed."""
    return events.exclude(event_id__in=ConsumerDelivery.objects.parked().values("event_id"))
