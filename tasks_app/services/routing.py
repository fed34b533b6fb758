"""Who takes a task: routing rules and agents, and what happens when they change."""

from datetime import datetime
from typing import Any

from django.db import transaction

from events_app.services import change
from orchestrator_site.core.actors import SYSTEM, Actor
from orchestrator_site.infra.cached_rows import CachedRows
from tasks_app import rules
from tasks_app.errors import NotWaiting, UnknownAgent
from tasks_app.event_types import TASK_ASSIGNED, TASK_UNROUTED
from tasks_app.models import Agent, RoutingRule, Status, Task
from tasks_app.services import approval_gate
from tasks_app.services.transitions import LockedTasks

MOST = 500  # tasks moved in one sweep, each in a transaction of its own
agents = CachedRows(
    ["tasks_app.Agent"], lambda: {agent.name: agent for agent in Agent.objects.all()}
)
routing_rules = CachedRows(
    ["tasks_app.RoutingRule"], lambda: {rule.task_type: rule for rule in RoutingRule.objects.all()}
)


def known_agent(name: str) -> Agent:
    """Return the agent as it is kept in memory; raise UnknownAgent."""
    try:
        return agents()[name]
    except KeyError:
        raise UnknownAgent(f"There is no agent {name}.") from None


def route(task_type: str) -> str:
    """Return the agent that takes tasks of a type now, or ""."""
    return rules.agent_for(routing_rules().get(task_type), agents())


def route_pending(*, now: datetime, limit: int = MOST) -> int:
    """Give waiting tasks an agent where one can take them now; return how many moved.

    Also moves on what waits with an agent that was switched off or fell silent.
    """
    moved = 0
    for task_id, task_type, agent in stranded(limit):
        wanted = route(task_type)
        if wanted != agent:
            moved += assign(task_id=task_id, agent=wanted, by=SYSTEM, now=now, only_from=agent)
    return moved


def stranded(limit: int) -> list[tuple[str, str, str]]:
    """Return (task id, type, agent) of waiting tasks for another agent, oldest first."""
    rows = first_waiting(
        limit, status=Status.PENDING, type__in=[kind for kind in routing_rules() if route(kind)]
    )
    for agent in agents().values():
        if not agent.active or agent.silent_since:
            kinds = [kind for kind in routing_rules() if route(kind) != agent.name]
            rows += first_waiting(
                limit, status=Status.ASSIGNED, assigned_agent=agent.name, type__in=kinds
            )
    return [row[1:] for row in sorted(rows)[:limit]]


def first_waiting(limit: int, **which: Any) -> list[tuple[int, str, str, str]]:
    """Return (row, task id, type, agent) of the oldest of these; each filter has an index."""
    rows = Task.objects.open().filter(**which).order_by("pk")
    return list(rows.values_list("pk", "task_id", "type", "assigned_agent")[:limit])


@change
def assign(
    *, task_id: str, agent: str, by: Actor, now: datetime, only_from: str, reason: str = ""
) -> bool:
    """Hand a waiting task from one agent to another ("" for none); return whether it moved.

    A sign-off holds for the agent that was shown, so a gated task asks for a new one.
    """
    task = approval_gate.lock(task_id, by=by, now=now)
    locked = LockedTasks([task])
    if task.status not in approval_gate.WAITING or task.assigned_agent != only_from:
        transaction.set_rollback(True)
        return False
    moved = (task.status, Status.ASSIGNED if agent else Status.PENDING)
    task.status, task.assigned_agent, task.assigned_at = moved[1], agent, now if agent else None
    approval_gate.request_again(task, by=by, now=now)
    event_type = TASK_ASSIGNED if agent else TASK_UNROUTED
    payload = {"previous_agent": only_from, "reason": reason}
    locked.record(task, event_type, moved=moved, by=by, now=now, payload=payload)
    locked.save()
    return True


def reassign(*, task_id: str, agent: str, reason: str, by: Actor, now: datetime) -> Task:
    """Give a waiting task to another agent, with the reason on record.

    Raise UnknownTask, UnknownAgent or NotWaiting.
    """
    known_agent(agent)
    task = Task.objects.get_or_refuse(task_id)
    moved = assign(
        task_id=task_id, agent=agent, by=by, now=now, only_from=task.assigned_agent, reason=reason
    )
    task.refresh_from_db()
    if not moved:
        sentence = f"{task_id} is {task.status}; it cannot be reassigned."
        raise NotWaiting(sentence, task_id=task_id, status=task.status)
    return task
