"""Another try, or the end of trying."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from orchestrator_site.core.actors import SYSTEM, Actor
from tasks_app import rules
from tasks_app.errors import InvalidTransition, UnknownTask
from tasks_app.event_types import TASK_FAILED, TASK_REQUEUED
from tasks_app.models import FailureReason, Status, Task
from tasks_app.services import approval_gate, routing
from tasks_app.services.transitions import save_ended, save_transition


def retry_later(
    task: Task,
    *,
    reason: FailureReason,
    error: str,
    by: Actor,
    now: datetime,
    wait: timedelta | None = None,
    facts: dict[str, Any] | None = None,
) -> Task:
    """Queue a locked, running task for another attempt, or fail it after the last one.

    wait: until the next attempt; exponential with jitter unless given. facts: more for the record.
    """
    if task.attempt - task.attempts_spent >= task.max_attempts:
        return give_up(task, reason=reason, error=error, by=by, now=now)
    ready_at = now + (rules.backoff(task.attempt) if wait is None else wait)
    task.not_before = ready_at if ready_at > now else None
    payload = {"reason": reason.value, "error": error, **(facts or {})}
    return requeue(task, ready_at=ready_at, by=by, now=now, payload=payload)


def requeue(
    task: Task, *, ready_at: datetime, by: Actor, now: datetime, payload: dict[str, Any]
) -> Task:
    """Put a locked task back in the queue, save and record."""
    moved = task.move_to(Status.ASSIGNED, now=now)
    task.queue_again(ready_at=ready_at, wait=rules.WAIT[task.priority])
    payload = {"attempt": task.attempt, "ready_at": ready_at.isoformat(), **payload}
    save_transition(task, TASK_REQUEUED, moved=moved, by=by, now=now, payload=payload)
    return task


def give_up(task: Task, *, reason: FailureReason, error: str, by: Actor, now: datetime) -> Task:
    """Fail a locked task for good: it joins the dead letters."""
    moved, payload = given_up(task, reason=reason, error=error, now=now)
    save_transition(task, TASK_FAILED, moved=moved, by=by, now=now, payload=payload)
    return task


def given_up(
    task: Task, *, reason: FailureReason, error: str, now: datetime
) -> tuple[tuple[str, str], dict[str, Any]]:
    """Fail a task in memory; return its move and what the event says of it."""
    moved = task.move_to(Status.FAILED, now=now)
    task.end_lease()
    task.failure_reason = reason
    task.error = error or f"Gave up after {task.attempt} attempt(s): {FailureReason(reason).label}."
    return moved, {
        "reason": reason,
        "error": task.error,
        "attempt": task.attempt,
        "dead_letter": True,
    }


def fail_for_dependency(tasks: list[Task], ended: Task, *, now: datetime) -> None:
    """Fail waiting, locked tasks because what they waited for did not complete."""
    if not tasks:
        return
    error = f"{ended.task_id}, which this task waited for, is {ended.status}."
    lost = [
        (task, *given_up(task, reason=FailureReason.DEPENDENCY, error=error, now=now))
        for task in tasks
    ]
    fields = ["status", "failed_at", "failure_reason", "error", *Task.LEASE]
    save_ended(lost, TASK_FAILED, fields=fields, by=SYSTEM, now=now)


def requeue_failed(*, task_id: str, by: Actor, now: datetime) -> Task:
    """Give a failed task a fresh set of attempts; a gated one needs a new sign-off.

    Raise InvalidTransition unless it has failed.
    """
    with transaction.atomic():
        task = approval_gate.lock_for_change(task_id=task_id, by=by, now=now)
        if task is None:
            raise UnknownTask(f"There is no task {task_id}.")
        ensure_failed(task)
        moved = task.move_to(Status.ASSIGNED, now=now)
        task.assigned_agent = task.assigned_agent or able_agent(task)
        task.attempts_spent, task.failure_reason, task.error = task.attempt, "", ""
        task.failed_at = task.not_before = None
        task.queue_again(ready_at=now, wait=rules.WAIT[task.priority])
        approval_gate.request_again(task, by=by, now=now)
        save_transition(
            task,
            TASK_REQUEUED,
            moved=moved,
            by=by,
            now=now,
            payload={"reason": "requeued", "attempt": task.attempt},
        )
        return task


def ensure_failed(task: Task) -> None:
    """Raise InvalidTransition unless the task has failed: a running one is not taken from its holder."""
    if task.status != Status.FAILED:
        said = f"{task.task_id} is {task.status}; only a failed task is requeued."
        raise InvalidTransition(said, task_id=task.task_id, status=task.status)


def able_agent(task: Task) -> str:
    """Return the agent for a task that failed before it had one; raise InvalidTransition while there is none."""
    if agent := routing.route(task.type):
        return agent
    raise InvalidTransition(
        f"No agent can take {task.task_id} now.", task_id=task.task_id, status=Status.FAILED
    )
