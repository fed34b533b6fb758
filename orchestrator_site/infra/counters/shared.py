"""Counters of windows of time that all processes share by Redis."""

import asyncio
import contextlib
import dataclasses
import functools
import logging
import os
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Hashable
from typing import Any

import redis
from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from orchestrator_site.infra import redis_cache
from orchestrator_site.infra.counters.local import COUNTERS_KEPT, Counter, Counters

EXACT_UP_TO = 100  # a window: smaller limits are asked of Redis at once
TOLD_EVERY = 0.05  # seconds
AT_ONCE = 500  # counters in one trip to Redis
KEPT_BEYOND = 5  # seconds that Redis keeps a counter after its window
NO_LIMIT = 2**53
# Add what fits, all or none, to at least what the caller knows of: a Redis that was lost and has
# come back empty makes nobody's count smaller. Return the sum with it, whether it fitted or not.
ADD = """
local items, limit, known, kept_for = unpack(ARGV)
local sum = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), known) + items
if tonumber(items) > 0 and sum <= tonumber(limit) then
    redis.call('SET', KEYS[1], sum, 'EX', kept_for)
end
return sum
"""

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Ask:
    """Items that count if they fit below a limit, all or none."""

    counter: Counter
    items: int
    limit: int


Waiting = tuple[Ask, "asyncio.Future[int]"]


class SharedCounters(Counters):
    """Counted by all processes together, in Redis.

    Large limits are counted here at once: what all processes had when Redis last said so, and what
    was counted here since, which a thread tells Redis every `TOLD_EVERY` seconds. Up to
    `EXACT_UP_TO` Redis is asked at once, and decides. While it is away everything is counted here,
    and told when it is back.
    """

    def __init__(self, most: int = COUNTERS_KEPT) -> None:
        super().__init__(most)
        self._untold: set[Counter] = set()
        self._some_untold, self._telling = threading.Event(), threading.Lock()
        self._asks: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        self._pid = 0

    def add(self, counter: Counter, items: int, limit: int) -> int:
        if not self._is_for_redis(counter, items, limit):
            return self._add_here(counter, items, limit)
        return self.ask([Ask(counter, items, limit)])[0]

    async def aadd(self, counter: Counter, items: int, limit: int) -> int:
        """Count as `add` does; asks that come meanwhile share the next trip.

        Outside a running loop it is `add`, and nothing is awaited.
        """
        if not self._is_for_redis(counter, items, limit):
            return self._add_here(counter, items, limit)
        try:
            future = asyncio.get_running_loop().create_future()
        except RuntimeError:
            return self.add(counter, items, limit)
        self._start()
        self._asks.put((Ask(counter, items, limit), future))
        return await future

    def _is_for_redis(self, counter: Counter, items: int, limit: int) -> bool:
        """Return whether Redis decides; not on what is known to be too much: sums only grow."""
        return (
            limit <= EXACT_UP_TO
            and counter.told + counter.untold + items <= limit
            and redis_cache.breaker.allows()
        )

    def _add_here(self, counter: Counter, items: int, limit: int) -> int:
        total = super()._add_here(counter, items, limit)
        if total <= limit and items and counter not in self._untold:
            self._start()
            with self._lock:
                self._untold.add(counter)
            self._some_untold.set()
        return total

    def _drop(self, name: Hashable) -> Counter | None:
        if (counter := super()._drop(name)) is not None:
            self._untold.discard(counter)
        return counter

    # --- Trips to Redis -----------------------------------------------------------------------

    def ask(self, asks: list[Ask]) -> list[int]:
        """Count in Redis, in one trip, or here while it is away; return the sum of each."""
        sums = trip(asks)
        if sums is None:
            return [self._add_here(ask.counter, ask.items, ask.limit) for ask in asks]
        with self._lock:
            for ask, total in zip(asks, sums, strict=True):
                counted = total if total <= ask.limit else total - ask.items
                ask.counter.told = max(ask.counter.told, counted)
        return sums

    def tell(self) -> None:
        """Tell Redis what it has not heard of, and learn what all processes have counted."""
        with self._telling:
            news = self._news()
            for start in range(0, len(news), AT_ONCE):
                asks = news[start : start + AT_ONCE]
                sums = trip(asks)
                if sums is None:
                    return
                with self._lock:
                    for ask, total in zip(asks, sums, strict=True):
                        ask.counter.told = max(ask.counter.told, total)
                        ask.counter.untold -= ask.items

    def _news(self) -> list[Ask]:
        """Return what is untold, of windows that are not over."""
        now = int(time.time())  # noqa: TID251 - windows are reckoned by it
        with self._lock:
            self._untold = {one for one in self._untold if one.untold and one.ends >= now}
            return [Ask(counter, counter.untold, NO_LIMIT) for counter in self._untold]

    def forget(self) -> None:
        with self._telling, self._lock:
            self._untold.clear()
            self._kept.clear()

    # --- Threads ------------------------------------------------------------------------------

    def _start(self) -> None:
        """Start the threads at the first use, or the first after a fork."""
        if self._pid == os.getpid():
            return
        with self._lock:
            first, self._pid = self._pid != os.getpid(), os.getpid()
            if first:
                self._untold.clear()  # after a fork the parent tells it
        if first:
            for work in (self._keep_telling, self._keep_asking):
                threading.Thread(target=work, name="counters", daemon=True).start()

    def _keep_telling(self) -> None:
        while True:
            if not self._untold:
                self._some_untold.wait()
            self._some_untold.clear()
            time.sleep(TOLD_EVERY)
            try:
                self.tell()
            except Exception:  # it is told the next time
                log.exception("Redis could not be told what was counted.")

    def _keep_asking(self) -> None:
        """Ask for everybody who has come meanwhile, and answer on each one's loop."""
        while True:
            waiting = [self._asks.get()]
            with contextlib.suppress(queue.Empty):
                while len(waiting) < AT_ONCE:
                    waiting.append(self._asks.get_nowait())
            loops: defaultdict[asyncio.AbstractEventLoop, list[Any]] = defaultdict(list)
            for (_, future), total in zip(waiting, self._answers(waiting), strict=True):
                loops[future.get_loop()].append((future, total))
            for loop, answers in loops.items():
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(give, answers)

    def _answers(self, waiting: list[Waiting]) -> list[Any]:
        """Return the sums, or for each the fault, so that nobody waits for ever."""
        try:
            return self.ask([ask for ask, _ in waiting])
        except Exception as fault:
            return [fault] * len(waiting)


def give(answers: list[tuple["asyncio.Future[int]", int | Exception]]) -> None:
    """Give those who still wait their sum."""
    for future, answer in answers:
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def trip(asks: list[Ask]) -> list[int] | None:
    """Have Redis count, in one round trip; return the sums, or None while it is away."""
    if not redis_cache.breaker.allows():
        return None
    pipeline = client(redis_url()).pipeline(transaction=False)
    for ask in asks:
        counter = ask.counter
        kept_for = counter.ends - counter.begins + KEPT_BEYOND
        pipeline.eval(ADD, 1, counter.key, ask.items, ask.limit, counter.told, kept_for)
    try:
        sums = pipeline.execute()
    except (redis.RedisError, OSError) as error:
        redis_cache.breaker.open(error)
        return None
    redis_cache.breaker.close()
    return sums


@functools.cache
def redis_url() -> str:
    """Return where Redis is, or nothing when none is configured."""
    return str(settings.CACHES["default"].get("LOCATION", ""))


@functools.cache
def client(url: str) -> redis.Redis:
    """Return a client for all threads, with a connection for each that is on its way."""
    options: Any = settings.CACHES["default"]["OPTIONS"]
    return redis.Redis(connection_pool=redis.ConnectionPool.from_url(url, **options))


@receiver(setting_changed)
def reload_redis_url(*, setting: str, **_: Any) -> None:
    """Look again where Redis is (for tests, which alone change settings)."""
    if setting == "CACHES":
        redis_url.cache_clear()


SHARED = SharedCounters()
