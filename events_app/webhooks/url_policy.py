"""Which URLs and addresses a webhook may reach. Pure."""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from events_app.errors import BadUrl

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL = 2048
PRINTABLE = re.compile(r"[!-\[\]-~]+\Z")  # ASCII without blanks, control characters and backslash
HOST = re.compile(
    r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z]([a-z0-9_-]{0,61}[a-z0-9_])?\Z"
)
PORTS = {"https": 443, "http": 80}

# What is not the public Internet. Source: IANA special-purpose address registries. `is_private` and
# `is_global` of the standard library leave out shared space, multicast, NAT64, 6to4 and compatible
# addresses.
NOT_PUBLIC_4 = (
    ipaddress.IPv4Network("0.0.0.0/8"),  # this network
    ipaddress.IPv4Network("10.0.0.0/8"),
    ipaddress.IPv4Network("100.64.0.0/10"),  # shared by carriers; metadata servers of some clouds
    ipaddress.IPv4Network("127.0.0.0/8"),
    ipaddress.IPv4Network("169.254.0.0/16"),  # link-local; metadata servers of most clouds
    ipaddress.IPv4Network("172.16.0.0/12"),
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocol assignments; metadata of others
    ipaddress.IPv4Network("192.0.2.0/24"),  # documentation
    ipaddress.IPv4Network("192.88.99.0/24"),  # 6to4 relays
    ipaddress.IPv4Network("192.168.0.0/16"),
    ipaddress.IPv4Network("198.18.0.0/15"),  # benchmarking
    ipaddress.IPv4Network("198.51.100.0/24"),  # documentation
    ipaddress.IPv4Network("203.0.113.0/24"),  # documentation
    ipaddress.IPv4Network("224.0.0.0/3"),  # multicast, reserved, broadcast
)
# The only global unicast space of version 6; NAT64 and the rest lie outside.
PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
NOT_PUBLIC_6 = (
    ipaddress.IPv6Network("2001::/23"),  # protocol assignments: Teredo, benchmarking, ORCHID
    ipaddress.IPv6Network("2001:db8::/32"),  # documentation
    ipaddress.IPv6Network("2002::/16"),  # 6to4: carries an IPv4 address
    ipaddress.IPv6Network("3fff::/20"),  # documentation
)


class Target(NamedTuple):
    """Where a URL leads. path: with the query."""

    scheme: str
    host: str
    port: int
    path: str


class Reach(NamedTuple):
    """What may be reached: everything in these networks, and these places at public addresses."""

    networks: tuple[Network, ...] = ()
    places: frozenset[tuple[str, int]] = frozenset({("https", 443)})


def target_of(url: str) -> Target:
    """Return where a URL leads; raise BadUrl.

    A URL has no user name, no fragment, and no unusual spelling of an address, such as `127.1`.
    """
    if len(url) > MAX_URL or not PRINTABLE.match(url) or "#" in url:
        raise BadUrl
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadUrl from None
    host = parts.hostname or ""
    valid = HOST.match(host) or literal(host)
    if parts.scheme not in PORTS or "@" in parts.netloc or port == 0 or not valid:
        raise BadUrl
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or PORTS[parts.scheme], path)


def literal(host: str) -> Address | None:
    """Return the address that a host is written as, None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def ensure_may_subscribe(url: str, reach: Reach) -> Target:
    """Return where a URL leads; raise BadUrl if that can be told before its name is looked up.

    If the operator allows networks, a name may lead into them: it is judged at each connection.
    """
    target, refusal = target_of(url), ""
    if address := literal(target.host):
        refusal = why_not(target, address, reach)
    elif not reach.networks:
        refusal = wrong_place(target, reach)
    if refusal:
        raise BadUrl(f"{refusal} Other places must be listed in ORCHESTRATOR_WEBHOOK_ALLOW_NETS.")
    return target


def why_not(target: Target, address: Address, reach: Reach) -> str:
    """Return why a target must not be reached at an address, empty if it may."""
    address = unmapped(address)
    if any(address in network for network in reach.networks):
        return ""
    if not is_public(address):
        return f"{address} is not a public address."
    return wrong_place(target, reach)


def wrong_place(target: Target, reach: Reach) -> str:
    """Return why a scheme and port are not allowed at public addresses, empty if they are."""
    allowed = (target.scheme, target.port) in reach.places
    return "" if allowed else "Webhooks go to https on port 443."


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the public Internet; an IPv4-mapped one is IPv4."""
    address = unmapped(address)
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_4)
    if address.scope_id is not None or address not in PUBLIC_6:
        return False
    return not any(address in network for network in NOT_PUBLIC_6)


def unmapped(address: Address) -> Address:
    """Return the IPv4 address inside `::ffff:…`, any other as it is."""
    return getattr(address, "ipv4_mapped", None) or address
