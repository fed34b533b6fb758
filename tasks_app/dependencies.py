"""Tasks that wait for others."""

from collections.abc import Iterable
from datetime import datetime

from approvals_app.models import Status as ApprovalStatus
from events_app.services import record
from events_app.wakeups import tasks_of
from orchestrator_site.actors import SYSTEM
from orchestrator_site.errors import Conflict, Invalid
from tasks_app import gate, retries
from tasks_app.models import Dependency, Status, Task

READY = "task.ready"
SETTLED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


class UnknownDependency(Invalid):
    """A task can only wait for tasks that exist."""


class WaitsForOthers(Conflict):
    """The task waits for others to be completed."""


def wanted(task: Task, task_ids: Iterable[str]) -> list[Task]:
    """Return the tasks a new one waits for, locked, and count the open ones on it.

    A new task can only name older ones, so there is never a cycle. Raise UnknownDependency.
    """
    ids = sorted(set(task_ids))
    if not ids:
        return []
    needed = list(Task.objects.select_for_update().filter(task_id__in=ids).order_by("pk"))
    if missing := set(ids) - {other.task_id for other in needed}:
        raise UnknownDependency(f"There is no task {min(missing)} to wait for.", field="depends_on")
    if hopeless := [other.task_id for other in needed if blocks(task, other)]:
        raise UnknownDependency(f"{hopeless[0]} has ended without completing.", field="depends_on")
    task.open_dependencies = sum(other.status not in SETTLED for other in needed)
    return needed


def blocks(task: Task, other: Task) -> bool:
    """Return whether an ended task makes one that waits for it impossible."""
    return task.on_dependency_failure == "fail" and other.status in (Status.FAILED, Status.CANCELLED)


def store(task: Task, needed: list[Task]) -> None:
    """Insert what a stored task waits for."""
    if not needed:
        return
    Dependency.objects.bulk_create(
        Dependency(task=task, depends_on=other, settled_at=task.created_at if other.status in SETTLED else None)
        for other in needed
    )


def ensure_settled(task: Task) -> None:
    """Raise WaitsForOthers while a task waits."""
    if task.open_dependencies:
        raise WaitsForOthers(
            f"{task.task_id} waits for {task.open_dependencies} other task(s).",
            task_id=task.task_id,
            status=task.status,
        )


def settle_dependents(*, task_id: str, now: datetime) -> None:
    """Free, or fail, what waited for a task that has just ended, and so on down. Runs in that transaction."""
    ended = [task_id]
    for task_id in ended:  # grows while a failure goes down the line
        waiting = Dependency.objects.filter(depends_on__task_id=task_id, settled_at__isnull=True)
        for dependency in waiting.select_related("task", "depends_on").order_by("task_id"):
            ended += settle_one(dependency, now=now)


def settle_one(dependency: Dependency, *, now: datetime) -> list[str]:
    """Tell one dependent that what it waited for has ended; return its id if that ends it too."""
    ended = dependency.depends_on
    hopeless = blocks(dependency.task, ended)
    waiting = dependency.task
    task = lock_and_withdraw(waiting, ended, now=now) if hopeless else Task.objects.lock(waiting.task_id)
    won = Dependency.objects.filter(pk=dependency.pk, settled_at__isnull=True).update(settled_at=now)
    if not won or task is None:
        return []
    task.open_dependencies -= 1
    task.save(update_fields=["open_dependencies"])
    if task.status not in (Status.PENDING, Status.ASSIGNED):
        return []
    if hopeless:
        return [retries.fail_for_dependency(task, ended, now=now).task_id]
    if not task.open_dependencies:
        tell_ready(task, now=now)
    return []


def lock_and_withdraw(task: Task, ended: Task, *, now: datetime) -> Task | None:
    """Lock the row of a task that can no longer run, with nothing asked for it any more."""
    return gate.lock_without_requests(
        task_id=task.task_id,
        status=ApprovalStatus.WITHDRAWN,
        by=SYSTEM,
        now=now,
        reason=f"{ended.task_id} is {ended.status}.",
    )


def tell_ready(task: Task, *, now: datetime) -> None:
    """Record that a task waits for no other any more."""
    record(
        event_type=READY,
        by=SYSTEM,
        now=now,
        task_id=task.task_id,
        trace_id=task.trace_id,
        priority=task.priority,
        wakes=[tasks_of(task.assigned_agent)] if task.assigned_agent else [],
    )
