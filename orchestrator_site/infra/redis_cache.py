"""Where requests are counted: Redis, and while it is down the memory of each process."""

import functools
import logging
import threading
import time
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis.exceptions import RedisError

SKIPPED_FOR = 5.0  # seconds without a try after a failure
COUNTERS_KEPT = 100_000

log = logging.getLogger(__name__)


class CircuitBreaker:
    """What this process knows about Redis; Django makes one cache object per thread, so they share this."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.faults = 0  # since the process started
        self.skip_until = 0.0  # monotonic; 0 while all is well

    def over(self) -> bool:
        """Return whether Redis should be tried."""
        return time.monotonic() >= self.skip_until

    def begin(self, error: Exception) -> None:
        """Note a failure; say so once."""
        with self._lock:
            first, self.skip_until = not self.skip_until, time.monotonic() + SKIPPED_FOR
            self.faults += 1
        if first:
            log.error(
                "Redis is unreachable (%s): rates are counted per process.", type(error).__name__
            )

    def end(self) -> None:
        """Note a success; say so once."""
        with self._lock:
            ended, self.skip_until = bool(self.skip_until), 0.0
        if ended:
            log.warning("Redis is back: rates are counted together again.")


breaker = CircuitBreaker()


class OneClient(RedisCacheClient):
    """Django's client with one Redis object for all calls, where Django makes one per call, at half the cost of it."""

    @functools.cached_property
    def _redis(self) -> Any:
        return super().get_client(None, write=True)

    def get_client(self, key: str | None = None, *, write: bool = False) -> Any:
        """Return the Redis object."""
        return self._redis

    def incr(self, key: str, delta: int) -> int:
        """Add in one round trip; a key that was not there keeps nothing."""
        value = self._redis.incr(key, delta)
        if value == delta:
            self._redis.delete(key)
            raise ValueError(f"Key {key!r} not found.")
        return value


class ResilientRedisCache(RedisCache):
    """Django's Redis cache whose operations fall back to memory, so that limits hold when Redis is down."""

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = OneClient
        self._memory = LocMemCache("redis-is-down", {"OPTIONS": {"MAX_ENTRIES": COUNTERS_KEPT}})

    def _either(self, operation: str, *args: Any) -> Any:
        if breaker.over():
            try:
                answer = getattr(super(), operation)(*args)
            except (RedisError, OSError) as error:
                breaker.begin(error)
            else:
                if breaker.skip_until:
                    breaker.end()
                return answer
        return getattr(self._memory, operation)(*args)

    def add(
        self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """Set if missing; return whether it was."""
        return self._either("add", key, value, timeout, version)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        """Return the value or the default."""
        return self._either("get", key, default, version)

    def set(
        self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        """Set the value."""
        self._either("set", key, value, timeout, version)

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Renew the timeout; return whether there was a value."""
        return self._either("touch", key, timeout, version)

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """Add to the value and return it."""
        return self._either("incr", key, delta, version)

    def delete(self, key: str, version: int | None = None) -> bool:
        """Delete the value; return whether there was one."""
        return self._either("delete", key, version)

    def has_key(self, key: str, version: int | None = None) -> bool:
        """Return whether there is a value."""
        return self._either("has_key", key, version)

    def get_many(self, keys: Any, version: int | None = None) -> dict[Any, Any]:
        """Return the values there are."""
        return self._either("get_many", keys, version)

    def set_many(
        self, data: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        """Set the values."""
        return self._either("set_many", data, timeout, version)

    def delete_many(self, keys: Any, version: int | None = None) -> None:
        """Delete the values."""
        self._either("delete_many", keys, version)

    def clear(self) -> None:
        """Delete everything."""
        self._either("clear")

    def alive(self) -> bool:
        """Return whether Redis answers now, whatever happened before."""
        try:
            return bool(self._cache.get_client(None, write=True).ping())
        except (RedisError, OSError):
            return False


def redis_state() -> str:
    """Return `connected`, `disconnected`, or `embedded` when no Redis is configured."""
    cache = caches["default"]
    if not isinstance(cache, ResilientRedisCache):
        return "embedded"
    return "connected" if cache.alive() else "disconnected"
