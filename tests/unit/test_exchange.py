"""One request and its answer, as they come and go over a connection."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator_site.server.exchange import Exchange

Headers = list[tuple[bytes, bytes]]
LENGTH: Headers = [(b"content-length", b"2")]


class Wire:
    """A transport that notes what is written to it, and whether it is closed."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def exchange(wire: Wire, *, method: str = "GET", keep_alive: bool = True) -> Exchange:
    """Return an exchange whose answer goes to the wire."""
    flow = SimpleNamespace(write_paused=False, resume_reading=lambda: None)
    parts: dict[str, Any] = {
        "scope": {"method": method},
        "transport": wire,
        "flow": flow,
        "logger": None,
        "access_logger": None,
    }
    return Exchange(
        **parts,
        access_log=False,
        default_headers=[(b"date", b"now")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: wire.written.append(b"over"),
    )


def answer(made: Exchange, headers: Headers, *parts: bytes) -> None:
    """Send an answer of these parts."""

    async def send() -> None:
        await made.send({"type": "http.response.start", "status": 200, "headers": headers})
        for place, part in enumerate(parts, start=1):
            more = place < len(parts)
            await made.send({"type": "http.response.body", "body": part, "more_body": more})

    asyncio.run(send())


def test_an_answer_that_is_whole_is_one_write() -> None:
    wire = Wire()

    answer(exchange(wire), LENGTH, b"{}")

    whole = b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 2\r\n\r\n{}"
    assert wire.written == [whole, b"over"] and not wire.closed


def test_an_answer_in_parts_is_written_as_it_comes() -> None:
    wire = Wire()

    answer(exchange(wire), LENGTH, b"{", b"}")

    assert wire.written[1:] == [b"{", b"}", b"over"]


@pytest.mark.parametrize(
    ("kept", "headers"),
    [({"keep_alive": False}, LENGTH), ({}, [*LENGTH, (b"connection", b"close")])],
)
def test_the_last_answer_of_a_connection_closes_it(kept: Any, headers: Headers) -> None:
    wire = Wire()

    answer(exchange(wire, **kept), headers, b"{}")

    assert wire.closed and b"connection: close\r\n" in wire.written[0]
    assert b"".join(wire.written).endswith(b"\r\n\r\n{}over")


def test_an_answer_to_head_has_no_body() -> None:
    wire = Wire()

    answer(exchange(wire, method="HEAD"), LENGTH, b"{}")

    assert b"".join(wire.written).endswith(b"content-length: 2\r\n\r\nover")


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb"])
def test_a_header_that_breaks_its_line_is_never_sent(value: bytes) -> None:
    wire = Wire()

    with pytest.raises(RuntimeError):
        answer(exchange(wire), [*LENGTH, (b"x-note", value)], b"{}")

    assert not wire.written


def test_a_length_that_is_not_the_bodys_is_never_sent_as_one() -> None:
    with pytest.raises(RuntimeError):
        answer(exchange(Wire()), LENGTH, b"too long")


def test_a_body_that_has_arrived_need_not_be_awaited() -> None:
    made = exchange(Wire())
    made.body, made.more_body = bytearray(b"all"), False
    made.message_event.set()

    assert made.whole_body() == b"all"
    assert not made.message_event.is_set()  # who awaits more awaits the client's end


@pytest.mark.parametrize("state", ["more_body", "disconnected", "waiting_for_100_continue"])
def test_a_body_that_may_not_come_must_be_awaited(state: str) -> None:
    made = exchange(Wire())
    made.more_body = False
    setattr(made, state, True)

    assert made.whole_body() is None
