"""Hand tasks out: the most urgent first, each to one holder, as far as limits and gates allow."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from approvals_app.rules import Refused
from events_app.models import Event
from events_app.services import change, new_event, record_all
from orchestrator_site.core.actors import Actor
from tasks_app import queries
from tasks_app.errors import UnknownAgent
from tasks_app.event_types import TASK_CLAIMED
from tasks_app.models import Status, Task
from tasks_app.queries import GatedTask
from tasks_app.services import agents as agent_services
from tasks_app.services import approval_gate, routing
from tasks_app.services.concurrency import Queue, capacity_of
from tasks_app.services.queues import Claimer, serve

# At once: after a policy change thousands may be waiting, and all who write wait for this. The next
# claims go on.
MOST_HELD_BACK = 20


class Claim(NamedTuple):
    """What a claimer asks for.

    types: of which tasks, None for all. lease_seconds: for how long. waits: whether to say how long
    there is nothing.
    """

    agent: str
    by: Actor
    now: datetime
    types: Sequence[str] | None = None
    limit: int = 1
    lease_seconds: int = 60
    waits: bool = False


class Nothing(list[GatedTask]):
    """What a claim that waits gets in vain."""

    def __init__(self, due_in: float | None) -> None:
        """due_in: seconds until the next scheduled task of its queue, None without one."""
        super().__init__()
        self.due_in = due_in


def claim(
    *,
    agent: str,
    by: Actor,
    now: datetime,
    types: Sequence[str] | None = None,
    limit: int = 1,
    lease_seconds: int = 60,
) -> list[Task]:
    """Hand out up to `limit` tasks of an agent's queue, as `claim_all` does; raise UnknownAgent."""
    [outcome] = handed_out([Claim(agent, by, now, types, limit, lease_seconds)])
    if isinstance(outcome, UnknownAgent):
        raise outcome
    return [row.task for row in outcome]


def claim_all(claims: Sequence[Claim]) -> list[list[GatedTask] | UnknownAgent]:
    """Hand out tasks as `handed_out` does; tell claims that wait in vain how long."""
    return [
        Nothing(seconds_to_next(claim)) if claim.waits and not outcome else outcome
        for claim, outcome in zip(claims, handed_out(claims), strict=True)
    ]


def handed_out(claims: Sequence[Claim]) -> list[list[GatedTask] | UnknownAgent]:
    """Hand out the most urgent tasks of each queue, each to one holder only, first come first
    served.

    Return what each claim got, most urgent first, or UnknownAgent. A task whose gate is shut leaves
    the queue instead; where these are many, claims of the queue get nothing for now.
    """
    note_seen(claims)
    held_back, given_up = 0, set[str]()
    while True:
        queues = [queue_of(claim, without=given_up) for claim in claims]
        claimers = [Claimer(claim.by, claim.limit) for claim in claims]
        groups: dict[Queue, list[Claimer]] = defaultdict(list)
        for queue, claimer in zip(queues, claimers, strict=True):
            if isinstance(queue, Queue):
                groups[queue].append(claimer)
        states, shut = hand_out(groups, now=max(claim.now for claim in claims))
        if not shut:
            return [
                queue if isinstance(queue, UnknownAgent) else queries.gated(claimer.tasks, states)
                for queue, claimer in zip(queues, claimers, strict=True)
            ]
        for task in shut:
            approval_gate.dequeue(task_id=task.task_id, now=claims[0].now)
        held_back += len(shut)
        if held_back >= MOST_HELD_BACK:
            given_up |= {task.assigned_agent for task in shut}


def note_seen(claims: Iterable[Claim]) -> None:
    """Note that somebody of these agents' pools was seen."""
    for claim in {claim.agent: claim for claim in claims}.values():
        if pool := routing.agents().get(claim.agent):
            agent_services.record_heartbeat(pool, by=claim.by, now=claim.now)


def queue_of(claim: Claim, *, without: Collection[str]) -> Queue | UnknownAgent | None:
    """Return where a claim takes from, None where nothing is handed out now.

    without: agents that are handed nothing for now.
    """
    try:
        pool = routing.known_agent(claim.agent)
    except UnknownAgent as refusal:
        return refusal
    types = types_that_run(claim.types)
    if pool.paused or not pool.active or types == [] or pool.name in without:
        return None
    kinds = None if types is None else tuple(sorted(set(types)))
    return Queue(pool.name, kinds, claim.lease_seconds)


def types_that_run(types: Sequence[str] | None) -> Sequence[str] | None:
    """Return the types without the paused ones; None for all."""
    paused = {rule.task_type for rule in routing.routing_rules().values() if rule.paused}
    if not paused:
        return types
    return [kind for kind in (types or routing.routing_rules()) if kind not in paused]


@change
def hand_out(
    groups: Mapping[Queue, Sequence[Claimer]], *, now: datetime
) -> tuple[dict[str, str], list[Task]]:
    """Lease the next tasks of queues to those who ask, and record it.

    Return how the requests for their sign-off stand, by id. If gates are shut, nobody is handed
    anything; return the tasks of these too.
    """
    capacity = capacity_of(groups)
    for queue, claimers in groups.items():
        serve(queue, claimers, capacity, now=now)
    taken = [
        (claimer.by, task)
        for claimers in groups.values()
        for claimer in claimers
        for task in claimer.tasks
    ]
    found = approval_gate.approvals_of(task for _, task in taken)
    shut = [task for _, task in taken if isinstance(approval_gate.verdict(task, found), Refused)]
    if shut:
        transaction.set_rollback(True)
    elif taken:
        record_all([claimed_event(task, by=by, now=now) for by, task in taken])
    return {name: approval.status for name, approval in found.items()}, shut


def claimed_event(task: Task, *, by: Actor, now: datetime) -> Event:
    """Return what the log says of a task that was handed out."""
    return new_event(
        event_type=TASK_CLAIMED,
        by=by,
        now=now,
        payload={"agent": task.assigned_agent, "attempt": task.attempt},
        task_id=task.task_id,
        trace_id=task.trace_id,
        priority=task.priority,
        moved=(Status.ASSIGNED, Status.IN_PROGRESS),
    )


def seconds_to_next(claim: Claim) -> float | None:
    """Return how long until the next scheduled task of a claim's queue, None without one."""
    later = Task.objects.queued(claim.agent).filter(not_before__gt=claim.now)
    if claim.types is not None:
        later = later.filter(type__in=claim.types)
    due = later.order_by("not_before").values_list("not_before", flat=True).first()
    return None if due is None else (due - claim.now).total_seconds()
