"""Who wants to hear what. News goes up: the floors above register here, this floor knows none of them."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from events_app.models import Event


class Move(NamedTuple):
    """What a numbered event changed: its type and the statuses that were left and taken."""

    event_type: str
    moved_from: str
    moved_to: str


Handler = TypeVar("Handler", bound=Callable[[Event], None])
Tally = TypeVar("Tally", bound=Callable[[Iterable[Move]], None])
_handlers: dict[str, list[Callable[[Event], None]]] = defaultdict(list)
_tallies: list[Callable[[Iterable[Move]], None]] = []


def on(event_type: str) -> Callable[[Handler], Handler]:
    """Register a reaction to what the house records; it runs inside the recording transaction."""

    def register(handler: Handler) -> Handler:
        _handlers[event_type].append(handler)
        return handler

    return register


def tally(count: Tally) -> Tally:
    """Register a counter: it sees every event exactly once, in order, in the numbering transaction."""
    _tallies.append(count)
    return count


def handlers_for(event_type: str) -> list[Callable[[Event], None]]:
    """Return the reactions to an event type."""
    return _handlers.get(event_type, [])


def tallies() -> list[Callable[[Iterable[Move]], None]]:
    """Return the counters."""
    return _tallies
