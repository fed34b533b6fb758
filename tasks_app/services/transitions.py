"""Change locked tasks and save them: one place, so that no move goes unrecorded."""

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from datetime import datetime
from typing import Any

from events_app.models import Event
from events_app.services import new_event, record_all
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import DomainError
from orchestrator_site.infra import rows
from orchestrator_site.infra.changes import here
from orchestrator_site.infra.wakeups import tasks_of
from tasks_app.errors import UnknownTask
from tasks_app.models import OPEN, Status, Task
from tasks_app.services import sla

FIELDS = frozenset(field.attname for field in Task._meta.concrete_fields)
CONTENT = ("payload", "metadata")  # large, and of use to the gate only
WAITED_FOR = """EXISTS (
    SELECT 1 FROM tasks_app_dependency
    WHERE depends_on_id = tasks_app_task.id AND settled_at IS NULL
)"""


def lock_all(task_ids: Iterable[str]) -> list[Task]:
    """Return those of these tasks that exist, locked in the one order that all take.

    What they are about is left to be read when it is asked for.
    """
    names = sorted(set(task_ids))
    lock = "FOR UPDATE" if here.database.features.has_select_for_update else ""
    where = f"task_id IN ({rows.placeholders(len(names))}) ORDER BY id {lock}"
    return rows.select(Task, where, names, without=CONTENT)


class LockedTasks:
    """Locked tasks that are changed in memory, one decision after the other, and saved together.

    Of what is changed only columns that were loaded are saved.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks = {task.task_id: task for task in tasks}
        self._before = {name: dict(task.__dict__) for name, task in self._tasks.items()}
        self._decided: set[str] = set()
        self._events: list[Event] = []

    def __len__(self) -> int:
        return len(self._tasks)

    def decide(self, task_id: str, decision: Callable[[Task], object]) -> Task | DomainError:
        """Return a task as a decision leaves it, or why the decision refuses.

        A decision refuses before it changes anything. Where several are made on a task, each sees
        what the one before it did, and each returns what it left.
        """
        task = self._tasks.get(task_id)
        if task is None:
            return UnknownTask(task_id)
        if task_id in self._decided:
            self._tasks[task_id] = task = copy(task)
        self._decided.add(task_id)
        try:
            decision(task)
        except DomainError as refusal:
            return refusal
        return task

    def record(
        self,
        task: Task,
        event_type: str,
        *,
        moved: tuple[str, str],
        by: Actor,
        now: datetime,
        payload: dict[str, Any],
    ) -> None:
        """Note that a task has taken a status; settle its SLA when it is over.

        moved: the status that was left and the one taken.
        """
        task.report_by(by)
        if task.status not in OPEN:
            self._events += sla.settle(task, by=by, now=now)
        event = new_event(
            event_type=event_type,
            by=by,
            now=now,
            payload={"agent": task.assigned_agent, **payload},
            task_id=task.task_id,
            trace_id=task.trace_id,
            priority=task.priority,
            moved=moved if moved[0] != moved[1] else ("", ""),
        )
        self._events.append(event)

    def save(self) -> list[Task]:
        """Save what has changed and its events; wake the agents of those that wait again.

        Return those that have ended and that others wait for: `dependencies.settle_dependents`.
        """
        changes = {name: self._changes(task) for name, task in self._tasks.items()}
        tasks = [self._tasks[name] for name, columns in changes.items() if columns]
        ended, waited_for = list(filter(self._has_ended, tasks)), {}
        if tasks:
            returning = WAITED_FOR if ended else "NULL"
            names = set().union(*changes.values())
            waited_for = rows.update(Task, tasks, names, returning=returning)
        if self._events:
            again = {task.assigned_agent for task in tasks if task.status == Status.ASSIGNED}
            record_all(self._events, wakes=map(tasks_of, sorted(again)))
        return [task for task in ended if waited_for[task.pk]]

    def any_ended(self) -> bool:
        """Return whether one of the tasks has ended meanwhile."""
        return any(map(self._has_ended, self._tasks.values()))

    def _has_ended(self, task: Task) -> bool:
        return task.status not in OPEN and self._before[task.task_id]["status"] in OPEN

    def _changes(self, task: Task) -> set[str]:
        now = task.__dict__
        return {
            name
            for name, before in self._before[task.task_id].items()
            if now[name] is not before and now[name] != before and name in FIELDS
        }


def single(outcomes: Sequence[Task | Exception]) -> Task:
    """Return the task that is the outcome of a list of one, or raise its refusal or fault."""
    [outcome] = outcomes
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
