"""What is no good request already on the wire: one JSON refusal with the rate headers, and the
connection ends.
"""

import http.client
import io
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.live import LiveServer, live_server

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HIDDEN = b"0\r\n\r\n" + HEAD + b"\r\n"
BAD: dict[str, tuple[bytes, int]] = {
    "an address of 9,000 characters": (
        b"GET /tasks/" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        414,
    ),
    "a query of 9,000 characters": (
        b"GET /tasks?a=" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        414,
    ),
    "200 headers": (
        HEAD + b"".join(b"X-%d: a\r\n" % number for number in range(200)) + b"\r\n",
        431,
    ),
    "a header of 20 KB": (HEAD + b"X-A: " + b"a" * 20_480 + b"\r\n\r\n", 431),
    "a head without an end": (HEAD + b"X-A: " + b"a" * 200_000, 431),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", 400),
    "a second request in the body": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + HIDDEN,
        400,
    ),
    "a length below nothing": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "a chunk of no size": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "trailers of 20 KB": (CHUNKED + b"0\r\n" + b"X-A: %s\r\n" % (b"a" * 1_000) * 20 + b"\r\n", 431),
    "a trailer without an end": (CHUNKED + b"0\r\nX-A: " + b"a" * 400_000, 431),
    "a chunk's size without an end": (CHUNKED + b"1;" + b"a" * 400_000, 431),
    "a length in the trailer": (CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n", 400),
    "HTTP/1.1 without a host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (HEAD + b"Host: localhost\r\n\r\n", 400),
    "a host of nothing": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "a host that is no name": (b"GET / HTTP/1.1\r\nHost: local host\r\n\r\n", 400),
    "a port that is none": (b"GET / HTTP/1.1\r\nHost: localhost:99999999\r\n\r\n", 400),
    "a port beyond the last": (b"GET / HTTP/1.1\r\nHost: localhost:65536\r\n\r\n", 400),
    "a line of HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 400),
    "a line of HTTP/0.9": (b"GET / HTTP/0.9\r\nHost: localhost\r\n\r\n", 400),
    "OPTIONS of everything": (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "GET of everything": (b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "POST to everything": (
        b"POST * HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
        400,
    ),
    "an address without a path": (b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a tunnel": (b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "another protocol": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "an invented method": (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    "no HTTP at all": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", 405),
}


class Wire(io.BytesIO):
    """Bytes that a reader of HTTP answers takes for a socket."""

    def makefile(self, mode: str) -> io.BytesIO:
        return self

    def close(self) -> None:
        """Stay open: there may be a second answer."""


def answers(
    server: LiveServer, sent: bytes, *, half_close: bool = False
) -> list[tuple[http.client.HTTPResponse, Any]]:
    """Send bytes; return every answer and its JSON, once the server has closed the connection."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as wire:
        received = bytearray()
        try:
            wire.sendall(sent)
            if half_close:
                wire.shutdown(socket.SHUT_WR)
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
    head = (
        f"Authorization: Bearer {server.token('agent')}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    )
    keys = b"Idempotency-Key: one\r\nIdempotency-Key: two\r\n\r\n"

    [(answer, refused)] = answers(server, POST + head.encode() + keys + body)

    assert (answer.status, list(refused["errors"])) == (400, ["Idempotency-Key"])


def test_a_good_request_before_a_bad_one_is_answered(server: LiveServer) -> None:
    first, second = answers(server, HEAD + b"\r\nBREW\r\n\r\n")

    assert (first[0].status, first[1]["service"]) == (200, "orchestrator")
    assert second[0].status == 405


@pytest.mark.parametrize(
    "sent", [b"BREW\r\n\r\n", BAD["OPTIONS of everything"][0], BAD["two hosts"][0]]
)
def test_bad_requests_are_counted_like_others(server: LiveServer, sent: bytes) -> None:
    first, second = ((answers(server, sent)[0][0]).headers for _ in range(2))
    left = [int(headers["X-RateLimit-Remaining"]) for headers in (first, second)]

    assert left[1] < left[0] or first["X-RateLimit-Reset"] != second["X-RateLimit-Reset"]


def test_bad_requests_are_refused_when_there_are_too_many() -> None:
    with live_server(
        ORCHESTRATOR_RATE_LIMIT_OTHER="2", ORCHESTRATOR_RATE_LIMIT_SCALE="1"
    ) as strict:
        seen = [answers(strict, b"BREW\r\n\r\n")[0][0].status for _ in range(6)]

    assert 429 in seen  # wherever the minute turns, one of the two holds three


def chunked(server: LiveServer, trailers: bytes, *headers: bytes) -> bytes:
    """Return a whole request to make a task, its body in one chunk."""
    body = b'{"type": "bugfix", "payload": {}}'
    lines = b"".join(header + b"\r\n" for header in (b"Transfer-Encoding: chunked", *headers))
    return POST + lines + b"\r\n%x\r\n%s\r\n0\r\n" % (len(body), body) + trailers + b"\r\n"


def test_a_trailer_is_never_a_header(server: LiveServer) -> None:
    key = b"X-API-Key: %s\r\n" % server.api_key.encode()
    again = HEAD + b"Connection: close\r\n\r\n"

    (refused, _), (after, _) = answers(server, chunked(server, key) + again)

    assert (refused.status, after.status) == (401, 200)


def test_a_request_with_small_trailers_is_served(server: LiveServer) -> None:
    key = b"X-API-Key: %s" % server.api_key.encode()
    trailers = b"X-A: %s\r\n" % (b"a" * 1_000) * 16 + b"Host: evil\r\n"

    [(answer, body)] = answers(server, chunked(server, trailers, key, b"Connection: close"))

    assert (answer.status, body["success"]) == (200, True)


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:8000", b"127.0.0.1:80", b"[::1]:65535"])
def test_a_good_host(server: LiveServer, host: bytes) -> None:
    [(answer, _)] = answers(
        server, b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host
    )

    assert answer.status == 200


def test_http_1_0_needs_no_host(server: LiveServer) -> None:
    [(answer, _)] = answers(server, b"GET /health HTTP/1.0\r\n\r\n")

    assert answer.status in (200, 400)  # as ALLOWED_HOSTS has it for the address itself


def test_who_names_no_host_claims_at_once(server: LiveServer) -> None:
    body = b'{"agent": "ops_agent", "types": ["nobody_asks"], "wait_seconds": 60}'
    head = b"POST /tasks/claim HTTP/1.0\r\nContent-Type: application/json\r\n"
    key = b"X-API-Key: %s\r\nContent-Length: %d\r\n\r\n" % (server.api_key.encode(), len(body))

    [(answer, said)] = answers(server, head + key + body)

    assert answer.status in (200, 400) and said.get("tasks", []) == []


def test_who_ends_only_their_own_side_gets_every_answer(server: LiveServer) -> None:
    key = b"X-API-Key: %s" % server.api_key.encode()

    made, second = answers(server, chunked(server, b"", key) + HEAD + b"\r\n", half_close=True)

    assert (made[0].status, second[0].status) == (200, 200)


def test_who_ends_their_side_waits_for_nothing(server: LiveServer) -> None:
    """Nobody can tell them from a client that has left, who must not be given work."""
    body = b'{"agent": "ops_agent", "wait_seconds": 60}'
    head = POST.replace(b"/tasks", b"/tasks/claim") + b"X-API-Key: %s\r\n" % server.api_key.encode()

    [(answer, claimed)] = answers(
        server, head + b"Content-Length: %d\r\n\r\n" % len(body) + body, half_close=True
    )

    assert (answer.status, claimed["tasks"]) == (200, [])


def test_who_ends_their_side_in_the_middle_gets_nothing(server: LiveServer) -> None:
    assert answers(server, POST + b"Content-Length: 9\r\n\r\n{", half_close=True) == []
