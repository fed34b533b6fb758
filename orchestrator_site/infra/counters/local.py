"""Counters of windows of time, in the memory of this process.

What a window is, and how much it takes, its user says.
"""

import dataclasses
import itertools
import threading
from collections.abc import Callable, Hashable

COUNTERS_KEPT = 100_000


@dataclasses.dataclass(slots=True, eq=False)
class Counter:
    """One window of one caller: after `begins` and up to `ends`, whole seconds of Unix time.

    key: its name in Redis. told: what all processes had counted when Redis last said so.
    untold: what was counted here, and Redis has not heard of.
    """

    key: str
    begins: int
    ends: int
    told: int = 0
    untold: int = 0


class Counters:
    """Counted in the memory of this process, exactly, whichever thread asks.

    At most `most` windows are kept: one more, and the one that began first is forgotten.
    """

    def __init__(self, most: int = COUNTERS_KEPT) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: dict[Hashable, Counter] = {}  # in the order in which they began

    def current(self, name: Hashable, now: int, begin: Callable[[], Counter]) -> Counter:
        """Return a caller's window. begin: makes the present one, when the kept one is over."""
        counter = self._kept.get(name)
        if counter is not None and counter.begins < now <= counter.ends:
            return counter
        with self._lock:
            fresh, counter = begin(), self._kept.get(name)
            if counter is None or counter.key != fresh.key:  # else another thread began it
                self._make_room(name, now)
                counter = self._kept[name] = fresh
            return counter

    def _make_room(self, name: Hashable, now: int) -> None:
        """Forget a caller's last window, and of the oldest two what is over or too much."""
        self._drop(name)
        for old, counter in list(itertools.islice(self._kept.items(), 2)):
            if not counter.begins < now <= counter.ends or len(self._kept) >= self._most:
                self._drop(old)

    def _drop(self, name: Hashable) -> Counter | None:
        return self._kept.pop(name, None)

    def add(self, counter: Counter, items: int, limit: int) -> int:
        """Count items if they fit, all or none; return the sum with them. It may take a trip."""
        return self._add_here(counter, items, limit)

    async def aadd(self, counter: Counter, items: int, limit: int) -> int:
        """Count as `add` does, and leave the event loop to others during a trip."""
        return self._add_here(counter, items, limit)

    def _add_here(self, counter: Counter, items: int, limit: int) -> int:
        with self._lock:
            total = counter.told + counter.untold + items
            if total <= limit:
                counter.untold += items
        return total

    def forget(self) -> None:
        """Begin anew (for tests)."""
        with self._lock:
            self._kept.clear()


LOCAL = Counters()
