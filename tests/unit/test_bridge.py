"""The bridge from ASGI to Django's threads: what a thread keeps lasts."""

import asyncio
import threading
from typing import Any

from django.core.cache import caches

from orchestrator_site.server.wsgi_adapter import Answer, WSGIAdapter

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
    thawed, stuck = threading.Event(), threading.Event()

    def application(environ: dict[str, Any], start: Any) -> list[bytes]:
        if environ["PATH_INFO"] != "/live":
            stuck.set()
            thawed.wait()
        start("200 OK", [])
        return [b""]

    async def story() -> Answer:
        bridge = WSGIAdapter(application, threads=1)
        waits = asyncio.create_task(bridge.ask(SCOPE, b"", None))
        await asyncio.to_thread(stuck.wait)
        answer = await bridge.ask({**SCOPE, "path": "/live"}, b"", None)
        thawed.set()
        await waits
        return answer

    assert asyncio.run(asyncio.wait_for(story(), 30)).status == 200
