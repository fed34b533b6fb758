"""Keep what was claimed: heartbeat, release, and take back what was lost."""

from datetime import datetime, timedelta

from events_app.services import change
from orchestrator_site.core.actors import SYSTEM, Actor
from tasks_app import rules
from tasks_app.errors import LeaseLost
from tasks_app.event_types import TASK_RELEASED
from tasks_app.models import FailureReason, Status, Task
from tasks_app.services import agents as agent_services
from tasks_app.services import retries, routing
from tasks_app.services.lifecycle import ensure_may_report
from tasks_app.services.transitions import save_transition


@change
def heartbeat(
    *,
    task_id: str,
    attempt: int,
    by: Actor,
    now: datetime,
    progress: int | None = None,
    note: str | None = None,
) -> Task:
    """Extend a live lease; the task's status tells the holder whether it was cancelled.

    progress: 0..100. Raise UnknownTask, NotHolder or LeaseLost.
    """
    task = Task.objects.get_or_refuse(task_id, lock=True)
    if task.status == Status.CANCELLED and task.attempt == attempt:
        return task
    ensure_held(task, attempt=attempt, by=by, now=now)
    task.lease_expires_at = now + timedelta(seconds=task.lease_seconds or 60)
    task.heartbeat_at = now
    task.progress = task.progress if progress is None else progress
    task.note = task.note if note is None else note
    task.save(update_fields=["lease_expires_at", "heartbeat_at", "progress", "note"])
    if pool := routing.agents().get(task.assigned_agent):
        agent_services.record_heartbeat(pool, by=by, now=now)
    return task


def ensure_held(task: Task, *, attempt: int, by: Actor, now: datetime) -> None:
    """Raise NotHolder or LeaseLost unless the caller holds this attempt of a running task."""
    if task.status != Status.IN_PROGRESS or not task.holder:
        raise LeaseLost(
            f"{task.task_id} is {task.status}; nobody holds it.",
            task_id=task.task_id,
            status=task.status,
        )
    ensure_may_report(task, by=by, attempt=attempt, now=now)


@change
def release(*, task_id: str, attempt: int, by: Actor, now: datetime, reason: str = "") -> Task:
    """Give a task back; it is the next in the queue again, and the attempt does not count.

    Raise UnknownTask, NotHolder or LeaseLost.
    """
    task = Task.objects.get_or_refuse(task_id, lock=True)
    ensure_held(task, attempt=attempt, by=by, now=now)
    moved = task.move_to(Status.ASSIGNED, now=now)
    task.attempts_spent += 1  # given back, not failed
    task.queue_again(ready_at=now, wait=rules.WAIT[task.priority])
    payload = {"attempt": task.attempt, "reason": reason}
    save_transition(task, TASK_RELEASED, moved=moved, by=by, now=now, payload=payload)
    return task


def requeue_lost_leases(*, now: datetime, limit: int = 1000) -> int:
    """Take back running tasks whose lease has run out, each once; return how many.

    The row is locked and asked again, so a report that arrived in time stands, whoever was first.
    """
    taken = 0
    lost = Task.objects.lease_lost(now).order_by("lease_expires_at").values_list("pk", "attempt")
    for pk, attempt in list(lost[:limit]):
        taken += reclaim(pk, attempt, now=now)
    return taken


@change
def reclaim(pk: int, attempt: int, *, now: datetime) -> int:
    """Requeue, or give up on, one task if this very attempt is still lost; return 1 if it was."""
    task = Task.objects.lease_lost(now).select_for_update().filter(pk=pk, attempt=attempt).first()
    if task is None:
        return 0
    end = task.lease_expires_at
    retries.retry_later(
        task,
        reason=FailureReason.LEASE_LOST,
        error=f"{task.holder} did not report before the lease of attempt {attempt} ran out.",
        by=SYSTEM,
        now=now,
        wait=timedelta(0),
        facts={"lease_expired_at": end.isoformat() if end else None},
    )
    return 1
