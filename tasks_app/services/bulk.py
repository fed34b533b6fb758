"""Requeue or cancel many tasks: the first of them at once, the others in a job.

Each task is one transaction, which also counts it. So each is done once and signed by whoever chose
it, however many workers go on with an operation and wherever one of them stops.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from celery import current_app
from django.db import connection, transaction

from events_app.services import change
from orchestrator_site.auth.accounts import find_account
from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from orchestrator_site.core.errors import DomainError, NotFound
from orchestrator_site.core.pacing import no_rest
from tasks_app.models import BulkOperation, BulkTasks, Task
from tasks_app.services import lifecycle, retries

MOST_TASKS = 10_000  # of one operation
STEP = 200  # tasks that a request, or one run of the job, does of an operation
SHOWN_FOR = timedelta(minutes=10)  # after its end
JOB = "tasks_app.jobs.continue_bulk_operations"
PERMISSION = "tasks_app.operate_task"
SERVICES: dict[str, Callable[..., Task]] = {
    "requeue": retries.requeue,
    "cancel": lifecycle.cancel_task,
}


def start(*, verb: str, pks: list[int], by: Actor, now: datetime, **params: Any) -> BulkOperation:
    """Requeue or cancel tasks in this order; return how far it has come.

    verb: a key of SERVICES. pks: at most MOST_TASKS. params: for the service, such as `reason`.
    """
    actor = [by.name, by.role, by.door, by.assurance, by.credential]
    with change():
        operation = BulkOperation.objects.create(
            verb=verb, params=params, actor=actor, started_at=now, total=len(pks)
        )
        BulkTasks.objects.create(operation=operation, pks=pks)
    run_step(operation, clock=lambda: now)
    operation.refresh_from_db()
    if operation.ended_at:
        BulkOperation.objects.filter(pk=operation.pk).delete()
    else:
        transaction.on_commit(partial(current_app.send_task, JOB, expires=60), robust=True)
    return operation


def continue_all(*, clock: Callable[[], datetime], between: Callable[[int], None] = no_rest) -> int:
    """Go a step on with each operation, and send for the job again; return how many tasks it was.

    An operation ends where it is if its account may no longer do this. between: called after
    each task.
    """
    BulkOperation.objects.filter(ended_at__lt=clock() - SHOWN_FOR).delete()
    tasks = 0
    for operation in BulkOperation.objects.filter(ended_at=None).order_by("pk"):
        username = operation.actor[-1].removeprefix("account:")
        account = find_account(username)
        if account and account.has_perm(PERMISSION):
            tasks += run_step(operation, clock=clock, between=between)
        else:
            refusal = f"{username} may no longer do this."
            rows = BulkOperation.objects.filter(pk=operation.pk)
            rows.update(ended_at=clock(), refusal=refusal)
    if tasks and BulkOperation.objects.filter(ended_at=None).exists():
        current_app.send_task(JOB, expires=60)
    return tasks


def run_step(
    operation: BulkOperation,
    *,
    clock: Callable[[], datetime],
    between: Callable[[int], None] = no_rest,
) -> int:
    """Act on the next tasks of an operation; return on how many."""
    pks = operation.tasks.pks
    for number in range(STEP):
        if not act_on_next(operation.pk, pks, now=clock()):
            return number
        between(number + 1)
    return STEP


@change
def act_on_next(pk: int, pks: list[int], *, now: datetime) -> bool:
    """Act on the next task of an operation and count it; return False if it is over or in use."""
    skip = connection.features.has_select_for_update_skip_locked
    rows = BulkOperation.objects.select_for_update(skip_locked=skip)
    operation = rows.filter(pk=pk, ended_at=None).first()
    if operation is None:
        return False
    name, role, door, assurance, credential = operation.actor
    by = Actor(name, Role(role), Door(door), Assurance(assurance), credential)
    task = Task.objects.filter(pk=pks[-operation.left]).only("task_id").first()
    try:
        if task is None:
            raise NotFound("The task is there no longer.")
        SERVICES[operation.verb](task_id=task.task_id, by=by, now=now, **operation.params)
        operation.done += 1
    except DomainError as refusal:  # somebody else was first
        operation.refused += 1
        operation.refusal = operation.refusal or str(refusal)
    operation.ended_at = None if operation.left else now
    operation.save()
    return True
