"""Which URLs and addresses a webhook may reach. Pure."""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from orchestrator_site.core.errors import Invalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


MAX_URL = 2048


PRINTABLE = re.compile(r"[!-\[\]-~]+\Z")  # ASCII without blanks, control characters and backslash


HOST = re.compile(
    r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z]([a-z0-9_-]{0,61}[a-z0-9_])?\Z"
)


PORTS = {"https": 443, "http": 80}


# What is not the public Internet. Source: IANA special-purpose address registries. `is_private` and `is_global`
# of the standard library leave out shared space, multicast, NAT64, 6to4 and compatible addresses.
NOT_PUBLIC_4 = tuple(
    ipaddress.IPv4Network(net)
    for net in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by carriers; metadata servers of some clouds
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; metadata servers of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; metadata of others
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)


PUBLIC_6 = ipaddress.IPv6Network(
    "2000::/3"
)  # the only global unicast space there is; NAT64 and the rest lie outside


NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(net)
    for net in (
        "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries an IPv4 address
        "3fff::/20",  # documentation
    )
)


class BadUrl(Invalid):
    """The url must look like https://host/path, at most 2,048 printable ASCII characters."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, field="url")


class Target(NamedTuple):
    """Where a URL leads: path holds the query too."""

    scheme: str
    host: str
    port: int
    path: str


class Reach(NamedTuple):
    """What webhooks may reach: these places at public addresses, and anything in these networks."""

    networks: tuple[Network, ...] = ()
    places: frozenset[tuple[str, int]] = frozenset({("https", 443)})


def target_of(url: str) -> Target:
    """Return where a URL leads; raise BadUrl.

    No user name, no fragment, no spelling of an address but the usual ones (`127.1`, `0x7f.1` and the like).
    """
    if len(url) > MAX_URL or not PRINTABLE.match(url) or "#" in url:
        raise BadUrl
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadUrl from None
    host = parts.hostname or ""
    if (
        parts.scheme not in PORTS
        or "@" in parts.netloc
        or port == 0
        or not (HOST.match(host) or literal(host))
    ):
        raise BadUrl
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or PORTS[parts.scheme], path)


def literal(host: str) -> Address | None:
    """Return the address a host is written as, None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def ensure_may_subscribe(url: str, reach: Reach) -> Target:
    """Return where a URL leads; raise BadUrl for what can be refused before a name is looked up.

    With networks of the operator's, a name may lead into them: it is judged when the socket opens.
    """
    target = target_of(url)
    address = literal(target.host)
    refusal = (
        why_not(target, address, reach)
        if address
        else ""
        if reach.networks
        else wrong_place(target, reach)
    )
    if refusal:
        raise BadUrl(f"{refusal} Other places must be listed in ORCHESTRATOR_WEBHOOK_ALLOW_NETS.")
    return target


def why_not(target: Target, address: Address, reach: Reach) -> str:
    """Return why a target must not be reached at an address, empty if it may."""
    address = unmapped(address)
    if any(address in network for network in reach.networks):
        return ""
    return (
        wrong_place(target, reach) if is_public(address) else f"{address} is not a public address."
    )


def wrong_place(target: Target, reach: Reach) -> str:
    """Return why the scheme and port are not for everyone, empty if they are."""
    return (
        "" if (target.scheme, target.port) in reach.places else "Webhooks go to https on port 443."
    )


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the public Internet; an IPv4-mapped one is judged as IPv4."""
    address = unmapped(address)
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_4)
    scoped = address.scope_id is not None
    return (
        address in PUBLIC_6
        and not scoped
        and not any(address in network for network in NOT_PUBLIC_6)
    )


def unmapped(address: Address) -> Address:
    """Return the IPv4 address inside `::ffff:…`, any other as it is."""
    return getattr(address, "ipv4_mapped", None) or address
