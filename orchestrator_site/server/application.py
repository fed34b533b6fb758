"""The ASGI front: Django answers every request, and this keeps open what a thread should not wait for.

A view says by `holding` that its answer may wait, or goes on as a stream. Identity, rates and checks stay in the
views, as everywhere; the front knows no path.
"""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings

from orchestrator_site.api.long_poll import SCOPE_KEY, Continuation
from orchestrator_site.api.middleware import REFUSAL
from orchestrator_site.infra import wakeups
from orchestrator_site.server.request_limits import ClientDisconnected, RequestRefused, read_request
from orchestrator_site.server.waiters import WaiterRegistry
from orchestrator_site.server.wsgi_adapter import Answer, WSGIAdapter

SIGNALS = (signal.SIGINT, signal.SIGTERM)
log = logging.getLogger(__name__)


class Application:
    """The application that the server runs."""

    def __init__(self, wsgi: Any, *, streams: Callable[[], Any]) -> None:
        """wsgi: Django's application. streams: makes what serves event streams, anew at each start."""
        self._streams = streams
        self.bridge = WSGIAdapter(wsgi)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._lock = threading.Lock()
        self._topics: set[str] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection. Only a request that is whole takes a thread, so slow callers hold up nobody."""
        if scope["type"] == "lifespan":
            return await self.live(receive, send)
        self.begin()
        with contextlib.suppress(ClientDisconnected):
            try:
                whole, body = await read_request(
                    scope, receive, limit=settings.DATA_UPLOAD_MAX_MEMORY_SIZE
                )
            except RequestRefused as refusal:
                return await self.refuse(scope, refusal, send)
            await self.answer(whole, (await body())["body"], receive, send)

    async def refuse(self, scope: Any, refusal: RequestRefused, send: Any) -> None:
        """Let the API say what is wrong, as it says it of other bad requests; then close the connection."""
        answer = await self.bridge.ask({**scope, "headers": [], REFUSAL: refusal}, b"", send)
        answer.headers.append((b"connection", b"close"))
        await answer.send(send)

    async def answer(self, scope: Any, body: bytes, receive: Any, send: Any) -> None:
        """Answer a request at once, later, or as a stream."""
        mark = self.room.moment
        handover = Continuation()
        scope = {**scope, SCOPE_KEY: handover}
        answer = await self.bridge.ask(scope, body, send)
        if handover.stream is not None:
            return await self.go_on(handover.stream, answer, receive, send)
        if handover.hold is not None:

            async def ask() -> tuple[Answer, bool]:
                handover.hold = None
                found = await self.bridge.ask(scope, body, send)
                return found, handover.hold is None

            waits = self.room.wait(handover.hold, ask, answer, since=mark)
            answer = await until_disconnect(waits, receive) or answer
        await answer.send(send)

    async def go_on(self, wish: Any, answer: Answer, receive: Any, send: Any) -> None:
        """Send the answer's beginning, then what the feed has, until either side ends it."""
        try:
            if answer.status != 200:  # refused after all, on the way out
                return await answer.send(send)
            answer.headers = [header for header in answer.headers if header[0] != b"content-length"]
            await answer.send(send, more=True)
            await until_disconnect(self.feed.serve(wish, send), receive)
            await answer.send(send)
        finally:
            wish.leave()

    # --- From the server's start to its end ---------------------------------------------------

    async def live(self, receive: Any, send: Any) -> None:
        """Acknowledge the server's start and end."""
        await receive()
        self.begin()
        self.listen_to_signals()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.end()
        await send({"type": "lifespan.shutdown.complete"})

    def begin(self) -> None:
        """Start what runs beside the requests, once for each event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        self._loop = loop
        self.room, self.feed = WaiterRegistry(), self._streams()
        works: list[Awaitable[None]] = [self.room.run(), self.feed.run(), self.feed.look_after()]
        if settings.REDIS_URL:
            works.append(wakeups.receive(self.woken))
        self._tasks = [asyncio.ensure_future(work) for work in works]
        self._deaf = wakeups.listen(self.woken)

    def end(self) -> None:
        """Stop what `begin` started."""
        self._deaf()
        self.close()
        for task in self._tasks:
            task.cancel()

    def close(self) -> None:
        """Answer those who wait and end the streams, so that the server need not cut them off."""
        self.room.close()
        self.feed.close()

    def listen_to_signals(self) -> None:
        """Close at the signal itself: the server tells us of its end only when all connections are closed."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self.after(signal.getsignal(number)))

    def after(self, before: Any) -> Callable[[int, Any], None]:
        """Return a signal handler that closes, and then does what was done before."""

        def handle(number: int, frame: Any) -> None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self.close)
            if callable(before):
                before(number, frame)

        return handle

    def woken(self, topics: set[str]) -> None:
        """Pass a wake-up on to the event loop, from any thread; many at once cost one turn of it."""
        with self._lock:
            first, self._topics = not self._topics, self._topics | topics
        if first and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._pass_on)

    def _pass_on(self) -> None:
        with self._lock:
            topics, self._topics = self._topics, set()
        self.room.wake(topics)
        if wakeups.EVENTS in topics:
            self.feed.wake()


async def until_disconnect(work: Awaitable[Any], receive: Any) -> Any:
    """Return what a coroutine returns; stop it and return None when the client leaves first."""
    doing, leaving = asyncio.ensure_future(work), asyncio.ensure_future(disconnected(receive))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        for task in (doing, leaving):
            task.cancel()


async def disconnected(receive: Any) -> None:
    """Return when the client has left, or will send nothing more: who waits for an answer keeps its side open."""
    while (await receive()).get("more_body"):
        pass
