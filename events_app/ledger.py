"""The order of the log. Design notes, "Order without gaps", say why it is made this way.

Rows commit out of the order of their ids, so a reader that goes by id steps over what commits late. Here
committed rows get their place afterwards, in batches, by whoever holds the one row of `Ledger`: a position is
given only to what is committed, and the next batch only gets higher ones. A reader that goes by position
never misses a row, and writers never wait for each other.
"""

from collections.abc import Iterator
from typing import Any

from django.db import connection, transaction
from django.db.models import F

from events_app.models import Event, Ledger
from events_app.registry import Move, tallies
from events_app.rules import cursor
from orchestrator_site.errors import Gone

BATCH = 1000  # rows numbered in one transaction
WINDOW = 10_000  # positions one filtered read looks at, so that a rare type cannot cost a scan of the log

NUMBER = """
    UPDATE events_app_event AS event SET position = place.position FROM (
        SELECT id, %s + row_number() OVER (ORDER BY id) AS position
        FROM events_app_event WHERE position IS NULL ORDER BY id LIMIT %s
    ) AS place WHERE event.id = place.id
    RETURNING event_type, moved_from, moved_to
"""


class CursorExpired(Gone):
    """Events after this cursor have been pruned; start again from the oldest one kept."""


def number_events() -> int:
    """Give every committed event its place in the order; return how many got one."""
    numbered = 0
    while Event.objects.unnumbered().exists():
        batch = number_batch()
        numbered += batch
        if batch < BATCH:
            break
    return numbered


@transaction.atomic
def number_batch() -> int:
    """Number one batch and let the counters see it, exactly once; return its size."""
    ledger = Ledger.objects.select_for_update().get()
    with connection.cursor() as rows:
        rows.execute(NUMBER, [ledger.head, BATCH])
        moves = [Move(*row) for row in rows.fetchall()]
    if moves:
        for count in tallies():
            count(moves)
        Ledger.objects.update(head=F("head") + len(moves))
    return len(moves)


def head() -> int:
    """Return the position of the newest event, all that is committed counted."""
    number_events()
    return Ledger.objects.values_list("head", flat=True).get()


def read(
    *, after: int | None, limit: int, types: list[str] | None = None, **equal: Any
) -> tuple[list[Event], int]:
    """Return events after a position in order, and the position to go on from.

    after: None for the oldest kept. equal: task_id, trace_id or source_agent, exactly.
    An empty list with a position that moved means: nothing matched so far, go on. Raise CursorExpired.
    """
    end = head()
    start = ensure_kept(after)
    asked = {name: value for name, value in equal.items() if value}
    if types or set(asked) == {"source_agent"}:
        end = min(end, start + WINDOW)
    rows = Event.objects.after(start).filter(position__lte=end, **asked)
    found = list((rows.of_types(types) if types else rows)[:limit])
    return found, found[-1].position if len(found) == limit else max(start, end)


def ensure_kept(after: int | None) -> int:
    """Return the position to read from; raise CursorExpired when events after it are gone."""
    pruned_to = Ledger.objects.values_list("pruned_to", flat=True).get()
    if after is not None and after < pruned_to:
        raise CursorExpired(oldest=cursor(pruned_to))
    return pruned_to if after is None else after


def read_all(*, after: int, types: list[str] | None = None, **equal: Any) -> Iterator[Event]:
    """Yield every event after a position, page by page, up to the head."""
    position, end = after, head()
    while position < end:
        events, position = read(after=position, limit=BATCH, types=types, **equal)
        yield from events
