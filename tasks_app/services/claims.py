"""Hand tasks out: the most urgent first, each to one holder, as far as limits and gates allow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import connection, transaction

from approvals_app.rules import Refused
from events_app.services import change, new_event, record_all
from orchestrator_site.core.actors import Actor
from orchestrator_site.infra.pagination import MOST_BYTES, stored_bytes
from tasks_app import queries
from tasks_app.event_types import TASK_CLAIMED
from tasks_app.models import Agent, RoutingRule, Status, Task
from tasks_app.services import agents as agent_services
from tasks_app.services import approval_gate, routing

# In one claim: after a policy change thousands may be waiting; the next claims go on.
MOST_HELD_BACK = 100

# One statement: the queue's partial index gives the order, SKIP LOCKED keeps claimers out of each
# other's way. On SQLite the write lock of the transaction does, so the clause is left out there.
# The rows are chosen in a WITH, which is carried out once: a sub-select with SKIP LOCKED may be
# carried out for each row, where LIMIT limits nothing.
CLAIM = """
    WITH waiting AS MATERIALIZED (
        SELECT id {measured} FROM tasks_app_task
        WHERE assigned_agent = %(agent)s AND status = 'assigned'
            AND NOT awaiting_approval AND open_dependencies = 0
            AND (not_before IS NULL OR not_before <= %(now)s) {types}
        ORDER BY turn_at, id LIMIT %(limit)s {lock}
    ) {fitting}
    UPDATE tasks_app_task SET
        status = 'in_progress', attempt = attempt + 1,
        holder = %(holder)s, reported_by = %(holder)s,
        holder_credential = %(credential)s, reporter_credential = %(credential)s,
        lease_seconds = %(seconds)s, lease_expires_at = %(expires)s, heartbeat_at = %(now)s,
        started_at = %(now)s, error = '', progress = NULL, note = ''
    WHERE id IN (SELECT id FROM {chosen})
    RETURNING * {bytes}
"""
# Of several tasks only as many as fit in one answer, and of the first of them always one.
FITTING = """, fitting AS MATERIALIZED (
        SELECT id FROM (
            SELECT id, bytes, SUM(bytes) OVER (ORDER BY turn_at, id) AS used FROM waiting
        ) AS measured WHERE used <= %(room)s OR (%(first)s AND used = bytes)
    )
"""
UNMEASURED = {"measured": "", "fitting": "", "chosen": "waiting", "bytes": ""}


@dataclass(frozen=True)
class Claim:
    """What a claimer asks for. types: of which tasks, None for all. lease_seconds: for how long."""

    pool: Agent
    types: list[str] | None
    limit: int
    lease_seconds: int
    by: Actor
    now: datetime


def claim(
    *,
    agent: str,
    by: Actor,
    now: datetime,
    types: list[str] | None = None,
    limit: int = 1,
    lease_seconds: int = 60,
) -> list[Task]:
    """Hand out up to `limit` tasks of an agent's queue, most urgent first, each to one holder only.

    types: only these, or all. Raise UnknownAgent.
    """
    pool = routing.known_agent(agent)
    agent_services.record_heartbeat(pool, by=by, now=now)
    types = types_that_run(types)
    if pool.paused or not pool.active or types == []:
        return []
    params = Claim(pool, types, limit, lease_seconds, by, now)
    held_back = 0
    while held_back < MOST_HELD_BACK:
        tasks, shut = try_to_claim(params)
        if not shut:
            return tasks
        for task in shut:
            approval_gate.dequeue(task_id=task.task_id, now=now)
        held_back += len(shut)
    return []


@change
def try_to_claim(params: Claim) -> tuple[list[Task], list[Task]]:
    """Lease the next tasks and record it; if gates are shut, only return their tasks."""
    tasks = take_within_limits(params)
    found = approval_gate.approvals_of(tasks)
    shut = [task for task in tasks if isinstance(approval_gate.verdict(task, found), Refused)]
    if shut:
        transaction.set_rollback(True)
        return [], shut
    events = [
        new_event(
            event_type=TASK_CLAIMED,
            by=params.by,
            now=params.now,
            payload={"agent": task.assigned_agent, "attempt": task.attempt},
            task_id=task.task_id,
            trace_id=task.trace_id,
            priority=task.priority,
            moved=(Status.ASSIGNED, Status.IN_PROGRESS),
        )
        for task in tasks
    ]
    if events:
        record_all(events)
    return tasks, []


def seconds_to_next(*, agent: str, now: datetime, types: list[str] | None = None) -> float | None:
    """Return how long until the next scheduled task of a queue is due, None without one."""
    later = Task.objects.queued(agent).filter(not_before__gt=now)
    if types is not None:
        later = later.filter(type__in=types)
    due = later.order_by("not_before").values_list("not_before", flat=True).first()
    return None if due is None else (due - now).total_seconds()


def types_that_run(types: list[str] | None) -> list[str] | None:
    """Return the types without the paused ones; None for all."""
    paused = {rule.task_type for rule in routing.routing_rules().values() if rule.paused}
    if not paused:
        return types
    return [kind for kind in (types or routing.routing_rules()) if kind not in paused]


def take_within_limits(params: Claim) -> list[Task]:
    """Lease the next tasks as far as concurrency limits allow; one by one where a type has one."""
    limit = min(params.limit, room_of(params.pool, params.limit))
    limited = limited_types(params.types)
    if not limited:
        return take(replace(params, limit=limit)) if limit else []
    tasks: list[Task] = []
    while len(tasks) < limit:
        free = [
            kind
            for kind in params.types or routing.routing_rules()
            if kind not in limited or has_room(limited[kind])
        ]
        batch = take(replace(params, types=free, limit=1), before=tasks) if free else []
        if not batch:
            break
        tasks += batch
    return tasks


def take(params: Claim, *, before: Sequence[Task] | None = None) -> list[Task]:
    """Lease the next tasks in one statement; return them in their order.

    before: those already taken for the same answer, where it is filled one by one.
    """
    types, now = params.types, params.now
    expires_at = now + timedelta(seconds=params.lease_seconds)
    values = {
        "agent": params.pool.name,
        "holder": params.by.name,
        "credential": params.by.credential,
        "seconds": params.lease_seconds,
        "expires": connection.ops.adapt_datetimefield_value(expires_at),
        "now": connection.ops.adapt_datetimefield_value(now),
        "limit": params.limit,
        "room": MOST_BYTES - sum(task.bytes for task in before or ()),
        "first": not before,
    } | {f"type{place}": kind for place, kind in enumerate(types or [])}
    among = ", ".join(f"%(type{place})s" for place in range(len(types or [])))
    skip_locked = connection.features.has_select_for_update_skip_locked
    sql = CLAIM.format(
        lock="FOR UPDATE SKIP LOCKED" if skip_locked else "",
        types="" if types is None else f"AND type IN ({among})",
        **(measured() if params.limit > 1 or before is not None else UNMEASURED),
    )
    return sorted(Task.objects.raw(sql, values), key=lambda task: (task.turn_at, task.pk))


def measured() -> dict[str, str]:
    """Return the parts of the statement that see to it that several tasks fit in one answer."""
    size = " + ".join(f"COALESCE({stored_bytes(field)}, 0)" for field in queries.LARGE)
    return {
        "measured": f", turn_at, {size} AS bytes",
        "fitting": FITTING,
        "chosen": "fitting",
        "bytes": f", {size} AS bytes",
    }


def room_of(pool: Agent, most: int) -> int:
    """Return how many more tasks an agent may run, at most `most`; its row is locked if limited."""
    if pool.concurrency_limit is None:
        return most
    row = Agent.objects.select_for_update().only("concurrency_limit").get(pk=pool.pk)
    if row.concurrency_limit is None:
        return most
    running = Task.objects.filter(assigned_agent=pool.name, status=Status.IN_PROGRESS).count()
    return max(0, row.concurrency_limit - running)


def limited_types(types: list[str] | None) -> dict[str, RoutingRule]:
    """Return the rules, locked until the commit, of those of these types that have a limit."""
    names = [
        rule.task_type
        for rule in routing.routing_rules().values()
        if rule.concurrency_limit is not None and (types is None or rule.task_type in types)
    ]
    if not names:
        return {}
    rows = RoutingRule.objects.select_for_update().filter(task_type__in=names).order_by("pk")
    return {rule.task_type: rule for rule in rows}


def has_room(rule: RoutingRule) -> bool:
    """Return whether one more task of a type may run."""
    running = Task.objects.filter(type=rule.task_type, status=Status.IN_PROGRESS).count()
    return rule.concurrency_limit is None or running < rule.concurrency_limit
