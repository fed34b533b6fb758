"""Reports, heartbeats and releases that are done together are as they would be one by one."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from approvals_app.models import Approval, ApprovalPolicy
from approvals_app.services import verdicts
from orchestrator_site.core.actors import Actor
from tasks_app import errors
from tasks_app.models import Dependency, Status, Task
from tasks_app.services import approval_gate, claims, leases, lifecycle
from tasks_app.services.leases import Heartbeat, Release
from tasks_app.services.lifecycle import Report
from tasks_app.services.transitions import lock_all
from tests.support.together import LOG, kinds, names, told

Make = Callable[..., Task]


@pytest.mark.parametrize("status", [Status.IN_PROGRESS, Status.COMPLETED])
def test_thirty_two_reports_take_as_many_statements_as_one(
    make_task: Make, dev: Actor, now: datetime, status: Status
) -> None:
    tasks = [make_task() for _ in range(34)]
    reports = [Report(task.task_id, status, dev, now, result={"n": 1}) for task in tasks]
    lifecycle.report_all(reports[:1])

    one = kinds(lambda: lifecycle.report_all(reports[1:2]))
    many = kinds(lambda: lifecycle.report_all(reports[2:]))

    assert one == many == ["SELECT", "UPDATE", *LOG]
    assert set(Task.objects.values_list("status", flat=True)) == {status}


def test_failures_and_cancellations_look_for_open_requests_first(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    tasks = [make_task() for _ in range(34)]
    reports = [
        Report(task.task_id, (Status.FAILED, Status.CANCELLED)[place % 2], dev, now)
        for place, task in enumerate(tasks)
    ]
    lifecycle.report_all(reports[:1])

    one = kinds(lambda: lifecycle.report_all(reports[1:2]))
    many = kinds(lambda: lifecycle.report_all(reports[2:]))

    assert one == many == ["SELECT", "SELECT", "UPDATE", *LOG]


def test_thirty_two_heartbeats_and_releases_take_as_many_statements_as_one(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    for _ in range(34):
        make_task()
    held = claims.claim(agent="dev_agent", by=dev, now=now, limit=34)
    later = now + timedelta(seconds=2)
    beats = [Heartbeat(task.task_id, 1, dev, later, progress=5) for task in held]
    given = [Release(task.task_id, 1, dev, later) for task in held]

    for one, many, wanted in (
        (
            kinds(lambda: leases.heartbeat_all(beats[:1])),
            kinds(lambda: leases.heartbeat_all(beats[1:])),
            ["SELECT", "UPDATE"],
        ),
        (
            kinds(lambda: leases.release_all(given[:1])),
            kinds(lambda: leases.release_all(given[1:])),
            ["SELECT", "UPDATE", *LOG],
        ),
    ):
        assert one == many == wanted


def test_each_of_several_reports_on_a_task_sees_the_one_before(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    task, later = make_task(), now + timedelta(seconds=1)

    outcomes = lifecycle.report_all(
        [
            Report(task.task_id, Status.IN_PROGRESS, dev, now),
            Report(task.task_id, Status.COMPLETED, dev, later, result={"n": 1}),
            Report(task.task_id, Status.COMPLETED, dev, later, result={"n": 2}),
            Report(task.task_id, Status.FAILED, dev, later),
        ]
    )

    assert names(outcomes) == ["in_progress", "completed", "completed", "InvalidTransition"]
    task.refresh_from_db()
    assert (task.started_at, task.completed_at, task.result) == (now, later, {"n": 1})
    assert told(task) == ["task.started", "task.completed"]


def test_a_refusal_harms_nobody_else(
    make_task: Make, dev: Actor, ops: Actor, now: datetime
) -> None:
    for _ in range(3):
        make_task()
    first, second, third = claims.claim(agent="dev_agent", by=dev, now=now, limit=3)
    gated = make_task(priority="P0")
    before = Task.objects.filter(pk__in=[second.pk, gated.pk]).order_by("pk")
    rows = list(before.values())

    outcomes = lifecycle.report_all(
        [
            Report(first.task_id, Status.COMPLETED, dev, now, attempt=1),
            Report(second.task_id, Status.COMPLETED, ops, now),
            Report("task_nowhere", Status.COMPLETED, dev, now),
            Report(second.task_id, Status.FAILED, dev, now, attempt=7),
            Report(gated.task_id, Status.CANCELLED, ops, now),
            Report(third.task_id, Status.FAILED, dev, now, attempt=1, retryable=True),
        ]
    )

    assert names(outcomes) == [
        *("completed", "NotHolder", "UnknownTask", "LeaseLost", "MayNotCancel"),
        "assigned",
    ]
    assert list(before.values()) == rows
    assert Approval.objects.get().status == "pending"
    assert (told(second), told(third)) == (["task.claimed"], ["task.claimed", "task.requeued"])


@pytest.mark.parametrize("wrong", ["task_nowhere", "another caller", "another attempt"])
def test_who_repeats_what_a_claim_has_said_stands_beside_who_may_not(
    make_task: Make, dev: Actor, ops: Actor, now: datetime, wrong: str
) -> None:
    make_task()
    [task] = claims.claim(agent="dev_agent", by=dev, now=now)
    task_id = wrong if wrong == "task_nowhere" else task.task_id
    by, attempt = ops if wrong == "another caller" else dev, 7 if wrong == "another attempt" else 1
    again = Report(task.task_id, Status.IN_PROGRESS, dev, now, attempt=1)

    outcomes = lifecycle.report_all(
        [again, Report(task_id, Status.IN_PROGRESS, by, now, attempt=attempt), again]
    )

    assert names(outcomes)[::2] == ["in_progress", "in_progress"]
    assert names(outcomes)[1] in {"UnknownTask", "NotHolder", "LeaseLost"}
    assert told(task) == ["task.claimed"]


def test_a_task_that_is_reported_twice_by_its_late_holder_moves_once(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    make_task()
    [held] = claims.claim(agent="dev_agent", by=dev, now=now)
    retry = Report(held.task_id, Status.FAILED, dev, now, attempt=1, retryable=True)

    outcomes = lifecycle.report_all(
        [retry, retry._replace(retryable=False), retry._replace(status=Status.COMPLETED)]
    )

    assert names(outcomes) == ["assigned", "LeaseLost", "LeaseLost"]
    assert told(held) == ["task.claimed", "task.requeued"]


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
def test_who_waits_hears_of_all_that_ended_together(
    make_task: Make, dev: Actor, now: datetime, status: Status
) -> None:
    needed = [make_task() for _ in range(32)]
    waiting = [make_task(depends_on=[task.task_id], sla_target=60) for task in needed]
    both = make_task(depends_on=[task.task_id for task in needed])
    make_task(depends_on=[waiting[0].task_id])

    lifecycle.report_all([Report(task.task_id, status, dev, now) for task in needed])

    ended = status == Status.FAILED
    wanted = {"failed"} if ended else {"assigned"}
    pks = [task.pk for task in [*waiting, both]]
    assert set(Task.objects.filter(pk__in=pks).values_list("status", flat=True)) == wanted
    open_edges = Dependency.objects.filter(settled_at__isnull=True).count()
    assert open_edges == (0 if ended else 1)
    assert all(told(task) == (["task.failed"] if ended else ["task.ready"]) for task in waiting)


def test_a_task_that_waits_is_reported_after_what_it_waits_for(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    first = make_task()
    second = make_task(depends_on=[first.task_id])
    third = make_task(depends_on=[second.task_id])
    early = Report(second.task_id, Status.COMPLETED, dev, now)

    outcomes = lifecycle.report_all(
        [
            early,
            Report(first.task_id, Status.COMPLETED, dev, now),
            early,
            Report(third.task_id, Status.IN_PROGRESS, dev, now),
        ]
    )

    assert names(outcomes) == ["WaitsForOthers", "completed", "completed", "in_progress"]
    assert told(third) == ["task.ready", "task.started"]


def test_heartbeats_and_releases_are_answered_each_for_itself(
    make_task: Make, dev: Actor, ops: Actor, admin: Actor, now: datetime
) -> None:
    for _ in range(3):
        make_task()
    first, second, third = claims.claim(agent="dev_agent", by=dev, now=now, limit=3)
    lifecycle.cancel_task(task_id=third.task_id, by=admin, now=now)
    later = now + timedelta(seconds=30)

    beaten = leases.heartbeat_all(
        [
            Heartbeat(first.task_id, 1, dev, later, progress=10, note="a"),
            Heartbeat(second.task_id, 1, ops, later),
            Heartbeat(third.task_id, 1, dev, later),
            Heartbeat(first.task_id, 1, dev, later, progress=20),
            Heartbeat(second.task_id, 2, dev, later),
            Heartbeat("task_nowhere", 1, dev, later),
        ]
    )

    assert names(beaten) == [
        *("in_progress", "NotHolder", "cancelled", "in_progress", "LeaseLost", "UnknownTask")
    ]
    first.refresh_from_db()
    assert (first.progress, first.note, first.heartbeat_at) == (20, "a", later)

    given = leases.release_all(
        [Release(first.task_id, 1, dev, later, "Stopping"), Release(first.task_id, 1, dev, later)]
    )

    assert names(given) == ["assigned", "LeaseLost"]
    assert told(first) == ["task.claimed", "task.released"]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite lets one writer in at a time")
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_request_that_is_made_while_a_task_fails_is_withdrawn(
    make_task: Make, dev: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task()
    ApprovalPolicy.objects.create(name="All bugs", types=["bugfix"])
    verdicts.policies.forget()

    def ask() -> None:
        approval_gate.dequeue(task_id=task.task_id, now=now)
        connection.close()

    def lock_after_a_request(task_ids: Any) -> list[Task]:
        monkeypatch.undo()
        asking = threading.Thread(target=ask)
        asking.start()
        asking.join()
        return lock_all(task_ids)

    monkeypatch.setattr("tasks_app.services.lifecycle.lock_all", lock_after_a_request)

    failed = lifecycle.report_status(task_id=task.task_id, status=Status.FAILED, by=dev, now=now)

    assert (failed.status, Approval.objects.get().status) == ("failed", "withdrawn")


def test_what_was_reported_before_is_kept_where_a_task_is_reported_again(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    tasks = [make_task(), make_task()]
    Task.objects.filter(pk=tasks[0].pk).update(result={"old": True})

    lifecycle.report_all(
        [
            Report(tasks[0].task_id, Status.IN_PROGRESS, dev, now),
            Report(tasks[1].task_id, Status.COMPLETED, dev, now, result={"new": True}),
        ]
    )

    results = Task.objects.order_by("pk").values_list("result", flat=True)
    assert list(results) == [{"old": True}, {"new": True}]


def test_errors_of_a_list_of_one_are_raised(db: None, dev: Actor, now: datetime) -> None:
    for call in (leases.heartbeat, leases.release):
        with pytest.raises(errors.UnknownTask):
            call(task_id="task_nowhere", attempt=1, by=dev, now=now)


def test_a_dependent_fails_at_the_moment_that_its_own_dependency_ended(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    needed = [make_task(), make_task()]
    dependents = [make_task(depends_on=[task.task_id]) for task in needed]
    moments = [now, now + timedelta(seconds=1)]

    lifecycle.report_all(
        [
            Report(task.task_id, Status.CANCELLED, dev, moment)
            for task, moment in zip(needed, moments, strict=True)
        ]
    )

    for dependent, moment in zip(dependents, moments, strict=True):
        dependent.refresh_from_db()
        assert (dependent.status, dependent.failed_at) == (Status.FAILED, moment)
