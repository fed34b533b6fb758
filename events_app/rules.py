"""What callers may publish, and how readers get events and cursors. Pure."""

import re
from typing import Any

from events_app.errors import ReservedEventType, ReservedSource
from events_app.models import Event, Position
from orchestrator_site.core import cursors
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.names import fold, looks_odd
from orchestrator_site.core.times import rfc3339

EVENT_TYPE = re.compile(r"\A[a-z0-9_-]+(\.[a-z0-9_-]+)*\Z")
PATTERN = re.compile(r"\A(\*|[a-z0-9_-]+(\.[a-z0-9_-]+)*(\.\*)?)\Z")
LOG = "1"  # the kind of the log's cursors; readers keep them, so it stays
FIELDS = (  # what readers get of an event, besides its cursor and time
    "event_id",
    "event_type",
    "origin",
    "source_agent",
    "source_verified",
    "publisher",
    "door",
    "payload",
    "task_id",
    "trace_id",
    "priority",
    "moved_from",
    "moved_to",
)

# The families that only the server may publish; of `task.`, agents may publish these types.
SERVER_FAMILIES = (
    *("approval", "sla", "agent", "auth", "system", "subscription", "consumer", "tasks"),
    *("rule", "policy"),
)
AGENT_WORDS = frozenset(
    {"task.started", "task.progress", "task.completed", "task.failed", "task.note"}
)
RESERVED_SOURCES = frozenset({"system", "orchestrator", "console", "human", "human_admin"})


def ensure_may_say(event_type: str, source_agent: str) -> None:
    """Raise ReservedEventType or ReservedSource for what only the server may publish."""
    family = event_type.split(".")[0]
    if family in SERVER_FAMILIES or (family == "task" and event_type not in AGENT_WORDS):
        raise ReservedEventType(f"Only the server may publish {event_type} events.")
    if fold(source_agent) in RESERVED_SOURCES:
        raise ReservedSource(f"Only the server may speak as {source_agent}.")
    if looks_odd(source_agent):
        raise ReservedSource(
            "The name of a source holds no invisible characters and letters of one script only."
        )


def speaks_for(by: Actor, source_agent: str) -> bool:
    """Return whether an actor has the name of a source, or is of its pool.

    `dev-agent-1` speaks for `dev-agent-1`, and for its pool `dev_agent`.
    """
    pool = re.sub(r"[-_]\d+\Z", "", by.name).replace("-", "_")
    return source_agent in (by.name, pool)


def cursor(position: int) -> str:
    """Return the opaque cursor of a position; it names the event there if that is known."""
    letters = Position(position).letters
    return cursors.encode(LOG, position, letters) if letters else cursors.encode(LOG, position)


def position_of(text: str, *, field: str = "after") -> Position:
    """Return the position of a cursor; raise BadCursor, which names the field it came in."""
    try:
        return Position(*cursors.decode(text, LOG, int, str))
    except cursors.BadCursor:  # cursors given out by older versions have no mark
        return Position(*cursors.decode(text, LOG, int, field=field))


def matches(event_type: str, patterns: list[str]) -> bool:
    """Return whether a type matches a pattern (`pr.merged`, `task.*`, `*`), or there is none."""
    return not patterns or any(
        pattern in ("*", event_type)
        or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))
        for pattern in patterns
    )


def plain(event: Event) -> dict[str, Any]:
    """Return an event as every reader gets it: by page, stream, consumer or webhook."""
    fields = {name: getattr(event, name) for name in FIELDS}
    return fields | {
        "cursor": cursor(event.place),
        "created_at": rfc3339(event.created_at),
    }
