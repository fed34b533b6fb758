"""What reports that are done together ask of sign-off, and do to its requests."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from approvals_app.errors import NotGranted
from approvals_app.models import Approval, ApprovalPolicy
from approvals_app.services import verdicts
from orchestrator_site.core.actors import Actor
from orchestrator_site.infra import group_commit
from tasks_app.models import Status, Task
from tasks_app.services import approval_gate, claims, lifecycle
from tasks_app.services.lifecycle import Report
from tests.support import decisions
from tests.support.together import LOG, kinds, names, told

Make = Callable[..., Task]


def test_open_requests_of_those_that_end_are_withdrawn_each_by_its_own_reason(
    make_task: Make, dev: Actor, admin: Actor, now: datetime
) -> None:
    gated = [make_task(priority="P0") for _ in range(3)]

    outcomes = lifecycle.report_all(
        [
            Report(gated[0].task_id, Status.FAILED, dev, now, error="Cannot"),
            Report(gated[1].task_id, Status.CANCELLED, admin, now, error="Obsolete"),
            Report(gated[2].task_id, Status.IN_PROGRESS, dev, now),
        ]
    )

    assert names(outcomes) == ["failed", "cancelled", "NotGranted"]
    ends = Approval.objects.order_by("pk").values_list("status", "decided_by", "decision_reason")
    assert list(ends) == [
        ("withdrawn", dev.name, "The task failed."),
        ("withdrawn", admin.name, "Obsolete"),
        ("pending", "", ""),
    ]
    assert told(gated[0])[1:] == ["approval.withdrawn", "task.failed"]


def test_a_report_is_told_that_the_request_ended_with_the_task_before_it(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    task = make_task(priority="P0")

    _, refusal = lifecycle.report_all(
        [
            Report(task.task_id, Status.CANCELLED, dev, now),
            Report(task.task_id, Status.COMPLETED, dev, now),
        ]
    )

    assert isinstance(refusal, NotGranted)
    assert refusal.state["approval_status"] == "withdrawn"


@pytest.mark.parametrize("changed", [{"payload": {"evil": 1}}, {"metadata": {"evil": 1}}])
def test_the_gate_asks_each_of_many_for_its_own_content(
    make_task: Make, dev: Actor, ops: Actor, now: datetime, changed: dict[str, Any]
) -> None:
    gated = [make_task(priority="P0", payload={"n": place}) for place in range(4)]
    for task in gated[:3]:
        decisions.approve(approval_id=task.approval_id, by=ops, now=now)
    Task.objects.filter(pk=gated[1].pk).update(**changed)

    reports = [Report(task.task_id, Status.IN_PROGRESS, dev, now) for task in gated]
    outcomes = lifecycle.report_all(reports)

    assert names(outcomes) == ["in_progress", "NotGranted", "in_progress", "NotGranted"]
    asked = Approval.objects.get(task_id=gated[1].task_id, status="pending")
    assert isinstance(outcomes[1], NotGranted)
    assert outcomes[1].state["approval_id"] == asked.approval_id != gated[1].approval_id
    assert Task.objects.get(pk=gated[1].pk).awaiting_approval


def test_asking_the_gate_for_many_takes_as_many_statements_as_for_one(
    make_task: Make, dev: Actor, ops: Actor, now: datetime
) -> None:
    gated = [make_task(priority="P0", payload={"n": place}) for place in range(20)]
    for task in gated:
        decisions.approve(approval_id=task.approval_id, by=ops, now=now)
    reports = [Report(task.task_id, Status.IN_PROGRESS, dev, now) for task in gated]

    one = kinds(lambda: lifecycle.report_all(reports[:1]))
    many = kinds(lambda: lifecycle.report_all(reports[1:]))

    assert one == many == ["SELECT", "SELECT", "SELECT", "UPDATE", *LOG]


def test_a_policy_that_came_meanwhile_shuts_the_gate_for_many(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    tasks = [make_task() for _ in range(3)]
    ApprovalPolicy.objects.create(name="All bugs", types=["bugfix"])
    verdicts.policies.forget()

    reports = [Report(task.task_id, Status.IN_PROGRESS, dev, now) for task in tasks]
    outcomes = lifecycle.report_all([*reports, *reports[:1]])

    assert names(outcomes) == ["NotGranted"] * 4
    assert Approval.objects.filter(status="pending").count() == 3


def test_a_fault_while_sign_off_is_asked_anew_takes_no_other_report_again(
    make_task: Make, dev: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, shut = make_task(), make_task()
    claims.claim(agent="dev_agent", by=dev, now=now)
    ApprovalPolicy.objects.create(name="All bugs", types=["bugfix"])
    verdicts.policies.forget()
    monkeypatch.setattr(approval_gate, "dequeue", lambda **_: 1 / 0)

    reports = [
        Report(failing.task_id, Status.FAILED, dev, now, retryable=True),
        Report(shut.task_id, Status.IN_PROGRESS, dev, now),
    ]
    outcomes = group_commit.together(lifecycle.report_all, reports)

    assert names(outcomes) == ["assigned", "ZeroDivisionError"]
    assert told(failing) == ["task.claimed", "task.requeued"]
