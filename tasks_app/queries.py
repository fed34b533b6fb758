"""Read tasks: pages of them, each with its gate, and what happened to one in order."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from approvals_app.models import Approval
from events_app.models import Event
from orchestrator_site.core import cursors
from orchestrator_site.infra.pagination import fitting
from orchestrator_site.infra.rows import placeholders, select
from tasks_app import rules
from tasks_app.errors import UnknownTask
from tasks_app.models import Task

LARGE = ("payload", "metadata", "result")
TASKS, TIMELINE = "tasks", "timeline"  # the kinds of cursors
MOST_EVENTS = 1000  # of a timeline at once


class GatedTask(NamedTuple):
    """A task, and how its gate stands, as `rules.gate_of` says it."""

    task: Task
    gate: dict[str, Any]


def page(
    *, limit: int, now: datetime, cursor: str = "", overdue: bool | None = None, **equal: Any
) -> tuple[list[GatedTask], str | None]:
    """Return tasks newest first and the cursor of the next page, None on the last.

    A page starts below the last task seen, so rows that come in meanwhile move nothing. Raise
    BadCursor.
    """
    rows = Task.objects.of(**equal).order_by("-pk")
    if cursor:
        rows = rows.filter(pk__lt=cursors.decode(cursor, TASKS, int)[0])
    if overdue:
        late = rows.overdue(now).values_list("pk", flat=True)[: limit + 1]
        rows = Task.objects.filter(pk__in=late).order_by("-pk")
    elif overdue is False:
        rows = rows.on_time(now)
    tasks, more = fitting(rows, limit=limit, large=LARGE)
    return with_gates(tasks), cursors.encode(TASKS, tasks[-1].pk) if tasks and more else None


def find_all(task_ids: Sequence[str]) -> list[GatedTask | UnknownTask]:
    """Return each task with its gate, or that there is none; two queries for all of them."""
    names = sorted(set(task_ids))
    tasks = with_gates(select(Task, f"task_id IN ({placeholders(len(names))})", names))
    by_id = {row.task.task_id: row for row in tasks}
    return [by_id.get(task_id) or UnknownTask(task_id) for task_id in task_ids]


def with_gates(tasks: Sequence[Task]) -> list[GatedTask]:
    """Return each task with its gate, at the cost of one query, of none where none has one."""
    ids = [task.approval_id for task in tasks if task.approval_id]
    states = (
        dict(Approval.objects.filter(approval_id__in=ids).values_list("approval_id", "status"))
        if ids
        else {}
    )
    return gated(tasks, states)


def gated(tasks: Iterable[Task], states: Mapping[str, str]) -> list[GatedTask]:
    """Return each task with its gate. states: of their requests for sign-off, by id."""
    return [GatedTask(task, rules.gate_of(task, states.get(task.approval_id))) for task in tasks]


def created(task: Task) -> GatedTask:
    """Return a task just created with its gate, which nobody can have decided on yet."""
    return GatedTask(task, rules.gate_of(task, "pending"))


def timeline(
    task: Task, *, cursor: str = "", limit: int = MOST_EVENTS
) -> tuple[list[Event], str | None]:
    """Return what happened to a task in order, and the cursor of the next page, None on the last.

    Raise BadCursor.
    """
    rows = Event.objects.of_task(task.task_id).order_by("pk")
    if cursor:
        rows = rows.filter(pk__gt=cursors.decode(cursor, TIMELINE, int)[0])
    events, more = fitting(rows, limit=limit, large=["payload"])
    return events, cursors.encode(TIMELINE, events[-1].pk) if events and more else None
