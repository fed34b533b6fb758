"""What operators do to tasks: reassign, requeue, look after the dead letters."""

from contextlib import suppress
from datetime import datetime
from typing import Any

from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import DomainError
from tasks_app.errors import NotWaiting
from tasks_app.models import FailureReason, Status, Task
from tasks_app.queries import get_task
from tasks_app.services import agents as agent_services
from tasks_app.services import retries, routing

GIVEN_UP = [FailureReason.RETRIES_EXHAUSTED, FailureReason.LEASE_LOST, FailureReason.DEPENDENCY]


def reassign(*, task_id: str, agent: str, reason: str, by: Actor, now: datetime) -> Task:
    """Give a waiting task to another agent, with the reason on record.

    Raise UnknownTask, UnknownAgent or NotWaiting.
    """
    agent_services.known_agent(agent)
    task = get_task(task_id)
    if not routing.assign(
        task_id=task_id, agent=agent, by=by, now=now, only_from=task.assigned_agent, reason=reason
    ):
        task = get_task(task_id)
        raise NotWaiting(
            f"{task_id} is {task.status}; it cannot be reassigned.",
            task_id=task_id,
            status=task.status,
        )
    return get_task(task_id)


def requeue(*, task_id: str, by: Actor, now: datetime) -> Task:
    """Put one failed task back in the queue; raise UnknownTask or InvalidTransition."""
    get_task(task_id)
    return retries.requeue_failed(task_id=task_id, by=by, now=now)


def requeue_dead_letters(*, limit: int, by: Actor, now: datetime, **which: Any) -> list[str]:
    """Put dead letters back in the queue, oldest first; return the ids of those that went.

    which: type, assigned_agent, failure_reason, exactly.
    """
    rows = Task.objects.filter(**dead_filter(**which)).order_by("pk")
    task_ids = []
    for task_id in rows.values_list("task_id", flat=True)[:limit]:
        with suppress(DomainError):  # somebody else was first
            task_ids.append(requeue(task_id=task_id, by=by, now=now).task_id)
    return task_ids


def dead_filter(**which: Any) -> dict[str, Any]:
    """Return the filter for tasks that were given up on."""
    if "failure_reason" not in which:
        which["failure_reason__in"] = GIVEN_UP
    return {"status": Status.FAILED, **which}
