"""Forget tasks that ended long ago, with what belongs to them; the log keeps its own history.

It goes up the tasks in small steps, and looks at each row once. What is to go is looked for outside the
transaction that removes it, which is short; so the work can be stopped at any moment, and begun again.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime

from django.db import transaction
from django.db.models import Count, Exists, OuterRef
from django.db.models.functions import Coalesce

from approvals_app import services as approvals
from events_app.services import record
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.pacing import no_rest
from tasks_app.event_types import TASKS_PRUNED
from tasks_app.models import OPEN, Dependency, Settlement, Task, TaskCount, TaskQuerySet

BATCH = 50  # tasks removed in one transaction
EDGES = 2000  # dependencies that go with them, as far as one task has fewer


def prunable(before: datetime) -> TaskQuerySet:
    """Return ended tasks that ended before a moment and that no open task waits for or belongs under."""
    waiting = Dependency.objects.filter(depends_on=OuterRef("pk"), task__status__in=OPEN)
    children = (
        Task.objects.open().filter(parent_task_id=OuterRef("task_id")).exclude(parent_task_id="")
    )
    ended = Task.objects.exclude(status__in=OPEN).filter(created_at__lt=before)
    ended = ended.annotate(
        ended_at=Coalesce("completed_at", "failed_at", "cancelled_at", "created_at")
    )
    return ended.filter(~Exists(waiting), ~Exists(children), ended_at__lt=before)


def prune_tasks(
    *, before: datetime, by: Actor, now: datetime, between: Callable[[int], None] = no_rest
) -> int:
    """Remove what is prunable, oldest first, step by step; return how many tasks went.

    before: aware, UTC. between: called after each step with how many went so far. Approvals and dependencies go with
    their tasks; `tasks.pruned` says how many went.
    """
    pruned, after = 0, 0
    while found := candidates(before, after=after):
        pruned += prune_batch(found, before=before, by=by, now=now)
        after = found[-1]
        between(pruned)
    return pruned


def candidates(before: datetime, *, after: int) -> list[int]:
    """Return the row numbers of the next tasks that may go, as many as one transaction should remove."""
    pks = list(
        prunable(before).filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:BATCH]
    )
    edges = (
        Dependency.objects.filter(depends_on__in=pks)
        .order_by()
        .values("depends_on")
        .annotate(number=Count("pk"))
    )
    numbers = dict(edges.values_list("depends_on", "number"))
    chosen, total = pks[:1], numbers.get(pks[0], 0) if pks else 0
    for pk in pks[1:]:
        total += numbers.get(pk, 0)
        if total > EDGES:
            break
        chosen.append(pk)
    return chosen


@transaction.atomic
def prune_batch(pks: list[int], *, before: datetime, by: Actor, now: datetime) -> int:
    """Remove those of these tasks that may go; return how many went.

    Rows are locked and asked again, so a task that was requeued meanwhile stays.
    """
    rows = prunable(before).filter(pk__in=pks).order_by("pk").select_for_update()
    found = list(rows.values_list("pk", "task_id", "status"))
    if not found:
        return 0
    approvals.forget_requests(task_ids=[task_id for _, task_id, _ in found])
    gone = [pk for pk, _, _ in found]
    for rows in (
        Dependency.objects.filter(task__in=gone),
        Dependency.objects.filter(depends_on__in=gone),
        Settlement.objects.filter(task__in=gone),
        Task.objects.filter(pk__in=gone),
    ):
        rows._raw_delete(rows.db)  # one statement each: nothing else hangs on them
    uncount(Counter(status for _, _, status in found))
    record(
        event_type=TASKS_PRUNED,
        by=by,
        now=now,
        payload={"number": len(found), "before": before.isoformat()},
    )
    return len(found)


def uncount(statuses: Counter[str]) -> None:
    """Take removed tasks out of the counts; in the order in which the ledger counts, so that nobody waits in a ring."""
    for status in sorted(statuses):
        TaskCount.add(status, -statuses[status])
