"""One requester cannot bury the requests of others: how many may wait."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals_app.errors import TooManyPending
from approvals_app.models import Approval, ApprovalPolicy
from orchestrator_site.core.actors import Actor
from orchestrator_site.infra import cached_rows
from tasks_app.models import Task
from tasks_app.services import approval_gate, intake
from tests.support import decisions

Make = Callable[..., Task]
P0 = {"type": "bugfix", "payload": {}, "priority": "P0"}


@pytest.fixture(autouse=True)
def three_at_most(settings: Any) -> None:
    settings.MAX_PENDING_APPROVALS = 3


def test_a_fourth_request_is_refused_and_its_task_not_created(make_task: Make) -> None:
    for _ in range(3):
        make_task(priority="P0")

    with pytest.raises(TooManyPending, match="dev-agent-1 has 3 requests"):
        make_task(priority="P0")

    assert (Task.objects.count(), Approval.objects.count()) == (3, 3)


def test_others_may_ask_and_what_needs_no_sign_off_is_taken(make_task: Make, ops: Actor) -> None:
    for _ in range(3):
        make_task(priority="P0")

    make_task(priority="P0", by=ops)
    make_task(priority="P2")


def test_a_decision_makes_room_at_once(make_task: Make, ops: Actor, now: datetime) -> None:
    first, *_ = [make_task(priority="P0") for _ in range(3)]
    decisions.approve(approval_id=first.approval_id, by=ops, now=now)

    make_task(priority="P0")
    with pytest.raises(TooManyPending):
        make_task(priority="P0")


def test_what_a_new_policy_asks_for_has_no_cap(make_task: Make, now: datetime) -> None:
    tasks = [make_task(priority="P2") for _ in range(5)]
    ApprovalPolicy.objects.create(name="all", priorities=["P2"])
    cached_rows.forget_all()

    for task in tasks:
        approval_gate.dequeue(task_id=task.task_id, now=now)

    assert Approval.objects.pending_of("dev-agent-1", most=100) == 5


def test_over_http_it_is_a_409_that_says_how_many_wait(api: Callable[..., Any]) -> None:
    agent = api("agent")

    answers = [agent.post("/tasks", P0) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 409]
    assert answers[3].json()["pending"] == 3
    assert "Retry-After" not in answers[3].headers


def test_the_count_uses_its_index(db: None) -> None:
    with CaptureQueriesContext(connection) as sent:
        Approval.objects.pending_of("dev-agent-1", most=100)
    explain = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN "
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(explain + sent[0]["sql"])
        plan = str(cursor.fetchall())

    assert "approval_of_requester" in plan


def test_what_is_asked_in_one_list_counts_towards_the_cap(
    db: None, dev: Actor, now: datetime
) -> None:
    outcomes = intake.create_all([intake.NewTask(P0, dev, now)] * 5)

    assert list(map(type, outcomes)) == [Task] * 3 + [TooManyPending] * 2
    assert Approval.objects.pending().count() == 3
