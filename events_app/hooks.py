"""Hooks of the log: the apps above register functions, which this app calls."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from django.db.models import Model, QuerySet

from events_app.models import Event
from orchestrator_site.infra import wakeups

Handler = Callable[[list[Event]], None]
Tally = Callable[[Iterable[Event]], Mapping[str, int]]
PositionKeeper = Callable[[], int | None]
EventKeeper = Callable[[QuerySet[Event]], QuerySet[Event]]
Listener = Callable[[], None]
Receiver = Callable[[list[Event]], None]

handlers: dict[str, list[Handler]] = defaultdict(list)
tallies: list[tuple[type[Model], Tally]] = []
position_keepers: list[PositionKeeper] = []
event_keepers: list[EventKeeper] = []
receivers: list[Receiver] = []


def on(event_type: str) -> Callable[[Handler], Handler]:
    """Call `handler(events)` with the events of a type, inside the transaction that records them.

    It gets at once, in their order, all that are recorded together, of all types it is called for.
    """

    def register(handler: Handler) -> Handler:
        handlers[event_type].append(handler)
        return handler

    return register


def tally(model: type[Model]) -> Callable[[Tally], Tally]:
    """Add what `count(events)` returns to the rows of a model, in the commit of the events.

    model: has a `name` and a `number`. count: {name: what is added}, for each event exactly once.
    """

    def register(count: Tally) -> Tally:
        tallies.append((model, count))
        return count

    return register


def keeps_position(keeper: PositionKeeper) -> PositionKeeper:
    """Keep events after the position that `keeper()` returns; None keeps nothing."""
    position_keepers.append(keeper)
    return keeper


def keeps_events(keeper: EventKeeper) -> EventKeeper:
    """Keep single old events: `keeper(events)` returns the given events without those to keep."""
    event_keepers.append(keeper)
    return keeper


def receive(receiver: Receiver) -> Callable[[], None]:
    """Call `receiver(events)` with what this process commits; return a function that ends it.

    It runs in the committing thread, before the wake-ups, and must not block. Of two commits the
    later may come first.
    """
    receivers.append(receiver)
    return lambda: receivers.remove(receiver)


def on_wakeup(topic: str) -> Callable[[Listener], Listener]:
    """Call `listener()` at each wake-up of a topic, in the waking thread: it must not block."""

    def register(listener: Listener) -> Listener:
        wakeups.listen_for(topic, listener)
        return listener

    return register
