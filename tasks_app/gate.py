"""The gate: a task that needs sign-off is neither handed out nor started without it."""

from datetime import datetime

from django.db import transaction

from approvals_app import services as approvals
from approvals_app.models import Status as ApprovalStatus
from approvals_app.rules import policy_for
from orchestrator_site.actors import SYSTEM, Actor
from tasks_app.models import Status, Task


def ask(task: Task, *, by: Actor, now: datetime) -> None:
    """Ask for the sign-off that policy wants for a task, if it wants one. Saves nothing of the task."""
    policy = policy_for(task.type, task.priority, approvals.policies())
    if policy is None:
        return
    approval = approvals.request_approval(
        task_id=task.task_id,
        priority=task.priority,
        trace_id=task.trace_id,
        content=task.content(),
        policy=policy,
        by=by,
        now=now,
    )
    task.approval_id, task.awaiting_approval = approval.approval_id, True


def ensure_open(task: Task) -> None:
    """Raise NotGranted unless the task needs no sign-off or has one for exactly its present content."""
    if not task.approval_id:
        return
    try:
        approvals.ensure_granted(approval_id=task.approval_id, content=task.content())
    except approvals.NotGranted as refusal:
        refusal.state |= {"task_id": task.task_id, "status": task.status}
        raise


def is_open(task: Task) -> bool:
    """Return whether a task may be handed out."""
    return why_shut(task) is None


def why_shut(task: Task) -> approvals.NotGranted | None:
    """Return the refusal, or None if the gate is open."""
    try:
        ensure_open(task)
    except approvals.NotGranted as refusal:
        return refusal
    return None


@transaction.atomic
def hold_back(*, task_id: str, now: datetime) -> None:
    """Take a task whose gate is shut out of the queue, which believed otherwise.

    If its content was changed after the decision, behind our back, ask for a new one.
    """
    refusal = why_shut(Task.objects.get(task_id=task_id))
    changed = refusal is not None and refusal.state["approval_status"] == ApprovalStatus.APPROVED
    task = lock_for_change(task_id=task_id, by=SYSTEM, now=now) if changed else Task.objects.lock(task_id)
    if task is None or task.status != Status.ASSIGNED or task.awaiting_approval or is_open(task):
        transaction.set_rollback(True)
        return
    task.awaiting_approval = True
    if changed:
        ask_again(task, by=SYSTEM, now=now)
    task.save(update_fields=["approval_id", "awaiting_approval"])


def lock_for_change(*, task_id: str, by: Actor, now: datetime) -> Task | None:
    """Supersede what a task waits for, because its content is about to change, and lock its row; return it."""
    return lock_without_requests(
        task_id=task_id, status=ApprovalStatus.SUPERSEDED, by=by, now=now, reason="The task has changed."
    )


def lock_without_requests(
    *, task_id: str, status: ApprovalStatus, by: Actor, now: datetime, reason: str
) -> Task | None:
    """End what a task waits for, then lock its row; return it, None if it is gone. Runs in the caller's transaction.

    A decision takes the two rows in this order. Where somebody asked anew between the two steps, both are taken again.
    """
    while True:
        with transaction.atomic():
            approvals.end_open_requests(task_id=task_id, status=status, by=by, now=now, reason=reason)
            task = Task.objects.lock(task_id)
            if task is None or not approvals.waits(task_id):
                return task
            transaction.set_rollback(True)


def ask_again(task: Task, *, by: Actor, now: datetime) -> None:
    """Ask for a new sign-off, in the first requester's name, when a gated task has changed."""
    if task.approval_id:
        approval = approvals.request_again(
            approval_id=task.approval_id, task_id=task.task_id, content=task.content(), by=by, now=now
        )
        task.approval_id, task.awaiting_approval = approval.approval_id, True
