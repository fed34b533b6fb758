"""Hold coroutine actions to what they may do on an event loop, wherever they are carried out.

Django's test client drives them in place, where asking the database would work. On the event loop
of a server it is a fault, so here it is one too.
"""

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection

from orchestrator_site.api import viewsets
from orchestrator_site.infra.cached_rows import CachedRows
from orchestrator_site.infra.group_commit import Inline


class Place(threading.local):
    """Whether this thread carries out what an event loop would."""

    on_loop = False


PLACE = Place()


@contextlib.contextmanager
def placed(*, on_loop: bool) -> Iterator[None]:
    """Carry out a block on the event loop, or beside it."""
    before, PLACE.on_loop = PLACE.on_loop, on_loop
    try:
        yield
    finally:
        PLACE.on_loop = before


def placing(function: Callable[..., Any], *, on_loop: bool) -> Callable[..., Any]:
    """Return a function that is carried out on the event loop, or beside it."""

    def carried_out(*args: Any, **kwargs: Any) -> Any:
        with placed(on_loop=on_loop):
            return function(*args, **kwargs)

    return carried_out


def refuse(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
    """Carry out a statement; raise SynchronousOnlyOperation where an event loop would wait."""
    if PLACE.on_loop:
        raise SynchronousOnlyOperation(f"On the event loop: {sql[:200]}")
    return execute(sql, *args)


@contextlib.contextmanager
def held_to_the_loop(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have coroutines that ask the database themselves fail."""

    async def call(self: Inline, function: Callable[[], Any]) -> Any:
        return placing(function, on_loop=False)()

    def handler(self: viewsets.ApiViewSet, request: Any) -> Callable[..., Any]:
        found = handler_of(self, request)
        is_coroutine = inspect.iscoroutinefunction(found)
        return found if is_coroutine else placing(found, on_loop=False)

    handler_of = viewsets.ApiViewSet.handler
    patch.setattr(viewsets, "in_place", placing(viewsets.in_place, on_loop=True))
    patch.setattr(viewsets.ApiViewSet, "handler", handler)
    patch.setattr(Inline, "call", call)
    for owner, name in ((Inline, "_outcome"), (CachedRows, "_load_now")):
        patch.setattr(owner, name, placing(getattr(owner, name), on_loop=False))
    with connection.execute_wrapper(refuse):
        yield
