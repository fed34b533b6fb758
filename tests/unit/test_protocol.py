"""How long and how much the server reads before there is a request."""

import asyncio
import socket
import struct
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from orchestrator_site.api.middleware import REFUSAL
from orchestrator_site.server import http_protocol

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


def statuses(*parts: bytes) -> list[int]:
    """Send parts over one connection.

    Return what the application was told to refuse with, 200 for a good request.
    """
    seen: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        refusal = scope.get(REFUSAL)
        seen.append(refusal.status if refusal else 200)
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
        )
        await send({"type": "http.response.body", "body": b""})

    async def run() -> None:
        config = uvicorn.Config(application, http=http_protocol.Protocol, log_config=None)
        config.load()
        loop = asyncio.get_running_loop()
        state = ServerState()
        server = await loop.create_server(
            lambda: http_protocol.Protocol(config=config, server_state=state, app_state={}),
            "127.0.0.1",
            0,
        )
        async with server, asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for part in parts:
                writer.write(part)
                await writer.drain()
            while await reader.read(65_536):
                pass
            writer.close()

    asyncio.run(run())
    return seen


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.05)


@pytest.mark.usefixtures("hurried")
def test_a_connection_on_which_nothing_arrives_is_closed() -> None:
    assert statuses() == []


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("before", [b"", HEAD + b"\r\n"], ids=["the first", "a later one"])
def test_a_head_that_does_not_arrive_in_time_is_refused(before: bytes) -> None:
    assert statuses(before + HEAD + b"X-A: ")[-1] == 408


def test_a_head_has_an_end() -> None:
    fits = HEAD + b"X-A: " + b"a" * 120_000 + b"\r\nConnection: close\r\n\r\n"

    assert statuses(fits) == [200]
    assert statuses(HEAD + b"X-A: ", *[b"a" * 10_000] * 14) == [431]


def test_many_requests_at_once_are_not_one_long_head() -> None:
    last = HEAD + b"Connection: close\r\n\r\n"

    assert statuses((HEAD + b"\r\n") * 4_000, last) == [200] * 4_001


@pytest.mark.parametrize("later", [b"", HEAD + b"\r\n"], ids=["alone", "with a later request"])
def test_who_is_being_answered_is_seen_to_leave(later: bytes) -> None:
    left: list[bool] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request":
            pass
        left.append(message["type"] == "http.disconnect")

    async def run() -> None:
        config = uvicorn.Config(application, http=http_protocol.Protocol, log_config=None)
        config.load()
        protocol = http_protocol.Protocol(config=config, server_state=ServerState(), app_state={})
        server = await asyncio.get_running_loop().create_server(lambda: protocol, "127.0.0.1", 0)
        async with server, asyncio.timeout(10):
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(HEAD + b"\r\n" + later)
            while protocol.answering is None or (later and not protocol.pipeline):
                await asyncio.sleep(0)
            reset = struct.pack("ii", 1, 0)  # a close that does not linger
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            writer.transport.abort()
            while not left:
                await asyncio.sleep(0)

    asyncio.run(run())
    assert left[0]
