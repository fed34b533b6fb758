"""The main road, end to end, through the services."""

import pytest

from approvals_app.errors import NotGranted
from events_app.models import Event
from orchestrator_site.core.actors import Actor
from tasks_app.models import Status, Task
from tasks_app.services import claims, lifecycle
from tasks_app.services.statistics import counts
from tests.support import decisions


def test_a_claimed_task_is_leased_once_and_its_report_counts(make_task, dev: Actor, now) -> None:
    task = make_task()

    [claimed] = claims.claim(agent="dev_agent", by=dev, now=now)
    nothing = claims.claim(agent="dev_agent", by=dev, now=now)
    lifecycle.report_status(
        task_id=task.task_id, status=Status.COMPLETED, by=dev, now=now, attempt=claimed.attempt
    )

    assert (claimed.task_id, claimed.attempt, nothing) == (task.task_id, 1, [])
    assert Task.objects.get().status == Status.COMPLETED
    assert [event.event_type for event in Event.objects.order_by("pk")] == [
        "task.created",
        "task.assigned",
        "task.claimed",
        "task.completed",
    ]
    assert counts()["completed"] == 1 and counts()["assigned"] == 0


def test_a_gated_task_is_handed_out_only_after_approval(
    make_task, dev: Actor, ops: Actor, now
) -> None:
    task = make_task(priority="P0")

    before = claims.claim(agent="dev_agent", by=dev, now=now)
    with pytest.raises(NotGranted):
        lifecycle.report_status(task_id=task.task_id, status=Status.IN_PROGRESS, by=dev, now=now)
    decisions.approve(approval_id=task.approval_id, by=ops, now=now)

    assert before == []
    assert [found.task_id for found in claims.claim(agent="dev_agent", by=dev, now=now)] == [
        task.task_id
    ]


def test_a_rejection_cancels_the_task_with_the_reason(make_task, ops: Actor, now) -> None:
    task = make_task(priority="P1")

    decisions.reject(approval_id=task.approval_id, by=ops, now=now, reason="Not today")

    task.refresh_from_db()
    assert (task.status, task.error) == (Status.CANCELLED, "Not today")
