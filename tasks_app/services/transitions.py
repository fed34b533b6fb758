"""Save tasks that have taken a new status: one place, so that no move goes unrecorded."""

from datetime import datetime
from typing import Any

from events_app.models import Event
from events_app.services import new_event, record_all
from orchestrator_site.core.actors import Actor
from orchestrator_site.infra.wakeups import tasks_of
from tasks_app.models import OPEN, Status, Task
from tasks_app.services import sla


def save_transition(
    task: Task,
    event_type: str,
    *,
    moved: tuple[str, str],
    by: Actor,
    now: datetime,
    payload: dict[str, Any],
) -> None:
    """Save a locked task with its event.

    Settle its SLA when it is over, wake its agent when it waits again.

    moved: the status that was left and the one taken.
    """
    task.report_by(by)
    events = [] if task.status in OPEN else sla.settle(task, by=by, now=now)
    task.save()
    events.append(moved_event(task, event_type, moved=moved, by=by, now=now, payload=payload))
    wakes = [tasks_of(task.assigned_agent)] if task.status == Status.ASSIGNED else []
    record_all(events, wakes=wakes)


def save_ended(
    ended: list[tuple[Task, tuple[str, str], dict[str, Any]]],
    event_type: str,
    *,
    fields: list[str],
    by: Actor,
    now: datetime,
) -> None:
    """Save locked tasks that have ended the same way, with few statements, and their events.

    ended: each task, its move, and what the event says. fields: what has changed, to the same value
    on all of them.
    """
    events, late = [], []
    for task, moved, payload in ended:
        task.report_by(by)
        if missed := sla.settle(task, by=by, now=now):
            late.append(task)
        event = moved_event(task, event_type, moved=moved, by=by, now=now, payload=payload)
        events += [*missed, event]
    first, fields = ended[0][0], [*fields, "reported_by", "reporter_credential"]
    values = {name: getattr(first, name) for name in fields}
    Task.objects.filter(pk__in=[task.pk for task, _, _ in ended]).update(**values)
    Task.objects.bulk_update(late, ["sla_warned_at", "sla_breached_at"])
    record_all(events)


def moved_event(
    task: Task,
    event_type: str,
    *,
    moved: tuple[str, str],
    by: Actor,
    now: datetime,
    payload: dict[str, Any],
) -> Event:
    """Return what the log says of a task that has taken a status."""
    return new_event(
        event_type=event_type,
        by=by,
        now=now,
        payload={"agent": task.assigned_agent, **payload},
        task_id=task.task_id,
        trace_id=task.trace_id,
        priority=task.priority,
        moved=moved if moved[0] != moved[1] else ("", ""),
    )
