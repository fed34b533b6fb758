"""Agents tell how a task stands."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from events_app.models import Event
from orchestrator_site.core.actors import Actor
from tasks_app import errors
from tasks_app.errors import InvalidTransition
from tasks_app.models import Status, Task
from tasks_app.services import claims, leases, lifecycle

Make = Callable[..., Task]


def report(task: Task, status: str, by: Actor, now: datetime, **more: object) -> Task:
    return lifecycle.report_status(
        task_id=task.task_id, status=Status(status), by=by, now=now, **more
    )


def test_a_task_runs_its_course(make_task: Make, dev: Actor, now: datetime) -> None:
    task = make_task()
    later = now + timedelta(seconds=5)

    report(task, "in_progress", dev, now)
    report(task, "completed", dev, later, result={"merged": True})

    task.refresh_from_db()
    assert (task.status, task.started_at, task.completed_at) == ("completed", now, later)
    assert task.result == {"merged": True}
    moves = list(Event.objects.order_by("pk").values_list("event_type", "moved_from", "moved_to"))
    assert moves[2:] == [
        ("task.started", "assigned", "in_progress"),
        ("task.completed", "in_progress", "completed"),
    ]


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_short_job_reports_once(make_task: Make, dev: Actor, now: datetime, status: str) -> None:
    assert report(make_task(), status, dev, now).status == status


def test_any_agent_may_report_on_a_task_nobody_holds(
    make_task: Make, ops: Actor, now: datetime
) -> None:
    task = report(make_task(), "completed", ops, now)

    assert task.reported_by == ops.name


def test_a_failure_keeps_its_error(make_task: Make, dev: Actor, now: datetime) -> None:
    task = report(make_task(), "failed", dev, now, error="No such branch")

    assert (task.error, task.failure_reason) == ("No such branch", "reported")
    assert Event.objects.get(event_type="task.failed").payload["error"] == "No such branch"


@pytest.mark.parametrize("status", ["in_progress", "completed", "failed"])
def test_saying_it_again_changes_nothing(
    make_task: Make, dev: Actor, now: datetime, status: str
) -> None:
    task = make_task()
    report(task, status, dev, now)
    before = Task.objects.filter(pk=task.pk).values().get(), Event.objects.count()

    report(task, status, dev, now + timedelta(seconds=60), error="again", result={"other": 1})

    assert (Task.objects.filter(pk=task.pk).values().get(), Event.objects.count()) == before


def test_what_another_says_again_is_no_repetition(
    make_task: Make, dev: Actor, ops: Actor, now: datetime
) -> None:
    task = make_task()
    report(task, "completed", dev, now)

    with pytest.raises(InvalidTransition):
        report(task, "completed", ops, now)


@pytest.mark.parametrize("ended", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("status", ["in_progress", "completed", "failed"])
def test_what_is_over_stays_over(
    make_task: Make, admin: Actor, now: datetime, ended: str, status: str
) -> None:
    task = make_task()
    Task.objects.filter(pk=task.pk).update(status=ended, reported_by="somebody")

    with pytest.raises(InvalidTransition) as refusal:
        report(task, status, admin, now)

    assert refusal.value.state["status"] == ended
    assert Task.objects.get().status == ended


def test_an_unknown_task_is_said_to_be_unknown(db: None, dev: Actor, now: datetime) -> None:
    with pytest.raises(errors.UnknownTask):
        report(Task(task_id="task_nowhere"), "completed", dev, now)


def test_a_held_task_is_reported_by_its_holder_or_an_admin(
    make_task: Make, dev: Actor, ops: Actor, admin: Actor, now: datetime
) -> None:
    task = make_task()
    claims.claim(agent="dev_agent", by=dev, now=now)

    with pytest.raises(errors.NotHolder) as refusal:
        report(task, "completed", ops, now)

    assert (refusal.value.state["holder"], refusal.value.state["status"]) == (
        dev.name,
        "in_progress",
    )
    assert report(task, "completed", admin, now).status == "completed"


@pytest.mark.parametrize(("seconds", "in_time"), [(59, True), (60, False), (61, False)])
def test_a_report_counts_until_the_very_moment_the_lease_ends(
    make_task: Make, dev: Actor, now: datetime, seconds: int, in_time: bool
) -> None:
    task = make_task()
    claims.claim(agent="dev_agent", by=dev, now=now, lease_seconds=60)
    when = now + timedelta(seconds=seconds)

    if in_time:
        report(task, "completed", dev, when, attempt=1)
    else:
        with pytest.raises(errors.LeaseLost):
            report(task, "completed", dev, when, attempt=1)

    swept = leases.requeue_lost_leases(now=when)
    assert (Task.objects.get().status, swept) == (("completed", 0) if in_time else ("assigned", 1))


@pytest.mark.parametrize("attempt", [0, 2, 99])
def test_another_attempt_than_the_present_one_is_over(
    make_task: Make, dev: Actor, now: datetime, attempt: int
) -> None:
    task = make_task()
    claims.claim(agent="dev_agent", by=dev, now=now)

    with pytest.raises(errors.LeaseLost):
        report(task, "completed", dev, now, attempt=attempt)

    assert Task.objects.get().status == "in_progress"


def test_a_late_holder_cannot_overwrite_the_next_one(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    task = make_task()
    claims.claim(agent="dev_agent", by=dev, now=now, lease_seconds=60)
    later = now + timedelta(seconds=60)
    leases.requeue_lost_leases(now=later)
    [again] = claims.claim(agent="dev_agent", by=dev, now=later, lease_seconds=60)

    with pytest.raises(errors.LeaseLost):
        report(task, "completed", dev, later, attempt=1)

    assert report(again, "completed", dev, later, attempt=2).status == "completed"
