"""The gate: a task that needs sign-off is neither handed out nor started without it."""

from datetime import datetime

from django.db import transaction

from approvals_app import services as approvals
from approvals_app.errors import AskAnew, NotGranted
from approvals_app.models import Status as ApprovalStatus
from approvals_app.rules import Demand, demand_of
from orchestrator_site.core.actors import SYSTEM, Actor
from tasks_app.models import Status, Task


def request(task: Task, *, by: Actor, now: datetime) -> None:
    """Ask for the sign-off that policy wants for a task, if it wants one. Saves nothing of the task."""
    demand = demanded(task)
    if demand is None:
        return
    approval = approvals.request_approval(
        task_id=task.task_id,
        priority=task.priority,
        trace_id=task.trace_id,
        content=task.content(),
        demand=demand,
        by=by,
        now=now,
        requested_by=task.created_by,
        due_at=task.due_at,
    )
    task.approval_id, task.awaiting_approval = approval.approval_id, True


def demanded(task: Task) -> Demand | None:
    """Return what the policies ask now before a task may start, or None. Asks no database."""
    return demand_of(task.type, task.priority, approvals.policies())


def ensure_open(task: Task, *, starting: bool) -> None:
    """Raise NotGranted unless the task needs no sign-off or has one for exactly its present content.

    starting: hold it to the policies of now; those that changed after its start do not stop a task.
    """
    demand = demanded(task) if starting else None
    try:
        if task.approval_id:
            content = task.content()
            approvals.ensure_granted(approval_id=task.approval_id, content=content, demand=demand)
        elif demand:
            raise AskAnew(
                f"{task.task_id} needs sign-off: {demand.policy}.", approval_status="missing"
            )
    except NotGranted as refusal:
        refusal.state |= {"task_id": task.task_id, "status": task.status}
        raise


def is_open(task: Task) -> bool:
    """Return whether a task may be handed out."""
    return refusal_of(task) is None


def refusal_of(task: Task) -> NotGranted | None:
    """Return the refusal, or None if the gate is open for a start."""
    try:
        ensure_open(task, starting=True)
    except NotGranted as refusal:
        return refusal
    return None


@transaction.atomic
def dequeue(*, task_id: str, now: datetime) -> None:
    """Take a task whose gate is shut out of the queue, which believed otherwise.

    Ask for a new decision if its content was changed after the last one, or if policy asks for more by now.
    """
    anew = isinstance(refusal_of(Task.objects.get(task_id=task_id)), AskAnew)
    task = (
        lock_for_change(task_id=task_id, by=SYSTEM, now=now) if anew else Task.objects.lock(task_id)
    )
    if task is None or task.status != Status.ASSIGNED or task.awaiting_approval or is_open(task):
        transaction.set_rollback(True)
        return
    task.awaiting_approval = True
    if anew and task.approval_id:
        request_again(task, by=SYSTEM, now=now)
    elif anew:
        request(task, by=SYSTEM, now=now)
    task.save(update_fields=["approval_id", "awaiting_approval"])


@transaction.atomic
def renew(*, task_id: str, approval_id: str, now: datetime) -> None:
    """Supersede a waiting request of which policy asks for more by now, and ask on the new terms."""
    reason = "Policy asks for more by now."
    task = lock_for_change(task_id=task_id, by=SYSTEM, now=now, reason=reason)
    if (
        task is None
        or task.status not in (Status.PENDING, Status.ASSIGNED)
        or task.approval_id != approval_id
    ):
        transaction.set_rollback(True)
        return
    request_again(task, by=SYSTEM, now=now)
    task.save(update_fields=["approval_id", "awaiting_approval"])


def lock_for_change(
    *, task_id: str, by: Actor, now: datetime, reason: str = "The task has changed."
) -> Task | None:
    """Supersede what a task waits for, because somebody else is about to be asked, and lock its row; return it."""
    return lock_without_requests(
        task_id=task_id, status=ApprovalStatus.SUPERSEDED, by=by, now=now, reason=reason
    )


def lock_without_requests(
    *, task_id: str, status: ApprovalStatus, by: Actor, now: datetime, reason: str
) -> Task | None:
    """End what a task waits for, then lock its row; return it, None if it is gone. Runs in the caller's transaction.

    A decision takes the two rows in this order. Where somebody asked anew between the two steps, both are taken again.
    """
    while True:
        with transaction.atomic():
            approvals.end_open_requests(
                task_id=task_id, status=status, by=by, now=now, reason=reason
            )
            task = Task.objects.lock(task_id)
            if task is None or not approvals.waits(task_id):
                return task
            transaction.set_rollback(True)


def request_again(task: Task, *, by: Actor, now: datetime) -> None:
    """Ask for a new sign-off, in the first requester's name, when a gated task or what is demanded has changed."""
    if task.approval_id:
        approval = approvals.request_again(
            approval_id=task.approval_id,
            task_id=task.task_id,
            content=task.content(),
            demand=demanded(task),
            by=by,
            now=now,
        )
        task.approval_id, task.awaiting_approval = approval.approval_id, True
