"""Save a task that has taken a new status: one place, so that no move goes unrecorded."""

from datetime import datetime
from typing import Any

from events_app.services import new_event, record_all
from events_app.wakeups import tasks_of
from orchestrator_site.actors import Actor
from tasks_app import sla
from tasks_app.models import OPEN, Status, Task


def save_moved(
    task: Task, event_type: str, *, moved: tuple[str, str], by: Actor, now: datetime, payload: dict[str, Any]
) -> None:
    """Save a locked task with its event; settle its SLA when it is over, wake its agent when it waits again.

    moved: the status that was left and the one taken.
    """
    task.reported_by = by.name
    events = [] if task.status in OPEN else sla.settle(task, by=by, now=now)
    task.save()
    events.append(
        new_event(
            event_type=event_type,
            by=by,
            now=now,
            payload={"agent": task.assigned_agent, **payload},
            task_id=task.task_id,
            trace_id=task.trace_id,
            priority=task.priority,
            moved=moved if moved[0] != moved[1] else ("", ""),
        )
    )
    record_all(events, wakes=[tasks_of(task.assigned_agent)] if task.status == Status.ASSIGNED else [])
