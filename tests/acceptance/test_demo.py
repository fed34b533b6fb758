"""The demo, played against a live server with the shipped limits."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from tests.stores import environment
from tests.support.documents import ROOT
from tests.support.live import LiveServer, live_server

SECONDS = 110
TOLD = [  # in this order; the missed deadline may come in anywhere
    "pager-1      hands in the incident",
    "ops-agent-1  takes the incident",
    "ops-agent-1  hands in the bugfix",
    "alice        approves the bugfix",
    "dev-agent-1  takes the bugfix",
    "dev-agent-1  says pr.merged",
    "ops-agent-1  hands in the deployment “1.4.1” (P0)",
    "alice        approves the deployment",
    "ops-agent-1  takes the deployment",
    "ops-agent-1  says deployment.completed",
    "faq-agent-1  hands in the faq_update",
    "faq-agent-1  has done the faq_update",
]


@pytest.fixture
def server() -> Iterator[LiveServer]:
    """A service of its own, with the limits as shipped: the demo tells of all that happens."""
    with live_server(ORCHESTRATOR_RATE_LIMIT_SCALE="1", ORCHESTRATOR_SWEEP_SECONDS="1") as running:
        yield running


@contextlib.contextmanager
def demo(url: str, *options: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Start the demo, without pauses; end it whatever happens."""
    command = [sys.executable, "-m", "demo", "--url", url, "--fast", *options]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    running = subprocess.Popen(command, cwd=ROOT, env=environment() | settings, **output)  # type: ignore[call-overload]
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def test_the_day_goes_as_told(server: LiveServer) -> None:
    with demo(server.url, "--approve") as day:
        printed, _ = day.communicate(timeout=SECONDS)

    assert day.returncode == 0, printed
    story, _, timeline = printed.partition("The whole affair")
    places = [story.find(told) for told in TOLD]
    assert -1 not in places, printed
    assert places == sorted(places)
    assert "records that the documentation “How sessions work” missed its deadline" in story
    assert timeline.count("task.completed") == 5
    assert timeline.count("sla.violation") == 1
    assert "/admin/tasks_app/task/?q=demo-" in timeline


def test_the_day_waits_for_a_person_and_ends_badly_when_they_say_no(server: LiveServer) -> None:
    headers = {"Authorization": f"Bearer {server.token(name='bob')}"}
    with demo(server.url, ORCHESTRATOR_JWT_SECRET=server.secret) as day:
        assert day.stdout
        asked = next(line for line in day.stdout if ">>> Your turn" in line)
        [pending] = requests.get(
            f"{server.url}/approvals/pending", headers=headers, timeout=10
        ).json()["approvals"]
        requests.post(
            f"{server.url}/approvals/{pending['approval_id']}/reject", headers=headers, timeout=10
        )
        printed, _ = day.communicate(timeout=SECONDS)

    assert f"{server.url}/admin/approvals_app/approval/" in asked
    assert "bob          rejects the bugfix" in printed
    assert day.returncode == 1, printed


def test_without_a_server_the_demo_says_how_to_start_one() -> None:
    with demo("http://127.0.0.1:9") as day:
        printed, _ = day.communicate(timeout=SECONDS)

    assert day.returncode == 1
    assert "Start one: make up" in printed
