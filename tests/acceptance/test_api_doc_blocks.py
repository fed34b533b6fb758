"""docs/api.md: every block is taken out of the text and run against a live server, with the limits
as shipped.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import requests
from django.conf import settings

from tests.support import documents
from tests.support.documents import Block
from tests.support.live import LiveServer, live_server

PAGE = documents.ROOT / "docs" / "api.md"
BLOCKS = documents.blocks(PAGE)
ANSWERED = [
    pair for pair in pairwise(BLOCKS) if (pair[0].language, pair[1].language) == ("bash", "json")
]
RATES = {  # what the page calls the scopes of the settings
    "POST /tasks": "tasks",
    "GET /tasks/{id}": "task_read",
    "PATCH /tasks/{id}/status": "task_status",
    "POST /events/publish": "events_publish",
    "GET /approvals/pending": "approvals_pending",
    "GET /approvals/{id}": "approval_read",
    "GET /approvals/history": "approvals_history",
    "POST /approvals/{id}/approve": "approval_approve",
    "POST /approvals/{id}/reject": "approval_reject",
    "GET /stats": "stats",
    "tasks in POST /tasks/batch": "tasks_batch",
    "events in POST /events/publish/batch": "events_batch",
    "claiming tasks": "claim",
    "heartbeats": "heartbeat",
    "reading events": "events_read",
    "GET /health": "health",
    "POST /auth/token, per address": "auth_token",
    "everything else": "other",
    "wrong passwords, per account and address": "login",
}


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    """A service of its own: the page counts what it made, and has the limits as shipped."""
    with live_server(ORCHESTRATOR_RATE_LIMIT_SCALE="1") as running:
        yield running


@pytest.fixture(scope="module")
def fill(server: LiveServer) -> Callable[[str], str]:
    """Put the server's address and secret, and the interpreter at hand, where the page has
    examples.
    """
    filled = {
        "http://127.0.0.1:8000": server.url,
        "YOUR_SECRET": server.secret,
        ".venv/bin/python": documents.PYTHON,
    }

    def put(text: str) -> str:
        for example, real in filled.items():
            text = text.replace(example, real)
        return text

    return put


@pytest.fixture(scope="module")
def printed(server: LiveServer, fill: Callable[[str], str]) -> dict[int, str]:
    """What each shell block printed, run one after another in one shell."""
    if not shutil.which("curl"):
        pytest.skip("there is no curl on this machine")
    parts = [(block.line, fill(block.text)) for block in of("bash")]
    return documents.run_bash(parts, environment=server.environment)


@pytest.mark.parametrize("block", of("bash"), ids=str)
def test_a_shell_block_runs(block: Block, printed: dict[int, str]) -> None:
    assert block.line in printed


@pytest.mark.parametrize(("asked", "answer"), ANSWERED, ids=str)
def test_an_answer_has_what_the_page_shows(
    asked: Block, answer: Block, printed: dict[int, str]
) -> None:
    real = documents.json_in(printed[asked.line])

    assert documents.missing(json.loads(answer.text), real) == []


@pytest.mark.parametrize("block", of("json"), ids=str)
def test_a_json_block_is_json(block: Block) -> None:
    json.loads(block.text)


def test_the_python_blocks_run(server: LiveServer, fill: Callable[[str], str]) -> None:
    parts = [(block.line, fill(block.text)) for block in of("python")]
    new: Any = {"json": {"type": "bugfix", "payload": {}}, "headers": {"X-API-Key": server.api_key}}
    requests.post(
        f"{server.url}/tasks", timeout=10, **new
    ).raise_for_status()  # so that there is news to listen to

    assert documents.run_python(parts, environment=server.environment).keys() == {
        line for line, _ in parts
    }


@pytest.mark.skipif(bool(documents.why_no_node()), reason=documents.why_no_node())
@pytest.mark.parametrize("block", of("javascript"), ids=str)
def test_a_javascript_block_runs(block: Block, fill: Callable[[str], str]) -> None:
    assert documents.run_node(fill(block.text)).strip()


def test_no_block_is_of_a_kind_that_is_not_tested() -> None:
    assert {block.language for block in BLOCKS} <= {"bash", "json", "python", "javascript", ""}


def test_the_table_of_limits_is_the_one_in_the_settings() -> None:
    rows = documents.table(PAGE, "Endpoint")

    assert {RATES[name.replace("`", "")]: int(rate) for name, rate in rows} == settings.RATE_LIMITS


def test_every_endpoint_is_described(server: LiveServer) -> None:
    paths = requests.get(f"{server.url}/openapi.json", timeout=30).json()["paths"]
    text = PAGE.read_text(encoding="utf-8")

    assert [path for path in paths if path not in text] == []
