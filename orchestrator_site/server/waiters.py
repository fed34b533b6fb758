"""Requests that wait for something to turn up, without a thread or a database connection each.

Who waits for the same stands in one queue. Only its first asks; the next one asks when that got
something. Everything here runs on the event loop.
"""

import asyncio
import collections
import contextlib
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable

from orchestrator_site.api.long_poll import Wait
from orchestrator_site.server.wsgi_adapter import Answer

TICK = 1.0  # seconds; what a lost wake-up costs, or what comes with the clock, not with a change
QUEUES_PER_TICK = 50  # that ask without a wake-up, those that waited longest first
MAX_WAITERS = 2000  # requests that wait in one process; who comes then is answered at once
MOST_PER_CREDENTIAL = MAX_WAITERS // 2  # all tokens signed with the shared secret are one

# Ask again; return the answer, and whether it is worth sending.
Ask = Callable[[], Awaitable[tuple[Answer, bool]]]


class Waiter:
    """One request: how it asks, and the answer it gets."""

    def __init__(self, ask: Ask, answer: Answer) -> None:
        """answer: the empty one, if nothing better comes."""
        self._ask, self.answer = ask, answer
        self.done = asyncio.Event()
        self.trial: asyncio.Task[bool] | None = None

    async def attempt(self) -> bool:
        """Ask, to the end whatever becomes of the request; return whether there was something."""

        async def ask() -> bool:
            self.answer, good = await self._ask()
            if good:
                self.done.set()
            return good

        self.trial = asyncio.create_task(ask())
        return await asyncio.shield(self.trial)

    async def wait(self, seconds: float) -> None:
        """Wait until there is something or the time is over; let an attempt come to its end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.done.wait()
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
            while self.waiters and await (first := self.waiters[0]).attempt():
                self.leave(first)

    def leave(self, waiter: Waiter) -> None:
        if waiter in self.waiters:
            self.waiters.remove(waiter)


class WaiterRegistry:
    """All queues of this process."""

    def __init__(self) -> None:
        self.moment = 0  # how many wake-ups there were; what came after a look it may have missed
        self._woken: dict[str, int] = {}  # topic: moment of its last wake-up
        self._queues: dict[Hashable, WaiterQueue] = {}
        self._waiting: collections.Counter[str] = collections.Counter()  # by credential
        self._closing = False

    def wake(self, topics: Iterable[str]) -> None:
        """Have the queues of these topics ask."""
        self.moment += 1
        self._woken.update(dict.fromkeys(topics, self.moment))
        for queue in self._queues.values():
            if not queue.topics.isdisjoint(topics):
                queue.wake()

    async def wait(self, hold: Wait, ask: Ask, answer: Answer, *, since: int) -> Answer:
        """Return the answer that turns up, or the empty one when the time is over.

        since: the `moment` before the empty answer was found.
        """
        mine, all_ = self._waiting[hold.credential], self._waiting.total()
        if self._closing or mine >= MOST_PER_CREDENTIAL or all_ >= MAX_WAITERS:
            return answer
        waiter = Waiter(ask, answer)
        queue = self._queues.setdefault(hold.key, WaiterQueue(hold.topics))
        self._waiting[hold.credential] += 1
        queue.waiters.append(waiter)
        if any(self._woken.get(topic, 0) > since for topic in hold.topics):
            queue.wake()
        clock = None
        if hold.again_after is not None:
            clock = asyncio.get_running_loop().call_later(hold.again_after, queue.wake)
        try:
            await waiter.wait(hold.seconds)
        finally:
            if clock is not None:
                clock.cancel()
            self._waiting[hold.credential] -= 1
            if not self._waiting[hold.credential]:
                del self._waiting[hold.credential]
            queue.leave(waiter)
            if not queue.waiters and self._queues.get(hold.key) is queue:
                del self._queues[hold.key]
        return waiter.answer

    async def run(self) -> None:
        """Every second, have those queues ask that have not for the longest time."""
        while True:
            await asyncio.sleep(TICK)
            before = time.monotonic() - TICK
            old = [queue for queue in self._queues.values() if queue.asked_at <= before]
            for queue in sorted(old, key=lambda queue: queue.asked_at)[:QUEUES_PER_TICK]:
                queue.wake()

    def close(self) -> None:
        """Answer everyone now."""
        self._closing = True
        for queue in self._queues.values():
            for waiter in queue.waiters:
                waiter.done.set()
