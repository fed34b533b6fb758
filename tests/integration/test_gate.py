"""The gate holds: no path starts or hands out a task without a sign-off for exactly its content."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from approvals_app.errors import AlreadyDecided, NotGranted
from approvals_app.models import Approval, ApprovalPolicy
from approvals_app.models import Status as ApprovalStatus
from approvals_app.services import transitions
from events_app.models import Event
from events_app.services import change
from orchestrator_site.core.actors import Actor
from tasks_app.errors import InvalidTransition
from tasks_app.models import Status, Task
from tasks_app.services import claims, leases, lifecycle, retries, routing
from tests.support import decisions

Make = Callable[..., Task]


@pytest.fixture
def gated(make_task: Make, now: datetime) -> Task:
    return make_task(
        priority="P0",
        payload={"service": "web"},
        sla_target=60,
        not_before=now - timedelta(hours=1),
    )


def try_every_way(task: Task, by: Actor, now: datetime) -> None:
    """Check that the task is neither handed out nor started."""
    assert claims.claim(agent=task.assigned_agent, by=by, now=now, limit=10) == []
    for status in (Status.IN_PROGRESS, Status.COMPLETED):
        with pytest.raises((NotGranted, InvalidTransition)):
            lifecycle.report_status(task_id=task.task_id, status=status, by=by, now=now)
    task.refresh_from_db()
    assert task.status not in ("in_progress", "completed")


def end_as(status: str, task: Task, by: Actor, now: datetime) -> None:
    """Bring the task's request to an end."""
    if status == "rejected":
        decisions.reject(approval_id=task.approval_id, by=by, now=now, reason="No")
    elif status == "expired":
        Approval.objects.update(expires_at=now)
        assert transitions.expire_approvals(now=now) == 1
    elif status != "pending":
        with change():
            [approval] = transitions.locked([task.approval_id]).values()
            closing = transitions.Closing(approval, ApprovalStatus(status), by, now, "")
            transitions.close_all([closing])


@pytest.mark.parametrize("status", ["pending", "rejected", "expired", "withdrawn", "superseded"])
def test_only_an_approval_opens_the_gate(
    gated: Task, dev: Actor, ops: Actor, now: datetime, status: str
) -> None:
    end_as(status, gated, ops, now)

    assert Approval.objects.get().status == status
    try_every_way(gated, dev, now)


@pytest.mark.parametrize("status", ["pending", "withdrawn", "superseded"])
def test_a_wrong_hint_in_the_queue_does_not_open_it(
    gated: Task, dev: Actor, ops: Actor, now: datetime, status: str
) -> None:
    end_as(status, gated, ops, now)
    Task.objects.update(awaiting_approval=False)

    try_every_way(gated, dev, now)


def test_an_approved_task_is_handed_out_and_started(
    gated: Task, dev: Actor, ops: Actor, now: datetime
) -> None:
    decisions.approve(approval_id=gated.approval_id, by=ops, now=now)

    [taken] = claims.claim(agent="dev_agent", by=dev, now=now)

    assert (taken.task_id, taken.status) == (gated.task_id, "in_progress")


def test_a_refusal_names_the_approval(gated: Task, dev: Actor, now: datetime) -> None:
    with pytest.raises(NotGranted) as refusal:
        lifecycle.report_status(task_id=gated.task_id, status=Status.IN_PROGRESS, by=dev, now=now)

    assert refusal.value.state == {
        "approval_id": gated.approval_id,
        "approval_status": "pending",
        "task_id": gated.task_id,
        "status": "assigned",
    }
    assert gated.approval_id in str(refusal.value)


def test_a_task_that_waits_may_still_fail(gated: Task, dev: Actor, now: datetime) -> None:
    task = lifecycle.report_status(
        task_id=gated.task_id, status=Status.FAILED, by=dev, now=now, error="Cannot"
    )

    assert (task.status, Approval.objects.get().status) == ("failed", "withdrawn")


UNTOUCHED = [
    "status",
    "attempt",
    "holder",
    "started_at",
    "reported_by",
    "lease_expires_at",
    "error",
    "heartbeat_at",
]
CHANGED: dict[str, Any] = {
    "type": "deployment",
    "payload": {"service": "web2"},
    "priority": "P1",
    "source": "elsewhere",
    "metadata": {"a": 1},
    "sla_target": 61,
    "created_by": "mallory",
    "parent_task_id": "task_other",
    "max_attempts": 4,
}


@pytest.mark.parametrize("field", CHANGED)
def test_a_change_behind_our_back_voids_the_sign_off(
    gated: Task, dev: Actor, ops: Actor, now: datetime, field: str
) -> None:
    decisions.approve(approval_id=gated.approval_id, by=ops, now=now)
    Task.objects.filter(pk=gated.pk).update(**{field: CHANGED[field]})
    before = Task.objects.values(*UNTOUCHED).get()

    try_every_way(gated, dev, now)

    assert Task.objects.values(*UNTOUCHED).get() == before
    assert not Event.objects.filter(event_type="task.claimed").exists()


def test_a_sign_off_that_has_vanished_is_none(
    gated: Task, dev: Actor, ops: Actor, now: datetime
) -> None:
    decisions.approve(approval_id=gated.approval_id, by=ops, now=now)
    Approval.objects.all().delete()

    try_every_way(gated, dev, now)


def test_what_was_changed_behind_our_back_is_shown_to_somebody_anew(
    gated: Task, dev: Actor, ops: Actor, now: datetime
) -> None:
    decisions.approve(approval_id=gated.approval_id, by=ops, now=now)
    Task.objects.filter(pk=gated.pk).update(payload={"service": "all"})
    claims.claim(agent="dev_agent", by=dev, now=now)

    asked = Approval.objects.pending().get()
    decisions.approve(approval_id=asked.approval_id, by=ops, now=now)

    assert (asked.task_id, asked.snapshot["payload"]) == (gated.task_id, {"service": "all"})
    assert len(claims.claim(agent="dev_agent", by=dev, now=now)) == 1


def test_a_change_while_it_waits_voids_the_decision_too(
    gated: Task, dev: Actor, ops: Actor, now: datetime
) -> None:
    Task.objects.filter(pk=gated.pk).update(payload={"service": "all"})

    decisions.approve(approval_id=gated.approval_id, by=ops, now=now)

    try_every_way(gated, dev, now)


def test_a_tampered_task_does_not_hold_up_the_others(
    gated: Task, make_task: Make, dev: Actor, ops: Actor, now: datetime
) -> None:
    decisions.approve(approval_id=gated.approval_id, by=ops, now=now)
    Task.objects.filter(pk=gated.pk).update(payload={})
    free = make_task()

    handed = claims.claim(agent="dev_agent", by=dev, now=now, limit=2)

    assert [task.task_id for task in handed] == [free.task_id]
    assert claims.claim(agent="dev_agent", by=dev, now=now) == []


def test_the_sign_off_of_one_task_is_no_good_for_another(
    gated: Task, make_task: Make, dev: Actor, ops: Actor, now: datetime
) -> None:
    decisions.approve(approval_id=gated.approval_id, by=ops, now=now)
    other = make_task(priority="P0", payload={"service": "web"}, sla_target=60)
    Task.objects.filter(pk=other.pk).update(approval_id=gated.approval_id, awaiting_approval=False)
    lifecycle.report_status(task_id=gated.task_id, status=Status.COMPLETED, by=dev, now=now)

    try_every_way(other, dev, now)


def test_a_reassigned_task_asks_anew_in_the_first_requesters_name(
    gated: Task, dev: Actor, ops: Actor, admin: Actor, now: datetime
) -> None:
    decisions.approve(approval_id=gated.approval_id, by=ops, now=now)

    routing.reassign(task_id=gated.task_id, agent="ops_agent", reason="On call", by=admin, now=now)

    gated.refresh_from_db()
    asked = Approval.objects.get(approval_id=gated.approval_id)
    assert (asked.status, asked.requested_by, asked.requester_credential) == (
        "pending",
        dev.name,
        dev.credential,
    )
    assert (asked.decided_by, asked.decided_at, asked.snapshot["assigned_agent"]) == (
        "",
        None,
        "ops_agent",
    )
    try_every_way(gated, ops, now)
    decisions.approve(approval_id=asked.approval_id, by=ops, now=now)
    assert len(claims.claim(agent="ops_agent", by=ops, now=now)) == 1


def test_reassigning_supersedes_what_still_waits(gated: Task, admin: Actor, now: datetime) -> None:
    routing.reassign(task_id=gated.task_id, agent="ops_agent", reason="On call", by=admin, now=now)

    states = list(Approval.objects.order_by("pk").values_list("approval_id", "status"))
    gated.refresh_from_db()
    assert [status for _, status in states] == ["superseded", "pending"]
    assert states[1][0] == gated.approval_id
    with pytest.raises(AlreadyDecided):
        decisions.approve(approval_id=states[0][0], by=admin, now=now)


def test_a_new_request_has_as_much_patience_as_the_first(
    make_task: Make, admin: Actor, now: datetime
) -> None:
    ApprovalPolicy.objects.all().update(expires_after=60)
    task = make_task(priority="P0")
    later = now + timedelta(seconds=50)

    routing.reassign(task_id=task.task_id, agent="ops_agent", reason="On call", by=admin, now=later)

    assert Approval.objects.pending().get().expires_at == later + timedelta(seconds=60)


def test_a_requeued_task_needs_a_new_sign_off(
    gated: Task, dev: Actor, ops: Actor, now: datetime
) -> None:
    decisions.approve(approval_id=gated.approval_id, by=ops, now=now)
    lifecycle.report_status(task_id=gated.task_id, status=Status.FAILED, by=dev, now=now)

    retries.requeue(task_id=gated.task_id, by=ops, now=now)

    try_every_way(gated, dev, now)
    assert list(Approval.objects.order_by("pk").values_list("status", flat=True)) == [
        "approved",
        "pending",
    ]


@pytest.mark.parametrize("retry", ["retryable failure", "lost lease"])
def test_another_attempt_needs_no_other_sign_off(
    gated: Task, dev: Actor, ops: Actor, now: datetime, retry: str
) -> None:
    decisions.approve(approval_id=gated.approval_id, by=ops, now=now)
    claims.claim(agent="dev_agent", by=dev, now=now, lease_seconds=60)
    later = now + timedelta(hours=1)

    if retry == "lost lease":
        leases.requeue_lost_leases(now=later)
    else:
        lifecycle.report_status(
            task_id=gated.task_id,
            status=Status.FAILED,
            by=dev,
            now=now,
            attempt=1,
            retryable=True,
            error="Flaky",
        )
        assert (
            claims.claim(agent="dev_agent", by=dev, now=now) == []
        )  # it waits before it tries again

    [again] = claims.claim(agent="dev_agent", by=dev, now=later)
    assert (again.task_id, again.attempt) == (gated.task_id, 2)
