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
    """What may be deleted: up to which position, how many events, how many old ones are kept."""

    position: int
    events: int
    spared: int


def prunable(*, older_than: timedelta, now: datetime) -> Prunable:
    """Return what `prune` would delete."""
    position = last_prunable(now - older_than, now=now)
    old = Event.objects.filter(position__lte=position)
    events = spared(old).count()
    return Prunable(position, events, old.count() - events)


def prune(
    *,
    older_than: timedelta,
    now: datetime,
    steps: int | None = None,
    between: Callable[[int], None] = no_rest,
) -> bool:
    """Delete old events in steps of about 40 ms, looking at each once; return whether some are left.

    steps: how many, None for all. between: called after each step with how many went so far.
    Readers who come too late are told so from the first one on.
    """
    end, place, deleted = last_prunable(now - older_than, now=now), 0, 0
    size = StepSize(most=BATCH)
    Ledger.objects.filter(pruned_to__lt=end).update(pruned_to=end)
    with small_checkpoints():
        while steps is None or steps > 0:
            old = Event.objects.filter(position__gt=place, position__lte=end)
            rows = spared(old).order_by("position").values_list("pk", "position")
            batch = dict(rows[: size.rows])
            if not batch:
                return False
            gone = Event.objects.filter(pk__in=batch)
            with size.transaction():
                gone._raw_delete(gone.db)  # one statement: nothing else hangs on them
            place = max(batch.values())
            deleted += len(batch)
            steps = steps if steps is None else steps - 1
            between(deleted)
    return True


def last_prunable(before: datetime, *, now: datetime) -> int:
    """Return the position up to which all events are older than a time, and nobody has still to read any."""
    pruned_to, end = sequencing.bounds()
    younger = (
        Event.objects.after(pruned_to)
        .filter(created_at__gte=before)
        .values_list("position", flat=True)
        .first()
    )
    needed = [
        younger and younger - 1,
        needed_by_consumers(now),
        *(keeper() for keeper in position_keepers),
    ]
    return max(pruned_to, min(position for position in [end, *needed] if position is not None))


def spared(events: "QuerySet[Event]") -> "QuerySet[Event]":
    """Return the events without those that somebody needs."""
    for keeper in event_keepers:
        events = keeper(events)
    return events


def needed_by_consumers(now: datetime) -> int | None:
    """Return the position after which a live consumer has something to read or to acknowledge, or None."""
    live = Consumer.objects.live(now)
    read = live.aggregate(least=Min("position"))["least"]
    waiting = (
        ConsumerDelivery.objects.in_flight()
        .filter(consumer__in=live)
        .aggregate(least=Min("position"))["least"]
    )
    return min(
        (place for place in (read, waiting and waiting - 1) if place is not None), default=None
    )


@keeps_events
def without_parked(events: "QuerySet[Event]") -> "QuerySet[Event]":
    """Keep what a consumer has parked: it can be replayed."""
    return events.exclude(event_id__in=ConsumerDelivery.objects.parked().values("event_id"))
