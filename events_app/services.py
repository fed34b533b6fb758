"""Write events: `record` for the server itself, `publish` for agents."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from events_app import rules
from events_app.hooks import handlers
from events_app.log import writing
from events_app.models import Event, Origin
from orchestrator_site.core.actors import Actor
from orchestrator_site.infra import changes, wakeups
from orchestrator_site.infra.changes import change as change

changes.written_last(writing.write)

SERVER = "orchestrator"


def new_event(
    *,
    event_type: str,
    by: Actor,
    now: datetime,
    payload: dict[str, Any] | None = None,
    task_id: str = "",
    trace_id: str = "",
    priority: str = "",
    moved: tuple[str, str] = ("", ""),
) -> Event:
    """Return an event of the server, not yet stored. moved: the statuses before and after."""
    return Event(
        event_type=event_type,
        origin=Origin.HUMAN if by.origin == "human" else Origin.SYSTEM,
        source_agent=SERVER,
        source_verified=True,
        publisher=by.name,
        door=by.door,
        payload=payload or {},
        task_id=task_id,
        trace_id=trace_id,
        priority=priority,
        moved_from=moved[0],
        moved_to=moved[1],
        created_at=now,
    )


def record(*, wakes: Iterable[str] = (), **fact: Any) -> Event:
    """Record an event in the transaction of its change; arguments as for `new_event`.

    wakes: topics to wake after the commit, besides the readers of events.
    """
    event = new_event(**fact)
    record_all([event], wakes=wakes)
    return event


def record_all(events: list[Event], *, wakes: Iterable[str] = ()) -> None:
    """Record several events in the change under way, which writes them last; call their handlers.

    Raise RuntimeError outside of a change.
    """
    changes.current().rows += events
    wake_after_commit(*wakes)
    for event in events:
        for handle in handlers.get(event.event_type, ()):
            handle(event)


@change
def publish(
    *, event_type: str, source_agent: str, by: Actor, now: datetime, **fields: Any
) -> Event:
    """Store an event of an agent; it changes no state.

    fields: payload, task_id, trace_id and priority, as for `new_event`. Raise ReservedEventType or
    ReservedSource for what only the server may publish.
    """
    rules.ensure_may_say(event_type, source_agent)
    event = new_event(event_type=event_type, by=by, now=now, **fields)
    event.origin, event.source_agent = by.origin, source_agent
    event.source_verified = rules.speaks_for(by, source_agent)
    changes.current().rows.append(event)
    wake_after_commit()
    return event


def wake_after_commit(*topics: str) -> None:
    """Wake the readers of events after the commit of the change; an error there fails nothing."""
    changes.current().topics.extend((wakeups.EVENTS, *topics))
