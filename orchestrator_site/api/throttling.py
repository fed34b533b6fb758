"""How often: per identity and endpoint, in windows of a minute as django-ratelimit reckons them."""

import dataclasses
import functools
import ipaddress
import re
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from django_ratelimit.core import _get_window, _make_cache_key

from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import TooMany
from orchestrator_site.core.names import fold
from orchestrator_site.infra.counters.local import LOCAL, Counter, Counters
from orchestrator_site.infra.counters.shared import SHARED, redis_url

PERIOD = 60  # seconds
WITH_PORT = re.compile(r"(?P<v4>[\d.]+):\d{1,5}|\[(?P<v6>[\da-fA-F:.]+)\](?::\d{1,5})?", re.ASCII)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclasses.dataclass(slots=True)  # frozen takes three times as long to make
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


@dataclasses.dataclass(slots=True)
class Bucket:
    """A counter that begins anew every minute, in the windows of django-ratelimit.

    scope: a key of `settings.RATE_LIMITS`. who: whose it is, ended by a bar, for django-ratelimit
    puts what follows right behind it. limit: how much it takes. shared: with the other processes;
    what must answer when no store does counts by itself.
    """

    scope: str
    who: str
    limit: int
    shared: bool = True

    def read(self) -> Usage:
        """Return where it stands."""
        return self.count(0)

    def count(self, items: int = 1) -> Usage:
        """Count items, all or none; return where it stands then.

        Redis may be asked: on the event loop use `add`.
        """
        counters, counter, now = self._find()
        return self._usage(counter, counters.add(counter, items, self.limit), now)

    async def add(self) -> Usage:
        """Count one on the event loop, and return where it stands then."""
        return await self.add_all(1)

    async def add_all(self, items: int) -> Usage:
        """Count several on the event loop, all or none. Where no loop runs nothing is awaited."""
        counters, counter, now = self._find()
        return self._usage(counter, await counters.aadd(counter, items, self.limit), now)

    def _find(self) -> tuple[Counters, Counter, int]:
        """Return where this is counted, its present window, and the time."""
        now = int(time.time())  # noqa: TID251 - django-ratelimit counts by it
        counters = SHARED if self.shared and redis_url() else LOCAL
        name = (self.scope, self.who, self.limit, self.shared)
        return counters, counters.current(name, now, self._begin), now

    def _begin(self) -> Counter:
        """Return the present window as django-ratelimit reckons and names it."""
        ends = _get_window(self.who, PERIOD)
        key = _make_cache_key(self.scope, ends, (self.limit, PERIOD), self.who, None)
        return Counter(key, ends - PERIOD, ends)

    def _usage(self, counter: Counter, counted: int, now: int) -> Usage:
        # The window's last second is still part of it: without the one more, who obeys is refused.
        wait = max(1, counter.ends - now + 1)
        return Usage(self.limit, counted, now + wait, wait)


def count(scope: str, *, actor: Actor | None, address: str) -> Usage:
    """Count a request of a caller, or of an address when nobody is known; return where they stand.

    scope: a key of `settings.RATE_LIMITS`. address: of the client, as `client_address` gives it.
    """
    return bucket_of(scope, actor=actor, address=address).count()


def bucket_of(scope: str, *, actor: Actor | None, address: str) -> Bucket:
    """Return where the requests of a caller, or of an address, are counted."""
    if actor is None:
        return Bucket(scope, f"address:{block(address)}|", rate(scope, None))
    # What a key mints counts with the key where the key has a rate of its own, else by name.
    own = actor.rate_limits and scope in dict(actor.rate_limits)
    name = actor.key_name if own else actor.name
    kind = "jwt" if actor.credential == "jwt" else "key"
    return Bucket(scope, f"{kind}:{fold(name)}|", rate(scope, actor))


def rate(scope: str, actor: Actor | None) -> int:
    """Return requests a minute: the caller's own rate or the endpoint's, scaled."""
    own = dict(actor.rate_limits).get(scope) if actor and actor.rate_limits else None
    return scaled(scope, own)


@functools.lru_cache(maxsize=4096)
def scaled(scope: str, own: int | None) -> int:
    """Return a caller's own rate, or without one the endpoint's, times the scale."""
    return max(1, round((own or settings.RATE_LIMITS[scope]) * settings.RATE_LIMIT_SCALE))


@receiver(setting_changed)
def reload_rates(*, setting: str, **_: Any) -> None:
    """Reckon rates anew (for tests, which alone change settings)."""
    if setting in ("RATE_LIMITS", "RATE_LIMIT_SCALE"):
        scaled.cache_clear()


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
