"""Tasks that wait for others: freed, or failed with them."""

from collections.abc import Callable
from datetime import datetime

import pytest

from approvals_app.models import Approval
from events_app.models import Event
from orchestrator_site.core.actors import Actor
from tasks_app.errors import UnknownDependency, WaitsForOthers
from tasks_app.models import Dependency, Status, Task
from tasks_app.services import claims, leases, lifecycle, retries
from tests.support import decisions

Make = Callable[..., Task]


def end(task: Task, by: Actor, now: datetime, status: str = "completed") -> None:
    if status == "cancelled":
        lifecycle.cancel_task(task_id=task.task_id, by=by, now=now)
    else:
        lifecycle.report_status(task_id=task.task_id, status=Status(status), by=by, now=now)


def fresh(task: Task) -> Task:
    return Task.objects.get(pk=task.pk)


def test_a_task_waits_until_all_it_needs_is_completed(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    first, second = make_task(type="incident"), make_task(type="incident")
    task = make_task(depends_on=[first.task_id, second.task_id, first.task_id])

    steps = [(fresh(task).open_dependencies, len(claims.claim(agent="dev_agent", by=dev, now=now)))]
    for needed in (first, second):
        end(needed, dev, now)
        steps.append(
            (fresh(task).open_dependencies, len(claims.claim(agent="dev_agent", by=dev, now=now)))
        )

    assert steps == [(2, 0), (1, 0), (0, 1)]
    assert Event.objects.filter(event_type="task.ready", task_id=task.task_id).count() == 1


@pytest.mark.parametrize("status", ["in_progress", "completed"])
def test_a_waiting_task_cannot_start(
    make_task: Make, dev: Actor, now: datetime, status: str
) -> None:
    task = make_task(depends_on=[make_task().task_id])

    with pytest.raises(WaitsForOthers):
        end(task, dev, now, status)

    assert fresh(task).status == "assigned"


def test_what_is_already_completed_need_not_be_waited_for(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    needed = make_task()
    end(needed, dev, now)

    assert make_task(depends_on=[needed.task_id]).open_dependencies == 0


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_what_will_never_complete_cannot_be_waited_for(
    make_task: Make, dev: Actor, now: datetime, status: str
) -> None:
    needed = make_task()
    end(needed, dev, now, status)

    with pytest.raises(UnknownDependency):
        make_task(depends_on=[needed.task_id])

    assert (
        make_task(depends_on=[needed.task_id], on_dependency_failure="free").open_dependencies == 0
    )


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_failure_goes_all_the_way_down_the_line(
    make_task: Make, dev: Actor, now: datetime, status: str
) -> None:
    first = make_task()
    second = make_task(depends_on=[first.task_id], priority="P0")
    third = make_task(depends_on=[second.task_id])
    free = make_task(depends_on=[third.task_id], on_dependency_failure="free")

    end(first, dev, now, status)

    lost = [fresh(task) for task in (second, third)]
    assert [(task.status, task.failure_reason) for task in lost] == [("failed", "dependency")] * 2
    assert first.task_id in lost[0].error and second.task_id in lost[1].error
    assert (fresh(free).status, fresh(free).open_dependencies) == ("assigned", 0)
    assert Approval.objects.get(task_id=second.task_id).status == "withdrawn"


def test_a_rejection_goes_down_the_line(
    make_task: Make, dev: Actor, ops: Actor, now: datetime
) -> None:
    first = make_task(priority="P0")
    second = make_task(depends_on=[first.task_id])

    decisions.reject(approval_id=first.approval_id, by=ops, now=now, reason="No")

    assert (fresh(first).status, fresh(second).status) == ("cancelled", "failed")


def test_a_lost_lease_goes_down_the_line(make_task: Make, dev: Actor, now: datetime) -> None:
    first = make_task(max_attempts=1)
    second = make_task(depends_on=[first.task_id])
    claims.claim(agent="dev_agent", by=dev, now=now, lease_seconds=60)

    leases.requeue_lost_leases(now=now.replace(hour=13))

    assert fresh(second).failure_reason == "dependency"


def test_what_is_requeued_waits_only_for_what_is_still_open(
    make_task: Make, dev: Actor, admin: Actor, now: datetime
) -> None:
    bad, slow = make_task(type="incident"), make_task(type="incident")
    task = make_task(depends_on=[bad.task_id, slow.task_id])
    end(bad, dev, now, "failed")
    end(slow, dev, now)

    retries.requeue(task_id=task.task_id, by=admin, now=now)

    assert fresh(task).open_dependencies == 0
    assert [found.task_id for found in claims.claim(agent="dev_agent", by=dev, now=now)] == [
        task.task_id
    ]


def test_what_is_requeued_while_others_run_waits_for_them(
    make_task: Make, dev: Actor, admin: Actor, now: datetime
) -> None:
    bad, slow = make_task(type="incident"), make_task(type="incident")
    task = make_task(depends_on=[bad.task_id, slow.task_id])
    end(bad, dev, now, "failed")
    retries.requeue(task_id=task.task_id, by=admin, now=now)

    before = fresh(task).open_dependencies
    end(slow, dev, now)

    assert (before, fresh(task).open_dependencies) == (1, 0)


def test_every_dependency_is_settled_once(make_task: Make, dev: Actor, now: datetime) -> None:
    needed = make_task()
    task = make_task(depends_on=[needed.task_id])
    end(needed, dev, now)

    assert Dependency.objects.get().settled_at == now
    assert (
        list(Event.objects.filter(task_id=task.task_id).values_list("event_type", flat=True)).count(
            "task.ready"
        )
        == 1
    )


def test_a_cancelled_task_is_not_freed(make_task: Make, dev: Actor, now: datetime) -> None:
    needed = make_task()
    task = make_task(depends_on=[needed.task_id])
    end(task, dev, now, "cancelled")

    end(needed, dev, now)

    assert fresh(task).status == "cancelled"
    assert not Event.objects.filter(event_type="task.ready").exists()
