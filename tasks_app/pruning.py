"""Forget tasks that ended long ago, with what belongs to them; the log keeps its own history."""

from collections import Counter
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Coalesce

from approvals_app import services as approvals
from events_app.services import record
from orchestrator_site.actors import Actor
from tasks_app.models import OPEN, Dependency, Task, TaskCount, TaskQuerySet

PRUNED = "tasks.pruned"
BATCH = 500


def prunable(before: datetime) -> TaskQuerySet:
    """Return ended tasks that ended before a moment and that no open task waits for or belongs under."""
    waiting = Dependency.objects.filter(depends_on=OuterRef("pk"), task__status__in=OPEN)
    children = Task.objects.open().filter(parent_task_id=OuterRef("task_id"))
    ended = Task.objects.exclude(status__in=OPEN).filter(created_at__lt=before)
    ended = ended.annotate(ended_at=Coalesce("completed_at", "failed_at", "cancelled_at", "created_at"))
    return ended.filter(~Exists(waiting), ~Exists(children), ended_at__lt=before)


def prune_tasks(*, before: datetime, by: Actor, now: datetime) -> int:
    """Remove what is prunable, oldest first, in batches; return how many tasks went.

    before: aware, UTC. Approvals and dependencies go with their tasks; `tasks.pruned` says how many went.
    """
    pruned, after = 0, 0
    while last := prune_batch(before=before, after=after, by=by, now=now):
        after, number = last
        pruned += number
    return pruned


@transaction.atomic
def prune_batch(*, before: datetime, after: int, by: Actor, now: datetime) -> tuple[int, int] | None:
    """Remove one batch of the rows behind a row number; return the last row's number and how many went.

    Rows are locked and asked again, so a task that was requeued meanwhile stays.
    """
    rows = prunable(before).filter(pk__gt=after).order_by("pk").select_for_update()
    found = list(rows.values_list("pk", "task_id", "status")[:BATCH])
    if not found:
        return None
    approvals.forget_requests(task_ids=[task_id for _, task_id, _ in found])
    Task.objects.filter(pk__in=[pk for pk, _, _ in found]).delete()
    uncount(Counter(status for _, _, status in found))
    record(event_type=PRUNED, by=by, now=now, payload={"number": len(found), "before": before.isoformat()})
    return found[-1][0], len(found)


def uncount(statuses: Counter[str]) -> None:
    """Take removed tasks out of the counts; in the order in which the ledger counts, so that nobody waits in a ring."""
    for status in sorted(statuses):
        TaskCount.add(status, -statuses[status])
