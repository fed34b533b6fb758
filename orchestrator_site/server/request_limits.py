"""What a request must be before it takes a thread: whole, in time, and of bounded size."""

import asyncio
import functools
import re
from typing import Any

from orchestrator_site.api.middleware import REFUSAL
from orchestrator_site.server.exchange import EXCHANGE

MAX_HEADERS = 100
MAX_HEADER_BYTES = 16_384  # of one header's value
MAX_HEADER_NAME_BYTES = 256  # names are remembered
MAX_ADDRESS_BYTES = 8_192
BODY_SECONDS = 25
LENGTHS = (b"content-length", b"transfer-encoding")
VERSIONS = ("1.0", "1.1")
# RFC 9110, 7.2
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::(\d{1,5}))?")


class RequestRefused(Exception):
    """The request is not carried out, whatever it asks for."""

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status, self.headers = status, headers


class ClientDisconnected(Exception):
    """The caller left before the request was complete."""


async def read_request(scope: Any, receive: Any, *, limit: int) -> tuple[Any, bytes]:
    """Return the scope of a request and its body; raise RequestRefused or ClientDisconnected.

    limit: in bytes; of a larger body one byte more is returned, so that the application refuses it.
    """
    exchange = scope.pop(EXCHANGE, None)  # else each would hold the other
    refuse_marked(scope)
    if scope["http_version"] not in VERSIONS:
        raise RequestRefused(400, "This is neither HTTP/1.0 nor HTTP/1.1.")
    if not scope["path"].startswith("/"):
        raise RequestRefused(400, "The address must begin with a slash.")
    if len(scope["path"]) + len(scope["query_string"]) > MAX_ADDRESS_BYTES:
        raise RequestRefused(414, f"The address is longer than {MAX_ADDRESS_BYTES} bytes.")
    headers = checked_headers(scope["headers"], host_needed=scope["http_version"] == "1.1")
    body = None if exchange is None else exchange.whole_body()
    if body is None:
        body = await body_in_time(receive, limit)
        refuse_marked(scope)  # it may have broken off
    return {**scope, "headers": with_content_length(headers, len(body))}, body[: limit + 1]


async def body_in_time(receive: Any, limit: int) -> bytes:
    """Return the body, of which at least `limit` + 1 bytes if it is larger."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await read_body(receive, limit)
    except TimeoutError:
        raise RequestRefused(
            408, f"The body did not arrive within {BODY_SECONDS} seconds."
        ) from None


def refuse_marked(scope: Any) -> None:
    """Raise the refusal that the server has put into the scope, if there is one."""
    if REFUSAL in scope:
        raise scope[REFUSAL]


def checked_headers(
    headers: list[tuple[bytes, bytes]], *, host_needed: bool
) -> list[tuple[bytes, bytes]]:
    """Return the headers without those whose name has an underscore; raise RequestRefused.

    WSGI cannot tell `X_Api_Key` from `X-Api-Key`, so one could pass for the other. host_needed:
    whether one must name the host, as since HTTP/1.1.
    """
    if len(headers) > MAX_HEADERS:
        raise RequestRefused(431, f"The request has more than {MAX_HEADERS} headers.")
    kept, hosts = [], []
    for header in headers:
        name, value = header
        if len(value) > MAX_HEADER_BYTES:
            raise RequestRefused(431, f"A header is larger than {MAX_HEADER_BYTES} bytes.")
        if len(name) > MAX_HEADER_NAME_BYTES:
            raise RequestRefused(431, f"A header's name is over {MAX_HEADER_NAME_BYTES} bytes.")
        if name == b"host":
            hosts.append(value)
        if b"_" not in name:
            kept.append(header)
    if (hosts or host_needed) and not (len(hosts) == 1 and is_host(hosts[0])):
        raise RequestRefused(
            400, "The request needs one Host header: a name, and a port if it is not the usual one."
        )
    return kept


@functools.lru_cache(256)
def is_host(value: bytes) -> bool:
    """Return whether a Host header has a name, and a port if at all."""
    host = HOST.fullmatch(value)
    return host is not None and int(host[1] or 0) <= 65_535


async def read_body(receive: Any, limit: int) -> bytes:
    """Return the body, of which no more than `limit` + 1 bytes; raise ClientDisconnected."""
    body = bytearray()
    while len(body) <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return bytes(body[: limit + 1])


def with_content_length(
    headers: list[tuple[bytes, bytes]], length: int
) -> list[tuple[bytes, bytes]]:
    """Return the headers with the length that was counted: WSGI reads nothing of a chunked body."""
    if not any(name in LENGTHS for name, _ in headers):
        return headers
    kept = [header for header in headers if header[0] not in LENGTHS]
    return [*kept, (b"content-length", str(length).encode())]
