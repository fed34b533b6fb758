"""Read the log by position."""

import bisect
import functools
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from django.db import connection

from events_app.errors import CursorAhead, CursorExpired
from events_app.log.sequencing import bounds, marked, state
from events_app.models import Event, Position
from events_app.rules import cursor, matches
from orchestrator_site.infra.pagination import MOST_BYTES, stored_bytes
from orchestrator_site.infra.rows import placeholders, select

DISORDER = timedelta(minutes=1)  # by which the times of two events may contradict their places
WINDOW = 2_000  # positions one filtered read looks at: what is rare must not cost a scan of the log
MOST_TYPES = 500  # different ones that are looked through
MOST_SOUGHT = 20  # of these, each by a statement of its own
PARTLY_INDEXED = ("task_id", "trace_id")
FAMILY = "event_type LIKE %s ESCAPE '\\'"
# Each type is one step in the index.
KNOWN_TYPES = """
    WITH RECURSIVE known(kind) AS (
        SELECT MIN(event_type) FROM events_app_event
        UNION ALL
        SELECT (SELECT MIN(event_type) FROM events_app_event WHERE event_type > kind)
        FROM known WHERE kind IS NOT NULL
    ) SELECT kind FROM known WHERE kind IS NOT NULL LIMIT %s
"""


def read(
    *, after: int | None, limit: int, types: list[str] | None = None, **equal: Any
) -> tuple[list[Event], Position]:
    """Return the committed events after a position in order, and the position to go on from.

    after: None for the oldest kept. equal: task_id, trace_id or source_agent, exactly. A page ends
    at `limit` events or at 4 MiB of payload. An empty list with a position that moved means:
    nothing matched so far, go on. Raise CursorExpired or CursorAhead.
    """
    return page(after=after, limit=limit, types=types, **equal)


def page(
    *,
    after: int | None,
    limit: int,
    types: list[str] | None = None,
    room: int = MOST_BYTES,
    **equal: Any,
) -> tuple[list[Event], Position]:
    """Do what `read` does among the numbered events. room: bytes of payload at most."""
    pruned_to, end = bounds()
    start = Position(pruned_to if after is None else after)
    filters = {name: value for name, value in equal.items() if value}
    windowed = bool(types or set(filters) == {"source_agent"}) and start + WINDOW < end
    if windowed:
        end = marked(start + WINDOW)
    where, values = condition(types or [], filters)
    events, more = between(where, [start, end, *values], limit=limit, room=room)
    if windowed and types and not events:
        end = end_of_gap(end, types)
    ensure_readable(start)  # afterwards, so that nothing pruned meanwhile is passed over
    last = events[-1].place if events else start
    return events, last if more or len(events) == limit else end


def condition(types: list[str], equal: dict[str, str]) -> tuple[str, list[Any]]:
    """Return which events are read, as SQL, and its values but for the first two positions.

    types: as `pr.merged`, `task.*` or `*`. SQLite's partial indexes demand that empty ids are left
    out word for word.
    """
    texts, values = ["position > %s AND position <= %s"], list(equal.values())
    for name in equal:
        texts.append(f"{name} = %s")
        texts += [f"NOT ({name} = '')"] if name in PARTLY_INDEXED else []
    if types and "*" not in types:
        families = [prefix(kind) for kind in types if kind.endswith(".*")]
        single = [kind for kind in types if not kind.endswith(".*")]
        either = [f"event_type IN ({placeholders(len(single))})"] if single else []
        texts.append(f"({' OR '.join(either + [FAMILY] * len(families))})")
        values += single + families
    return " AND ".join(texts), values


def prefix(family: str) -> str:
    """Return what LIKE takes for a family such as `task.*`."""
    return f"{connection.ops.prep_for_like_query(family[:-1])}%"


def between(where: str, values: list[Any], *, limit: int, room: int) -> tuple[list[Event], bool]:
    """Return the first events of a condition, and whether there are more; one always fits.

    values: after and up to which position, then the condition's others.
    """
    with connection.cursor() as rows:
        rows.execute(sizes(where), [*values, limit + 1])
        found = rows.fetchall()
    used = accumulate(size for _, size in found[:limit])
    number = max(1, sum(bytes_so_far <= room for bytes_so_far in used))
    last = found[:number][-1][0] if found else 0
    upto = [values[0], last, *values[2:]]
    events = select(Event, f"{where} ORDER BY position", upto) if found else []
    return events, number < len(found)


@functools.lru_cache(256)
def sizes(where: str) -> str:
    """Return the statement that measures events before they are read."""
    return (
        f"SELECT position, {stored_bytes('payload')} FROM {Event._meta.db_table}"  # noqa: S608
        f" WHERE {where} ORDER BY position LIMIT %s"
    )


def end_of_gap(position: Position, types: list[str]) -> Position:
    """Return the last position, from this one on, before the next event of one of the types.

    Of more than MOST_SOUGHT types it is this one: each is looked for by a statement of its own.
    """
    _, head = bounds()
    known = known_types()
    sought = [kind for kind in known if matches(kind, types)]
    if len(known) == MOST_TYPES or len(sought) > MOST_SOUGHT:
        return position
    rows = Event.objects.after(position).filter(position__lte=head)
    wanted = [rows.filter(event_type=kind) for kind in sought]
    firsts = [next(iter(one.values_list("position", flat=True)[:1]), None) for one in wanted]
    following = [first for first in firsts if first is not None]
    return marked(min(following) - 1) if following else head


def known_types() -> list[str]:
    """Return the types of the events in the log, in order, up to MOST_TYPES."""
    with connection.cursor() as cursor:
        cursor.execute(KNOWN_TYPES, [MOST_TYPES])
        return [kind for (kind,) in cursor.fetchall()]


def ensure_readable(position: int) -> None:
    """Raise CursorExpired if events after a position are gone, CursorAhead if the log was replaced.

    It was replaced if it does not reach the position, or if another event stands there.
    """
    pruned_to, end, event_id = state(position)
    if position < pruned_to:
        raise CursorExpired(oldest=cursor(pruned_to))
    if position > end or not Position(position).is_of(event_id):
        raise CursorAhead(head=cursor(bounds()[1]))


def position_at(time: datetime) -> int:
    """Return the position after which the events of a time and later come; raise CursorExpired.

    Positions follow the clock only about: a transaction may last DISORDER.
    """
    pruned_to, end = bounds()
    if 0 < pruned_to < end and created_at(pruned_to + 1) > time:
        raise CursorExpired(oldest=cursor(pruned_to))
    places = range(pruned_to + 1, end + 1)
    near = pruned_to + bisect.bisect_left(places, time - DISORDER, key=created_at)
    later = Event.objects.after(near).filter(created_at__gte=time)
    first = later.values_list("position", flat=True).first()
    return end if first is None else marked(first - 1)


def created_at(position: int) -> datetime:
    """Return when the event at a position happened."""
    return Event.objects.values_list("created_at", flat=True).get(position=position)
