"""How often: counted by django-ratelimit, per identity and endpoint, in windows of a minute."""

import contextlib
import dataclasses
import functools
import ipaddress
import re
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django_ratelimit.core import EXPIRATION_FUDGE, _get_window, _make_cache_key, get_usage

from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import TooMany
from orchestrator_site.core.names import fold

PERIOD = 60  # seconds
IN_MEMORY = LocMemCache("local-rates", {"OPTIONS": {"MAX_ENTRIES": 100_000}})
WITH_PORT = re.compile(r"(?P<v4>[\d.]+):\d{1,5}|\[(?P<v6>[\da-fA-F:.]+)\](?::\d{1,5})?", re.ASCII)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """Where a caller stands. reset: Unix time of the next window. wait: seconds until then."""

    limit: int
    count: int
    reset: int
    wait: int

    @property
    def refused(self) -> bool:
        """Return whether this request was one too many."""
        return self.count > self.limit

    @property
    def used_up(self) -> bool:
        """Return whether the next request would be one too many."""
        return self.count >= self.limit

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers every answer carries, and Retry-After when refused."""
        headers = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - self.count)),
            "X-RateLimit-Reset": str(self.reset),
        }
        return headers | ({"Retry-After": str(self.wait)} if self.refused else {})

    @property
    def sentence(self) -> str:
        return f"Rate limit exceeded. Try again in {self.wait} seconds."


class RateLimited(TooMany):
    """One request too many."""

    def __init__(self, usage: Usage) -> None:
        """usage: what was counted."""
        super().__init__(usage.sentence)
        self.wait = usage.wait


@dataclasses.dataclass(frozen=True, slots=True)
class Bucket:
    """A counter that begins anew every minute.

    scope: a key of `settings.RATE_LIMITS`. who: whose it is, ended by a bar, for django-ratelimit
    puts what follows right behind it. limit: how much it takes.
    """

    scope: str
    who: str
    limit: int

    def read(self) -> Usage:
        """Return where it stands."""
        return self._usage(increment=False)

    def add(self) -> Usage:
        """Count one, and return where it stands then."""
        return self._usage(increment=True)

    def add_all(self, items: int) -> Usage:
        """Count several at once, or none of them when they are too many."""
        usage = self.read()
        key = _make_cache_key(
            self.scope, _get_window(self.who, PERIOD), (self.limit, PERIOD), self.who, None
        )
        try:
            counted = caches["default"].incr(key, items)
        except ValueError:  # the minute has turned
            caches["default"].set(key, items, PERIOD + EXPIRATION_FUDGE)
            counted = items
        if counted > self.limit:
            with contextlib.suppress(ValueError):
                caches["default"].decr(key, items)
        return dataclasses.replace(usage, count=counted)

    def _usage(self, *, increment: bool) -> Usage:
        for _ in range(2):  # a counter that ends between django-ratelimit's steps is begun anew
            window = get_usage(
                None,
                group=self.scope,
                key=lambda *_: self.who,
                rate=(self.limit, PERIOD),
                increment=increment,
            )
            if window["limit"]:
                break
        # The window's last second is still part of it: without the one more, who obeys is refused.
        wait = max(1, window["time_left"] + 1)
        counted = window["count"] if window["limit"] else self.limit + 1
        return Usage(self.limit, counted, int(time.time()) + wait, wait)  # noqa: TID251 - django-ratelimit counts by it


class LocalBucket(Bucket):
    """A counter in the memory of this process, for what must answer when no store does."""

    def _usage(self, *, increment: bool) -> Usage:
        window = _get_window(self.who, PERIOD)
        key = f"{self.scope}|{window}|{self.who}"
        IN_MEMORY.add(key, 0, PERIOD + EXPIRATION_FUDGE)
        counted = IN_MEMORY.incr(key) if increment else IN_MEMORY.get(key)
        now = int(time.time())  # noqa: TID251 - as django-ratelimit
        wait = max(1, window - now + 1)
        return Usage(self.limit, counted, now + wait, wait)


def count(scope: str, *, actor: Actor | None, address: str) -> Usage:
    """Count a request of a caller, or of an address when nobody is known; return where they stand.

    scope: a key of `settings.RATE_LIMITS`. address: of the client, as `client_address` gives it.
    """
    return bucket_of(scope, actor=actor, address=address).add()


def bucket_of(scope: str, *, actor: Actor | None, address: str) -> Bucket:
    """Return where the requests of a caller, or of an address, are counted."""
    if actor is None:
        return Bucket(scope, f"address:{block(address)}|", rate(scope, None))
    # What a key mints counts with the key where the key has a rate of its own, else by name.
    name = actor.key_name if scope in dict(actor.rate_limits) else actor.name
    kind = "jwt" if actor.credential == "jwt" else "key"
    return Bucket(scope, f"{kind}:{fold(name)}|", rate(scope, actor))


def rate(scope: str, actor: Actor | None) -> int:
    """Return requests a minute: the caller's own rate or the endpoint's, scaled."""
    own = dict(actor.rate_limits).get(scope) if actor and actor.rate_limits else None
    return max(1, round((own or settings.RATE_LIMITS[scope]) * settings.RATE_LIMIT_SCALE))


def client_address(meta: Mapping[str, Any]) -> str:
    """Return the client's address.

    meta: a WSGI environment, or the two entries REMOTE_ADDR and HTTP_X_FORWARDED_FOR of one.
    """
    address = plain(meta.get("REMOTE_ADDR") or "")
    listed = meta.get("HTTP_X_FORWARDED_FOR", "").split(",")
    hops = [without_port(hop.strip()) for hop in listed if hop.strip()]
    while hops and trusted(address) and parsed(hops[-1]) is not None:
        address = plain(hops.pop())
    return address


def without_port(hop: str) -> str:
    """Return the address of a hop, which may be `1.2.3.4:1234` or `[2001:db8::1]:1234`."""
    match = WITH_PORT.fullmatch(hop)
    return (match["v4"] or match["v6"]) if match else hop


def trusted(address: str) -> bool:
    """Return whether a peer is one of the proxies whose word counts."""
    networks = trusted_networks(tuple(settings.ORCHESTRATOR_TRUSTED_PROXIES))
    ip = parsed(address) if networks else None
    return ip is not None and any(ip in network for network in networks)


@functools.lru_cache(maxsize=8)
def trusted_networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Return the networks of the setting: addresses, or blocks such as 10.0.0.0/8."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an IP address, an IPv4-mapped IPv6 one as IPv4; None if the text is none."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


@functools.lru_cache(maxsize=4096)
def plain(text: str) -> str:
    """Return an address in its shortest form; what is no address stays as it is."""
    return str(parsed(text) or text)


@functools.lru_cache(maxsize=4096)
def block(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 that an IPv6 site is given."""
    if not isinstance(parsed(address), ipaddress.IPv6Address):
        return address
    site = ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False)
    return str(site.network_address)
