"""Give committed events their positions, so that a forward reader misses none."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from django.db import connection, transaction

from events_app.hooks import Move, tallies
from events_app.models import Ledger

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


BOUNDS = "SELECT pruned_to, head FROM events_app_ledger"


_numbering = threading.Lock()


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
