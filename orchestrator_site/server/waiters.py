"""Requests that wait for something to turn up, without a thread or a database connection each.

Who waits for the same stands in one queue. Only its first asks; the next one asks when that got
something. A wake-up begins the first one's attempt in the very thread that wakes; everything else
runs on the event loop.
"""

import asyncio
import collections
import math
import threading
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any

from orchestrator_site.api.long_poll import Ask, Attempt, Wait
from orchestrator_site.api.viewsets import unwrapped
from orchestrator_site.infra.wakeups import EVENTS

TICK = 1.0  # seconds; what a lost wake-up costs, or what comes with the clock, not with a change
QUEUES_PER_TICK = 50  # that ask without a wake-up, those that waited longest first
MAX_WAITERS = 2000  # requests that wait in one process; who comes then is answered at once
MOST_PER_CREDENTIAL = MAX_WAITERS // 2  # all tokens signed with the shared secret are one
ENDING = 5  # requests whose time is over in one STEP, at most: they come again at once
STEP = 0.01  # seconds


class Waiter:
    """One request: how it asks, and what it gets."""

    def __init__(self, ask: Ask) -> None:
        self.ask, self.outcome = ask, None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self, outcome: Any = None) -> None:
        """Let the request go on, with what was found."""
        self.outcome = outcome
        if not self.over.done():
            self.over.set_result(None)


class WaiterQueue:
    """Those who wait for the same, first come first served."""

    def __init__(self, hold: Wait, lock: threading.Lock) -> None:
        """lock: held by who wakes, in any thread."""
        self.topics, self._due, self._lock = hold.topics, hold.due, lock
        self.waiters: collections.deque[Waiter] = collections.deque()
        self.asked_at = time.monotonic()
        self._attempt: asyncio.Future[Any] | None = None  # what the first one's will find
        self._begin: Callable[[], None] | None = None  # has it begin; None once it is under way
        self._again = False
        self._clock: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Have the first one ask; if it is just asking, once more. The lock is held."""
        if self._begin is None:
            self._again = True
            return
        begin, self._begin, self.asked_at = self._begin, None, time.monotonic()
        begin()

    def ask(self) -> None:
        """Have the first one ask, woken by nobody."""
        with self._lock:
            self.wake()

    def join(self, waiter: Waiter) -> None:
        """Stand at the end."""
        self.waiters.append(waiter)
        if self._attempt is None:
            self._prepare()

    def leave(self, waiter: Waiter) -> "asyncio.Future[Any] | None":
        """Go; return what the attempt will find that is under way, if it is the first one's."""
        if waiter not in self.waiters:
            return None
        first = waiter is self.waiters[0]
        self.waiters.remove(waiter)
        if not first:
            return None
        with self._lock:
            waits, self._begin = self._begin is not None, None
        if not waits:
            return self._attempt
        self._prepare()
        return None

    def _prepare(self) -> None:
        """Have an attempt of the first one ready; begin it if there was a wake-up meanwhile."""
        self._attempt = None
        if not self.waiters:
            return self._set_clock(None)
        first = self.waiters[0]
        self._attempt, begin = first.ask()
        self._attempt.add_done_callback(lambda attempt: self._answered(first, attempt))
        with self._lock:
            self._begin, again, self._again = begin, self._again, False
            if again:
                self.wake()

    def _answered(self, waiter: Waiter, attempt: "asyncio.Future[Any]") -> None:
        """Hand over what was found, and have the next one ask; of nothing, wait for a wake-up."""
        outcome = attempt.exception() or attempt.result()
        if outcome:
            self._again = True
            waiter.end(outcome)
            if waiter in self.waiters:
                self.waiters.remove(waiter)
        else:
            self._set_clock(self._due(outcome))
        self._prepare()

    def _set_clock(self, seconds: float | None) -> None:
        """Ask after so many seconds, instead of when it was set to before."""
        if self._clock is not None:
            self._clock.cancel()
        loop = asyncio.get_running_loop()
        self._clock = None if seconds is None else loop.call_later(seconds, self.ask)


class WaiterRegistry:
    """All queues of this process."""

    def __init__(self) -> None:
        self.moment = 0  # how many wake-ups there were; what came after a look it may have missed
        self._woken: dict[str, int] = {}  # topic: moment of its last wake-up
        self._queues: dict[Hashable, WaiterQueue] = {}
        self._by_topic: dict[str, set[WaiterQueue]] = collections.defaultdict(set)
        self._waiting: collections.Counter[Hashable] = collections.Counter()  # by credential
        self._ends: collections.Counter[Hashable] = collections.Counter()  # by number of the step
        self._lock = threading.Lock()
        self._closing = False

    def wake(self, topics: Iterable[str]) -> None:
        """Have the queues of these topics ask. From any thread."""
        with self._lock:
            self.moment += 1
            for topic in topics:
                self._woken[topic] = self.moment
                for queue in self._by_topic.get(topic, ()):
                    queue.wake()

    def await_writer(self) -> bool:
        """Return whether somebody waits for more than news."""
        return len(self._by_topic) > (EVENTS in self._by_topic)

    async def wait(self, hold: Wait, ask: Ask, *, since: int | None = None) -> Any:
        """Return what is found, or None when the time is over; raise what it raises.

        since: the `moment` before nothing was found; None if nobody has looked yet.
        """
        mine, all_ = self._waiting[hold.credential], self._waiting.total()
        if self._closing or mine >= MOST_PER_CREDENTIAL or all_ >= MAX_WAITERS:
            return unwrapped(await once(ask)) if since is None else None
        waiter, queue = Waiter(ask), self._queue_of(hold)
        self._waiting[hold.credential] += 1
        step = self._free_step(time.monotonic() + hold.seconds)
        self._ends[step] += 1
        # Where others wait, the first of them has found nothing since the last wake-up.
        looks = not queue.waiters if since is None else self._woken_since(since, hold.topics)
        queue.join(waiter)
        if looks:
            queue.ask()
        try:
            return await self._found(waiter, queue, step * STEP - time.monotonic())
        finally:
            for count, name in ((self._waiting, hold.credential), (self._ends, step)):
                count[name] -= 1
                if not count[name]:
                    del count[name]
            queue.leave(waiter)
            if not queue.waiters and self._queues.get(hold.key) is queue:
                self._drop(hold.key)

    async def _found(self, waiter: Waiter, queue: WaiterQueue, seconds: float) -> Any:
        """Return what is found in so many seconds; an attempt that is under way may end."""
        await asyncio.wait([waiter.over], timeout=seconds)
        if (attempt := queue.leave(waiter)) is not None:
            await asyncio.wait([attempt])
        outcome, waiter.outcome, attempt = waiter.outcome, None, None
        try:
            return unwrapped(outcome)
        finally:
            del outcome  # a refusal would hold this frame, and the frame it

    def _free_step(self, end: float) -> int:
        """Return the first step, from a moment on, in which not too many end already."""
        step = math.ceil(end / STEP)
        while self._ends[step] >= ENDING:
            step += 1
        return step

    def _woken_since(self, moment: int, topics: Iterable[str]) -> bool:
        return any(self._woken.get(topic, 0) > moment for topic in topics)

    def _queue_of(self, hold: Wait) -> WaiterQueue:
        queue = self._queues.get(hold.key)
        if queue is None:
            queue = self._queues[hold.key] = WaiterQueue(hold, self._lock)
            with self._lock:
                for topic in hold.topics:
                    self._by_topic[topic].add(queue)
        return queue

    def _drop(self, key: Hashable) -> None:
        queue = self._queues.pop(key)
        with self._lock:
            for topic in queue.topics:
                self._by_topic[topic].discard(queue)
                if not self._by_topic[topic]:
                    del self._by_topic[topic]

    async def run(self) -> None:
        """Every second, have those queues ask that have not for the longest time."""
        while True:
            await asyncio.sleep(TICK)
            before = time.monotonic() - TICK
            old = [queue for queue in self._queues.values() if queue.asked_at <= before]
            for queue in sorted(old, key=lambda queue: queue.asked_at)[:QUEUES_PER_TICK]:
                queue.ask()

    def close(self) -> None:
        """Answer everyone now."""
        self._closing = True
        for queue in self._queues.values():
            for waiter in queue.waiters:
                waiter.end()


async def once(ask: Ask) -> Any:
    """Return what one attempt finds."""
    attempt, begin = ask()
    begin()
    return await attempt


def on_loop(find: Callable[[], Awaitable[Any]]) -> Ask:
    """Return attempts that are coroutines on the event loop."""
    loop = asyncio.get_running_loop()

    def ask() -> Attempt:
        attempt, running = loop.create_future(), []

        async def run() -> None:
            try:
                attempt.set_result(await find())
            except Exception as fault:
                attempt.set_exception(fault)

        def begin() -> None:
            loop.call_soon_threadsafe(lambda: running.append(loop.create_task(run())))

        return attempt, begin

    return ask
