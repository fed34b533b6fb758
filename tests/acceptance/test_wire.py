"""What is no good request already on the wire: one JSON refusal with the rate headers, and the connection ends."""

import http.client
import io
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.live import LiveServer, live_server

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HIDDEN = b"0\r\n\r\n" + HEAD + b"\r\n"
BAD: dict[str, tuple[bytes, int]] = {
    "an address of 9,000 characters": (b"GET /tasks/" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    "a query of 9,000 characters": (b"GET /tasks?a=" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    "200 headers": (HEAD + b"".join(b"X-%d: a\r\n" % number for number in range(200)) + b"\r\n", 431),
    "a header of 20 KB": (HEAD + b"X-A: " + b"a" * 20_480 + b"\r\n\r\n", 431),
    "a head without an end": (HEAD + b"X-A: " + b"a" * 200_000, 431),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", 400),
    "a second request in the body": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + HIDDEN, 400),
    "a length below nothing": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "a chunk of no size": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "another protocol": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "an invented method": (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    "no HTTP at all": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", 405),
}


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    """A service of its own."""
    with live_server() as running:
        yield running


class Wire(io.BytesIO):
    """Bytes that a reader of HTTP answers takes for a socket."""

    def makefile(self, mode: str) -> io.BytesIO:
        return self

    def close(self) -> None:
        """Stay open: there may be a second answer."""


def answers(server: LiveServer, sent: bytes) -> list[tuple[http.client.HTTPResponse, Any]]:
    """Send bytes; return every answer and its JSON, once the server has closed the connection."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as wire:
        received = bytearray()
        try:
            wire.sendall(sent)
            while part := wire.recv(65_536):
                received += part
        except ConnectionError:
            pass  # closed while there was more to send
    stream, found = Wire(bytes(received)), []
    while stream.tell() < len(received):
        answer = http.client.HTTPResponse(stream)  # type: ignore[arg-type]
        answer.begin()
        found.append((answer, json.loads(answer.read())))
    return found


@pytest.mark.parametrize("name", BAD)
def test_bad_on_the_wire(server: LiveServer, name: str) -> None:
    sent, status = BAD[name]

    [(answer, body)] = answers(server, sent)

    assert answer.status == status, body
    assert answer.headers["Content-Type"] == "application/json"
    assert list(body) == ["detail"] and body["detail"].endswith(".")
    assert answer.headers["X-RateLimit-Limit"] and answer.headers["X-RateLimit-Reset"]
    assert status != 405 or "POST" in answer.headers["Allow"]


def test_two_idempotency_keys_are_none(server: LiveServer) -> None:
    body = b'{"type": "bugfix", "payload": {}}'
    head = f"Authorization: Bearer {server.token('agent')}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    keys = b"Idempotency-Key: one\r\nIdempotency-Key: two\r\n\r\n"

    [(answer, refused)] = answers(server, POST + head.encode() + keys + body)

    assert (answer.status, list(refused["errors"])) == (400, ["Idempotency-Key"])


def test_a_good_request_before_a_bad_one_is_answered(server: LiveServer) -> None:
    first, second = answers(server, HEAD + b"\r\nBREW\r\n\r\n")

    assert (first[0].status, first[1]["service"]) == (200, "orchestrator")
    assert second[0].status == 405


def test_bad_requests_are_counted_like_others() -> None:
    with live_server(ORCHESTRATOR_RATE_LIMIT_OTHER="2", ORCHESTRATOR_RATE_LIMIT_SCALE="1") as strict:
        seen = [answers(strict, b"BREW\r\n\r\n")[0][0].status for _ in range(6)]

    assert 429 in seen  # wherever the minute turns, one of the two holds three
