"""What reaches the application's threads: whole requests of bounded size."""

import asyncio
import contextlib
import gc
import weakref
from typing import Any

import pytest

from orchestrator_site.server import request_limits
from orchestrator_site.server.exchange import EXCHANGE
from orchestrator_site.server.request_limits import ClientDisconnected, RequestRefused, read_request

SCOPE: dict[str, Any] = {"path": "/", "query_string": b"", "http_version": "1.0"}


def admit(
    *messages: dict[str, Any], headers: list[tuple[bytes, bytes]] | None = None, limit: int = 10
) -> Any:
    """Return the headers and the body of the request that is made of these messages."""
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else await asyncio.Event().wait()  # type: ignore[return-value]

    async def run() -> Any:
        scope, body = await read_request({**SCOPE, "headers": headers or []}, receive, limit=limit)
        return scope["headers"], body

    return asyncio.run(run())


def part(body: bytes, more: bool = False) -> dict[str, Any]:
    """Return a piece of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_in_pieces_arrives_whole() -> None:
    assert admit(part(b"ab", more=True), part(b"cd"))[1] == b"abcd"


@pytest.mark.parametrize(("size", "handed_on"), [(9, 9), (10, 10), (11, 11), (12, 11), (1000, 11)])
def test_of_a_body_over_the_limit_one_byte_more_is_handed_on(size: int, handed_on: int) -> None:
    assert len(admit(part(b"x" * size))[1]) == handed_on


def test_an_endless_body_is_not_read_to_its_end() -> None:
    pieces = [part(b"xxxx", more=True)] * 3  # a fourth read would wait for ever

    assert len(admit(*pieces)[1]) == 11


def test_a_chunked_body_gets_its_length() -> None:
    headers, body = admit(
        part(b"abc"), headers=[(b"transfer-encoding", b"chunked"), (b"host", b"x")]
    )

    assert (headers, body) == ([(b"host", b"x"), (b"content-length", b"3")], b"abc")


def test_a_request_without_a_body_gets_no_length() -> None:
    assert admit(part(b""), headers=[(b"host", b"x")])[0] == [(b"host", b"x")]


def test_a_header_cannot_pass_for_another_by_an_underscore() -> None:
    headers, _ = admit(part(b""), headers=[(b"x_api_key", b"evil"), (b"x-api-key", b"good")])

    assert headers == [(b"x-api-key", b"good")]


def test_a_caller_who_leaves_in_the_middle_of_the_body_is_not_served() -> None:
    with pytest.raises(ClientDisconnected):
        admit(part(b"ab", more=True), {"type": "http.disconnect"})


def test_a_body_that_does_not_arrive_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "BODY_SECONDS", 0.01)

    with pytest.raises(RequestRefused) as refusal:
        admit(part(b"ab", more=True))

    assert refusal.value.status == 408


@pytest.mark.parametrize(("count", "refused"), [(100, False), (101, True)])
def test_a_hundred_headers_are_enough(count: int, refused: bool) -> None:
    assert is_refused([(b"x", b"y")] * count) is refused


@pytest.mark.parametrize(("size", "refused"), [(16_384, False), (16_385, True)])
def test_a_header_has_a_largest_size(size: int, refused: bool) -> None:
    assert is_refused([(b"x", b"y" * size)]) is refused


def is_refused(headers: list[tuple[bytes, bytes]]) -> bool:
    """Return whether the headers are answered with a 431."""
    try:
        admit(part(b""), headers=headers)
    except RequestRefused as refusal:
        assert refusal.status == 431
        return True
    return False


def test_a_header_has_a_name_of_bounded_length() -> None:
    longest = b"x" * 256

    assert admit(part(b""), headers=[(longest, b"1")])[0] == [(longest, b"1")]
    with pytest.raises(RequestRefused) as refusal:
        admit(part(b""), headers=[(longest + b"x", b"1")])
    assert refusal.value.status == 431


def test_a_refused_request_is_gone_at_once() -> None:
    class Exchange:
        def __init__(self, scope: Any) -> None:
            self.scope = scope

    async def refused() -> "weakref.ref[Exchange]":
        scope = {**SCOPE, "headers": [(b"x" * 300, b"1")]}
        exchange = scope[EXCHANGE] = Exchange(scope)
        kept = weakref.ref(exchange)
        del exchange
        with contextlib.suppress(RequestRefused):
            await read_request(scope, None, limit=10)
        return kept

    gc.disable()
    try:
        assert asyncio.run(refused())() is None
    finally:
        gc.enable()
