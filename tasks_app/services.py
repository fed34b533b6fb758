"""Take in work and hear how it went. Leases live in `leases.py`, routing in `routing.py`, the SLA in `sla.py`."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import transaction

from approvals_app.models import Status as ApprovalStatus
from approvals_app.services import AskAnew
from events_app.models import Event
from events_app.services import new_event, record_all
from orchestrator_site.core.actors import Actor, Role
from orchestrator_site.core.errors import Conflict, Forbidden, Invalid, NotFound
from orchestrator_site.infra.wakeups import tasks_of
from tasks_app import dependencies, gate, retries, routing, rules
from tasks_app.models import FailureReason, Status, Task
from tasks_app.moves import save_moved

CREATED = "task.created"
STARTED = "task.started"
COMPLETED = "task.completed"
FAILED = "task.failed"
CANCELLED = "task.cancelled"
MOVED = {Status.IN_PROGRESS: STARTED, Status.COMPLETED: COMPLETED, Status.FAILED: FAILED}


class UnknownTask(NotFound):
    """There is no task with this id."""


class UnknownParent(Invalid):
    """A parent is a task that exists."""


class UnknownType(Invalid):
    """No routing rule takes tasks of this type."""


class NotHolder(Conflict):
    """Another principal holds this task."""


class LeaseLost(Conflict):
    """The lease on this task has run out or was given to another attempt."""


class MayNotCancel(Forbidden):
    """Only its creator or an admin may cancel a task."""


def get_task(task_id: str) -> Task:
    """Return the task; raise UnknownTask."""
    return found(Task.objects.find(task_id), task_id)


def locked_task(task_id: str) -> Task:
    """Return the task with its row locked until the transaction ends; raise UnknownTask."""
    return found(Task.objects.lock(task_id), task_id)


def locked_and_withdrawn(task_id: str, *, by: Actor, now: datetime, reason: str) -> Task:
    """Return the task with its row locked and nothing asked for it any more; raise UnknownTask."""
    return found(
        gate.lock_without_requests(task_id=task_id, status=ApprovalStatus.WITHDRAWN, by=by, now=now, reason=reason),
        task_id,
    )


def found(task: Task | None, task_id: str) -> Task:
    """Return the task; raise UnknownTask when there is none."""
    if task is None:
        raise UnknownTask(f"There is no task {task_id}.")
    return task


@transaction.atomic
def create_task(*, by: Actor, now: datetime, **new: Any) -> Task:
    """Take in one task: routed, gated where policy asks, with its events, in one transaction.

    new: type, payload; optional priority, source, metadata, sla_target, trace_id, parent_task_id, not_before,
    depends_on, on_dependency_failure, max_attempts. Raise UnknownType, UnknownParent or UnknownDependency.
    """
    task = build(by=by, now=now, **new)
    store(task, new.get("depends_on", ()), by=by, now=now)
    return task


def build(*, by: Actor, now: datetime, depends_on: Iterable[str] = (), **new: Any) -> Task:
    """Return a task as it will be stored, routed and with its deadlines."""
    if new["type"] not in routing.routing_rules():
        raise UnknownType(f"No agent takes tasks of type {new['type']!r}.", field="type")
    if parent := new.get("parent_task_id"):
        ensure_parent(parent)
    agent = routing.route(new["type"])
    task = Task(created_by=by.name, door=by.door, reported_by=by.name, created_at=now, **new)
    task.assigned_agent = agent
    task.status = Status.ASSIGNED if agent else Status.PENDING
    task.assigned_at = now if agent else None
    task.due_at, task.warn_at = rules.due_at(now, task.sla_target), rules.warn_at(now, task.sla_target)
    task.turn_at = rules.turn_at(max(now, task.not_before or now), task.priority)
    return task


def ensure_parent(task_id: str) -> None:
    """Raise UnknownParent unless the task exists."""
    if not Task.objects.filter(task_id=task_id).exists():
        raise UnknownParent(f"There is no task {task_id} to be the parent.", field="parent_task_id")


def store(task: Task, depends_on: Iterable[str], *, by: Actor, now: datetime) -> None:
    """Insert a built task, what it waits for, its approval and its events. Runs in the caller's transaction."""
    needed = dependencies.wanted(task, depends_on)
    gate.ask(task, by=by, now=now)
    task.save(force_insert=True)
    dependencies.store(task, needed)
    wakes = [tasks_of(task.assigned_agent)] if task.assigned_agent else []
    record_all(intake_events(task, by=by, now=now), wakes=wakes)


def intake_events(task: Task, *, by: Actor, now: datetime) -> list[Event]:
    """Return what the log says of a new task: created, and assigned if it has an agent."""
    about = {"by": by, "now": now, "task_id": task.task_id, "trace_id": task.trace_id, "priority": task.priority}
    created = new_event(
        event_type=CREATED,
        payload={"type": task.type, "agent": task.assigned_agent, "source": task.source},
        moved=("", task.status),
        **about,
    )
    if not task.assigned_agent:
        return [created]
    return [created, new_event(event_type=routing.ASSIGNED, payload={"agent": task.assigned_agent}, **about)]


def report_status(*, task_id: str, by: Actor, now: datetime, **report: Any) -> Task:
    """Move a task as its agent reports; repeating the present status changes nothing.

    report: as for `take_report`. If policy has come to ask for a sign-off that the task does not have, somebody is
    asked, and the refusal names the request. Raise UnknownTask, NotHolder, LeaseLost, NotGranted or InvalidTransition.
    """
    try:
        return take_report(task_id=task_id, by=by, now=now, **report)
    except AskAnew:
        gate.hold_back(task_id=task_id, now=now)
        gate.ensure_open(get_task(task_id), starting=True)
        raise


@transaction.atomic
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

    attempt: the fencing token of the reporter's lease, if it names one. retryable: a failure worth another try.
    Raise UnknownTask, NotHolder, LeaseLost, NotGranted or InvalidTransition.
    """
    failed = status == Status.FAILED
    task = locked_and_withdrawn(task_id, by=by, now=now, reason="The task failed.") if failed else locked_task(task_id)
    if is_repeat(task, status, by, attempt):
        return task
    ensure_may_report(task, by=by, attempt=attempt, now=now)
    if not failed:
        gate.ensure_open(task, starting=task.status == Status.ASSIGNED)
        dependencies.ensure_settled(task)
    if failed and retryable and task.attempt and task.status == Status.IN_PROGRESS:
        return retries.try_again(task, reason=FailureReason.RETRIES_EXHAUSTED, error=error, by=by, now=now)
    finish_or_start(task, status, by=by, now=now, error=error, result=result)
    return task


def is_repeat(task: Task, status: Status, by: Actor, attempt: int | None) -> bool:
    """Return whether a report says again what the same caller already said."""
    return task.status == status and task.reported_by == by.name and attempt in (None, task.attempt)


def ensure_may_report(task: Task, *, by: Actor, attempt: int | None, now: datetime) -> None:
    """Raise unless a leased task is reported by its holder, in time and for the present attempt.

    A task nobody holds may be reported by any agent (guide); an admin may report on any (D22).
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


def finish_or_start(
    task: Task, status: Status, *, by: Actor, now: datetime, error: str = "", result: dict[str, Any] | None = None
) -> None:
    """Take a reported status, save and record."""
    moved = task.move_to(status, now=now)
    task.error = error
    if status != Status.IN_PROGRESS:
        task.holder, task.lease_expires_at, task.result = "", None, result
    if status == Status.FAILED:
        task.failure_reason = FailureReason.REPORTED
    payload = ({"error": error} if error else {}) | ({"attempt": task.attempt} if task.attempt else {})
    save_moved(task, MOVED[status], moved=moved, by=by, now=now, payload=payload)


@transaction.atomic
def cancel_task(*, task_id: str, by: Actor, now: datetime, reason: str = "") -> Task:
    """Cancel a waiting or running task; what it asked sign-off for is withdrawn.

    Raise UnknownTask, MayNotCancel or InvalidTransition.
    """
    if get_task(task_id).created_by != by.name and not by.role.covers(Role.ADMIN):
        raise MayNotCancel
    task = locked_and_withdrawn(task_id, by=by, now=now, reason=reason or "The task was cancelled.")
    if task.status == Status.CANCELLED:
        return task
    end_cancelled(task, by=by, now=now, reason=reason)
    return task


def end_cancelled(task: Task, *, by: Actor, now: datetime, reason: str) -> None:
    """Move a locked task to cancelled, save and record."""
    moved = task.move_to(Status.CANCELLED, now=now)
    task.error = reason
    task.holder, task.lease_expires_at = "", None
    save_moved(task, CANCELLED, moved=moved, by=by, now=now, payload={"reason": reason})
