"""Try failed tasks again, by themselves or by hand, or give up on them."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from events_app.services import change
from orchestrator_site.core.actors import SYSTEM, Actor
from orchestrator_site.core.errors import DomainError
from tasks_app import rules
from tasks_app.errors import InvalidTransition
from tasks_app.event_types import TASK_FAILED, TASK_REQUEUED
from tasks_app.models import FailureReason, Status, Task
from tasks_app.services import approval_gate, routing
from tasks_app.services.transitions import LockedTasks

GIVEN_UP = [FailureReason.RETRIES_EXHAUSTED, FailureReason.LEASE_LOST, FailureReason.DEPENDENCY]


def retry_later(
    locked: LockedTasks,
    task: Task,
    *,
    reason: FailureReason,
    error: str,
    by: Actor,
    now: datetime,
    wait: timedelta | None = None,
    facts: dict[str, Any] | None = None,
) -> None:
    """Queue a locked, running task for another attempt, or fail it after the last one.

    wait: until the next attempt; exponential with jitter unless given. facts: more for the record.
    """
    about: dict[str, Any] = {"by": by, "now": now}
    if task.attempt - task.attempts_spent >= task.max_attempts:
        moved, payload = given_up(task, reason=reason, error=error, now=now)
        return locked.record(task, TASK_FAILED, moved=moved, payload=payload, **about)
    ready_at = now + (rules.backoff(task.attempt) if wait is None else wait)
    moved = task.move_to(Status.ASSIGNED, now=now)
    task.not_before = ready_at if ready_at > now else None
    task.queue_again(ready_at=ready_at, wait=rules.WAIT[task.priority])
    payload = {
        "attempt": task.attempt,
        "ready_at": ready_at.isoformat(),
        "reason": reason.value,
        "error": error,
        **(facts or {}),
    }
    return locked.record(task, TASK_REQUEUED, moved=moved, payload=payload, **about)


def given_up(
    task: Task, *, reason: FailureReason, error: str, now: datetime
) -> tuple[tuple[str, str], dict[str, Any]]:
    """Fail a task for good, in memory; return its move and the payload of the event."""
    moved = task.move_to(Status.FAILED, now=now)
    task.end_lease()
    task.failure_reason = reason
    task.error = error or f"Gave up after {task.attempt} attempt(s): {FailureReason(reason).label}."
    facts = {"reason": reason, "error": task.error, "attempt": task.attempt}
    return moved, {**facts, "dead_letter": True}


def fail_for_dependency(tasks: list[Task], ended: Task, *, now: datetime) -> list[Task]:
    """Fail waiting, locked tasks because what they waited for did not complete.

    Return those that others wait for.
    """
    error = f"{ended.task_id}, which this task waited for, is {ended.status}."
    locked = LockedTasks(tasks)
    for task in tasks:
        moved, payload = given_up(task, reason=FailureReason.DEPENDENCY, error=error, now=now)
        locked.record(task, TASK_FAILED, moved=moved, by=SYSTEM, now=now, payload=payload)
    return locked.save()


@change
def requeue(*, task_id: str, by: Actor, now: datetime) -> Task:
    """Give a failed task a fresh set of attempts; a gated one needs a new sign-off.

    Raise UnknownTask, or InvalidTransition unless it has failed and an agent can take it.
    """
    task = approval_gate.lock(task_id, by=by, now=now)
    locked = LockedTasks([task])
    facts = {"task_id": task.task_id, "status": task.status}
    if task.status != Status.FAILED:  # a running one is not taken from its holder
        sentence = f"{task.task_id} is {task.status}; only a failed task is requeued."
        raise InvalidTransition(sentence, **facts)
    task.assigned_agent = task.assigned_agent or routing.route(task.type)
    if not task.assigned_agent:
        raise InvalidTransition(f"No agent can take {task.task_id} now.", **facts)
    moved = task.move_to(Status.ASSIGNED, now=now)
    task.attempts_spent, task.failure_reason, task.error = task.attempt, "", ""
    task.failed_at = task.not_before = None
    task.queue_again(ready_at=now, wait=rules.WAIT[task.priority])
    approval_gate.request_again(task, by=by, now=now)
    payload = {"reason": "requeued", "attempt": task.attempt}
    locked.record(task, TASK_REQUEUED, moved=moved, by=by, now=now, payload=payload)
    locked.save()
    return task


def requeue_dead_letters(*, limit: int, by: Actor, now: datetime, **which: Any) -> list[str]:
    """Put dead letters back in the queue, oldest first; return the ids of those that went.

    which: type, assigned_agent, failure_reason, exactly.
    """
    rows = Task.objects.filter(**dead_filter(**which)).order_by("pk")
    task_ids = []
    for task_id in rows.values_list("task_id", flat=True)[:limit]:
        with suppress(DomainError):  # somebody else was first
            task_ids.append(requeue(task_id=task_id, by=by, now=now).task_id)
    return task_ids


def dead_filter(**which: Any) -> dict[str, Any]:
    """Return the filter for tasks that were given up on."""
    if "failure_reason" not in which:
        which["failure_reason__in"] = GIVEN_UP
    return {"status": Status.FAILED, **which}
