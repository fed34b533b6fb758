"""The README's first five minutes, pasted into a shell against a live server."""

import shutil
from collections.abc import Iterator

import pytest
import requests

from tests.support import documents
from tests.support.live import LiveServer, live_server

PAGE = documents.ROOT / "README.md"
BLOCKS = [block for block in documents.blocks(PAGE) if block.language == "bash"]


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    """A service of its own: the page is for a new one, with the limits as shipped."""
    with live_server(ORCHESTRATOR_RATE_LIMIT_SCALE="1") as running:
        yield running


@pytest.fixture(scope="module")
def printed(server: LiveServer) -> list[str]:
    """What each block printed."""
    if not shutil.which("curl"):
        pytest.skip("there is no curl on this machine")
    parts = [
        (block.line, block.text.replace("http://127.0.0.1:8000", server.url)) for block in BLOCKS
    ]
    return list(documents.run_bash(parts, head="set -eo pipefail\n").values())


def test_the_first_five_minutes_go_as_told(printed: list[str]) -> None:
    created, refused, approved, done = printed

    assert created.startswith("task_")
    assert "needs sign-off" in documents.json_in(refused)["detail"]
    assert documents.json_in(approved)["message"] == "Approved by ops-agent-1"
    assert [fact["event_type"] for fact in documents.json_in(done)["timeline"]] == [
        "approval.requested",
        "task.created",
        "task.assigned",
        "approval.approved",
        "task.claimed",
        "task.completed",
    ]


def test_the_task_of_the_first_five_minutes_is_done(server: LiveServer, printed: list[str]) -> None:
    caller = {"Authorization": f"Bearer {server.token('user')}"}

    task = requests.get(
        f"{server.url}/tasks/{printed[0].strip()}", headers=caller, timeout=10
    ).json()["task"]

    assert (task["status"], task["result"]) == ("completed", {"healthy": True})
