"""Move tasks as their agents report, and cancel them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from django.db import transaction

from approvals_app.errors import AskAnew
from approvals_app.models import Approval
from approvals_app.models import Status as ApprovalStatus
from approvals_app.services import requests
from approvals_app.services.transitions import Closing, close_all
from events_app.services import change
from orchestrator_site.core.actors import SYSTEM, Actor, Role
from orchestrator_site.core.errors import DomainError
from orchestrator_site.infra import rows
from tasks_app.errors import LeaseLost, MayNotCancel, NotHolder
from tasks_app.event_types import TASK_CANCELLED, TASK_COMPLETED, TASK_FAILED, TASK_STARTED
from tasks_app.models import FailureReason, Status, Task
from tasks_app.services import approval_gate, dependencies, retries
from tasks_app.services.approval_gate import Approvals
from tasks_app.services.transitions import LockedTasks, lock_all, single

MOVED = {
    Status.IN_PROGRESS: TASK_STARTED,
    Status.COMPLETED: TASK_COMPLETED,
    Status.FAILED: TASK_FAILED,
}
SAID = {"id", "task_id", "status", "reported_by", "attempt"}
NOT_SAID = tuple(field.name for field in Task._meta.concrete_fields if field.name not in SAID)
# What a request for sign-off, which a report makes needless, is said to have ended by.
WITHDRAWN_BY = {Status.FAILED: "The task failed.", Status.CANCELLED: "The task was cancelled."}


class Report(NamedTuple):
    """What somebody says of a task, and when.

    error: or why it is cancelled. attempt: the fencing token of the reporter's lease, if it names
    one. retryable: a failure worth another try.
    """

    task_id: str
    status: Status
    by: Actor
    now: datetime
    error: str = ""
    attempt: int | None = None
    result: dict[str, Any] | None = None
    retryable: bool = False


def report_status(**report: Any) -> Task:
    """Move one task, as `Report` says; raise why it cannot be, as `report_all` says."""
    return single(report_all([Report(**report)]))


def cancel_task(*, task_id: str, by: Actor, now: datetime, reason: str = "") -> Task:
    """Cancel a waiting or running task; what it asked sign-off for is withdrawn.

    Raise UnknownTask, MayNotCancel or InvalidTransition.
    """
    return report_status(task_id=task_id, status=Status.CANCELLED, by=by, now=now, error=reason)


def report_all(reports: Sequence[Report]) -> list[Task | Exception]:
    """Move tasks as their agents report, in order; repeating the present status changes nothing.

    Return each task as its report left it, or why it cannot be moved: UnknownTask, NotHolder,
    LeaseLost, NotGranted, WaitsForOthers, InvalidTransition or MayNotCancel. If policy has come to
    ask for a sign-off that a task does not have, a request is made, and the refusal names it.
    """
    if repeated := tasks_that_say_so(reports):
        return list(repeated)
    while (outcomes := take_all(reports)) is None:
        pass  # a request for sign-off came in between
    return [
        ask_anew(report, outcome) if isinstance(outcome, AskAnew) else outcome
        for report, outcome in zip(reports, outcomes, strict=True)
    ]


def tasks_that_say_so(reports: Sequence[Report]) -> list[Task]:
    """Return the tasks if all are reported to run by whoever claimed them, else none.

    A claim started them, so these reports change nothing, and nothing is locked for them.
    """
    if not all(report.status == Status.IN_PROGRESS and report.attempt for report in reports):
        return []
    names = sorted({report.task_id for report in reports})
    where = f"task_id IN ({rows.placeholders(len(names))})"
    found = {task.task_id: task for task in rows.select(Task, where, names, without=NOT_SAID)}
    tasks = [task for report in reports if (task := found.get(report.task_id))]
    same = len(tasks) == len(reports) and all(map(repeats, reports, tasks))
    return tasks if same else []


def repeats(report: Report, task: Task) -> bool:
    """Return whether a task has this status by this caller in this attempt already."""
    same = task.status == report.status and task.reported_by == report.by.name
    return same and report.attempt in (None, task.attempt)


def ask_anew(report: Report, refusal: AskAnew) -> Exception:
    """Take a task whose gate is shut out of the queue and ask for what it needs; return why.

    A fault is returned too: the other reports are committed, and must not be taken again.
    """
    try:
        approval_gate.dequeue(task_id=report.task_id, now=report.now)
        task = Task.objects.get_or_refuse(report.task_id)
        approval_gate.ensure_open(task, approval_gate.approvals_of([task]), starting=True)
    except Exception as answer:
        return answer
    return refusal


@change
def take_all(reports: Sequence[Report]) -> list[Task | DomainError] | None:
    """Move tasks in one transaction; return None if a request for sign-off came in between.

    Requests are locked before the tasks, as a decision does. Where a task that ends may have
    settled others of the list, these are read again.
    """
    doomed = {report.task_id for report in reports if report.status in WITHDRAWN_BY}
    asked: dict[str, list[Approval]] = defaultdict(list)
    for approval in requests.lock_requests(doomed):
        asked[approval.task_id].append(approval)
    outcomes: list[Task | DomainError] = []
    while left := reports[len(outcomes) :]:
        tasks = lock_all({report.task_id for report in left})
        mortal = [task for task in tasks if task.task_id in doomed]
        if not outcomes and approval_gate.asked_meanwhile(mortal, asked):
            transaction.set_rollback(True)
            return None
        outcomes += take_first(left, tasks, asked)
    return outcomes


def take_first(
    reports: Sequence[Report], tasks: list[Task], asked: dict[str, list[Approval]]
) -> list[Task | DomainError]:
    """Move locked tasks as far as none waits for one that ended before it, and save them.

    asked: the open requests of those that may end, locked.
    """
    locked, approvals = LockedTasks(tasks), approval_gate.approvals_of(tasks)
    waiting = {task.task_id for task in tasks if task.open_dependencies}
    outcomes: list[Task | DomainError] = []
    closings: list[Closing] = []
    for report in reports:
        if report.task_id in waiting and locked.any_ended():
            break
        outcome = locked.decide(report.task_id, partial(take, report, locked, approvals))
        if isinstance(outcome, Task) and report.status in WITHDRAWN_BY:
            ended = withdrawn(report, asked.pop(report.task_id, []))
            for closing in ended:
                if known := approvals.get(closing.approval.approval_id):
                    known.status = closing.status  # for reports that come after
            closings += ended
        outcomes.append(outcome)
    close_all(closings)
    alone = len(tasks) == 1
    dependencies.settle_dependents(locked.save(), patient=alone)
    return outcomes


def withdrawn(report: Report, approvals: list[Approval]) -> list[Closing]:
    """Return how open requests end because a task has failed or was cancelled."""
    said = report.error if report.status == Status.CANCELLED else ""
    reason = said or WITHDRAWN_BY[report.status]
    return [
        Closing(approval, ApprovalStatus.WITHDRAWN, report.by, report.now, reason)
        for approval in approvals
    ]


def take(report: Report, locked: LockedTasks, approvals: Approvals, task: Task) -> None:
    """Move a locked task as a report says, or raise why it cannot be moved."""
    by, now = report.by, report.now
    if report.status == Status.CANCELLED:
        return cancel(locked, task, by=by, now=now, reason=report.error)
    if repeats(report, task):
        return None
    ensure_may_report(task, by=by, attempt=report.attempt, now=now)
    failed = report.status == Status.FAILED
    if not failed:
        approval_gate.ensure_open(task, approvals, starting=task.status == Status.ASSIGNED)
        dependencies.ensure_settled(task)
    if failed and report.retryable and task.attempt and task.status == Status.IN_PROGRESS:
        reason = FailureReason.RETRIES_EXHAUSTED
        return retries.retry_later(locked, task, reason=reason, error=report.error, by=by, now=now)
    return finish_or_start(locked, task, report)


def finish_or_start(locked: LockedTasks, task: Task, report: Report) -> None:
    """Give a locked task the status that was reported."""
    moved = task.move_to(report.status, now=report.now)
    task.error = report.error
    if report.status != Status.IN_PROGRESS:
        task.end_lease()
        task.result = report.result
    if report.status == Status.FAILED:
        task.failure_reason = FailureReason.REPORTED
    payload: dict[str, Any] = {"error": report.error} if report.error else {}
    payload |= {"attempt": task.attempt} if task.attempt else {}
    event_type = MOVED[report.status]
    locked.record(task, event_type, moved=moved, by=report.by, now=report.now, payload=payload)


def ensure_may_report(task: Task, *, by: Actor, attempt: int | None, now: datetime) -> None:
    """Raise unless a leased task is reported by its holder, in time and for the present attempt.

    A task nobody holds may be reported by any agent (guide); an admin may report on any.
    """
    facts = {"task_id": task.task_id, "status": task.status, "attempt": task.attempt}
    if attempt is not None and (attempt != task.attempt or not task.holder):
        raise LeaseLost(f"Attempt {attempt} of {task.task_id} is over.", **facts)
    if not task.holder:
        return
    if by.name != task.holder and not by.role.covers(Role.ADMIN):
        raise NotHolder(f"{task.task_id} is held by {task.holder}.", holder=task.holder, **facts)
    if by.name == task.holder and task.lease_expires_at and task.lease_expires_at <= now:
        raise LeaseLost(f"The lease on {task.task_id} has run out.", **facts)


def cancel(locked: LockedTasks, task: Task, *, by: Actor, now: datetime, reason: str) -> None:
    """Cancel a locked task for its creator or an admin; one that is cancelled stays as it is."""
    if task.created_by != by.name and not by.role.covers(Role.ADMIN):
        raise MayNotCancel
    if task.status != Status.CANCELLED:
        end_cancelled(locked, task, by=by, now=now, reason=reason)


def end_cancelled(
    locked: LockedTasks, task: Task, *, by: Actor, now: datetime, reason: str
) -> None:
    """Move a locked task to cancelled."""
    moved = task.move_to(Status.CANCELLED, now=now)
    task.error = reason
    task.end_lease()
    payload = {"reason": reason}
    locked.record(task, TASK_CANCELLED, moved=moved, by=by, now=now, payload=payload)


def cancel_waiting(reasons: Mapping[str, tuple[str, datetime]]) -> None:
    """Cancel those of these tasks that wait, in the caller's transaction.

    reasons: why and when, by task id.
    """
    locked = LockedTasks(tasks := lock_all(reasons))
    for task in tasks:
        reason, now = reasons[task.task_id]
        if task.status in approval_gate.WAITING:
            end_cancelled(locked, task, by=SYSTEM, now=now, reason=reason)
    dependencies.settle_dependents(locked.save(), patient=len(tasks) == 1)
