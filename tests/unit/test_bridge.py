"""The bridge from ASGI to Django's threads: what a thread keeps lasts."""

import asyncio
import gc
import threading
from typing import Any

from django.core.cache import caches

from orchestrator_site.server.application import Application
from orchestrator_site.server.wsgi_adapter import THREADS, Answer, WSGIAdapter

SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/",
    "query_string": b"",
    "http_version": "1.1",
    "headers": [],
}


def test_what_django_keeps_for_a_thread_lasts_from_one_request_to_the_next() -> None:
    seen: list[Any] = []  # kept alive: the place of one that is gone might be given to the next

    def application(environ: dict[str, Any], start: Any) -> list[bytes]:
        seen.append(caches["default"])
        start("200 OK", [])
        return [b""]

    async def ask(times: int) -> list[Answer]:
        bridge = WSGIAdapter(application, threads=1)
        return [await bridge.ask(SCOPE, b"", None) for _ in range(times)]

    answers = asyncio.run(ask(3))

    assert [answer.status for answer in answers] == [200] * 3
    assert seen[0] is seen[1] is seen[2]


def test_a_liveness_probe_is_answered_while_every_thread_waits_for_a_store() -> None:
    thawed, stuck = threading.Event(), threading.Semaphore(0)

    def application(environ: dict[str, Any], start: Any) -> list[bytes]:
        stuck.release()
        thawed.wait()
        start("200 OK", [])
        return [b""]

    async def story() -> list[int]:
        served = Application(application, streams=Streams)
        waits = [asyncio.create_task(status_of(served, "/")) for _ in range(THREADS)]
        for _ in waits:
            await asyncio.to_thread(stuck.acquire)
        answers = [await status_of(served, "/live") for _ in range(2)]
        thawed.set()
        await asyncio.gather(*waits)
        return answers

    assert asyncio.run(asyncio.wait_for(story(), 30)) == [200, 200]


def test_what_a_server_has_loaded_is_not_looked_through_again() -> None:
    sent: list[str] = []
    comes = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, Any]:
        return {"type": next(comes)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])
        sent.append("frozen" if gc.get_freeze_count() > 10_000 else "not frozen")

    gc.unfreeze()
    asyncio.run(Application(None, streams=Streams)({"type": "lifespan"}, receive, send))
    gc.unfreeze()

    assert sent[:2] == ["lifespan.startup.complete", "frozen"]


class Streams:
    """Streams that nobody reads."""

    def close(self) -> None:
        """There is nobody to tell."""

    async def run(self) -> None:
        """There is nothing to write."""

    look_after = run


async def status_of(application: Application, path: str) -> int:
    """Return the status that an application answers with."""
    parts: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(part: Any) -> None:
        parts.append(part)

    headers = [(b"host", b"10.1.2.3:8000")]  # probes come by address
    await application({**SCOPE, "path": path, "headers": headers}, receive, send)
    return int(parts[0]["status"])
