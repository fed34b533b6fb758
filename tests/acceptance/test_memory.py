"""A server takes little memory: many large answers at once do not fill it and are given back."""

import gc
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from rest_framework.request import Request

from tests.faults.service import Service, embedded, on_servers

READERS, MOST_MIB = 10, 400  # of a process that begins with 100
STARTED_MIB, WORKED_MIB = 130, 200  # web, worker and beat in one process
WORK, AT_ONCE = 1_000, 16  # rounds of three requests
MIB = {"text": "x" * 1_000_000}


@pytest.fixture
def service() -> Iterator[Service]:
    """A server of its own, whose memory no other test has touched."""
    stores = on_servers if os.environ.get("DATABASE_URL") else embedded
    with stores(ORCHESTRATOR_RATE_LIMIT_SCALE="100000") as running:
        yield running


@pytest.mark.serial
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_ten_readers_of_large_tasks_do_not_fill_the_memory(service: Service) -> None:
    caller = service.caller("dev-agent-1")
    for _ in range(40):
        assert caller.send("POST", "/tasks", {"type": "bugfix", "payload": MIB}).status_code == 200

    def read(number: int) -> int:
        return len(service.caller(f"reader-{number}").send("GET", "/tasks?limit=200").content)

    for _ in range(3):  # what one round leaves behind shows in the next
        with ThreadPoolExecutor(READERS) as pool:
            assert all(4_000_000 < size < 4_010_000 for size in pool.map(read, range(READERS)))

    assert peak_of(service) < MOST_MIB


@pytest.mark.serial
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_server_starts_small_and_stays_so(service: Service) -> None:
    started = peak_of(service)

    def work(number: int) -> None:
        caller = service.caller(f"dev-agent-{number}")
        for _ in range(WORK // AT_ONCE):
            [task] = caller.create(1)
            caller.get(f"/tasks/{task}")
            caller.post("/events/publish", {"event_type": "a.b", "source_agent": "dev_agent"})

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, range(AT_ONCE)))

    assert started < STARTED_MIB and peak_of(service) < WORKED_MIB


def peak_of(service: Service) -> int:
    """Return the most memory the server ever had, in MiB."""
    assert service.process
    status = Path(f"/proc/{service.process.popen.pid}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak
    return int(peak[1]) // 1024


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/tasks"), ("POST", "/tasks"), ("POST", "/tasks/batch"), ("GET", "/tasks/none")],
)
def test_nothing_of_a_request_waits_for_the_garbage_collector(
    api: Callable[..., Any], make_task: Callable[..., Any], method: str, path: str
) -> None:
    make_task()
    task: dict[str, Any] = {"type": "bugfix", "payload": {}}
    body = {"tasks": [task]} if path == "/tasks/batch" else task
    caller = api("agent")

    def send() -> None:
        caller.post(path, body) if method == "POST" else caller.get(path)

    send()
    gc.collect()
    gc.disable()
    try:
        before = requests_in_memory()
        send()
        assert requests_in_memory() == before
    finally:
        gc.enable()


def requests_in_memory() -> int:
    """Return how many requests there are, those that describe the schema among them."""
    return sum(type(thing) is Request for thing in gc.get_objects())


def test_the_answer_of_a_batch_is_bounded_by_its_body(api: Callable[..., Any]) -> None:
    widest = "\u2028"  # three bytes in a body, six in an answer
    task = {"type": "bugfix", "payload": {"text": widest * 3_400}}
    body = json.dumps({"tasks": [task] * 100}, ensure_ascii=False)
    assert len(body.encode()) > settings.MAX_BODY_BYTES * 0.95

    caller = api("agent")
    answer = caller.client.generic(
        "POST", "/tasks/batch", body, "application/json", headers=caller.headers
    )

    assert answer.status_code == 200 and len(answer.content) < 2.5 * settings.MAX_BODY_BYTES
