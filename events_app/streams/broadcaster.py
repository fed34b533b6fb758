"""The one reader of the log in a process, and the streams it writes to, on the event loop.

A stream first catches up by pages of its own, then joins: from there on the broadcaster reads and
encodes each event once for all members. It keeps what it has just read for a while, so that
joining leaves no gap and repeats nothing. What this process commits comes to it from memory, and is
read from the log only where something is missing before it.
"""

import asyncio
import collections
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections
from rest_framework.exceptions import AuthenticationFailed

from events_app.errors import CursorAhead, CursorExpired
from events_app.hooks import receive
from events_app.log import reading
from events_app.models import Event
from events_app.rules import cursor
from events_app.streams import sse
from events_app.streams.sse import EncodedEvent, StreamRequest
from orchestrator_site.auth.authentication import authenticate_headers

TICK = 1.0  # seconds; what a lost wake-up costs
SOON = 0.05  # seconds until the log is read though memory had what came next
QUIET = float(settings.STREAM_CHECK_SECONDS)  # seconds of silence until a keep-alive
CHECKED_EVERY = float(settings.STREAM_CHECK_SECONDS)  # seconds between two looks at a credential
STUCK = 50.0  # seconds a reader may take nothing
BACKLOG = 1_048_576  # bytes that may wait for one reader
PART = 65_536  # bytes written at once
KEPT, KEPT_BYTES = 1000, 4_194_304  # of what was just read
THREADS = 4
GOODBYE = sse.end_message(503, "The server ends. Connect again with the last id.")

T = TypeVar("T")
log = logging.getLogger(__name__)


class StreamWriter:
    """One open stream: its request, its position, and the bytes that wait to be written."""

    def __init__(self, request: StreamRequest, send: Any) -> None:
        """send: ASGI's, the response already begun."""
        self.request, self.position, self._send = request, request.position, send
        self._waiting: collections.deque[bytes] = collections.deque()
        self._size = 0
        self._ready = asyncio.Event()
        self._sending_since = 0.0  # 0 while nothing is under way
        self.ends = self._behind = False
        self.written_at = self.checked_at = time.monotonic()

    @property
    def key(self) -> tuple[Any, ...]:
        """Return what streams that get the same bytes next have in common."""
        wanted = self.request
        filters = wanted.types, wanted.task_id, wanted.trace_id, wanted.source_agent
        return *filters, wanted.cloud, self.position

    def offer(self, data: bytes) -> bool:
        """Have data written; return False, and take nothing, when too much waits already."""
        if self._size and self._size + len(data) > BACKLOG:
            return False
        if data and not self.ends:
            self._waiting.append(data)
            self._size += len(data)
            self._ready.set()
        return True

    def fall_behind(self) -> None:
        """Have what waits written, and then catch up from the log instead of from memory."""
        self._behind = True
        self._ready.set()

    def send_keepalive(self, now: float) -> None:
        """Tell a quiet reader the position, so that a broken connection is noticed."""
        if now - self.written_at >= QUIET:
            self.written_at = now
            self.offer(sse.KEEPALIVE + f"id: {cursor(self.position)}\n\n".encode())

    def end(self, reason: bytes = b"") -> None:
        """Have what waits written, then the reason, then end."""
        self.offer(reason)
        self.ends = True
        self._ready.set()

    def is_stuck(self, now: float) -> bool:
        """Return whether the reader takes nothing any more."""
        return bool(self._sending_since) and now - self._sending_since > STUCK

    def drop(self) -> None:
        """Cut the connection: closing it in order would wait for the reader."""
        self.ends = True
        self._waiting.clear()
        self._ready.set()
        transport = getattr(getattr(self._send, "__self__", None), "transport", None)
        if transport is not None:
            transport.abort()

    async def write(self) -> bool:
        """Write what is offered; return True when the stream ends, False when it fell behind."""
        self._behind = False
        while not (self.ends or self._behind) or self._waiting:
            await self._ready.wait()
            self._ready.clear()
            await self.flush()
        return self.ends

    async def flush(self) -> None:
        """Write what waits, in parts."""
        while self._waiting:
            parts, size = [self._waiting.popleft()], 0
            while self._waiting and (size := size + len(parts[-1])) < PART:
                parts.append(self._waiting.popleft())
            data = b"".join(parts)
            self._size -= len(data)
            await self.send(data)

    async def send(self, data: bytes) -> None:
        """Write now; it takes as long as the reader does."""
        self.written_at = self._sending_since = time.monotonic()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._sending_since = 0.0


class Broadcaster:
    """Reads the log for all streams of this process."""

    def __init__(self) -> None:
        self.position = 0  # read, and written to every member, up to here
        self.streams: set[StreamWriter] = set()
        self._members: set[StreamWriter] = set()
        self._recent: collections.deque[EncodedEvent] = collections.deque()
        self._recent_size = 0
        self._committed: collections.deque[Event] = collections.deque(maxlen=sse.PAGE)
        self._soon: asyncio.TimerHandle | None = None
        self._woken = asyncio.Event()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="streams")
        self._closing = False
        self._fault = ""
        self._checking: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Look for new events now."""
        self._woken.set()

    def take(self, events: list[Event]) -> None:
        """Keep what was just committed, from any thread, until the wake-up that follows."""
        if self._members:
            self._committed.extend(events)

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Return what a function that uses the database returns."""

        def run() -> T:
            close_old_connections()
            return function(*args)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def serve(self, request: StreamRequest, send: Any) -> None:
        """Write a stream, whose response has begun, until it ends or this is cancelled."""
        stream = StreamWriter(request, send)
        self.streams.add(stream)
        try:
            ends = False
            if self._closing:
                stream.end(GOODBYE)
            while not ends:
                ends = await self._catch_up(stream) or await stream.write()
            await stream.flush()
        finally:
            self.streams.discard(stream)
            self._members.discard(stream)

    async def _catch_up(self, stream: StreamWriter) -> bool:
        """Write by pages what is there already, and join; return whether the stream ends."""
        near = False
        while not (near and self._join(stream)) and not stream.ends:
            try:
                events, position = await self.in_thread(stream.request.page, stream.position)
            except (CursorExpired, CursorAhead) as refusal:
                await stream.send(sse.end_message(410, refusal))
                return True
            except DatabaseError:
                await asyncio.sleep(TICK)
                await stream.send(sse.KEEPALIVE)
                continue
            if events:
                await stream.send(b"".join(map(stream.request.data_of, events)))
            near = position - stream.position < sse.PAGE and not sse.is_full(events)
            stream.position = position
            del events  # the next page is read before they would be forgotten
        return stream.ends

    def _join(self, stream: StreamWriter) -> bool:
        """Make a stream a member unless events it has not seen are no longer in memory."""
        if not self._members:
            self._recent.clear()
            self._recent_size, self.position = 0, stream.position
        if stream.position < (self._recent[0].position - 1 if self._recent else self.position):
            return False
        self._members.add(stream)
        self._write_to([stream], self._recent, self.position)
        self.wake()
        return True

    async def run(self) -> None:
        """Read whenever there is something to read, and every second."""
        end = receive(self.take)
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK):
                        await self._woken.wait()
                self._woken.clear()
                if self._write_committed():
                    self._read_soon()
                elif self._members:
                    await self._read()
        finally:
            end()

    def _write_committed(self) -> bool:
        """Write what follows in memory on what was written; return whether anything did.

        What comes after a gap is read.
        """
        events: list[Event] = []
        while self._committed and self._committed[0].position <= self.position + len(events) + 1:
            event = self._committed.popleft()
            if event.position == self.position + len(events) + 1:
                events.append(event)
        if events and self._members:
            forms = {stream.request.cloud for stream in self.streams}
            self._broadcast([sse.encode(event, forms) for event in events], events[-1].place)
        return bool(events) and not self._committed

    def _read_soon(self) -> None:
        """Read what another process may have committed meanwhile, its wake-up merged with ours."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON, self._wake_again)

    def _wake_again(self) -> None:
        self._soon = None
        self.wake()

    async def _read(self) -> None:
        full = True
        while full and self._members:
            forms = {stream.request.cloud for stream in self.streams}
            try:
                events, position = await self.in_thread(read_encoded, self.position, forms)
            except (CursorExpired, CursorAhead) as refusal:
                for member in self._members:
                    member.end(sse.end_message(410, refusal))
                return self._members.clear()
            except DatabaseError as fault:
                if self._fault != type(fault).__name__:
                    self._fault = type(fault).__name__
                    log.warning("Streams wait: the log cannot be read (%s).", self._fault)
                return
            self._fault = ""
            self._broadcast(events, position)
            full = sse.is_full(events)

    def _broadcast(self, events: list[EncodedEvent], position: int) -> None:
        """Write the next events to the members, and keep them for streams that join."""
        groups: dict[tuple[Any, ...], list[StreamWriter]] = collections.defaultdict(list)
        for member in self._members:
            groups[member.key].append(member)
        for members in groups.values():
            self._write_to(members, events, position)
        self.position = position
        self._recent.extend(events)
        self._recent_size += sum(event.size for event in events)
        while self._recent and (len(self._recent) > KEPT or self._recent_size > KEPT_BYTES):
            self._recent_size -= self._recent.popleft().size

    def _write_to(
        self, members: list[StreamWriter], events: Iterable[EncodedEvent], position: int
    ) -> None:
        """Write the same bytes to members with the same key; they then are at `position`.

        One for whom too much waits, or whose form was not encoded yet, falls behind instead.
        """
        request, before = members[0].request, members[0].position
        wanted = [event for event in events if event.position > before and request.wants(event)]
        parts = [request.data_of(event) for event in wanted]
        data = b"".join(parts)
        for member in members:
            if all(parts) and member.offer(data):
                member.position = max(before, position)
            else:
                self._members.discard(member)
                member.fall_behind()

    async def look_after(self) -> None:
        """Every second: cut who is stuck, keep quiet streams alive, check credentials."""
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            for stream in tuple(self.streams):
                if stream.is_stuck(now):
                    stream.drop()
            for stream in self._members:
                stream.send_keepalive(now)
            due = [stream for stream in self.streams if now - stream.checked_at >= CHECKED_EVERY]
            if due:  # a task of its own: a frozen database stops only this
                self._checking = asyncio.create_task(self._check(due, now))

    async def _check(self, due: list[StreamWriter], now: float) -> None:
        for stream in due:
            stream.checked_at = now
        requests = [stream.request for stream in due]
        reasons = await self.in_thread(lambda: [refusal(request) for request in requests])
        for stream, reason in zip(due, reasons, strict=True):
            if reason:
                stream.end(sse.end_message(401, reason))

    def close(self) -> None:
        """End all streams; the readers connect to another process, and go on where they were."""
        self._closing = True
        for stream in tuple(self.streams):
            stream.end(GOODBYE)


def read_encoded(position: int, forms: Collection[bool]) -> tuple[list[EncodedEvent], int]:
    """Return the next events, encoded in these forms, and the position to go on from."""
    events, position = reading.read(after=position, limit=sse.PAGE, room=sse.PAGE_BYTES)
    return [sse.encode(event, forms) for event in events], position


def refusal(request: StreamRequest) -> str:
    """Return why a credential is no longer good, or "". A database that is away proves nothing."""
    try:
        authenticate_headers(request.credentials)
    except AuthenticationFailed as failed:
        return str(failed.detail)
    except DatabaseError:
        pass
    return ""
