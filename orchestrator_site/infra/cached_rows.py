"""Small tables kept in memory: read often, changed seldom.

On the event loop nothing is loaded, for that would hold up everybody: `renew` is called from a
thread before a request is looked at, and what was loaded last counts until the next time.
"""

import asyncio
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

from django.db import transaction
from django.db.models import signals

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
LOADS = 3  # of one renewal; who changes rows all the time has the last one
_all: "weakref.WeakSet[Any]" = weakref.WeakSet()
_tables: "list[CachedRows[Any]]" = []


class CachedRows(Generic[T]):
    """What `load` returns, kept for `ttl` seconds or until this process changes one of the models.

    Another process hears of a change after at most `ttl` seconds.
    """

    def __init__(
        self, model_labels: Iterable[str], load: Callable[[], T], ttl: float = 1.0
    ) -> None:
        """model_labels: such as `tasks_app.RoutingRule`. load: one short query. ttl: seconds."""
        self._load, self._ttl = load, ttl
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None  # good until (monotonic), value
        self._last: tuple[T] | tuple[()] = ()  # for the event loop
        self._generation = 0
        invalidate_with(self, model_labels)
        _tables.append(self)

    def __call__(self) -> T:
        """Return the value, loading it when it is missing or too old."""
        kept = self._kept
        if kept is not None and time.monotonic() < kept[0]:
            return kept[1]
        if self._last and asyncio._get_running_loop() is not None:
            return self._last[0]
        return self._load_now()

    def _load_now(self) -> T:
        generation, until = self._generation, time.monotonic() + self._ttl
        value = self._load()
        with self._lock:
            if generation == self._generation:  # else it changed while loading, and is not kept
                self._kept, self._last = (until, value), (value,)
        return value

    @property
    def fresh(self) -> bool:
        """Return whether it need not be loaded for the rest of half its time."""
        kept = self._kept
        return kept is not None and time.monotonic() + self._ttl / 2 < kept[0]

    def renew(self) -> None:
        """Load it unless it is fresh; again if it changed while it was loaded."""
        for _ in range(LOADS):
            if not self.fresh:
                self._load_now()

    def forget(self) -> None:
        """Load again at the next call."""
        with self._lock:
            self._generation += 1
            self._kept = None


class CachedLookup(Generic[K, T]):
    """What `load` returns for each key: the few rows of a table in use.

    Kept as `CachedRows` keeps a table. On the event loop what is missing raises
    SynchronousOnlyOperation.
    """

    def __init__(
        self,
        model_labels: Iterable[str],
        load: Callable[[K], T],
        ttl: float = 1.0,
        most: int = 4096,
    ) -> None:
        """load: one short query. ttl: seconds. most: keys kept; one more, and all are reloaded."""
        self._load, self._ttl, self._most = load, ttl, most
        self._lock = threading.Lock()
        self._kept: dict[K, tuple[float, T]] = {}  # key: good until (monotonic), value
        self._generation = 0
        invalidate_with(self, model_labels)

    def __call__(self, key: K) -> T:
        """Return the value of a key, loading it when it is missing or too old."""
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() < kept[0]:
            return kept[1]
        generation, until = self._generation, time.monotonic() + self._ttl
        value = self._load(key)
        with self._lock:
            if generation == self._generation:  # else it changed while loading, and is not kept
                if len(self._kept) >= self._most:
                    self._kept = {}
                self._kept[key] = (until, value)
        return value

    def forget(self) -> None:
        """Load again at the next call."""
        with self._lock:
            self._generation += 1
            self._kept = {}


def invalidate_with(
    rows: "CachedRows[Any] | CachedLookup[Any, Any]", labels: Iterable[str]
) -> None:
    """Have rows forgotten when this process changes one of the models, and in `forget_all`."""

    def changed(using: str | None = None, **_: Any) -> None:
        invalidate(rows, using=using)

    for label in labels:
        signals.post_save.connect(changed, sender=label, weak=False)
        signals.post_delete.connect(changed, sender=label, weak=False)
    _all.add(rows)


def invalidate(rows: "CachedRows[Any] | CachedLookup[Any, Any]", using: str | None = None) -> None:
    """Forget rows that change in this transaction: now, and for all others after its commit."""
    rows.forget()
    transaction.on_commit(rows.forget, using=using, robust=True)


def forget_all() -> None:
    """Forget everything kept (for tests, whose rollbacks send no signal)."""
    for rows in list(_all):
        rows.forget()


def all_fresh() -> bool:
    """Return whether every small table is in memory, and new enough for the event loop."""
    return all(rows.fresh for rows in _tables)


def renew_all() -> None:
    """Load the small tables that are not fresh; from a thread."""
    for rows in _tables:
        rows.renew()
