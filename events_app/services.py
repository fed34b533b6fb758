"""Write events: `record` for the server itself, `publish` for agents."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from django.db.models import Model

from events_app import rules
from events_app.hooks import Handler, handlers
from events_app.log import writing
from events_app.models import Event, Origin
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import DomainError, Invalid
from orchestrator_site.infra import changes, rows, wakeups
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
    return rows.new(
        Event,
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


def record_all(
    events: list[Event], *, wakes: Iterable[str] = (), new: Sequence[Model] = ()
) -> None:
    """Record several events in the change under way, which writes them last; call their handlers.

    new: rows to insert, of one model; with the events if nobody can ask for them before, else now.
    Raise RuntimeError outside of a change.
    """
    change = changes.current()
    change.rows += events
    change.topics += [wakeups.EVENTS, *wakes]
    concern: dict[Handler, list[Event]] = {}
    for event in events:
        for handle in handlers.get(event.event_type, ()):
            concern.setdefault(handle, []).append(event)
    if len(change.blocks) == 1 and not concern:
        change.new += new
    elif new:
        rows.insert(type(new[0]), new)
    for handle, news in concern.items():
        handle(news)


class Publication(NamedTuple):
    """An event that an agent wants stored; it changes no state.

    fields: payload, task_id, trace_id and priority, as for `new_event`.
    """

    event_type: str
    source_agent: str
    by: Actor
    now: datetime
    fields: dict[str, Any]

    def event(self) -> Event | DomainError:
        """Return the event, not yet stored, or why the caller may not publish it."""
        try:
            rules.ensure_may_say(self.event_type, self.source_agent)
        except DomainError as refusal:
            return refusal
        event = new_event(event_type=self.event_type, by=self.by, now=self.now, **self.fields)
        event.origin, event.source_agent = self.by.origin, self.source_agent
        event.source_verified = rules.speaks_for(self.by, self.source_agent)
        return event


def publish_all(items: Sequence[Publication]) -> list[Event | DomainError]:
    """Store events of agents; return each or why it is refused: ReservedEventType, ReservedSource.

    No handler is called: what agents say changes no state.
    """
    outcomes = [item.event() for item in items]
    if events := [outcome for outcome in outcomes if isinstance(outcome, Event)]:
        changes.gather(events, [wakeups.EVENTS])
    return outcomes


class PublicationBatch(NamedTuple):
    """Events to store together. items: each of them, or why it was refused before."""

    items: Sequence[Publication | DomainError]
    all_or_none: bool

    @property
    def weight(self) -> int:
        """Return for how many events it counts among those that arrive with it."""
        return len(self.items)

    def events(self) -> list[Event | DomainError] | DomainError:
        """Return the events, not yet stored, and the refusals; Invalid where none can be."""
        outcomes = [item.event() if isinstance(item, Publication) else item for item in self.items]
        for place, outcome in enumerate(outcomes):
            if self.all_or_none and isinstance(outcome, DomainError):
                sentence = f"Event {place} of the batch: {outcome}"
                return Invalid(sentence, field=f"events.{place}")
        return outcomes


def publish_batches(
    batches: Sequence[PublicationBatch],
) -> list[list[Event | DomainError] | DomainError]:
    """Store events of agents; return for each batch its outcomes, or why nothing of it is stored.

    The events of a batch stand in the log in the order given, with nothing between them.
    """
    outcomes = [batch.events() for batch in batches]
    found = chain.from_iterable(each for each in outcomes if isinstance(each, list))
    if events := [event for event in found if isinstance(event, Event)]:
        changes.gather(events, [wakeups.EVENTS])
    return outcomes


def publish(
    *, event_type: str, source_agent: str, by: Actor, now: datetime, **fields: Any
) -> Event:
    """Store one event of an agent; raise what `publish_all` would return as its refusal."""
    [outcome] = publish_all([Publication(event_type, source_agent, by, now, fields)])
    if isinstance(outcome, DomainError):
        raise outcome
    return outcome


def wake_after_commit(*topics: str) -> None:
    """Wake the readers of events after the commit of the change; an error there fails nothing."""
    changes.current().topics.extend((wakeups.EVENTS, *topics))
