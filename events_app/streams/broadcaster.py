"""The one reader of the log in a process, and the streams it writes to. Everything here runs on the event loop.

A stream first catches up by pages of its own, then joins: from there on the feed reads each event once for all
of them. What the feed has just read it keeps for a while, so that joining leaves no gap and repeats nothing.
"""

import asyncio
import collections
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections
from rest_framework.exceptions import AuthenticationFailed

from events_app.log import reading
from events_app.log.reading import CursorAhead, CursorExpired
from events_app.rules import cursor
from events_app.streams import sse
from events_app.streams.sse import EncodedEvent, StreamRequest
from orchestrator_site.auth.authentication import authenticate_headers

TICK = 1.0  # seconds; what a lost wake-up costs
QUIET = float(settings.STREAM_CHECK_SECONDS)  # seconds of silence until a sign of life
CHECKED_EVERY = float(settings.STREAM_CHECK_SECONDS)  # seconds between two looks at a credential
STUCK = 50.0  # seconds a reader may take nothing
BACKLOG = 1_048_576  # bytes that may wait for one reader
PART = 65_536  # bytes written at once
KEPT, KEPT_BYTES = 1000, 4_194_304  # of what was just read
THREADS = 4
GOODBYE = sse.refused(503, "The server ends. Connect again with the last id.")

T = TypeVar("T")
log = logging.getLogger(__name__)


class StreamWriter:
    """One open stream: what it wants, how far it is, what waits to be written."""

    def __init__(self, wish: StreamRequest, send: Any) -> None:
        """send: ASGI's, the response already begun."""
        self.wish, self.position, self._send = wish, wish.position, send
        self._waiting: collections.deque[bytes] = collections.deque()
        self._size = 0
        self._ready = asyncio.Event()
        self._sending_since = 0.0  # 0 while nothing is under way
        self.ends = self._behind = False
        self.written_at = self.checked_at = time.monotonic()

    @property
    def key(self) -> tuple[Any, ...]:
        """Return what streams that get the same bytes next have in common."""
        wish = self.wish
        return wish.types, wish.task_id, wish.trace_id, wish.source_agent, wish.cloud, self.position

    def offer(self, data: bytes) -> bool:
        """Have something written; return False when too much waits already, and nothing was taken."""
        if self._size and self._size + len(data) > BACKLOG:
            return False
        if data and not self.ends:
            self._waiting.append(data)
            self._size += len(data)
            self._ready.set()
        return True

    def fall_behind(self) -> None:
        """Be written what waits, and then catch up from the log instead of from memory."""
        self._behind = True
        self._ready.set()

    def stay(self, now: float) -> None:
        """Show a quiet reader that we are here, and how far it is."""
        if now - self.written_at >= QUIET:
            self.written_at = now
            self.offer(sse.KEEPALIVE + f"id: {cursor(self.position)}\n\n".encode())

    def end(self, why: bytes = b"") -> None:
        """Write what waits, then why it ends, then end."""
        self.offer(why)
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
        """Write what is offered; return whether the stream ends: else it fell behind."""
        self._behind = False
        while not (self.ends or self._behind) or self._waiting:
            await self._ready.wait()
            self._ready.clear()
            while self._waiting:
                await self.send(self._next_part())
        return self.ends

    async def finish(self) -> None:
        """Write what still waits."""
        while self._waiting:
            await self.send(self._next_part())

    def _next_part(self) -> bytes:
        parts, size = [self._waiting.popleft()], 0
        while self._waiting and (size := size + len(parts[-1])) < PART:
            parts.append(self._waiting.popleft())
        joined = b"".join(parts)
        self._size -= len(joined)
        return joined

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
        self._woken = asyncio.Event()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="streams")
        self._closing = False
        self._fault = ""
        self._checking: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Look for new events now."""
        self._woken.set()

    async def in_thread(self, do: Callable[..., T], *args: Any) -> T:
        """Return what a function that uses the database returns."""

        def run() -> T:
            close_old_connections()
            return do(*args)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def serve(self, wish: StreamRequest, send: Any) -> None:
        """Write a stream, whose response has begun, until it ends or this is cancelled."""
        mine = StreamWriter(wish, send)
        self.streams.add(mine)
        try:
            ends = False
            if self._closing:
                mine.end(GOODBYE)
            while not ends:
                ends = await self._catch_up(mine) or await mine.write()
            await mine.finish()
        finally:
            self.streams.discard(mine)
            self._members.discard(mine)

    async def _catch_up(self, mine: StreamWriter) -> bool:
        """Write by pages what is there already, and join; return whether the stream ends instead."""
        near = False
        while not (near and self._join(mine)) and not mine.ends:
            try:
                frames, position = await self.in_thread(mine.wish.page, mine.position)
            except (CursorExpired, CursorAhead) as refusal:
                await mine.send(sse.refused(410, refusal))
                return True
            except DatabaseError:
                await asyncio.sleep(TICK)
                await mine.send(sse.KEEPALIVE)
                continue
            if frames:
                await mine.send(b"".join(map(mine.wish.written, frames)))
            near = position - mine.position < sse.PAGE and not sse.is_full(frames)
            mine.position = position
            del frames  # the next page is read before they would be forgotten
        return mine.ends

    def _join(self, mine: StreamWriter) -> bool:
        """Make a stream a member if nothing lies between it and the feed; return whether it is one."""
        if not self._members:
            self._recent.clear()
            self._recent_size, self.position = 0, mine.position
        if mine.position < (self._recent[0].position - 1 if self._recent else self.position):
            return False
        self._members.add(mine)
        self._give([mine], self._recent, self.position)
        self.wake()
        return True

    async def run(self) -> None:
        """Read whenever there is something to read, and every second."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._woken.wait()
            self._woken.clear()
            if self._members:
                await self._read()

    async def _read(self) -> None:
        full = True
        while full and self._members:
            try:
                frames, position = await self.in_thread(read_frames, self.position)
            except (CursorExpired, CursorAhead) as refusal:
                return self._end_members(sse.refused(410, refusal))
            except DatabaseError as fault:
                return self._note(fault)
            self._fault = ""
            self._spread(frames, position)
            full = sse.is_full(frames)

    def _end_members(self, reason: bytes) -> None:
        for member in self._members:
            member.end(reason)
        self._members.clear()

    def _note(self, fault: Exception) -> None:
        """Say once that the log cannot be read."""
        if self._fault != type(fault).__name__:
            self._fault = type(fault).__name__
            log.warning("Streams wait: the log cannot be read (%s).", self._fault)

    def _spread(self, frames: list[EncodedEvent], position: int) -> None:
        """Give each member what it wants of the next events; those that want the same get the same bytes."""
        groups: dict[tuple[Any, ...], list[StreamWriter]] = collections.defaultdict(list)
        for member in tuple(self._members):
            groups[member.key].append(member)
        for alike in groups.values():
            self._give(alike, frames, position)
        self.position = position
        self._keep(frames)

    def _give(
        self, alike: list[StreamWriter], frames: Iterable[EncodedEvent], position: int
    ) -> None:
        """Write frames to streams that want the same; they then are at `position`, or have fallen behind."""
        wish, before = alike[0].wish, alike[0].position
        wanted = (
            wish.written(frame) for frame in frames if frame.position > before and wish.wants(frame)
        )
        data = b"".join(wanted)
        for member in alike:
            if member.offer(data):
                member.position = max(before, position)
            else:
                self._members.discard(member)
                member.fall_behind()

    def _keep(self, frames: list[EncodedEvent]) -> None:
        self._recent.extend(frames)
        self._recent_size += sum(len(frame.plain) for frame in frames)
        while self._recent and (len(self._recent) > KEPT or self._recent_size > KEPT_BYTES):
            self._recent_size -= len(self._recent.popleft().plain)

    async def look_after(self) -> None:
        """Every second: drop who is stuck, greet who is quiet, end what its credential no longer allows."""
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            for each in tuple(self.streams):
                if each.is_stuck(now):
                    each.drop()
            for each in self._members:
                each.stay(now)
            due = [each for each in self.streams if now - each.checked_at >= CHECKED_EVERY]
            if due:
                self._checking = asyncio.create_task(
                    self._check(due, now)
                )  # a frozen database stops only this

    async def _check(self, due: list[StreamWriter], now: float) -> None:
        for each in due:
            each.checked_at = now
        reasons = await self.in_thread(refusals, [each.wish for each in due])
        for each, reason in zip(due, reasons, strict=True):
            if reason:
                each.end(sse.refused(401, reason))

    def close(self) -> None:
        """End all streams; the readers come back to another process, and go on where they were."""
        self._closing = True
        for each in tuple(self.streams):
            each.end(GOODBYE)


def read_frames(position: int) -> tuple[list[EncodedEvent], int]:
    """Return the next events as they are written, and the position to go on from."""
    events, position = reading.read(after=position, limit=sse.PAGE, room=sse.PAGE_BYTES)
    return [sse.encoded(event) for event in events], position


def refusals(wishes: list[StreamRequest]) -> list[str]:
    """Return for each stream why its credential is no longer good, or nothing."""
    return [refusal(wish) for wish in wishes]


def refusal(wish: StreamRequest) -> str:
    """Return why a credential is no longer good, or nothing. A database that is away proves nothing."""
    try:
        authenticate_headers(wish.credentials)
    except AuthenticationFailed as failed:
        return str(failed.detail)
    except DatabaseError:
        pass
    return ""
