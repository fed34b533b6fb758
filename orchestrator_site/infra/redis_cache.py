"""Redis as a cache, and while it is down the memory of each process."""

import functools
import logging
import threading
import time
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis.exceptions import RedisError

SKIPPED_FOR = 5.0  # seconds without a try after a failure
ENTRIES_KEPT = 100_000  # in memory
OPERATIONS = (
    *("add", "get", "set", "touch", "incr", "delete", "has_key", "clear"),
    *("get_many", "set_many", "delete_many"),
)

log = logging.getLogger(__name__)


class CircuitBreaker:
    """Whether Redis is tried: shared by the cache objects of all threads of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.faults = 0  # since the process started
        self.skip_until = 0.0  # monotonic; 0 while all is well

    def allows(self) -> bool:
        return time.monotonic() >= self.skip_until

    def open(self, error: Exception) -> None:
        """Note a failure, and log the first."""
        with self._lock:
            first, self.skip_until = not self.skip_until, time.monotonic() + SKIPPED_FOR
            self.faults += 1
        if first:
            log.error(
                "Redis is unreachable (%s): rates are counted per process.", type(error).__name__
            )

    def close(self) -> None:
        """Note a success, and log that the outage is over."""
        with self._lock:
            ended, self.skip_until = bool(self.skip_until), 0.0
        if ended:
            log.warning("Redis is back: rates are counted together again.")


breaker = CircuitBreaker()


class OneClient(RedisCacheClient):
    """Django's client with one Redis object for all calls; Django makes one per call."""

    @functools.cached_property
    def _redis(self) -> Any:
        return super().get_client(None, write=True)

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        return self._redis


def resilient(operation: str) -> Any:
    """Return an operation of the cache that is carried out in memory while Redis is away."""

    def perform(self: "ResilientRedisCache", *args: Any, **options: Any) -> Any:
        if breaker.allows():
            try:
                answer = getattr(super(ResilientRedisCache, self), operation)(*args, **options)
            except (RedisError, OSError) as error:
                breaker.open(error)
            else:
                if breaker.skip_until:
                    breaker.close()
                return answer
        return getattr(self.memory, operation)(*args, **options)

    return perform


class ResilientRedisCache(RedisCache):
    """Django's Redis cache, which falls back to memory while Redis is down."""

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = OneClient
        self.memory = LocMemCache("redis-is-down", {"OPTIONS": {"MAX_ENTRIES": ENTRIES_KEPT}})

    def alive(self) -> bool:
        """Return whether Redis answers now, whatever happened before."""
        try:
            return bool(self._cache.get_client(None, write=True).ping())
        except (RedisError, OSError):
            return False


for operation in OPERATIONS:
    setattr(ResilientRedisCache, operation, resilient(operation))


def redis_state() -> str:
    """Return `connected`, `disconnected`, or `embedded` when no Redis is configured."""
    cache = caches["default"]
    if not isinstance(cache, ResilientRedisCache):
        return "embedded"
    return "connected" if cache.alive() else "disconnected"
