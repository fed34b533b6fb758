"""Every operation of the schema, called with what fits the schema and what does not: no fault, no
refusal without its sentence.

The same cases in every run: what is found here is found again.
"""

import json
import time
from typing import Any

import pytest
import requests
import schemathesis
from django.test import Client
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from tests.conftest import token
from tests.contract.test_schema import DOCUMENT

EXAMPLES = 20  # of each operation and kind: all together are to take no more than two minutes
SEED = 6
SECONDS = 15  # for any one answer, on a busy machine
KEPT = ("method", "url", "headers", "params", "json", "data")  # of what a case is sent with
OURS = ("authorization", "content-length", "content-type")
FUZZ = settings(
    max_examples=EXAMPLES,
    phases=[Phase.generate],  # a failing case is as good as the smallest one, and much sooner there
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
FOUND: Any = schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
OPERATIONS = {operation.label: operation for operation in (found.ok() for found in FOUND)}
GOOD, BAD = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
TRIED = [(label, GOOD) for label in OPERATIONS] + [
    (label, BAD) for label, taken in OPERATIONS.items() if [*taken.iter_parameters(), *taken.body]
]


@pytest.fixture
def caller(db: None) -> Client:
    """An administrator, whom no role keeps from what is to be tried."""
    return Client(
        raise_request_exception=False, headers={"Authorization": f"Bearer {token('admin', 'fuzz')}"}
    )


@pytest.fixture
def there(caller: Client) -> dict[str, list[str]]:
    """What there is to be named in a path, by the parameter's name."""

    def post(path: str, **body: Any) -> Any:
        answer = caller.post(path, body, content_type="application/json")
        assert answer.status_code == 200, answer.content
        return answer.json()

    new = {"type": "bugfix", "payload": {}}
    tasks = [
        post("/tasks", priority=priority, **new)["task_id"] for priority in ("P0", "P0", "P2", "P3")
    ]
    pending = caller.get("/approvals/pending").json()["approvals"]
    post("/events/consumers", name="reader")
    hook = post("/events/subscriptions", url="https://8.8.8.8/hook", types=["*"])
    return {
        "task_id": tasks,
        "approval_id": [approval["approval_id"] for approval in pending],
        "name": ["dev_agent", "reader"],
        "task_type": ["bugfix"],
        "subscription_id": [hook["subscription_id"]],
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("label", "mode"), TRIED, ids=lambda part: str(getattr(part, "value", part))
)
def test_whatever_is_sent_is_answered_without_a_fault(
    label: str, mode: GenerationMode, caller: Client, there: dict[str, list[str]]
) -> None:
    operation = OPERATIONS[label]

    @seed(SEED)
    @FUZZ
    @given(st.data())
    def run(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        for name in case.path_parameters or {}:
            if data.draw(st.integers(0, 3)):  # else it is most likely not there
                case.path_parameters[name] = data.draw(st.sampled_from(there[name]))
        check(send(caller, case), case.as_curl_command())

    run()


def send(caller: Client, case: schemathesis.Case) -> Any:
    """Send a case as its client would; return the answer, which must not take long."""
    sent = case.as_transport_kwargs(base_url="http://localhost")
    request: Any = requests.Request(**{name: sent[name] for name in KEPT if name in sent}).prepare()
    headers = {name: value for name, value in request.headers.items() if name.lower() not in OURS}
    body = request.body or b""
    began = time.monotonic()
    answer = caller.generic(
        request.method or "",
        request.path_url,
        body if isinstance(body, bytes) else str(body).encode(),
        request.headers.get("Content-Type", ""),
        headers=headers,
    )
    assert time.monotonic() - began < SECONDS, case.as_curl_command()
    return answer


def check(answer: Any, curl: str) -> None:
    """Check what holds for any answer."""
    assert answer.status_code < 500, f"{answer.status_code}: {curl}"
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/json", curl
        assert isinstance(json.loads(answer.content)["detail"], str), curl
