"""Tasks that wait for others.

When a task ends, its dependents are settled in bounded steps: the first in the transaction that
ends it, the rest by a job. `Settlement` names the ended tasks that have dependents left. A step
locks many rows, so it skips those that are locked and leaves them to the next, to avoid deadlocks.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from celery import current_app
from django.db import connection, transaction
from django.db.models import Count, F

from approvals_app.models import Status as ApprovalStatus
from approvals_app.services import requests
from events_app.services import change, new_event, record_all
from orchestrator_site.core.actors import SYSTEM
from orchestrator_site.core.errors import Invalid
from orchestrator_site.core.pacing import no_rest
from orchestrator_site.infra.wakeups import tasks_of
from tasks_app.errors import TooManyDependents, UnknownDependency, WaitsForOthers
from tasks_app.event_types import TASK_READY
from tasks_app.models import STAMP, Dependency, Settlement, Status, Task, TaskQuerySet
from tasks_app.services import retries

SETTLED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
WAITING = (Status.PENDING, Status.ASSIGNED)
MOST_DEPENDENCIES = 50
MOST_DEPENDENTS = 1000
STEP = 200  # dependents settled in one transaction
FIXED_COST = 10  # what each ended task costs besides, counted in dependents
STEPS_OF_A_JOB = 20
JOB = "tasks_app.jobs.settle_dependents"
HEAVY = ("payload", "metadata", "result")  # up to a megabyte each, and of no use here


class Step(NamedTuple):
    """What a step did: how many dependents it settled, if some are left.

    failed: those that failed by it and that others wait for.
    """

    number: int
    some_left: bool
    failed: list[Task]


def lock(task_ids: Collection[str]) -> None:
    """Lock the tasks that new ones wait for, in the one order that all take."""
    if task_ids:
        rows = light().filter(task_id__in=task_ids).order_by("pk")
        list(rows.select_for_update().values_list("pk"))


def wanted(task: Task, task_ids: Iterable[str]) -> list[Task]:
    """Return the tasks a new one waits for, locked, and count the open ones on it.

    A new task can only name older ones, so there is never a cycle. Raise UnknownDependency or
    TooManyDependents.
    """
    ids = sorted(set(task_ids))
    if not ids:
        return []
    if len(ids) > MOST_DEPENDENCIES:
        raise Invalid(f"A task waits for at most {MOST_DEPENDENCIES} others.", field="depends_on")
    needed = list(light().select_for_update().filter(task_id__in=ids).order_by("pk"))
    if missing := set(ids) - {other.task_id for other in needed}:
        raise UnknownDependency(f"There is no task {min(missing)} to wait for.", field="depends_on")
    if hopeless := [other.task_id for other in needed if blocks(task, other)]:
        raise UnknownDependency(f"{hopeless[0]} has ended without completing.", field="depends_on")
    ensure_room(needed)
    task.open_dependencies = sum(other.status not in SETTLED for other in needed)
    return needed


def ensure_room(needed: list[Task]) -> None:
    """Raise TooManyDependents if one of these locked tasks cannot have another dependent."""
    edges = Dependency.objects.filter(depends_on__in=[other.pk for other in needed]).order_by()
    counted = edges.values("depends_on").annotate(number=Count("pk"))
    full = counted.filter(number__gte=MOST_DEPENDENTS)
    for pk in full.values_list("depends_on", flat=True)[:1]:
        name = next(other.task_id for other in needed if other.pk == pk)
        sentence = f"{name} has {MOST_DEPENDENTS:,} dependents already; a task has no more."
        raise TooManyDependents(sentence, field="depends_on")


def blocks(task: Task, other: Task) -> bool:
    """Return whether an ended task makes one that waits for it impossible."""
    ended_badly = other.status in (Status.FAILED, Status.CANCELLED)
    return ended_badly and task.on_dependency_failure == "fail"


def store(task: Task, needed: list[Task]) -> None:
    """Insert what a stored task waits for."""
    Dependency.objects.bulk_create(
        Dependency(
            task=task,
            depends_on=other,
            settled_at=task.created_at if other.status in SETTLED else None,
        )
        for other in needed
    )


def ensure_settled(task: Task) -> None:
    """Raise WaitsForOthers while a task waits."""
    if task.open_dependencies:
        raise WaitsForOthers(
            f"{task.task_id} waits for {task.open_dependencies} other task(s).",
            task_id=task.task_id,
            status=task.status,
        )


def settle_dependents(ended: list[Task], *, patient: bool) -> None:
    """Free or fail what waits for tasks that have just ended, and so on down, for one step.

    Runs in the transaction that ended them, so they are locked. What is left, a job does. patient:
    no other task is locked, as `settle_down` says.
    """
    if not ended:
        return
    most = STEP + FIXED_COST * (len(ended) - 1)  # all that ended together get their turn
    _, left = settle_down(ended, most=most, patient=patient)
    leave_to_the_job(left)


def settle_down(
    queue: list[Task], *, most: int, now: datetime | None = None, patient: bool = False
) -> tuple[int, list[Task]]:
    """Settle dependents of ended, locked tasks, and of the tasks that fail by it, for one step.

    Return how many were settled, and the ended tasks that have dependents left. most: how much the
    step may cost, counted in dependents. now: at which moment, each at its task's end if none is
    given. patient: no other task is locked, and locked rows are
    waited for. That is safe where it was completed: all lock older tasks before younger ones, and
    no approval is touched.
    """
    number, budget, left = 0, most, []
    for ended in queue:  # grows while a failure goes down the line
        if budget <= 0:
            left.append(ended)
            continue
        wait = patient and ended.status == Status.COMPLETED
        when = now or getattr(ended, STAMP[Status(ended.status)])
        step = settle_some(ended, most=budget, now=when, wait=wait)
        number += step.number
        budget -= step.number + FIXED_COST
        queue += step.failed
        if step.some_left:
            left.append(ended)
    return number, left


def settle_some(ended: Task, *, most: int, now: datetime, wait: bool) -> Step:
    """Settle some dependents of an ended, locked task. wait: for rows that others have locked."""
    rows = Dependency.objects.filter(depends_on=ended, settled_at__isnull=True).order_by("task_id")
    edges = dict(rows.values_list("task_id", "pk")[:most])
    tasks = lock_dependents(list(edges), ended, now=now, wait=wait) if edges else []
    if tasks:
        mark_settled(tasks, [edges[task.pk] for task in tasks], now=now)
    waiting = [task for task in tasks if task.status in WAITING]
    failed = [task for task in waiting if blocks(task, ended)]
    ready = [task for task in waiting if not blocks(task, ended) and not task.open_dependencies]
    tell_ready(ready, now=now)
    waited_for = retries.fail_for_dependency(failed, ended, now=now)
    return Step(len(tasks), len(tasks) < len(edges) or len(edges) == most, waited_for)


def lock_dependents(pks: list[int], ended: Task, *, now: datetime, wait: bool) -> list[Task]:
    """Lock the rows of dependents, only those that nobody else holds unless we wait.

    Open requests of those that must fail are withdrawn. Approvals are locked first, then tasks, as
    a decision does.
    """
    doomed: list[str] = []
    if ended.status != Status.COMPLETED:
        rows = Task.objects.filter(pk__in=pks, on_dependency_failure="fail", status__in=WAITING)
        doomed = list(rows.values_list("task_id", flat=True))
        reason = f"{ended.task_id} is {ended.status}."
        ending = ApprovalStatus.WITHDRAWN
        requests.end_requests(
            task_ids=doomed, status=ending, by=SYSTEM, now=now, reason=reason, wait=False
        )
    rows = light().filter(pk__in=pks).order_by("pk")
    tasks = list(rows.select_for_update() if wait else free(rows))
    waiting = requests.waiting_among(doomed)
    return [task for task in tasks if task.task_id not in waiting or not blocks(task, ended)]


def mark_settled(tasks: list[Task], edges: list[int], *, now: datetime) -> None:
    """Settle edges, one to each of these locked tasks, and count them off."""
    Dependency.objects.filter(pk__in=edges).update(settled_at=now)
    counted = Task.objects.filter(pk__in=[task.pk for task in tasks])
    counted.update(open_dependencies=F("open_dependencies") - 1)
    for task in tasks:
        task.open_dependencies -= 1


def tell_ready(tasks: list[Task], *, now: datetime) -> None:
    """Record that tasks wait for no other any more."""
    events = [
        new_event(
            event_type=TASK_READY,
            by=SYSTEM,
            now=now,
            task_id=task.task_id,
            trace_id=task.trace_id,
            priority=task.priority,
        )
        for task in tasks
    ]
    wakes = {tasks_of(task.assigned_agent) for task in tasks if task.assigned_agent}
    if events:
        record_all(events, wakes=wakes)


def leave_to_the_job(left: list[Task]) -> None:
    """Note the ended tasks that have dependents left, and send for the job after the commit."""
    if left:
        rows = [Settlement(task=task) for task in left]
        Settlement.objects.bulk_create(rows, ignore_conflicts=True)
        transaction.on_commit(send_for_the_job, robust=True)


def send_for_the_job() -> None:
    """Have Celery settle what is left; with the broker away the sweep does it soon."""
    current_app.send_task(JOB, expires=60)


def settle_waiting(
    *, clock: Callable[[], datetime], between: Callable[[int], None] = no_rest
) -> int:
    """Settle what is left, step by step; return how many dependents were settled.

    After some steps the job is sent for again, so that a stop need not wait long. between: called
    after each step.
    """
    settled = 0
    for _ in range(STEPS_OF_A_JOB):
        number = settle_step(now=clock())
        if number is None:
            return settled
        settled += number
        between(settled)
    send_for_the_job()
    return settled


@change
def settle_step(*, now: datetime) -> int | None:
    """Do one step of what is left; return how many were settled, None if nothing was done."""
    rows = list(free(Settlement.objects.order_by("pk"))[: STEP // FIXED_COST])
    locked = list(free(light().filter(pk__in=[row.task_id for row in rows])).order_by("pk"))
    # One that was requeued meanwhile will end again.
    ended = [task for task in locked if task.status in SETTLED]
    number, left = settle_down(ended, now=now, most=STEP)
    done = {task.pk for task in locked} - {task.pk for task in left}
    removed, _ = Settlement.objects.filter(task__in=done).delete()
    Settlement.objects.bulk_create([Settlement(task=task) for task in left], ignore_conflicts=True)
    return number if number or removed else None


def light() -> TaskQuerySet:
    """Return the tasks without what is large."""
    return Task.objects.defer(*HEAVY)


def free(rows: Any) -> Any:
    """Return rows, locked, but for those that somebody else holds."""
    skip = connection.features.has_select_for_update_skip_locked
    return rows.select_for_update(skip_locked=skip)
