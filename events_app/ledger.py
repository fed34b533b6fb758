"""The order of the log. Design notes, "Order without gaps", say why it is made this way.

Rows commit out of the order of their ids, so a reader that goes by id steps over what commits late. Here
committed rows get their place afterwards, in batches, by whoever holds the one row of `Ledger`: a position is
given only to what is committed, and the next batch only gets higher ones. A reader that goes by position
never misses a row, and writers never wait for each other.
"""

import bisect
import contextlib
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from events_app.models import Event, Ledger
from events_app.registry import Move, tallies
from events_app.rules import cursor
from orchestrator_site.core.errors import Gone
from orchestrator_site.infra.pagination import MOST_BYTES, fitting

BATCH = 1000  # rows numbered in one transaction
DISORDER = timedelta(minutes=1)  # by which the times of two events may contradict their places
WINDOW = 50_000  # positions one filtered read looks at, so that a rare type cannot cost a scan of the log

NUMBER = """
    UPDATE events_app_event AS event SET position = place.position FROM (
        SELECT id, %s + row_number() OVER (ORDER BY id) AS position
        FROM events_app_event WHERE position IS NULL ORDER BY id LIMIT %s
    ) AS place WHERE event.id = place.id
    RETURNING event_type, moved_from, moved_to
"""

ADVANCE = "UPDATE events_app_ledger SET head = head + %s"
UNNUMBERED = "SELECT 1 FROM events_app_event WHERE position IS NULL LIMIT 1"
BOUNDS = "SELECT pruned_to, head FROM events_app_ledger"

_numbering = threading.Lock()


class CursorExpired(Gone):
    """Events after this cursor have been pruned; start again from the oldest one kept."""


class CursorAhead(Gone):
    """This cursor is ahead of the log: it is of a log that was replaced by an older copy."""


def number_events() -> int:
    """Give every committed event its place in the order; return how many got one."""
    numbered, batch = 0, BATCH
    while batch == BATCH and row(UNNUMBERED):
        with one_at_a_time() as waited:
            batch = 0 if waited and not row(UNNUMBERED) else number_batch()
        numbered += batch
    return numbered


@contextlib.contextmanager
def one_at_a_time() -> Iterator[bool]:
    """Let one thread of this process number, the others then find it done; give whether there was one to wait for.

    A courtesy: the lock of the ledger's row is what counts. In a transaction nobody waits here, for whoever
    numbers may be waiting for that transaction.
    """
    free = connection.in_atomic_block or _numbering.acquire(blocking=False)
    mine = not connection.in_atomic_block and (free or _numbering.acquire(timeout=1))
    try:
        yield not free
    finally:
        if mine:
            _numbering.release()


@transaction.atomic
def number_batch() -> int:
    """Number one batch and let the counters see it, exactly once; return its size."""
    head = Ledger.objects.select_for_update().values_list("head", flat=True).get()
    with connection.cursor() as rows:
        rows.execute(NUMBER, [head, BATCH])
        moves = [Move(*moved) for moved in rows.fetchall()]
        if moves:
            for count in tallies():
                count(moves)
            rows.execute(ADVANCE, [len(moves)])
    return len(moves)


def head() -> int:
    """Return the position of the newest event, all that is committed counted."""
    number_events()
    return bounds()[1]


def bounds() -> tuple[int, int]:
    """Return the positions up to which events are no longer kept, and up to which they are numbered."""
    return row(BOUNDS)


def row(statement: str) -> Any:
    """Return the row of one of the statements above that run at every read, or None: the ORM would take longer to
    write them than the database to answer.
    """
    with connection.cursor() as rows:
        rows.execute(statement)
        return rows.fetchone()


def read(*, after: int | None, limit: int, types: list[str] | None = None, **equal: Any) -> tuple[list[Event], int]:
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
    found, more = fitting(rows.of_types(types) if types else rows, limit=limit, large=["payload"], room=room)
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


def read_all(*, after: int, types: list[str] | None = None, **equal: Any) -> Iterator[Event]:
    """Yield every event after a position, page by page, up to the head."""
    position, end = after, head()
    while position < end:
        events, position = page(after=position, limit=BATCH, types=types, **equal)
        yield from events


def position_at(time: datetime) -> int:
    """Return the position after which the events of a time and later come; raise CursorExpired.

    Positions follow the clock only about: a transaction may last DISORDER.
    """
    pruned_to, end = ensure_known(time)
    places = range(pruned_to + 1, end + 1)
    near = pruned_to + bisect.bisect_left(places, time - DISORDER, key=created_at)
    later = Event.objects.after(near).filter(created_at__gte=time).values_list("position", flat=True).first()
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
