"""Requests that wait for something to turn up: hundreds of them, without a thread or a database connection each.

Who waits for the same stands in one line. Only the first of a line asks; the next one asks when it got something.
Everything here runs on the event loop.
"""

import asyncio
import collections
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable

from orchestrator_site.api.long_poll import Wait
from orchestrator_site.server.wsgi_adapter import Answer

TICK = 1.0  # seconds; what a lost wake-up costs, or something that comes with the clock and not with a change
QUEUES_PER_TICK = 50  # that ask without a wake-up, those that waited longest first
MAX_WAITERS = 2000  # requests that wait in one process; who comes then is answered at once
MOST_PER_CREDENTIAL = (
    MAX_WAITERS // 2
)  # all tokens signed with the shared secret are one credential

Ask = Callable[
    [], Awaitable[tuple[Answer, bool]]
]  # ask again; return the answer, and whether it is worth sending


class Waiter:
    """One request: how it asks, and the answer it gets."""

    def __init__(self, ask: Ask, answer: Answer) -> None:
        """answer: the empty one, if nothing better comes."""
        self._ask, self.answer = ask, answer
        self.done = asyncio.Event()
        self.trial: asyncio.Task[bool] | None = None

    async def attempt(self) -> bool:
        """Ask, to the end whatever becomes of the request; return whether there was something."""
        self.trial = asyncio.create_task(self._attempt())
        return await asyncio.shield(self.trial)

    async def _attempt(self) -> bool:
        self.answer, good = await self._ask()
        if good:
            self.done.set()
        return good

    async def wait(self, seconds: float) -> None:
        """Wait until there is something or the time is over, but let an attempt under way come to its end."""
        try:
            async with asyncio.timeout(seconds):
                await self.done.wait()
        except TimeoutError:
            pass
        if self.trial is not None:
            await asyncio.wait([self.trial])


class WaiterQueue:
    """Those who wait for the same, first come first served."""

    def __init__(self, topics: frozenset[str]) -> None:
        self.topics = topics
        self.waiters: collections.deque[Waiter] = collections.deque()
        self.asked_at = time.monotonic()
        self._asking: asyncio.Task[None] | None = None
        self._again = False

    def wake(self) -> None:
        """Have the first one ask; if it is just asking, once more."""
        self._again = True
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        while self._again and self.waiters:
            self._again, self.asked_at = False, time.monotonic()
            while self.waiters and await self._serve(self.waiters[0]):
                pass

    async def _serve(self, first: Waiter) -> bool:
        """Ask for the first one; return whether the next one may try."""
        good = await first.attempt()
        if good:
            self.leave(first)
        return good

    def leave(self, waiter: Waiter) -> None:
        """Leave the line."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)


class WaiterRegistry:
    """All lines of this process."""

    def __init__(self) -> None:
        self.moment = 0  # how many wake-ups there were; what came after a look it may have missed
        self._woken: dict[str, int] = {}  # topic: moment of its last wake-up
        self._lines: dict[Hashable, WaiterQueue] = {}
        self._waiting: collections.Counter[str] = collections.Counter()  # by credential
        self._closing = False

    def wake(self, topics: Iterable[str]) -> None:
        """Have the lines of these topics ask."""
        self.moment += 1
        self._woken.update(dict.fromkeys(topics, self.moment))
        for line in self._lines.values():
            if not line.topics.isdisjoint(topics):
                line.wake()

    async def wait(self, hold: Wait, ask: Ask, answer: Answer, *, since: int) -> Answer:
        """Return the answer that turns up, or the empty one when the time is over.

        since: the `moment` before the empty answer was found.
        """
        if self._closing or self._is_full(hold.credential):
            return answer
        waiter, line = (
            Waiter(ask, answer),
            self._lines.setdefault(hold.key, WaiterQueue(hold.topics)),
        )
        self._waiting[hold.credential] += 1
        line.waiters.append(waiter)
        if any(self._woken.get(topic, 0) > since for topic in hold.topics):
            line.wake()
        clock = None
        if hold.again_after is not None:
            clock = asyncio.get_running_loop().call_later(hold.again_after, line.wake)
        try:
            await waiter.wait(hold.seconds)
        finally:
            if clock is not None:
                clock.cancel()
            self._waiting[hold.credential] -= 1
            if not self._waiting[hold.credential]:
                del self._waiting[hold.credential]
            self._leave(hold.key, line, waiter)
        return waiter.answer

    def _is_full(self, credential: str) -> bool:
        mine, all_ = self._waiting[credential], self._waiting.total()
        return mine >= MOST_PER_CREDENTIAL or all_ >= MAX_WAITERS

    def _leave(self, key: Hashable, line: WaiterQueue, waiter: Waiter) -> None:
        line.leave(waiter)
        if not line.waiters and self._lines.get(key) is line:
            del self._lines[key]

    async def run(self) -> None:
        """Every second, have those lines ask that have not for the longest time."""
        while True:
            await asyncio.sleep(TICK)
            before = time.monotonic() - TICK
            old = [line for line in self._lines.values() if line.asked_at <= before]
            for line in sorted(old, key=lambda line: line.asked_at)[:QUEUES_PER_TICK]:
                line.wake()

    def close(self) -> None:
        """Answer everyone now."""
        self._closing = True
        for line in self._lines.values():
            for waiter in line.waiters:
                waiter.done.set()
