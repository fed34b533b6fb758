"""The owner's API usage guide, where it is at hand: its code, its answers and its tables, against a
live server.

Only what stands for something else is replaced: the host, the tokens, keys and secrets, and the ids
of its samples.
"""

import json
import re
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import requests
from django.conf import settings as site

from orchestrator_site.auth.api_keys import read_keys
from tests.support import documents
from tests.support.documents import Block
from tests.support.live import LiveServer

GUIDE = documents.ROOT.parent / "shared" / "spec" / "api-usage-guide.md"
BLOCKS = documents.blocks(GUIDE) if GUIDE.is_file() else []
HOST = "https://morningai-orchestrator-api.onrender.com"
KEYS = "Configuring API Keys"
RATES = {  # the guide's lines, as scopes of the settings
    "POST /tasks": ["tasks"],
    "GET /tasks/{id}": ["task_read"],
    "PATCH /tasks/{id}/status": ["task_status"],
    "POST /events/publish": ["events_publish"],
    "GET /approvals/*": ["approvals_pending", "approval_read", "approvals_history"],
    "POST /approvals/*/approve": ["approval_approve"],
    "POST /approvals/*/reject": ["approval_reject"],
    "GET /stats": ["stats"],
}
PRELUDE = """
import requests
secret = "YOUR_SECRET"
url = "{host}/tasks"
data = {{"type": "bugfix", "payload": {{"issue": "123"}}}}
def create_jwt_token(user_id, role, secret):
    return "YOUR_TOKEN"
headers = {{"Authorization": "Bearer YOUR_TOKEN"}}
"""
AFTER = {  # how a sample is put to use, and what must come of it
    "Creating JWT Tokens": (
        "assert requests.get(url, headers={'Authorization': f'Bearer {token}'}).status_code == 200"
    ),
    "1. Use JWT Tokens for Production": (
        "assert requests.get(url, headers=headers).status_code == 200"
    ),
    "2. Handle Rate Limits Gracefully": (
        "assert make_request_with_retry(url, headers).status_code == 200"
    ),
    "3. Monitor Queue Depth": "check_queue_health()",
    "4. Use Trace IDs for Debugging": "assert response.json()['task']['trace_id'] == trace_id",
    "5. Implement Proper Error Handling": "assert sample()['task']['status'] == 'assigned'",
    "Python Agent Integration": (
        "assert client.get_task(task['task_id'])['task']['status'] == 'in_progress'"
    ),
}
pytestmark = pytest.mark.skipif(
    not BLOCKS, reason="the owner's guide is not beside this repository"
)


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


Call = Callable[..., dict[str, Any]]


@pytest.fixture
def call(server: LiveServer) -> Call:
    """Send a request as an agent; return the answer."""

    def send(method: str, path: str, **options: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {server.token()}"}
        response = requests.request(
            method, server.url + path, headers=headers, timeout=10, **options
        )
        assert response.status_code == 200, response.text
        return response.json()

    return send


@pytest.fixture
def task_id(call: Call) -> str:
    """A task in progress."""
    made = call("POST", "/tasks", json={"type": "bugfix", "payload": {"issue": "123"}})["task_id"]
    call("PATCH", f"/tasks/{made}/status?status=in_progress")
    return made


@pytest.fixture
def approval_id(call: Call) -> str:
    """A request that waits for a decision."""
    return call("POST", "/tasks", json={"type": "deployment", "payload": {}, "priority": "P0"})[
        "task"
    ]["approval"]["approval_id"]


@pytest.fixture
def fill(server: LiveServer, task_id: str, approval_id: str) -> Callable[[str], str]:
    """Put real things where the guide has samples."""
    samples = {
        HOST: server.url,
        "YOUR_JWT_TOKEN": server.token(),
        "YOUR_TOKEN": server.token(),
        "YOUR_API_KEY": server.api_key,
        "YOUR_SECRET": server.secret,
        "task_abc123": task_id,
        "approval_123": approval_id,
    }

    def put(text: str) -> str:
        for sample, real in samples.items():
            text = text.replace(sample, real)
        return text

    return put


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl on this machine")
@pytest.mark.parametrize("block", [block for block in of("bash") if block.heading != KEYS], ids=str)
def test_a_curl_block_runs(block: Block, fill: Callable[[str], str]) -> None:
    answer = documents.json_in(documents.run_bash([(block.line, fill(block.text))])[block.line])

    assert answer.get("success", True) is True


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_a_python_block_runs(block: Block, fill: Callable[[str], str]) -> None:
    text = block.text
    if "    return response.json()\nexcept" in text:  # the body of a function without its head
        text = "def sample():\n" + "".join(f"    {line}\n" for line in text.splitlines())

    documents.run_python(
        [(block.line, fill(PRELUDE.format(host=HOST) + text + AFTER[block.heading]))]
    )


@pytest.mark.skipif(bool(documents.why_no_node()), reason=documents.why_no_node())
@pytest.mark.parametrize("block", of("javascript"), ids=str)
def test_a_javascript_block_runs(block: Block, fill: Callable[[str], str]) -> None:
    printed = documents.run_node(fill(block.text))

    assert "OrchestratorClient" not in block.text or printed.startswith("Created task: task_")


def requested(heading: str) -> Any:
    """Return the request a section shows."""
    shown = (
        block for block in of("json") if (block.heading, block.before) == (heading, "**Request**:")
    )
    return json.loads(next(shown).text)


def approved(call: Call, approval_id: str) -> dict[str, Any]:
    return call("POST", f"/approvals/{approval_id}/approve")


ASK: dict[
    str, Callable[[Call, str, str], dict[str, Any]]
] = {  # what each section describes; of a task, an approval
    "2. Check API Health": lambda call, task, approval: call("GET", "/health"),
    "Create Task": lambda call, task, approval: call(
        "POST", "/tasks", json=requested("Create Task")
    ),
    "Get Task": lambda call, task, approval: call("GET", f"/tasks/{task}"),
    "Update Task Status": lambda call, task, approval: call(
        "PATCH", f"/tasks/{task}/status?status=completed"
    ),
    "Publish Event": lambda call, task, approval: call(
        "POST", "/events/publish", json=requested("Publish Event")
    ),
    "Get Pending Approvals": lambda call, task, approval: call("GET", "/approvals/pending"),
    "Approve Request": lambda call, task, approval: approved(call, approval),
    "Get Approval Status": lambda call, task, approval: (
        approved(call, approval) and call("GET", f"/approvals/{approval}")
    ),
    "Reject Request": lambda call, task, approval: call(
        "POST", f"/approvals/{approval}/reject?reason=Security+concerns"
    ),
    "Get Approval History": lambda call, task, approval: (
        approved(call, approval) and call("GET", "/approvals/history?limit=1")
    ),
    "Get Queue Statistics": lambda call, task, approval: call("GET", "/stats"),
}


@pytest.mark.parametrize(
    "block", [block for block in of("json") if block.before == "**Response**:"], ids=str
)
def test_an_answer_has_every_documented_field_of_the_documented_kind(
    block: Block, call: Call, task_id: str, approval_id: str
) -> None:
    real = ASK[block.heading](call, task_id, approval_id)

    documented = json.loads(block.text)
    assert documents.missing(documented, real) == []
    assert not nulls(documented, real)


def nulls(documented: Any, real: Any) -> list[str]:
    """Return which documented fields came as null."""
    if isinstance(documented, dict):
        return [
            name
            for name, value in documented.items()
            if real[name] is None or nulls(value, real[name])
        ]
    return nulls(documented[0], real[0]) if isinstance(documented, list) else []


@pytest.mark.parametrize("status", [401, 403, 404, 400, 200])
def test_a_status_code_means_what_the_guide_says(server: LiveServer, status: int) -> None:
    user, agent = ({"Authorization": f"Bearer {server.token(role)}"} for role in ("user", "agent"))
    good: Any = {"type": "bugfix", "payload": {}}
    bad: Any = {"type": "bugfix", "payload": 3}
    tasks = f"{server.url}/tasks"
    answers = {
        401: requests.post(tasks, json=good, timeout=10),
        403: requests.post(tasks, json=good, headers=user, timeout=10),
        404: requests.get(f"{tasks}/task_abc123", headers=user, timeout=10),
        400: requests.post(tasks, json=bad, headers=agent, timeout=10),
        200: requests.post(tasks, json=good, headers=agent, timeout=10),
    }

    assert answers[status].status_code == status
    assert str(status) in [row[0] for row in documents.table(GUIDE, "Code")]
    if status != 200:
        assert isinstance(answers[status].json()["detail"], str)


@pytest.mark.parametrize("role", ["admin", "agent", "user"])
def test_a_role_may_what_its_row_says(server: LiveServer, role: str) -> None:
    rows = {row[0].strip("`"): row[1] for row in documents.table(GUIDE, "Role")}
    headers = {"Authorization": f"Bearer {server.token(role, name=f'{role}-1')}"}

    read = requests.get(f"{server.url}/tasks", headers=headers, timeout=10)
    new: Any = {"type": "bugfix", "payload": {}, "priority": "P1"}
    wrote = requests.post(f"{server.url}/tasks", json=new, headers=headers, timeout=10)

    assert read.status_code == 200
    assert wrote.status_code == (403 if rows[role].startswith("Read-only") else 200)


def test_the_rates_are_the_ones_of_the_table() -> None:
    rows = [(row[0].strip("`"), int(row[1])) for row in documents.table(GUIDE, "Endpoint")]

    assert [name for name, _ in rows] == list(RATES)
    assert {scope: rate for name, rate in rows for scope in RATES[name]} == {
        scope: site.RATE_LIMITS[scope] for scopes in RATES.values() for scope in scopes
    }


def test_every_answer_has_the_rate_headers(server: LiveServer) -> None:
    documented = next(block for block in BLOCKS if block.heading == "Rate Limit Headers")
    names = [line.split(":")[0] for line in documented.text.splitlines()]

    answers = [
        requests.get(server.url + path, timeout=10) for path in ("/stats", "/tasks", "/nowhere")
    ]

    assert [answer.status_code for answer in answers] == [200, 401, 404]
    assert all(re.fullmatch(r"\d+", answer.headers[name]) for answer in answers for name in names)


@pytest.mark.usefixtures("clock")
def test_the_eleventh_task_of_a_minute_is_refused_in_the_guides_words(
    api: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "RATE_LIMIT_SCALE", 1)
    documented = next(block for block in of("json") if block.heading == "429 Too Many Requests")
    caller = api("agent")

    answers = [caller.post("/tasks", {"type": "bugfix", "payload": {}}) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    wait = answers[-1].headers["Retry-After"]
    assert answers[-1].json()["detail"] == json.loads(documented.text)["detail"].replace("45", wait)


def test_the_keys_of_the_guide_can_be_read() -> None:
    lines = next(block.text for block in BLOCKS if block.heading == KEYS).splitlines()

    keys, faults = read_keys(dict(line.split("=", 1) for line in lines))

    assert {key.name: key.role for key in keys} == {
        "dev_agent": "agent",
        "ops_agent": "agent",
        "admin": "admin",
    }
    assert faults == []


def test_the_pages_the_guide_links_to_are_there(server: LiveServer) -> None:
    paths = re.findall(rf"\*\*: {re.escape(HOST)}(/\S+)", GUIDE.read_text(encoding="utf-8"))

    assert paths == ["/docs", "/redoc", "/openapi.json"]
    assert [requests.get(server.url + path, timeout=30).status_code for path in paths] == [
        200,
        200,
        200,
    ]
