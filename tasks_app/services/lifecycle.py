"""Move tasks as their agents report, and cancel them."""

from datetime import datetime
from typing import Any

from approvals_app.errors import AskAnew
from approvals_app.models import Status as ApprovalStatus
from events_app.services import change
from orchestrator_site.core.actors import Actor, Role
from tasks_app.errors import LeaseLost, MayNotCancel, NotHolder
from tasks_app.event_types import TASK_CANCELLED, TASK_COMPLETED, TASK_FAILED, TASK_STARTED
from tasks_app.models import FailureReason, Status, Task
from tasks_app.services import approval_gate, dependencies, retries
from tasks_app.services.transitions import save_transition

MOVED = {
    Status.IN_PROGRESS: TASK_STARTED,
    Status.COMPLETED: TASK_COMPLETED,
    Status.FAILED: TASK_FAILED,
}


def report_status(*, task_id: str, by: Actor, now: datetime, **report: Any) -> Task:
    """Move a task as its agent reports; repeating the present status changes nothing.

    report: as for `take_report`. If policy has come to ask for a sign-off that the task does not
    have, a request is made, and the refusal names it. Raise UnknownTask, NotHolder, LeaseLost,
    NotGranted or InvalidTransition.
    """
    if report["status"] == Status.CANCELLED:
        return cancel_task(task_id=task_id, by=by, now=now, reason=report.get("error", ""))
    try:
        return take_report(task_id=task_id, by=by, now=now, **report)
    except AskAnew:
        approval_gate.dequeue(task_id=task_id, now=now)
        task = Task.objects.get_or_refuse(task_id)
        approval_gate.ensure_open(task, approval_gate.approvals_of([task]), starting=True)
        raise


@change
def take_report(
    *,
    task_id: str,
    status: Status,
    by: Actor,
    now: datetime,
    error: str = "",
    attempt: int | None = None,
    result: dict[str, Any] | None = None,
    retryable: bool = False,
) -> Task:
    """Move a task as its agent reports, in one transaction.

    attempt: the fencing token of the reporter's lease, if it names one. retryable: a failure worth
    another try. Raise UnknownTask, NotHolder, LeaseLost, NotGranted or InvalidTransition.
    """
    failed = status == Status.FAILED
    if failed:
        task = approval_gate.lock(
            task_id, by=by, now=now, ending=ApprovalStatus.WITHDRAWN, reason="The task failed."
        )
    else:
        task = Task.objects.get_or_refuse(task_id, lock=True)
    same = task.status == status and task.reported_by == by.name
    if same and attempt in (None, task.attempt):
        return task  # it says again what the same caller has said
    ensure_may_report(task, by=by, attempt=attempt, now=now)
    if not failed:
        found = approval_gate.approvals_of([task])
        approval_gate.ensure_open(task, found, starting=task.status == Status.ASSIGNED)
        dependencies.ensure_settled(task)
    if failed and retryable and task.attempt and task.status == Status.IN_PROGRESS:
        return retries.retry_later(
            task, reason=FailureReason.RETRIES_EXHAUSTED, error=error, by=by, now=now
        )
    finish_or_start(task, status, by=by, now=now, error=error, result=result)
    return task


def finish_or_start(
    task: Task,
    status: Status,
    *,
    by: Actor,
    now: datetime,
    error: str = "",
    result: dict[str, Any] | None = None,
) -> None:
    """Give a locked task the status that was reported, save and record."""
    moved = task.move_to(status, now=now)
    task.error = error
    if status != Status.IN_PROGRESS:
        task.end_lease()
        task.result = result
    if status == Status.FAILED:
        task.failure_reason = FailureReason.REPORTED
    payload: dict[str, Any] = {"error": error} if error else {}
    payload |= {"attempt": task.attempt} if task.attempt else {}
    save_transition(task, MOVED[status], moved=moved, by=by, now=now, payload=payload)


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


@change
def cancel_task(*, task_id: str, by: Actor, now: datetime, reason: str = "") -> Task:
    """Cancel a waiting or running task; what it asked sign-off for is withdrawn.

    Raise UnknownTask, MayNotCancel or InvalidTransition.
    """
    created_by = Task.objects.get_or_refuse(task_id).created_by
    if created_by != by.name and not by.role.covers(Role.ADMIN):
        raise MayNotCancel
    ending, sentence = ApprovalStatus.WITHDRAWN, reason or "The task was cancelled."
    task = approval_gate.lock(task_id, by=by, now=now, ending=ending, reason=sentence)
    if task.status != Status.CANCELLED:
        end_cancelled(task, by=by, now=now, reason=reason)
    return task


def end_cancelled(task: Task, *, by: Actor, now: datetime, reason: str) -> None:
    """Move a locked task to cancelled, save and record."""
    moved = task.move_to(Status.CANCELLED, now=now)
    task.error = reason
    task.end_lease()
    save_transition(task, TASK_CANCELLED, moved=moved, by=by, now=now, payload={"reason": reason})
