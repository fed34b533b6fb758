"""The gate: a task that needs sign-off is neither handed out nor started without it."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from django.db import transaction

from approvals_app.errors import AskAnew, NotGranted
from approvals_app.models import Approval
from approvals_app.models import Status as ApprovalStatus
from approvals_app.rules import Demand, Granted, Refused, demand_of
from approvals_app.services import requests, verdicts
from events_app.services import change
from orchestrator_site.core.actors import SYSTEM, Actor
from orchestrator_site.infra.changes import here
from orchestrator_site.infra.rows import placeholders, select
from tasks_app.models import Status, Task

WAITING = (Status.PENDING, Status.ASSIGNED)
Approvals = Mapping[str, Approval]
CONTENT = {"id", "payload", "metadata"}  # what is left out where tasks are locked
NOT_CONTENT = tuple(
    name for field in Task._meta.concrete_fields if (name := field.name) not in CONTENT
)
LET_THROUGH = """
    WITH waiting AS MATERIALIZED (
        SELECT id FROM tasks_app_task
        WHERE task_id IN ({tasks}) AND approval_id IN ({approvals})
            AND status IN ('pending', 'assigned')
        ORDER BY id {lock}
    )
    UPDATE tasks_app_task SET awaiting_approval = false
    WHERE id IN (SELECT id FROM waiting) RETURNING assigned_agent
"""


def request(
    task: Task, *, by: Actor, now: datetime, with_it: Iterable[Approval] = ()
) -> Approval | None:
    """Return the request, for `requests.ask_all`, that the policies want for a task, if any.

    The task names it then; nothing is stored. with_it: others that will be stored together with it.
    Raise TooManyPending.
    """
    demand = demanded(task)
    if demand is None:
        return None
    approval = requests.new_request(
        task_id=task.task_id,
        priority=task.priority,
        trace_id=task.trace_id,
        content=task.content(),
        demand=demand,
        by=by,
        now=now,
        requested_by=task.created_by,
        due_at=task.due_at,
        with_it=with_it,
    )
    task.approval_id, task.awaiting_approval = approval.approval_id, True
    return approval


def demanded(task: Task) -> Demand | None:
    """Return what the policies ask now before a task may start, or None. Asks no database."""
    return demand_of(task.type, task.priority, verdicts.policies())


def approvals_of(tasks: Iterable[Task]) -> Approvals:
    """Return the requests for sign-off of these tasks by their ids; no query without any.

    What the gate compares with them is read too, by one query, where a task was read without it.
    """
    gated = [task for task in tasks if task.approval_id]
    bare = {task.pk: task for task in gated if "payload" in task.get_deferred_fields()}
    if bare:
        where = f"id IN ({placeholders(len(bare))})"
        for read in select(Task, where, [*bare], without=NOT_CONTENT):
            bare[read.pk].payload, bare[read.pk].metadata = read.payload, read.metadata
    return verdicts.approvals_named({task.approval_id for task in gated})


def verdict(task: Task, approvals: Approvals, *, starting: bool = True) -> Granted | Refused:
    """Return whether a task needs no sign-off or has one for exactly its present content.

    approvals: what `approvals_of` found for it in this transaction; one that is missing shuts the
    gate. starting: hold it to the policies of now; those that changed after its start do not stop
    a task.
    """
    demand = demanded(task) if starting else None
    if task.approval_id:
        approval = approvals.get(task.approval_id)
        return verdicts.verdict(
            approval, approval_id=task.approval_id, content=task.content(), demand=demand
        )
    if demand:
        return Refused(f"{task.task_id} needs sign-off: {demand.policy}.", ask_anew=True)
    return Granted()


def ensure_open(task: Task, approvals: Approvals, *, starting: bool) -> None:
    """Raise AskAnew or NotGranted if the verdict is a refusal."""
    answer = verdict(task, approvals, starting=starting)
    if isinstance(answer, Granted):
        return
    facts = {"approval_id": answer.approval_id} if answer.approval_id else {}
    raise (AskAnew if answer.ask_anew else NotGranted)(
        answer.reason,
        **facts,
        approval_status=answer.approval_status,
        task_id=task.task_id,
        status=task.status,
    )


@change
def dequeue(*, task_id: str, now: datetime) -> None:
    """Take a task whose gate is shut out of the queue, which believed otherwise.

    Ask for a new decision if its content changed after the last one, or if policy asks for more.
    """
    get = Task.objects.get_or_refuse
    task = get(task_id)
    answer = verdict(task, approvals_of([task]))
    anew = isinstance(answer, Refused) and answer.ask_anew
    task = lock(task_id, by=SYSTEM, now=now) if anew else get(task_id, lock=True)
    queued = task.status == Status.ASSIGNED and not task.awaiting_approval
    if not queued or isinstance(verdict(task, approvals_of([task])), Granted):
        transaction.set_rollback(True)
        return
    task.awaiting_approval = True
    if anew and task.approval_id:
        request_again(task, by=SYSTEM, now=now)
    elif anew and (approval := request(task, by=SYSTEM, now=now)):
        requests.ask_all([(approval, SYSTEM)])
    task.save(update_fields=["approval_id", "awaiting_approval"])


@change
def renew(*, task_id: str, approval_id: str, now: datetime) -> None:
    """Supersede a waiting request of which policy asks for more by now; ask on the new terms."""
    task = lock(task_id, by=SYSTEM, now=now, reason="Policy asks for more by now.")
    if task.status not in WAITING or task.approval_id != approval_id:
        transaction.set_rollback(True)
        return
    request_again(task, by=SYSTEM, now=now)
    task.save(update_fields=["approval_id", "awaiting_approval"])


def let_through(signed: Mapping[str, str]) -> set[str]:
    """Put tasks that wait for exactly these requests in their queues; return their agents.

    signed: task id -> approval id. They are locked in the one order that all take.
    """
    sql = LET_THROUGH.format(
        tasks=placeholders(len(signed)),
        approvals=placeholders(len(signed)),
        lock="FOR UPDATE" if here.database.features.has_select_for_update else "",
    )
    found = here.database.run(sql, [*signed, *signed.values()])
    return {agent for (agent,) in found if agent}


def lock(
    task_id: str,
    *,
    by: Actor,
    now: datetime,
    ending: ApprovalStatus = ApprovalStatus.SUPERSEDED,
    reason: str = "The task has changed.",
) -> Task:
    """Return the task, locked, with nothing waiting for a decision any more; raise UnknownTask.

    ending: what becomes of the requests that waited. Requests are locked before the task, as a
    decision does; where a new request came between the two, both are taken again. Runs in the
    caller's transaction.
    """
    while True:
        with change():
            requests.end_requests(
                task_ids=[task_id], status=ending, by=by, now=now, reason=reason, wait=True
            )
            task = Task.objects.get_or_refuse(task_id, lock=True)
            if not requests.waiting_among([task_id]):
                return task
            transaction.set_rollback(True)


def asked_meanwhile(tasks: Iterable[Task], requests_locked: Collection[str]) -> bool:
    """Return whether one of these locked tasks has an open request that was not there to be locked.

    requests_locked: the tasks whose open requests were locked before the tasks.
    """
    others = [
        task.task_id for task in tasks if task.approval_id and task.task_id not in requests_locked
    ]
    return bool(requests.waiting_among(others))


def request_again(task: Task, *, by: Actor, now: datetime) -> None:
    """Ask for a new sign-off of a gated task that, or whose policies, changed.

    It is asked in the first requester's name.
    """
    if task.approval_id:
        approval = requests.request_again(
            approval_id=task.approval_id,
            content=task.content(),
            demand=demanded(task),
            by=by,
            now=now,
        )
        task.approval_id, task.awaiting_approval = approval.approval_id, True
