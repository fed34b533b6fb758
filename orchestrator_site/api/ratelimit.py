"""How often (D15-D18): counted by django-ratelimit, per identity and endpoint, in windows of a minute."""

import dataclasses
import functools
import ipaddress
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django_ratelimit.core import get_usage
from rest_framework.exceptions import APIException

from orchestrator_site.actors import Actor

PERIOD = 60  # seconds
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """Where a caller stands. reset: Unix time at which a new window begins. wait: seconds until then."""

    limit: int
    count: int
    reset: int
    wait: int

    @property
    def refused(self) -> bool:
        """Return whether this request was one too many."""
        return self.count > self.limit

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers every answer carries, and Retry-After when refused (D16)."""
        found = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - self.count)),
            "X-RateLimit-Reset": str(self.reset),
        }
        return found | ({"Retry-After": str(self.wait)} if self.refused else {})

    @property
    def sentence(self) -> str:
        """Return the guide's sentence."""
        return f"Rate limit exceeded. Try again in {self.wait} seconds."


class RateLimited(APIException):
    """One request too many."""

    status_code = 429

    def __init__(self, usage: Usage) -> None:
        """usage: what was counted."""
        super().__init__(usage.sentence)
        self.wait = usage.wait


def count(scope: str, *, actor: Actor | None, address: str) -> Usage:
    """Count a request of a caller, or of an address when nobody is known, and return where they stand.

    scope: a key of `settings.RATE_LIMITS`. address: of the client, as `client_address` gives it.
    """
    # The bar ends the identity: django-ratelimit joins its parts without one.
    who = f"{'key' if actor.credential != 'jwt' else 'jwt'}:{actor.name}|" if actor else f"address:{block(address)}|"
    limit = rate(scope, actor)
    for _ in range(2):  # a counter that ends between django-ratelimit's two steps is begun anew
        found = get_usage(None, group=scope, key=lambda *_: who, rate=(limit, PERIOD), increment=True)
        if found["limit"]:
            break
    # The window's last second is still part of it: without the one more, who obeys is refused again.
    wait = max(1, found["time_left"] + 1)
    return Usage(limit, found["count"] if found["limit"] else limit + 1, int(time.time()) + wait, wait)


def rate(scope: str, actor: Actor | None) -> int:
    """Return requests a minute: the caller's own rate or the endpoint's, scaled."""
    own = dict(actor.rate_limits).get(scope) if actor and actor.rate_limits else None
    return max(1, round((own or settings.RATE_LIMITS[scope]) * settings.RATE_LIMIT_SCALE))


def client_address(meta: Mapping[str, Any]) -> str:
    """Return the client's address (D17).

    meta: a WSGI environment, or the two entries REMOTE_ADDR and HTTP_X_FORWARDED_FOR of one.
    """
    address = plain(meta.get("REMOTE_ADDR") or "")
    hops = [hop.strip() for hop in meta.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
    while hops and trusted(address) and parsed(hops[-1]) is not None:
        address = plain(hops.pop())
    return address


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
    """Return an IP address, an IPv4 one in IPv6 clothes as what it is; None if the text is none."""
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
    """Return what is counted as one client: an IPv4 address, or the /64 that one IPv6 site is given."""
    if not isinstance(parsed(address), ipaddress.IPv6Address):
        return address
    return str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False).network_address)
