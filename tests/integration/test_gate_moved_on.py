"""What the gate had noted and is to be put right, when the task has moved on meanwhile."""

from collections.abc import Callable
from datetime import datetime

import pytest

from approvals_app.models import Approval
from events_app.models import Event
from orchestrator_site.core.actors import Actor
from tasks_app.models import Task
from tasks_app.services import approval_gate, lifecycle
from tests.support import decisions

Make = Callable[..., Task]


def stored() -> tuple[list[object], ...]:
    tables = (Task, Approval, Event)
    return tuple(list(table.objects.order_by("pk").values()) for table in tables)


def test_a_task_whose_gate_is_open_stays_in_its_queue(
    make_task: Make, ops: Actor, now: datetime
) -> None:
    task = make_task(priority="P0")
    decisions.approve(approval_id=task.approval_id, by=ops, now=now)
    before = stored()

    approval_gate.dequeue(task_id=task.task_id, now=now)

    assert stored() == before


def test_a_task_that_is_over_is_not_taken_out_of_a_queue(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    task = make_task()
    lifecycle.cancel_task(task_id=task.task_id, by=dev, now=now)
    before = stored()

    approval_gate.dequeue(task_id=task.task_id, now=now)

    assert stored() == before


@pytest.mark.parametrize("meanwhile", ["asked anew", "over"])
def test_a_request_that_is_no_longer_the_tasks_is_not_asked_anew(
    make_task: Make, dev: Actor, now: datetime, meanwhile: str
) -> None:
    task = make_task(priority="P0")
    first = task.approval_id
    if meanwhile == "over":
        lifecycle.cancel_task(task_id=task.task_id, by=dev, now=now)
    else:
        approval_gate.renew(task_id=task.task_id, approval_id=first, now=now)
        assert Approval.objects.filter(status="pending").exclude(approval_id=first).exists()
    before = stored()

    approval_gate.renew(task_id=task.task_id, approval_id=first, now=now)

    assert stored() == before
