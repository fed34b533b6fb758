"""The programs of examples/, run as they are against a live server."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.documents import ROOT
from tests.support.live import LiveServer, live_server
from tests.support.processes import Process, process
from tests.support.servers import free_port
from tests.support.sse import listen

FORGED = {"webhook-id": "evt_1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    """A service of its own, which may call this machine: a worker takes any task there is."""
    with live_server(ORCHESTRATOR_WEBHOOK_ALLOW_NETS="127.0.0.0/8") as running:
        yield running


def example(name: str, server: LiveServer, **settings: str) -> AbstractContextManager[Process]:
    return process(
        [sys.executable, str(ROOT / "examples" / name)],
        BASE=server.url,
        TOKEN=server.token(),
        PYTHONUNBUFFERED="1",
        **settings,
    )


def post(server: LiveServer, path: str, body: dict[str, Any], role: str = "agent") -> Any:
    headers = {"Authorization": f"Bearer {server.token(role)}"}
    answer = requests.post(server.url + path, json=body, headers=headers, timeout=30)
    assert answer.ok, answer.text
    return answer.json()


def publish(server: LiveServer, event_type: str) -> str:
    """Publish an event; return its id."""
    event = {"event_type": event_type, "source_agent": "dev_agent"}
    return str(post(server, "/events/publish", event)["event_id"])


def create_task(server: LiveServer, **payload: str) -> str:
    task = {"type": "bugfix", "payload": payload, "priority": "P3"}
    return str(post(server, "/tasks", task)["task_id"])


def test_the_worker_completes_tasks_and_gives_back_those_it_cannot_do(server: LiveServer) -> None:
    with listen(server.url, server.token("user"), "types=task.*") as stream:
        tasks = [create_task(server, issue="no name"), create_task(server, name="Ada")]
        with example("worker.py", server, AGENT="dev_agent"):
            events = stream.until("task.completed")

    ends = {event.data["task_id"]: event.event for event in events}
    assert [ends[task] for task in tasks] == ["task.requeued", "task.completed"]


def test_the_webhook_receiver_takes_signed_messages_once_and_no_others(server: LiveServer) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/hook"
    made = post(server, "/events/subscriptions", {"url": url, "types": ["demo.*"]}, "admin")

    with example("webhook_receiver.py", server, SECRET=made["secret"], PORT=str(port)) as receiver:
        first = publish(server, "demo.first")
        receiver.wait_for(first)
        forged = requests.post(url, data=b"{}", headers=FORGED, timeout=10)
        path = f"/events/subscriptions/{made['subscription_id']}/resend"
        post(server, path, {"event_id": first}, "admin")
        receiver.wait_for('"POST /hook HTTP/1.1" 204')
        receiver.wait_for(publish(server, "demo.second"))

    assert forged.status_code == 401
    assert receiver.text.count(first) == 1


def test_the_stream_reader_goes_on_where_it_stopped(server: LiveServer, tmp_path: Path) -> None:
    place = str(tmp_path / "place.txt")
    first, second = publish(server, "pr.first"), publish(server, "pr.second")
    with example("stream_reader.py", server, PLACE=place) as reader:
        reader.wait_for(first)
        reader.wait_for(second)
    missed = publish(server, "pr.missed")
    with example("stream_reader.py", server, PLACE=place) as reader:
        reader.wait_for(missed)

    assert first not in reader.text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_fits_on_a_screen_and_is_named_in_the_readme(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    assert f"(examples/{path.name})" in (ROOT / "README.md").read_text(encoding="utf-8")
