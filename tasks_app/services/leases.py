"""Keep what was claimed: heartbeat, release, and take back what was lost."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from events_app.services import change
from orchestrator_site.core.actors import SYSTEM, Actor
from orchestrator_site.core.errors import DomainError
from tasks_app import rules
from tasks_app.errors import LeaseLost
from tasks_app.event_types import TASK_RELEASED
from tasks_app.models import FailureReason, Status, Task
from tasks_app.services import agents as agent_services
from tasks_app.services import dependencies, retries, routing
from tasks_app.services.lifecycle import ensure_may_report
from tasks_app.services.transitions import LockedTasks, lock_all, single


class Heartbeat(NamedTuple):
    """A holder's sign of life. progress: 0..100."""

    task_id: str
    attempt: int
    by: Actor
    now: datetime
    progress: int | None = None
    note: str | None = None


class Release(NamedTuple):
    """A holder gives a task back."""

    task_id: str
    attempt: int
    by: Actor
    now: datetime
    reason: str = ""


def heartbeat(**beat: Any) -> Task:
    """Extend one lease, as `Heartbeat` says; raise why it cannot be, as `heartbeat_all` says."""
    return single(heartbeat_all([Heartbeat(**beat)]))


@change
def heartbeat_all(beats: Sequence[Heartbeat]) -> list[Task | DomainError]:
    """Extend live leases; a task's status tells the holder whether it was cancelled.

    Return each task, or UnknownTask, NotHolder or LeaseLost.
    """
    locked = LockedTasks(lock_all({beat.task_id for beat in beats}))
    outcomes = [locked.decide(beat.task_id, partial(extend, beat)) for beat in beats]
    locked.save()
    seen = {
        task.assigned_agent: beat
        for beat, task in zip(beats, outcomes, strict=True)
        if isinstance(task, Task) and task.status == Status.IN_PROGRESS
    }
    for name in sorted(seen.keys() & routing.agents().keys()):  # in the one order that all take
        agent = routing.agents()[name]
        agent_services.record_heartbeat(agent, by=seen[name].by, now=seen[name].now)
    return outcomes


def extend(beat: Heartbeat, task: Task) -> None:
    """Extend the lease of a locked task unless it was cancelled; raise NotHolder or LeaseLost."""
    if task.status == Status.CANCELLED and task.attempt == beat.attempt:
        return
    ensure_held(task, attempt=beat.attempt, by=beat.by, now=beat.now)
    task.lease_expires_at = beat.now + timedelta(seconds=task.lease_seconds or 60)
    task.heartbeat_at = beat.now
    task.progress = task.progress if beat.progress is None else beat.progress
    task.note = task.note if beat.note is None else beat.note


def ensure_held(task: Task, *, attempt: int, by: Actor, now: datetime) -> None:
    """Raise NotHolder or LeaseLost unless the caller holds this attempt of a running task."""
    if task.status != Status.IN_PROGRESS or not task.holder:
        raise LeaseLost(
            f"{task.task_id} is {task.status}; nobody holds it.",
            task_id=task.task_id,
            status=task.status,
        )
    ensure_may_report(task, by=by, attempt=attempt, now=now)


def release(**given: Any) -> Task:
    """Give one task back, as `Release` says; raise why it cannot be, as `release_all` says."""
    return single(release_all([Release(**given)]))


@change
def release_all(releases: Sequence[Release]) -> list[Task | DomainError]:
    """Give tasks back; each is the next in its queue again, and the attempt does not count.

    Return each task, or UnknownTask, NotHolder or LeaseLost.
    """
    locked = LockedTasks(lock_all({given.task_id for given in releases}))
    outcomes = [
        locked.decide(given.task_id, partial(give_back, given, locked)) for given in releases
    ]
    locked.save()
    return outcomes


def give_back(given: Release, locked: LockedTasks, task: Task) -> None:
    """Put a locked task back into its queue; raise NotHolder or LeaseLost."""
    by, now = given.by, given.now
    ensure_held(task, attempt=given.attempt, by=by, now=now)
    moved = task.move_to(Status.ASSIGNED, now=now)
    task.attempts_spent += 1  # given back, not failed
    task.queue_again(ready_at=now, wait=rules.WAIT[task.priority])
    payload = {"attempt": task.attempt, "reason": given.reason}
    locked.record(task, TASK_RELEASED, moved=moved, by=by, now=now, payload=payload)


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
    end, locked = task.lease_expires_at, LockedTasks([task])
    retries.retry_later(
        locked,
        task,
        reason=FailureReason.LEASE_LOST,
        error=f"{task.holder} did not report before the lease of attempt {attempt} ran out.",
        by=SYSTEM,
        now=now,
        wait=timedelta(0),
        facts={"lease_expired_at": end.isoformat() if end else None},
    )
    dependencies.settle_dependents(locked.save(), patient=True)
    return 1
