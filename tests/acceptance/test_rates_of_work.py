"""What batches and reports count as, and what is left of a minute after them."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator_site.api import throttling
from tasks_app.models import Task
from tests.conftest import Clock

pytestmark = [
    pytest.mark.urls("tests.support.doors"),
    pytest.mark.django_db,
    pytest.mark.usefixtures("clock"),
]

HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


@pytest.fixture(autouse=True)
def scale(settings: Any) -> None:
    settings.RATE_LIMIT_SCALE = 1


def rates(answer: Any) -> tuple[int, ...]:
    return tuple(int(answer.headers[name]) for name in HEADERS)


BATCH = "/tasks/batch"


def tasks(number: int, type_: str = "bugfix") -> dict[str, Any]:
    return {"tasks": [{"type": type_, "payload": {}}] * number}


@pytest.mark.urls("orchestrator_site.urls")
def test_a_batch_counts_its_tasks(settings: Any, api: Callable[..., Any]) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "tasks_batch": 10}
    agent = api("agent")

    answers = [agent.post(BATCH, tasks(number)) for number in (4, 5, 3, 1, 1)]

    assert [answer.status_code for answer in answers] == [200, 200, 429, 429, 429]
    assert [rates(answer)[:2] for answer in answers[:2]] == [(10, 6), (10, 1)]
    assert "Retry-After" in answers[2].headers
    assert Task.objects.count() == 9
    assert api("agent", name="dev-agent-2").post(BATCH, tasks(10)).status_code == 200


@pytest.mark.urls("orchestrator_site.urls")
def test_a_batch_that_is_too_much_leaves_room_for_a_smaller_one(
    settings: Any, api: Callable[..., Any]
) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "tasks_batch": 10}
    agent = api("agent")
    agent.post(BATCH, tasks(4))

    assert agent.post(BATCH, tasks(7)).status_code == 429
    assert agent.post(BATCH, tasks(5)).status_code == 200


@pytest.mark.urls("orchestrator_site.urls")
def test_a_batch_that_is_too_much_for_any_minute_is_no_429(
    settings: Any, api: Callable[..., Any]
) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "tasks_batch": 10}

    answer = api("agent").post(BATCH, tasks(11))

    assert answer.status_code == 400 and "10 items a minute" in answer.json()["detail"]


@pytest.mark.urls("orchestrator_site.urls")
def test_a_batch_that_cannot_be_created_counts_all_the_same(api: Callable[..., Any]) -> None:
    answer = api("agent").post(BATCH, tasks(100, "poetry"))

    assert answer.status_code == 400
    assert rates(answer)[:2] == (600, 500)


@pytest.mark.urls("orchestrator_site.urls")
def test_six_batches_of_a_hundred_are_let_in_a_minute(api: Callable[..., Any]) -> None:
    codes = [api("agent").post(BATCH, tasks(100, "poetry")).status_code for _ in range(7)]

    assert codes == [400] * 6 + [429]


def test_a_batch_begins_a_new_minute_by_itself(clock: Clock) -> None:
    bucket = throttling.Bucket("tasks_batch", "jwt:dev|", 10)

    assert bucket.count(9).count == 9
    assert bucket.count(2).refused and bucket.read().count == 9
    clock.now += 61
    assert bucket.count(10).count == 10


def claimed(agent: Any) -> dict[str, Any]:
    agent.post("/tasks", {"type": "bugfix", "payload": {}})
    return agent.post("/tasks/claim", {"agent": "dev_agent"}).json()["tasks"][0]


@pytest.mark.urls("orchestrator_site.urls")
@pytest.mark.parametrize("place", ["body", "query"])
def test_a_report_under_a_lease_counts_as_a_claim(api: Callable[..., Any], place: str) -> None:
    agent = api("agent")
    task = claimed(agent)
    path, said = (
        f"/tasks/{task['task_id']}/status",
        {"status": "completed", "attempt": task["attempt"]},
    )

    answer = (
        agent.patch(path, said)
        if place == "body"
        else agent.patch(f"{path}?status=completed&attempt=1")
    )

    assert answer.status_code == 200
    assert rates(answer)[:2] == (600, 598)


@pytest.mark.urls("orchestrator_site.urls")
@pytest.mark.parametrize("said", [{}, {"attempt": None}, {"result": {"attempt": 1}}])
def test_a_report_without_a_lease_keeps_the_guides_rate(
    api: Callable[..., Any], said: dict[str, Any]
) -> None:
    agent = api("agent")
    task_id = agent.post("/tasks", {"type": "bugfix", "payload": {}}).json()["task_id"]

    answer = agent.patch(f"/tasks/{task_id}/status", {"status": "in_progress", **said})

    assert rates(answer)[:2] == (10, 9)


@pytest.mark.urls("orchestrator_site.urls")
def test_an_attempt_that_is_over_changes_nothing_at_any_rate(api: Callable[..., Any]) -> None:
    agent = api("agent")
    task_id = agent.post("/tasks", {"type": "bugfix", "payload": {}}).json()["task_id"]

    answer = agent.patch(f"/tasks/{task_id}/status", {"status": "completed", "attempt": 0})

    assert answer.status_code == 409


@pytest.mark.urls("orchestrator_site.urls")
def test_a_report_that_cannot_be_read_is_still_refused(api: Callable[..., Any]) -> None:
    answer = api("agent").send_raw(
        "PATCH", "/tasks/task_x/status?status=completed", b"{", "application/json"
    )

    assert answer.status_code == 400
    assert rates(answer)[0] == 10
