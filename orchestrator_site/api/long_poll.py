"""Requests that wait: how a view asks the server to keep its answer back, or to go on writing it.

The server gives each request a `Continuation` in the ASGI scope, where no client can put one. Under
a plain WSGI server there is none: nothing waits there, and every answer is sent as it is.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any, TypeVar, cast

SCOPE_KEY = "orchestrator.continuation"  # in the ASGI scope

# What an attempt finds, and what has it begin, from any thread. What it finds counts if it is true.
Attempt = tuple["asyncio.Future[Any]", Callable[[], None]]
Ask = Callable[[], Attempt]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Wait:
    """For what a request waits.

    seconds: at most this long. key: who has the same key stands in one queue. due: returns, from
    what an attempt found in vain, the seconds until the clock alone may bring something, if it is
    known. credential: of its caller.
    """

    topics: frozenset[str]
    seconds: float
    key: Hashable
    due: Callable[[Any], float | None] = lambda _: None
    credential: str = ""


@dataclasses.dataclass(slots=True)
class Continuation:
    """What a view tells the server besides its answer, and what the server does for it.

    attend: waits in the place of a view that is a coroutine.
    """

    attend: Callable[[Wait, Ask], Awaitable[Any]]
    hold: Wait | None = None
    stream: Any = None
    # What the first run found out and the later ones shall not do again, by name.
    kept: dict[str, Any] = dataclasses.field(default_factory=dict)


def continuation_of(request: Any) -> Continuation | None:
    """Return the request's continuation, or None where nothing can wait."""
    return request.META.get("asgi.scope", {}).get(SCOPE_KEY)


def wait_for(request: Any, *, topics: Iterable[str], seconds: float, key: Hashable) -> None:
    """Have the server keep an empty answer back until there is a better one; then return it.

    At a wake-up of one of the topics, and every second, the view is run again for the first in the
    queue of `key`; what it answers without calling this is sent, and after `seconds` the empty
    answer. Whoever shares a key must be interchangeable: the queue stops at the first who gets
    nothing.
    """
    if (waits := continuation_of(request)) is not None:
        credential = request.user.credential
        waits.hold = Wait(frozenset(topics), seconds, key, credential=credential)


def start_stream(request: Any, stream: Any) -> bool:
    """Let the server go on writing this answer; return False where it cannot."""
    if (waits := continuation_of(request)) is None:
        return False
    waits.stream = stream
    return True


async def once_per_request(request: Any, name: str, find: Callable[[], Awaitable[T]]) -> T:
    """Return what `find` returned when this request was run for the first time."""
    waits = continuation_of(request)
    if waits is None:
        return await find()
    if name not in waits.kept:
        waits.kept[name] = await find()
    return cast(T, waits.kept[name])
