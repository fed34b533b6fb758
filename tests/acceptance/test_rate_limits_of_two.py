"""Two services count together in one Redis: at once, many cannot get through what is for few."""

import asyncio
import os
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django_ratelimit.core import _get_window

from orchestrator_site.api.throttling import PERIOD
from tests.support.live import LiveServer, live_server
from tests.support.processes import up

pytestmark = [
    pytest.mark.serial,
    pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="each counts in its own memory"),
]
BODY = b'{"type": "bugfix", "payload": {}}'
LIMIT = 10  # creations a minute, as the guide has it


async def create(url: str, token: str) -> int:
    """Create a task over a connection of its own; return the status of the answer."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST /tasks HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    more = f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    writer.write((head + more).encode() + BODY)
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


async def race(urls: list[str], server: LiveServer, number: int) -> Counter[int]:
    """Create as many tasks at once on each service; return how often each status was answered."""
    names = [f"agent-{place}" for place in range(100)]
    name = max(names, key=lambda name: _get_window(f"jwt:{name}|", PERIOD))  # its minute begins
    calls = [create(url, server.token(name=name)) for _ in range(number) for url in urls]
    return Counter(await asyncio.gather(*calls))


def test_of_200_requests_at_once_to_two_services_the_limit_is_let_through(tmp_path: Path) -> None:
    with (
        live_server(ORCHESTRATOR_RATE_LIMIT_SCALE="1") as one,
        up(tmp_path, **one.environment | {"DATA_DIR": str(tmp_path)}) as two,
    ):
        answers = asyncio.run(race([one.url, two.url], one, 100))

    assert answers == {200: LIMIT, 429: 200 - LIMIT}
