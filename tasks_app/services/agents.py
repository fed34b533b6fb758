"""Agents as the product sees them: who works in which pool, who fell silent, who came back."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from events_app.configuration import Configuration
from events_app.services import change, record
from orchestrator_site.core.actors import SYSTEM, Actor
from orchestrator_site.infra.wakeups import tasks_of
from tasks_app.errors import UnknownAgent, UnknownTaskType
from tasks_app.event_types import AGENT_BACK, AGENT_CHANGED, AGENT_SILENT, RULE_CHANGED
from tasks_app.models import Agent, RoutingRule, Status, Task
from tasks_app.services import routing

# How often a sign of life is written down, so that the queue is not slowed.
SEEN_EVERY = timedelta(seconds=5)
# A longer queue is said to be this long: counting costs the same however long it is.
MAX_COUNTED = 1000

AGENTS = Configuration(
    Agent,
    AGENT_CHANGED,
    key="name",
    said_as="agent",
    unknown=lambda name: UnknownAgent(f"There is no agent {name}."),
    wakes=lambda agent: [tasks_of(agent.name)],
)
RULES = Configuration(
    RoutingRule,
    RULE_CHANGED,
    key="task_type",
    said_as="type",
    unknown=lambda name: UnknownTaskType(f"There is no rule for tasks of type {name}."),
    wakes=lambda rule: [tasks_of(name) for name in (rule.agent_id, rule.fallback_id) if name],
)


def record_heartbeat(agent: Agent, *, by: Actor, now: datetime) -> None:
    """Note that somebody of an agent's pool was seen; say so once if it had been silent."""
    if agent.silent_since:
        return mark_active(agent, by=by, now=now)
    if agent.last_seen_at is None or now - agent.last_seen_at > SEEN_EVERY:
        agent.last_seen_at = now  # the row in memory: other threads need not write it too
        Agent.objects.filter(pk=agent.pk).update(last_seen_at=now)
    return None


@change
def mark_active(agent: Agent, *, by: Actor, now: datetime) -> None:
    """End an agent's silence; of many at once one says so."""
    silent = Agent.objects.filter(pk=agent.pk, silent_since__isnull=False)
    if silent.update(silent_since=None, last_seen_at=now):
        payload = {"agent": agent.name, "seen": by.name}
        record(event_type=AGENT_BACK, by=SYSTEM, now=now, payload=payload)
        routing.agents.forget()


def mark_stale_agents(*, now: datetime) -> int:
    """Mark agents unseen for longer than they may be, each once; return how many."""
    silent, watched = 0, Agent.objects.filter(active=True, silent_since=None)
    for agent in watched.filter(silent_after__isnull=False):
        longest = timedelta(seconds=agent.silent_after or 0)
        if agent.last_seen_at and now - agent.last_seen_at > longest:
            silent += mark_stale(agent, now=now)
    return silent


@change
def mark_stale(agent: Agent, *, now: datetime) -> int:
    """Mark one agent silent unless it was seen or marked meanwhile; return 1 if it was marked."""
    last_seen = agent.last_seen_at
    unseen = Agent.objects.filter(pk=agent.pk, silent_since=None, last_seen_at=last_seen)
    if not unseen.update(silent_since=now):
        return 0
    payload = {"agent": agent.name, "last_seen_at": last_seen.isoformat() if last_seen else None}
    record(event_type=AGENT_SILENT, by=SYSTEM, now=now, payload=payload)
    routing.agents.forget()
    return 1


def overview(*, now: datetime) -> list[dict[str, Any]]:
    """Return every agent with its holders and load. Costs what is running, not what is waiting."""
    holders: dict[str, list[dict[str, Any]]] = defaultdict(list)
    running = Task.objects.filter(status=Status.IN_PROGRESS).order_by("pk")
    fields = ("assigned_agent", "holder", "task_id", "attempt", "lease_expires_at")
    for row in map(dict[str, Any], running.values(*fields)):
        holders[row.pop("assigned_agent")].append(row)
    return [
        describe(agent, holders[agent.name], now=now) for agent in Agent.objects.order_by("name")
    ]


def describe(agent: Agent, running: list[dict[str, Any]], *, now: datetime) -> dict[str, Any]:
    """Return what an answer says of one agent. running: its tasks in progress."""
    waiting, rules = Task.objects.takeable(agent.name, now), routing.routing_rules().values()
    return {
        "name": agent.name,
        "description": agent.description,
        "active": agent.active,
        "paused": agent.paused,
        "silent": agent.silent_since is not None,
        "last_seen_at": agent.last_seen_at,
        "silent_since": agent.silent_since,
        "concurrency_limit": agent.concurrency_limit,
        "running": len(running),
        "waiting": waiting[:MAX_COUNTED].count(),
        "holders": sorted({row["holder"] for row in running if alive(row, now)}),
        "types": sorted(rule.task_type for rule in rules if rule.agent_id == agent.name),
    }


def alive(row: dict[str, Any], now: datetime) -> bool:
    """Return whether a running task is held under a lease that has not run out."""
    return bool(row["holder"]) and (
        row["lease_expires_at"] is None or row["lease_expires_at"] > now
    )


def change_agent(*, name: str, by: Actor, now: datetime, **changes: Any) -> Agent:
    """Pause, resume, limit or switch an agent; raise UnknownAgent."""
    return AGENTS.change(name, by=by, now=now, **changes)


def change_type(*, task_type: str, by: Actor, now: datetime, **changes: Any) -> RoutingRule:
    """Pause, resume or limit tasks of a type; raise UnknownTaskType."""
    return RULES.change(task_type, by=by, now=now, **changes)
