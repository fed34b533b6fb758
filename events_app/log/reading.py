"""Read the log by position."""

import bisect
from datetime import datetime, timedelta
from typing import Any

from events_app.log.sequencing import bounds, number_events
from events_app.models import Event
from events_app.rules import cursor
from orchestrator_site.core.errors import Gone
from orchestrator_site.infra.pagination import MOST_BYTES, fitting

DISORDER = timedelta(minutes=1)  # by which the times of two events may contradict their places
WINDOW = 50_000  # positions one filtered read looks at, so that a rare type cannot cost a scan of the log


class CursorExpired(Gone):
    """Events after this cursor have been pruned; start again from the oldest one kept."""


class CursorAhead(Gone):
    """This cursor is ahead of the log: it is of a log that was replaced by an older copy."""


def read(
    *, after: int | None, limit: int, types: list[str] | None = None, **equal: Any
) -> tuple[list[Event], int]:
    """Return events after a position in order, all that is committed counted, and the position to go on from.

    after: None for the oldest kept. equal: task_id, trace_id or source_agent, exactly. A page ends at `limit`
    events or at 4 MiB of payload. An empty list with a position that moved means: nothing matched so far, go on.
    Raise CursorExpired.
    """
    number_events()
    return page(after=after, limit=limit, types=types, **equal)


def page(
    *,
    after: int | None,
    limit: int,
    types: list[str] | None = None,
    room: int = MOST_BYTES,
    **equal: Any,
) -> tuple[list[Event], int]:
    """Do what `read` does among the events that have their place already. room: bytes of payload at most."""
    pruned_to, end = bounds()
    start = pruned_to if after is None else after
    ensure_reached(start, end)
    asked = {name: value for name, value in equal.items() if value}
    if types or set(asked) == {"source_agent"}:
        end = min(end, start + WINDOW)
    rows = Event.objects.after(start).about(**asked).filter(position__lte=end)
    found, more = fitting(
        rows.of_types(types) if types else rows, limit=limit, large=["payload"], room=room
    )
    ensure_kept(start)  # asked afterwards: what is pruned between two statements is not passed over
    last = found[-1].position if found else start
    return found, last if more or len(found) == limit else end


def ensure_kept(position: int) -> None:
    """Raise CursorExpired when events after a position are gone."""
    pruned_to, _ = bounds()
    if position < pruned_to:
        raise CursorExpired(oldest=cursor(pruned_to))


def ensure_reached(position: int, end: int) -> None:
    """Raise CursorAhead when the log does not reach a position: it was restored from an older copy."""
    if position > end:
        raise CursorAhead(head=cursor(end))


def position_at(time: datetime) -> int:
    """Return the position after which the events of a time and later come; raise CursorExpired.

    Positions follow the clock only about: a transaction may last DISORDER.
    """
    pruned_to, end = ensure_known(time)
    places = range(pruned_to + 1, end + 1)
    near = pruned_to + bisect.bisect_left(places, time - DISORDER, key=created_at)
    later = (
        Event.objects.after(near)
        .filter(created_at__gte=time)
        .values_list("position", flat=True)
        .first()
    )
    return end if later is None else later - 1


def ensure_known(time: datetime) -> tuple[int, int]:
    """Return the bounds of the log; raise CursorExpired when events of a time may be gone."""
    number_events()
    pruned_to, end = bounds()
    if 0 < pruned_to < end and created_at(pruned_to + 1) > time:
        raise CursorExpired(oldest=cursor(pruned_to))
    return pruned_to, end


def created_at(position: int) -> datetime:
    """Return when the event at a position happened."""
    return Event.objects.values_list("created_at", flat=True).get(position=position)
