"""Cancelling: by its creator or an admin, and nothing is asked of anybody any more."""

from collections.abc import Callable
from datetime import datetime

import pytest

from approvals_app.errors import AlreadyDecided
from approvals_app.models import Approval
from events_app.models import Event
from orchestrator_site.core.actors import Actor
from tasks_app import errors
from tasks_app.errors import InvalidTransition
from tasks_app.models import Status, Task
from tasks_app.services import claims, lifecycle
from tests.support import decisions

Make = Callable[..., Task]


@pytest.mark.parametrize("status", ["pending", "assigned", "in_progress"])
def test_an_open_task_is_cancelled_with_the_reason(
    make_task: Make, dev: Actor, now: datetime, status: str
) -> None:
    task = make_task()
    Task.objects.update(status=status, holder="dev-agent-2", lease_expires_at=now)

    lifecycle.cancel_task(task_id=task.task_id, by=dev, now=now, reason="Obsolete")

    task.refresh_from_db()
    assert (task.status, task.error, task.cancelled_at) == ("cancelled", "Obsolete", now)
    assert (task.holder, task.lease_expires_at) == ("", None)
    told = Event.objects.get(event_type="task.cancelled")
    assert (told.moved_from, told.moved_to, told.payload["reason"]) == (
        status,
        "cancelled",
        "Obsolete",
    )


def test_others_may_not_cancel(make_task: Make, ops: Actor, admin: Actor, now: datetime) -> None:
    task = make_task(priority="P0")

    with pytest.raises(errors.MayNotCancel):
        lifecycle.cancel_task(task_id=task.task_id, by=ops, now=now)

    assert Approval.objects.get().status == "pending"
    assert lifecycle.cancel_task(task_id=task.task_id, by=admin, now=now).status == "cancelled"


def test_a_holder_may_not_cancel_what_another_created(
    make_task: Make, ops: Actor, now: datetime
) -> None:
    task = make_task()
    claims.claim(agent="dev_agent", by=ops, now=now)

    with pytest.raises(errors.MayNotCancel):
        lifecycle.cancel_task(task_id=task.task_id, by=ops, now=now)


def test_what_was_asked_is_withdrawn(
    make_task: Make, dev: Actor, ops: Actor, now: datetime
) -> None:
    task = make_task(priority="P0")

    lifecycle.cancel_task(task_id=task.task_id, by=dev, now=now, reason="Obsolete")

    approval = Approval.objects.get()
    assert (approval.status, approval.decided_by, approval.decision_reason) == (
        "withdrawn",
        dev.name,
        "Obsolete",
    )
    with pytest.raises(AlreadyDecided, match="withdrawn"):
        decisions.approve(approval_id=approval.approval_id, by=ops, now=now)
    types = list(Event.objects.order_by("pk").values_list("event_type", flat=True))
    assert types[3:5] == ["approval.withdrawn", "task.cancelled"]


def test_an_approved_task_can_still_be_cancelled(
    make_task: Make, dev: Actor, ops: Actor, now: datetime
) -> None:
    task = make_task(priority="P0")
    decisions.approve(approval_id=task.approval_id, by=ops, now=now)

    lifecycle.cancel_task(task_id=task.task_id, by=dev, now=now)

    assert Approval.objects.get().status == "approved"
    assert claims.claim(agent="dev_agent", by=dev, now=now) == []


def test_cancelling_twice_changes_nothing(make_task: Make, dev: Actor, now: datetime) -> None:
    task = make_task()
    lifecycle.cancel_task(task_id=task.task_id, by=dev, now=now, reason="First")
    events = Event.objects.count()

    again = lifecycle.cancel_task(task_id=task.task_id, by=dev, now=now, reason="Second")

    assert (again.error, Event.objects.count()) == ("First", events)


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_what_is_over_cannot_be_cancelled(
    make_task: Make, dev: Actor, now: datetime, status: str
) -> None:
    task = make_task()
    lifecycle.report_status(task_id=task.task_id, status=Status(status), by=dev, now=now)

    with pytest.raises(InvalidTransition):
        lifecycle.cancel_task(task_id=task.task_id, by=dev, now=now)


def test_an_unknown_task_is_said_to_be_unknown(db: None, admin: Actor, now: datetime) -> None:
    with pytest.raises(errors.UnknownTask):
        lifecycle.cancel_task(task_id="task_nowhere", by=admin, now=now)
