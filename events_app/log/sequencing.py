"""Ask how far the log goes, and which event stands at a position."""

from typing import Any

from events_app.models import Position
from orchestrator_site.infra.changes import here

STATE = """
    SELECT pruned_to, head,
        (SELECT event_id FROM events_app_event WHERE position = COALESCE(%s, head))
    FROM events_app_ledger
"""


def head() -> Position:
    """Return the position of the newest committed event."""
    return bounds()[1]


def bounds() -> tuple[int, Position]:
    """Return the positions up to which events are pruned, and up to which there are any."""
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
    return next(iter(here.database.run(statement, params)), None)
