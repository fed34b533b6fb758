"""Deadlines: warn once at 80 %, record the breach once, and never change what is over."""

from collections import Counter
from datetime import datetime

from django.db import connection

from events_app.models import Event
from events_app.services import change, new_event, record_all
from orchestrator_site.core.actors import SYSTEM, Actor
from orchestrator_site.core.times import rfc3339
from tasks_app.event_types import SLA_VIOLATION, SLA_WARNING
from tasks_app.models import Task, TaskQuerySet

BATCH = 200


def check_slas(*, now: datetime, limit: int = 10_000) -> tuple[int, int]:
    """Warn of and record what is due; return how many warnings and violations were new.

    Twenty sweepers at once, or none for an hour, change nothing in the outcome.
    """
    events = sweep(Task.objects.to_warn(now).order_by("warn_at"), now=now, limit=limit)
    events += sweep(Task.objects.to_breach(now).order_by("due_at"), now=now, limit=limit)
    return events[SLA_WARNING], events[SLA_VIOLATION]


def sweep(due: TaskQuerySet, *, now: datetime, limit: int) -> Counter[str]:
    """Settle due tasks in batches; return how many events of each type that made."""
    events: Counter[str] = Counter()
    while events.total() < limit:
        batch = settle_batch(due, now=now)
        events += batch
        if not batch:
            break
    return events


@change
def settle_batch(due: TaskQuerySet, *, now: datetime) -> Counter[str]:
    """Settle rows that no other sweep has locked; return how many events of each type that made."""
    skip = connection.features.has_select_for_update_skip_locked
    events: list[Event] = []
    tasks = list(due.select_for_update(skip_locked=skip)[:BATCH])
    for task in tasks:
        events += settle(task, by=SYSTEM, now=now)
    Task.objects.bulk_update(tasks, ["sla_warned_at", "sla_breached_at"])
    if events:
        record_all(events)
    return Counter(event.event_type for event in events)


def settle(task: Task, *, by: Actor, now: datetime) -> list[Event]:
    """Mark what is due on a locked task; return the events to record. Saves nothing."""
    steps: list[tuple[str, str, datetime | None]] = [
        (SLA_WARNING, "sla_warned_at", task.warn_at),
        (SLA_VIOLATION, "sla_breached_at", task.due_at),
    ]
    events = []
    for event_type, mark, due in steps:
        if due and due <= now and getattr(task, mark) is None:
            setattr(task, mark, now)
            events.append(sla_event(task, event_type, by=by, now=now))
    return events


def sla_event(task: Task, event_type: str, *, by: Actor, now: datetime) -> Event:
    """Return what the log says of a deadline."""
    return new_event(
        event_type=event_type,
        by=by,
        now=now,
        payload={
            "agent": task.assigned_agent,
            "target": task.sla_target,
            "deadline": rfc3339(task.due_at) if task.due_at else None,
        },
        task_id=task.task_id,
        trace_id=task.trace_id,
        priority=task.priority,
    )
