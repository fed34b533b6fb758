"""Remove tasks that ended long ago, with their approvals and dependencies. Their events stay.

Tasks are looked at once, in the order of their creation. What can go is looked for outside of the
short transaction that removes it, so the work can be stopped at any moment and begun again.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime

from django.db.models import Count, Exists, OuterRef
from django.db.models.functions import Coalesce

from approvals_app.services import requests
from events_app.services import change, new_event, record_all
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.pacing import StepSize, no_rest
from orchestrator_site.infra.sqlite import small_checkpoints
from tasks_app.event_types import TASKS_PRUNED
from tasks_app.models import OPEN, Dependency, Settlement, Task, TaskQuerySet

BATCH = 500  # tasks removed in one transaction, where they are removed quickly
EDGES = 1000  # dependencies that go with them; one task may have as many


def prunable(before: datetime) -> TaskQuerySet:
    """Return tasks that ended before a moment and that no open task waits for or belongs to."""
    waiting = Dependency.objects.filter(depends_on=OuterRef("pk"), task__status__in=OPEN)
    children = Task.objects.open().filter(parent_task_id=OuterRef("task_id"))
    children = children.exclude(parent_task_id="")
    ended = Task.objects.exclude(status__in=OPEN).filter(created_at__lt=before)
    end = Coalesce("completed_at", "failed_at", "cancelled_at", "created_at")
    ended = ended.annotate(ended_at=end)
    return ended.filter(~Exists(waiting), ~Exists(children), ended_at__lt=before)


def prune_tasks(
    *, before: datetime, by: Actor, now: datetime, between: Callable[[int], None] = no_rest
) -> int:
    """Remove what is prunable, oldest first, in steps of about 40 ms; return how many tasks went.

    before: aware, UTC. between: called after each step with how many went so far. Approvals and
    dependencies go with their tasks; each step that removes something records `tasks.pruned`.
    """
    pruned, after, size = 0, 0, StepSize(most=BATCH)
    with small_checkpoints():
        while pks := candidates(before, after=after, limit=size.rows):
            with size.transaction():
                pruned += prune_batch(pks, before=before, by=by, now=now)
            after = pks[-1]
            between(pruned)
    return pruned


def candidates(before: datetime, *, after: int, limit: int) -> list[int]:
    """Return the primary keys of the next tasks to remove together: `limit`, EDGES dependencies."""
    rows = prunable(before).filter(pk__gt=after).order_by("pk")
    pks = list(rows.values_list("pk", flat=True)[:limit])
    edges = Dependency.objects.filter(depends_on__in=pks).order_by().values("depends_on")
    numbers = dict(edges.annotate(number=Count("pk")).values_list("depends_on", "number"))
    total = 0
    for place, pk in enumerate(pks):
        total += numbers.get(pk, 0)
        if place and total > EDGES:
            return pks[:place]
    return pks


@change
def prune_batch(pks: list[int], *, before: datetime, by: Actor, now: datetime) -> int:
    """Remove these tasks in the caller's transaction; return how many went.

    Rows are locked and asked again, so a task that was requeued meanwhile stays.
    """
    rows = prunable(before).filter(pk__in=pks).order_by("pk").select_for_update()
    tasks = list(rows.values_list("pk", "task_id", "status"))
    if not tasks:
        return 0
    requests.forget_requests(task_ids=[task_id for _, task_id, _ in tasks])
    gone = [pk for pk, _, _ in tasks]
    for table in (
        Dependency.objects.filter(task__in=gone),
        Dependency.objects.filter(depends_on__in=gone),
        Settlement.objects.filter(task__in=gone),
        Task.objects.filter(pk__in=gone),
    ):
        table._raw_delete(table.db)  # one statement each: nothing else hangs on them
    payload = {"number": len(tasks), "before": before.isoformat()}
    event = new_event(event_type=TASKS_PRUNED, by=by, now=now, payload=payload)
    event.pruned = Counter(status for _, _, status in tasks)
    record_all([event])
    return len(tasks)
