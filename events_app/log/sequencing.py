"""Give committed events their positions, so that a forward reader misses none."""

from typing import Any

from django.db import connection, transaction
from django.db.models import F

from events_app.hooks import tallies
from events_app.models import Event, Ledger, Position

BATCH = 1000  # rows numbered in one transaction

NUMBER = """
    UPDATE events_app_event AS event SET position = place.position FROM (
        SELECT id, %s + row_number() OVER (ORDER BY id) AS position
        FROM events_app_event WHERE position IS NULL ORDER BY id LIMIT %s
    ) AS place WHERE event.id = place.id
    RETURNING event_type, moved_from, moved_to
"""

ADVANCE = "UPDATE events_app_ledger SET head = head + %s"
UNNUMBERED = "SELECT 1 FROM events_app_event WHERE position IS NULL LIMIT 1"
STATE = """
    SELECT pruned_to, head,
        (SELECT event_id FROM events_app_event WHERE position = COALESCE(%s, head))
    FROM events_app_ledger
"""


def number_events() -> int:
    """Give every committed event its place in the order; return how many got one.

    The lock of the ledger's row serialises numbering; whoever waited for it finds nothing left.
    """
    numbered, batch = 0, BATCH
    while batch == BATCH and row(UNNUMBERED):
        batch = number_batch()
        numbered += batch
    return numbered


@transaction.atomic
def number_batch() -> int:
    """Number one batch and call the tallies with it, exactly once; return its size."""
    head = Ledger.objects.select_for_update().values_list("head", flat=True).get()
    with connection.cursor() as rows:
        rows.execute(NUMBER, [head, BATCH])
        names = ("event_type", "moved_from", "moved_to")
        moves = [Event(**dict(zip(names, moved, strict=True))) for moved in rows.fetchall()]
        if moves:
            for model, count in tallies:
                for name, number in count(moves).items():
                    found = model._default_manager.filter(name=name)
                    found.update(number=F("number") + number)
            rows.execute(ADVANCE, [len(moves)])
    return len(moves)


def head() -> Position:
    """Return the position of the newest committed event."""
    number_events()
    return bounds()[1]


def bounds() -> tuple[int, Position]:
    """Return the positions up to which events are pruned, and up to which they are numbered."""
    pruned_to, end, event_id = state()
    return pruned_to, Position(end, event_id or "")


def state(position: int | None = None) -> tuple[int, int, str | None]:
    """Return the bounds, and the id of the event at a position, None if none is kept there.

    position: the head if None.
    """
    return row(STATE, position)


def marked(position: int) -> Position:
    """Return a position with the event that stands there now."""
    return Position(position, state(position)[2] or "")


def row(statement: str, *params: int | None) -> Any:
    """Return the row of a statement, or None; without Django's ORM, as it runs at every read."""
    with connection.cursor() as rows:
        rows.execute(statement, params)
        return rows.fetchone()
