"""Create tasks: routed, gated where policy asks, with their events."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from events_app.models import Event
from events_app.services import change, new_event, record_all
from orchestrator_site.core.actors import Actor
from orchestrator_site.infra.wakeups import tasks_of
from tasks_app import rules
from tasks_app.errors import UnknownParent, UnknownType
from tasks_app.event_types import TASK_ASSIGNED, TASK_CREATED
from tasks_app.models import Status, Task
from tasks_app.services import approval_gate, dependencies, routing


@change
def create_task(*, by: Actor, now: datetime, **new: Any) -> Task:
    """Take in one task: routed, gated where policy asks, with its events, in one transaction.

    new: type, payload; optional priority, source, metadata, sla_target, trace_id, parent_task_id,
    not_before, depends_on, on_dependency_failure, max_attempts. Raise UnknownType, UnknownParent or
    UnknownDependency.
    """
    task = build(by=by, now=now, **new)
    store(task, new.get("depends_on", ()), by=by, now=now)
    return task


def build(*, by: Actor, now: datetime, depends_on: Iterable[str] = (), **new: Any) -> Task:
    """Return a task as it will be stored, routed and with its deadlines."""
    rule = routing.routing_rules().get(new["type"])
    if rule is None:
        raise UnknownType(f"No agent takes tasks of type {new['type']!r}.", field="type")
    if parent := new.get("parent_task_id"):
        ensure_parent(parent)
    agent = rules.agent_for(rule, routing.agents())
    task = Task(created_by=by.name, door=by.door, created_at=now, **new)
    task.creator_credential = by.credential
    task.report_by(by)
    task.assigned_agent = agent
    task.status = Status.ASSIGNED if agent else Status.PENDING
    task.assigned_at = now if agent else None
    task.due_at, task.warn_at = (
        rules.due_at(now, task.sla_target),
        rules.warn_at(now, task.sla_target),
    )
    task.turn_at = rules.turn_at(max(now, task.not_before or now), task.priority)
    return task


def ensure_parent(task_id: str) -> None:
    """Raise UnknownParent unless the task exists."""
    if not Task.objects.filter(task_id=task_id).exists():
        raise UnknownParent(f"There is no task {task_id} to be the parent.", field="parent_task_id")


def store(task: Task, depends_on: Iterable[str], *, by: Actor, now: datetime) -> None:
    """Insert a task, its dependencies, approval and events, in the caller's transaction."""
    needed = dependencies.wanted(task, depends_on) if depends_on else []
    approval_gate.request(task, by=by, now=now)
    task.save(force_insert=True)
    if needed:
        dependencies.store(task, needed)
    wakes = [tasks_of(task.assigned_agent)] if task.assigned_agent else []
    record_all(intake_events(task, by=by, now=now), wakes=wakes)


def intake_events(task: Task, *, by: Actor, now: datetime) -> list[Event]:
    """Return what the log says of a new task: created, and assigned if it has an agent."""
    about: dict[str, Any] = {
        "by": by,
        "now": now,
        "task_id": task.task_id,
        "trace_id": task.trace_id,
        "priority": task.priority,
    }
    created = new_event(
        event_type=TASK_CREATED,
        payload={"type": task.type, "agent": task.assigned_agent, "source": task.source},
        moved=("", task.status),
        **about,
    )
    if not task.assigned_agent:
        return [created]
    return [
        created,
        new_event(event_type=TASK_ASSIGNED, payload={"agent": task.assigned_agent}, **about),
    ]
