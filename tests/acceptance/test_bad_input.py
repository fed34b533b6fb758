"""Bad input at every door: a 4xx with one sentence, nothing stored, the same on every database.

The cases are in `tests/support/bad_input.py`. Requests that are malformed below JSON have
`test_bad_input_transport.py`.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from approvals_app.models import Approval
from events_app.models import Event
from orchestrator_site.models import IdempotencyKey
from tasks_app.models import Task
from tests.support.bad_input import (
    BODIES,
    DECISIONS,
    DOORS,
    EVENT,
    EVENTS,
    READS,
    REPORTS,
    TASK,
    TASKS,
    TEXTS,
    VALUES,
    WORK,
)

Callers = Callable[..., Any]
STORED = (Task, Approval, Event, IdempotencyKey)


@pytest.fixture
def agent(api: Callers) -> Any:
    return api("agent")


@pytest.fixture(autouse=True)
def nothing_stored(agent: Any, make_task: Callable[..., Task]) -> Iterator[Task]:
    """Give a waiting, gated task; check at the end that nothing at all was stored or changed."""
    task = make_task(priority="P0")
    before = [list(model.objects.order_by("pk").values()) for model in STORED]
    yield task
    assert [list(model.objects.order_by("pk").values()) for model in STORED] == before


def check_refused(answer: Any, status: int, field: str = "") -> None:
    """Check the shape every refusal has; the contract client has checked it against the schema."""
    assert answer.status_code == status, answer.content
    said = answer.json()
    assert isinstance(said["detail"], str) and said["detail"] and "\n" not in said["detail"]
    assert "Traceback" not in said["detail"] and "SELECT" not in said["detail"]
    if field:
        assert field in said["errors"], said


@pytest.mark.parametrize(
    "path", ["/tasks", "/tasks/batch", "/tasks/claim", "/events/publish", "/auth/token"]
)
@pytest.mark.parametrize("case", TEXTS)
def test_a_body_that_is_no_good(agent: Any, path: str, case: str) -> None:
    data, status = TEXTS[case]

    check_refused(agent.send_raw("POST", path, data, "application/json"), status)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", VALUES)
def test_a_value_that_no_database_keeps(agent: Any, door: str, case: str) -> None:
    path, body, field = DOORS[door]
    members = [f'"{name}": {json.dumps(value)}' for name, value in body.items() if name != field]
    text = "{" + ", ".join([*members, f'"{field}": {{"v": {VALUES[case]}}}']) + "}"

    check_refused(agent.send_raw("POST", path, text.encode(), "application/json"), 400)


@pytest.mark.parametrize("path", ["/tasks", "/events/publish"])
def test_a_body_that_is_too_large(agent: Any, path: str) -> None:
    data = b'{"payload": {"a": "' + b"x" * 1_048_576 + b'"}}'

    check_refused(agent.send_raw("POST", path, data, "application/json"), 413)


def test_an_event_is_no_place_for_files(agent: Any) -> None:
    check_refused(agent.post("/events/publish", {**EVENT, "payload": {"a": "x" * 262_144}}), 413)


def cases(table: dict[str, list[Any]]) -> list[Any]:
    """Return the lines of a table as named parameters."""
    return [
        pytest.param(field, value, id=f"{field}={str(value)[:30]!r}")
        for field, values in table.items()
        for value in values
    ]


@pytest.mark.parametrize(("field", "value"), cases(TASKS))
def test_a_task_with_one_wrong_field(agent: Any, field: str, value: Any) -> None:
    answer = agent.post("/tasks", {**TASK, field.split(".")[0]: value})

    check_refused(answer, 400)
    assert any(name.startswith(field) for name in answer.json()["errors"]), answer.json()


@pytest.mark.parametrize(("field", "value"), cases(EVENTS))
def test_an_event_with_one_wrong_field(agent: Any, field: str, value: Any) -> None:
    answer = agent.post("/events/publish", {**EVENT, field: value})

    check_refused(answer, 400)
    assert any(name.startswith(field) for name in answer.json()["errors"]), answer.json()


@pytest.mark.parametrize("missing", ["type", "payload"])
def test_a_task_without_what_it_needs(agent: Any, missing: str) -> None:
    check_refused(
        agent.post("/tasks", {name: value for name, value in TASK.items() if name != missing}),
        400,
        missing,
    )


@pytest.mark.parametrize("missing", ["event_type", "source_agent"])
def test_an_event_without_what_it_needs(agent: Any, missing: str) -> None:
    new = {name: value for name, value in EVENT.items() if name != missing}

    check_refused(agent.post("/events/publish", new), 400, missing)


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "é"])
@pytest.mark.parametrize("path", ["/tasks", "/events/publish"])
def test_an_idempotency_key_that_is_none(agent: Any, path: str, key: str) -> None:
    check_refused(
        agent.post(path, TASK if path == "/tasks" else EVENT, **{"Idempotency-Key": key}), 400
    )


@pytest.mark.parametrize("path", READS, ids=lambda path: path[:50])
def test_something_read_that_is_not_there(agent: Any, nothing_stored: Task, path: str) -> None:
    answer = agent.get(path.format(task=nothing_stored.task_id))

    if READS[path] == 200:
        assert (answer.status_code, answer.json()["count"]) == (200, 0)
    else:
        check_refused(answer, READS[path])


@pytest.mark.parametrize("query", REPORTS, ids=lambda query: query[:50])
def test_a_report_that_cannot_be(agent: Any, nothing_stored: Task, query: str) -> None:
    check_refused(agent.patch(f"/tasks/{nothing_stored.task_id}/status{query}"), REPORTS[query])


@pytest.mark.parametrize(("body", "status"), BODIES, ids=lambda body: str(body)[:40])
def test_a_report_whose_body_is_no_good(
    agent: Any, nothing_stored: Task, body: Any, status: int
) -> None:
    check_refused(agent.patch(f"/tasks/{nothing_stored.task_id}/status", body), status)


def test_a_cancellation_by_somebody_else(api: Callers, nothing_stored: Task) -> None:
    answer = api("agent", name="ops-agent-1").patch(
        f"/tasks/{nothing_stored.task_id}/status?status=cancelled"
    )

    check_refused(answer, 403)


@pytest.mark.parametrize("status", ["in_progress", "completed", "failed", "cancelled"])
def test_a_report_on_no_task(agent: Any, status: str) -> None:
    check_refused(agent.patch(f"/tasks/task_nowhere/status?status={status}"), 404)


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path[:50])
def test_a_decision_that_cannot_be(agent: Any, nothing_stored: Task, path: str) -> None:
    check_refused(agent.post(path.format(approval=nothing_stored.approval_id)), DECISIONS[path])


@pytest.mark.parametrize(
    "body", [{"reason": []}, {"reason": {}}, {"reason": "x" * 2001}, [], "x", 1], ids=str
)
@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_decision_whose_body_is_no_good(
    agent: Any, nothing_stored: Task, verb: str, body: Any
) -> None:
    check_refused(agent.post(f"/approvals/{nothing_stored.approval_id}/{verb}", body), 400)


@pytest.mark.parametrize(("path", "body", "status"), WORK, ids=lambda part: str(part)[:60])
def test_work_that_cannot_be(
    agent: Any, nothing_stored: Task, path: str, body: Any, status: int
) -> None:
    check_refused(agent.post(path.format(path=f"/tasks/{nothing_stored.task_id}"), body), status)
