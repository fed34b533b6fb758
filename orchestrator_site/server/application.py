"""The ASGI application: Django answers every request; here waiting requests and streams stay open.

A view says by `api.long_poll` that its answer may wait, or goes on as a stream. Identity, rates and
checks stay in the views, as everywhere; the application knows no path.
"""

import asyncio
import contextlib
import gc
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings

from orchestrator_site.api.long_poll import SCOPE_KEY, Ask, Continuation, Wait
from orchestrator_site.api.middleware import REFUSAL
from orchestrator_site.infra import wakeups
from orchestrator_site.infra.counters.shared import SHARED
from orchestrator_site.infra.group_commit import Grouped
from orchestrator_site.server.loop_adapter import LoopAdapter, action_of
from orchestrator_site.server.request_limits import ClientDisconnected, RequestRefused, read_request
from orchestrator_site.server.waiters import WaiterRegistry, on_loop
from orchestrator_site.server.wsgi_adapter import Answer, WSGIAdapter

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# New objects before the youngest are looked through, and how often that before older ones are.
COLLECTIONS = (10_000, 10, 10)


class Application:
    """The application that the server runs."""

    def __init__(self, wsgi: Any, *, streams: Callable[[], Any]) -> None:
        """wsgi: Django's application. streams: makes what serves event streams, at each start."""
        self._new_broadcaster = streams
        self._adapter = WSGIAdapter(wsgi)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection.

        Only a request that is whole takes a thread, so slow callers hold up nobody.
        """
        if scope["type"] == "lifespan":
            return await self._live(receive, send)
        self._start()
        try:
            scope, body = await read_request(
                scope, receive, limit=settings.DATA_UPLOAD_MAX_MEMORY_SIZE
            )
        except ClientDisconnected:
            return
        except RequestRefused as refusal:  # the API says it, as it says it of other bad requests
            scope = {**scope, "headers": [], REFUSAL: refusal}
            answer = await self._adapter.ask(scope, b"", send)
            answer.headers.append((b"connection", b"close"))
            return await answer.send(send)
        await self._answer(scope, body, receive, send)

    async def _answer(self, scope: Any, body: bytes, receive: Any, send: Any) -> None:
        """Answer a request at once, later, or as a stream."""
        moment = self._waiters.moment

        async def attend(hold: Wait, ask: Ask, *, since: int | None = None) -> Any:
            return await until_disconnect(self._waiters.wait(hold, ask, since=since), receive)

        continuation = scope[SCOPE_KEY] = Continuation(attend)
        answer = await self._ask(scope, body, send)
        if continuation.stream is not None:
            return await self._stream(continuation.stream, answer, receive, send)
        if continuation.hold is not None:

            async def run_again() -> Answer | None:
                continuation.hold = None
                answer = await self._ask(scope, body, send)
                return answer if continuation.hold is None else None

            ask = on_loop(run_again)
            answer = await attend(continuation.hold, ask, since=moment) or answer
        await answer.send(send)

    async def _ask(self, scope: Any, body: bytes, send: Any) -> Answer:
        """Return the answer of a coroutine on this loop, or of Django in a thread."""
        if (action := action_of(scope)) is not None:
            return await self._on_loop.ask(action, scope, body)
        return await self._adapter.ask(scope, body, send)

    async def _stream(self, wish: Any, answer: Answer, receive: Any, send: Any) -> None:
        """Send the answer's beginning, then events, until either side ends it."""
        try:
            if answer.status != 200:  # refused after all, on the way out
                return await answer.send(send)
            answer.headers = [header for header in answer.headers if header[0] != b"content-length"]
            await answer.send(send, more=True)
            await until_disconnect(self._broadcaster.serve(wish, send), receive)
            await answer.send(send)
        finally:
            wish.leave()

    # --- From the server's start to its end ---------------------------------------------------

    async def _live(self, receive: Any, send: Any) -> None:
        """Acknowledge the server's start and end."""
        await receive()
        self._start()
        gc.collect()
        gc.freeze()  # what is here stays: to look through it again took 94 ms, in which all waits
        gc.set_threshold(*COLLECTIONS)
        if threading.current_thread() is threading.main_thread():
            # At the signal itself: the lifespan ends only when all connections are closed.
            for number in SIGNALS:
                signal.signal(number, self._closing_before(signal.getsignal(number)))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._stop_listening()
        self._close()
        for task in self._tasks:
            task.cancel()
        self._group_commit.close()
        await asyncio.to_thread(SHARED.tell)
        await send({"type": "lifespan.shutdown.complete"})

    def _start(self) -> None:
        """Start what runs beside the requests, once for each event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        self._loop = loop
        self._waiters, self._broadcaster = WaiterRegistry(), self._new_broadcaster()
        self._group_commit = Grouped(loop, self._waiters)
        self._on_loop = LoopAdapter(self._group_commit)
        works: list[Awaitable[None]] = [
            self._waiters.run(),
            self._broadcaster.run(),
            self._broadcaster.look_after(),
        ]
        if settings.REDIS_URL:
            works.append(wakeups.receive(self._wake))
        self._tasks = [asyncio.ensure_future(work) for work in works]
        self._stop_listening = wakeups.listen(self._wake)

    def _close(self) -> None:
        """Answer those who wait and end the streams, so that the server need not cut them off."""
        self._waiters.close()
        self._broadcaster.close()

    def _closing_before(self, handler: Any) -> Callable[[int, Any], None]:
        """Return a signal handler that closes, and then does what the given one does."""

        def handle(number: int, frame: Any) -> None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._close)
            if callable(handler):
                handler(number, frame)

        return handle

    def _wake(self, topics: set[str]) -> None:
        """Have those who wait ask, and streams go on. From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._waiters.wake(topics)
            if wakeups.EVENTS in topics and self._broadcaster.streams and self._loop is not None:
                self._loop.call_soon_threadsafe(self._broadcaster.wake)


async def until_disconnect(work: Awaitable[Any], receive: Any) -> Any:
    """Return what a coroutine returns; stop it and return None when the client leaves first.

    A client that will send nothing more has left: who waits for an answer keeps its side open.
    """

    async def disconnected() -> None:
        while (await receive()).get("more_body"):
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(disconnected())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
        del working, leaving  # a refusal would hold this frame, and the frame it
