"""Answers that hold a secret are kept nowhere."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator_site.models import IdempotencyKey
from tests.conftest import Api

pytestmark = pytest.mark.django_db
SUBSCRIPTIONS = "/events/subscriptions"
NEW = {"url": "https://hook.example.com/in", "types": ["task.*"]}


@pytest.fixture
def boss(api: Callable[..., Api]) -> Api:
    """An administrator."""
    return api("admin", "root-1")


@pytest.mark.parametrize("rotated", [False, True])
def test_a_replay_says_that_the_secret_was_shown_once(boss: Api, rotated: bool) -> None:
    path = SUBSCRIPTIONS
    if rotated:
        path += f"/{boss.post(SUBSCRIPTIONS, NEW).json()['subscription_id']}/rotate"
    body = None if rotated else NEW

    first, again = (boss.post(path, body, **{"Idempotency-Key": "k1"}) for _ in range(2))

    secret = first.json()["secret"]
    assert secret.startswith("whsec_") and again.headers["Idempotent-Replay"] == "true"
    assert again.json() == {
        **first.json(),
        "secret": "The secret was shown once, in the first answer.",
    }
    assert secret not in str(list(IdempotencyKey.objects.values()))


def test_nobody_on_the_way_keeps_an_answer(boss: Api, make_task: Callable[..., Any]) -> None:
    task = make_task()
    answers = [
        boss.post("/auth/token", {"user_id": "dev-agent-1", "role": "agent"}),
        boss.post(SUBSCRIPTIONS, NEW),
        boss.get("/tasks"),
        boss.get(f"/tasks/{task.task_id}"),
        boss.get(f"/tasks/{task.task_id}/timeline"),
        boss.get("/tasks/task_nowhere"),
    ]

    assert [answer.status_code for answer in answers] == [200] * 5 + [404]
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}
