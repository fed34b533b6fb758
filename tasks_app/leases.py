"""Hand tasks out for a while: claim, heartbeat, release, and take back what was lost."""

from datetime import datetime, timedelta

from django.db import connection, transaction

from approvals_app.services import NotGranted
from events_app.services import new_event, record_all
from orchestrator_site.actors import SYSTEM, Actor
from orchestrator_site.errors import NotFound
from tasks_app import gate, retries, routing, rules
from tasks_app.models import Agent, FailureReason, RoutingRule, Status, Task
from tasks_app.moves import save_moved
from tasks_app.services import LeaseLost, ensure_may_report, locked_task

CLAIMED = "task.claimed"
RELEASED = "task.released"
SEEN_EVERY = timedelta(seconds=5)  # how often an agent's sign of life is written down

# One statement: the queue's partial index gives the order, SKIP LOCKED keeps claimers out of each other's way.
# On SQLite the write lock of the transaction does, so the clause is left out there.
CLAIM = """
    UPDATE tasks_app_task SET
        status = 'in_progress', holder = %(holder)s, reported_by = %(holder)s, attempt = attempt + 1,
        lease_seconds = %(seconds)s, lease_expires_at = %(expires)s, heartbeat_at = %(now)s,
        started_at = %(now)s, error = '', progress = NULL, note = ''
    WHERE id IN (
        SELECT id FROM tasks_app_task
        WHERE assigned_agent = %(agent)s AND status = 'assigned' AND NOT awaiting_approval AND open_dependencies = 0
            AND (not_before IS NULL OR not_before <= %(now)s) {types}
        ORDER BY turn_at, id LIMIT %(limit)s {lock}
    )
    RETURNING *
"""


class UnknownAgent(NotFound):
    """There is no agent with this name."""


def claim(
    *, agent: str, by: Actor, now: datetime, types: list[str] | None = None, limit: int = 1, lease_seconds: int = 60
) -> list[Task]:
    """Hand out up to `limit` tasks of an agent's queue, most urgent first, each to one holder only.

    types: only these, or all. Raise UnknownAgent.
    """
    pool = routing.agents().get(agent)
    if pool is None:
        raise UnknownAgent(f"There is no agent {agent}.")
    sign_of_life(pool, now=now)
    wanted = allowed_types(types)
    if pool.paused or not pool.active or wanted == []:
        return []
    with transaction.atomic():
        limits = limits_of(pool, wanted)
        room = room_for(limits, limit)
        tasks = take(agent, wanted, room, by=by, now=now, lease_seconds=lease_seconds) if room > 0 else []
        return hand_over(within_type_limits(tasks, limits), by=by, now=now)


def allowed_types(types: list[str] | None) -> list[str] | None:
    """Return the asked types without the paused ones; None for all."""
    paused = {rule.task_type for rule in routing.routing_rules().values() if rule.paused}
    if not paused:
        return types
    return [kind for kind in (types or routing.routing_rules()) if kind not in paused]


def take(
    agent: str, types: list[str] | None, limit: int, *, by: Actor, now: datetime, lease_seconds: int
) -> list[Task]:
    """Lease the next tasks in one statement; return them in their order."""
    lock = "FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    values = {
        "agent": agent,
        "holder": by.name,
        "seconds": lease_seconds,
        "expires": connection.ops.adapt_datetimefield_value(now + timedelta(seconds=lease_seconds)),
        "now": connection.ops.adapt_datetimefield_value(now),
        "limit": limit,
    } | {f"type{place}": kind for place, kind in enumerate(types or [])}
    among = ", ".join(f"%(type{place})s" for place in range(len(types or [])))
    sql = CLAIM.format(lock=lock, types=f"AND type IN ({among})" if types is not None else "")
    return sorted(Task.objects.raw(sql, values), key=lambda task: (task.turn_at, task.pk))


def hand_over(tasks: list[Task], *, by: Actor, now: datetime) -> list[Task]:
    """Record what was handed out; what the gate does not let through goes back unseen."""
    handed = [task for task in tasks if passes_gate(task)]
    events = [
        new_event(
            event_type=CLAIMED,
            by=by,
            now=now,
            payload={"agent": task.assigned_agent, "attempt": task.attempt},
            task_id=task.task_id,
            trace_id=task.trace_id,
            priority=task.priority,
            moved=(Status.ASSIGNED, Status.IN_PROGRESS),
        )
        for task in handed
    ]
    if events:
        record_all(events)
    return handed


def passes_gate(task: Task) -> bool:
    """Return whether a task just taken may be handed out; put it back, waiting, if not."""
    try:
        gate.ensure_open(task)
    except NotGranted:
        Task.objects.filter(pk=task.pk).update(
            status=Status.ASSIGNED, holder="", lease_expires_at=None, attempt=task.attempt - 1, awaiting_approval=True
        )
        return False
    return True


def limits_of(pool: Agent, types: list[str] | None) -> list[Agent | RoutingRule]:
    """Return the agent and rules that limit how many tasks run at once, locked, so that counting is safe."""
    limits: list[Agent | RoutingRule] = []
    if pool.concurrency_limit is not None:
        limits += Agent.objects.select_for_update().filter(pk=pool.pk)
    limited = [rule.pk for rule in routing.routing_rules().values() if rule.concurrency_limit is not None]
    if limited:
        limits += RoutingRule.objects.select_for_update().filter(pk__in=limited).order_by("pk")
    return limits


def room_for(limits: list[Agent | RoutingRule], limit: int) -> int:
    """Return how many tasks an agent may be handed now."""
    for pool in limits:
        if isinstance(pool, Agent) and pool.concurrency_limit is not None:
            running = Task.objects.filter(assigned_agent=pool.name, status=Status.IN_PROGRESS).count()
            limit = min(limit, pool.concurrency_limit - running)
    return limit


def within_type_limits(tasks: list[Task], limits: list[Agent | RoutingRule]) -> list[Task]:
    """Put back what goes over the limit of its type; return the rest."""
    for rule in limits:
        if not isinstance(rule, RoutingRule) or rule.concurrency_limit is None:
            continue
        mine = [task for task in tasks if task.type == rule.task_type]
        if not mine:
            continue
        running = Task.objects.filter(type=rule.task_type, status=Status.IN_PROGRESS).count()
        over = mine[len(mine) - max(0, running - rule.concurrency_limit) :] if running > rule.concurrency_limit else []
        for task in over:
            put_back(task)
        tasks = [task for task in tasks if task not in over]
    return tasks


def put_back(task: Task) -> None:
    """Undo the taking of a task nobody was told of."""
    Task.objects.filter(pk=task.pk).update(
        status=Status.ASSIGNED, holder="", lease_expires_at=None, attempt=task.attempt - 1
    )


def sign_of_life(pool: Agent, *, now: datetime) -> None:
    """Note that an agent was seen, every few seconds at most, so that the queue is not slowed."""
    if pool.last_seen_at is None or now - pool.last_seen_at > SEEN_EVERY:
        pool.last_seen_at = now  # the cached row: other threads need not write it too
        Agent.objects.filter(pk=pool.pk).update(last_seen_at=now)


@transaction.atomic
def heartbeat(
    *, task_id: str, attempt: int, by: Actor, now: datetime, progress: int | None = None, note: str | None = None
) -> Task:
    """Extend a live lease; the task's status tells the holder whether it was cancelled.

    progress: 0..100. Raise UnknownTask, NotHolder or LeaseLost.
    """
    task = locked_task(task_id)
    if task.status == Status.CANCELLED and task.attempt == attempt:
        return task
    ensure_held(task, attempt=attempt, by=by, now=now)
    task.lease_expires_at = now + timedelta(seconds=task.lease_seconds or 60)
    task.heartbeat_at = now
    task.progress = task.progress if progress is None else progress
    task.note = task.note if note is None else note
    task.save(update_fields=["lease_expires_at", "heartbeat_at", "progress", "note"])
    if pool := routing.agents().get(task.assigned_agent):
        sign_of_life(pool, now=now)
    return task


def ensure_held(task: Task, *, attempt: int, by: Actor, now: datetime) -> None:
    """Raise NotHolder or LeaseLost unless the caller holds this attempt of a running task."""
    if task.status != Status.IN_PROGRESS or not task.holder:
        raise LeaseLost(f"{task.task_id} is {task.status}; nobody holds it.", task_id=task.task_id, status=task.status)
    ensure_may_report(task, by=by, attempt=attempt, now=now)


@transaction.atomic
def release(*, task_id: str, attempt: int, by: Actor, now: datetime, reason: str = "") -> Task:
    """Give a task back; it is the next in the queue again, and the attempt does not count.

    Raise UnknownTask, NotHolder or LeaseLost.
    """
    task = locked_task(task_id)
    ensure_held(task, attempt=attempt, by=by, now=now)
    moved = task.move_to(Status.ASSIGNED, now=now)
    task.attempts_spent += 1  # given back, not failed
    task.queue_again(ready_at=now, wait=rules.WAIT[task.priority])
    payload = {"attempt": task.attempt, "reason": reason}
    save_moved(task, RELEASED, moved=moved, by=by, now=now, payload=payload)
    return task


def requeue_lost_leases(*, now: datetime, limit: int = 1000) -> int:
    """Take back running tasks whose lease has run out, each once; return how many.

    The row is locked and asked again, so a report that arrived in time stands, whoever was first.
    """
    taken = 0
    lost = Task.objects.lease_lost(now).order_by("lease_expires_at").values_list("pk", "attempt")
    for pk, attempt in list(lost[:limit]):
        taken += take_back(pk, attempt, now=now)
    return taken


@transaction.atomic
def take_back(pk: int, attempt: int, *, now: datetime) -> int:
    """Requeue, or give up on, one task if this very attempt is still lost; return 1 if it was."""
    task = Task.objects.lease_lost(now).select_for_update().filter(pk=pk, attempt=attempt).first()
    if task is None:
        return 0
    error = f"{task.holder} did not report before the lease of attempt {attempt} ran out."
    retries.try_again(
        task, reason=FailureReason.LEASE_LOST, error=error, by=SYSTEM, now=now, wait=timedelta(0)
    )
    return 1

