"""Who gets a task, by when, and when it is its turn. Pure: no database, no clock."""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from orchestrator_site.core import tracing
from orchestrator_site.core.errors import Invalid
from tasks_app.models import Agent, RoutingRule, Task

WARN_AT = 0.8  # of the SLA target
# What a priority waits behind more urgent tasks: a P3 of four hours ago goes before a P0 of now.
WAIT = {
    "P0": timedelta(0),
    "P1": timedelta(minutes=15),
    "P2": timedelta(hours=1),
    "P3": timedelta(hours=4),
}
BACKOFF_FIRST = timedelta(seconds=10)
BACKOFF_MOST = timedelta(hours=1)


def agent_for(rule: RoutingRule | None, agents: Mapping[str, Agent]) -> str:
    """Return the name of the first agent of a rule that is switched on, or "".

    One that is silent is passed over where the other one is not.
    """
    names = [rule.agent_id, rule.fallback_id or ""] if rule else []
    active = [agents[name] for name in names if name in agents and agents[name].active]
    heard = [agent for agent in active if not agent.silent_since]
    return next((agent.name for agent in heard or active), "")


def due_at(created_at: datetime, sla_target: int | None) -> datetime | None:
    """Return when a task breaches its SLA, or None if it has no target. sla_target: seconds."""
    return created_at + timedelta(seconds=sla_target) if sla_target else None


def warn_at(created_at: datetime, sla_target: int | None) -> datetime | None:
    """Return when 80 % of the SLA target is used up, or None if there is no target."""
    return created_at + timedelta(seconds=sla_target * WARN_AT) if sla_target else None


def turn_at(ready_at: datetime, priority: str) -> datetime:
    """Return a task's place in the queue: smaller goes first."""
    return ready_at + WAIT[priority]


def backoff(attempt: int, *, jitter: float | None = None) -> timedelta:
    """Return how long to wait before the next attempt: 10 s, 20 s, 40 s … at most an hour.

    attempt: the one that failed, from 1. jitter: 0..1, of the last half; random unless given.
    """
    full: timedelta = min(BACKOFF_FIRST * 2 ** min(attempt - 1, 20), BACKOFF_MOST)
    share = random.random() if jitter is None else jitter  # noqa: S311 - spreads load, hides nothing
    return full * (0.5 + share / 2)


def gate_of(task: Task, status: str | None) -> dict[str, Any]:
    """Return what an answer says of a task's sign-off. status: of its approval, if it has one."""
    return {
        "approval_id": task.approval_id or None,
        "status": status if task.approval_id else None,
        "required": bool(task.approval_id),
    }


def trace_id_of(new: Mapping[str, Any], traceparent: str) -> str:
    """Return the trace a new task names by its field, its metadata or the W3C header, or "".

    Raise Invalid.
    """
    trace_id = new.get("trace_id") or new.get("metadata", {}).get("trace_id")
    if trace_id is None:
        return tracing.trace_id_of(traceparent) if traceparent else ""
    if isinstance(trace_id, str) and 0 < len(trace_id) <= 128 and trace_id.isprintable():
        return trace_id
    sentence = "trace_id must be a string of 1 to 128 printable characters."
    raise Invalid(sentence, field="metadata.trace_id")
