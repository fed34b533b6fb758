"""What callers do, as values: each operation names a work of the services and an item for it.

An operation is a NamedTuple with a method `job(side)`. To add one: write it, and in `chances.py` a
function that draws it. Numbers stand for rows: `place` is the row at that place among those there
are, counted round.
"""

import contextlib
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from approvals_app.models import Approval, ApprovalPolicy
from approvals_app.models import Status as Verdict
from approvals_app.services import decisions, transitions
from events_app.services import Publication, publish_all
from orchestrator_site.api import idempotency
from orchestrator_site.core.actors import Role
from orchestrator_site.core.errors import DomainError
from orchestrator_site.infra.group_commit import Work
from tasks_app import queries
from tasks_app.models import Agent, Status, Task
from tasks_app.services import claims, intake, leases, lifecycle, retries, routing, sla
from tests.conftest import actor

CAST = [
    actor("dev-agent-1"),
    actor("dev-agent-2"),
    actor("ops-agent-1"),
    actor("root-1", Role.ADMIN),
]
BEYOND_ANY_COLUMN = 2**80
UNKNOWN = -1  # the place of a row that is not there


class Job(NamedTuple):
    """What is given to the group commit. flawed: carrying it out ends in a fault."""

    work: Work
    item: Any
    flawed: bool = False


class Side:
    """The world as one side sees it. met_at: when what arrives together has met."""

    def __init__(self, now: datetime) -> None:
        self.now = self.met_at = now

    def pick(self, rows: Any, place: int, name: str) -> str:
        """Return the id of a row at a place, one of nothing if there is none."""
        ids = sorted(rows.values_list(name, flat=True))
        return ids[place % len(ids)] if ids else f"{name}_of_nothing"

    def task(self, place: int) -> str:
        return self.pick(Task.objects.all(), place, "task_id")

    def lease(self, place: int) -> tuple[str, int]:
        """Return a task that somebody holds, and the attempt."""
        task = Task.objects.find(self.pick(Task.objects.exclude(holder=""), place, "task_id"))
        return (task.task_id, task.attempt) if task else (self.task(place), 0)

    def request(self, place: int) -> str:
        return self.pick(Approval.objects.all(), place, "approval_id")


class Operation(Protocol):
    """Something that a caller asks for."""

    def job(self, side: Side) -> Job: ...


class Create(NamedTuple):
    """Hand in a task. key: of idempotency; 0 is none. flaw: a fault that no rule foresees."""

    kind: str
    priority: str
    by: int
    parent: int | None
    needs: list[int]
    frees: bool
    seconds: int | None
    key: int
    flaw: str

    def job(self, side: Side) -> Job:
        fields: dict[str, Any] = {
            "type": self.kind,
            "payload": {"key": self.key},
            "priority": self.priority,
            "depends_on": [self.named(side, place) for place in self.needs],
            "on_dependency_failure": "free" if self.frees else "fail",
            "sla_target": self.seconds,
        }
        if self.parent is not None:
            fields["parent_task_id"] = self.named(side, self.parent)
        if self.flaw:
            fields[self.flaw] = BEYOND_ANY_COLUMN
        item = intake.NewTask(fields, CAST[self.by], side.now)
        if self.key:
            return Job(
                idempotency.answer_all, keyed(intake.create_all, item, self.key), bool(self.flaw)
            )
        return Job(intake.create_all, item, bool(self.flaw))

    def named(self, side: Side, place: int) -> str:
        return "task_unknown" if place < 0 else side.task(place)


def keyed(work: Work, item: intake.NewTask, key: int) -> idempotency.Keyed:
    """Return an item that is done once for its key."""
    return idempotency.Keyed(
        work=work,
        item=item,
        write=lambda task: {"task_id": task.task_id, "status": task.status},
        principal=item.by.name,
        key=f"{key:03}",
        operation="POST /tasks",
        body={"type": item.fields["type"]},
        now=item.now,
    )


class Publish(NamedTuple):
    """Publish an event. flaw: a payload that nothing can write."""

    event_type: str
    source: str
    place: int
    by: int
    flaw: bool

    def job(self, side: Side) -> Job:
        payload = {"place": {self.place} if self.flaw else self.place}
        fields = {"payload": payload, "task_id": side.task(self.place)}
        item = Publication(self.event_type, self.source, CAST[self.by], side.now, fields)
        return Job(publish_all, item, self.flaw)


class Find(NamedTuple):
    """Read a task."""

    place: int

    def job(self, side: Side) -> Job:
        return Job(queries.find_all, "task_unknown" if self.place < 0 else side.task(self.place))


class Claim(NamedTuple):
    """Take tasks; what is claimed together is claimed at one moment."""

    agent: str
    types: tuple[str, ...] | None
    limit: int
    seconds: int
    by: int

    def job(self, side: Side) -> Job:
        by, now = CAST[self.by], side.met_at
        claim = claims.Claim(self.agent, by, now, self.types, self.limit, self.seconds)
        return Job(claims.claim_all, claim)


class Report(NamedTuple):
    """Report how a task stands. late: with an attempt that is over; None names no attempt."""

    place: int
    held: bool
    status: Status
    late: bool | None
    retryable: bool
    by: int

    def job(self, side: Side) -> Job:
        task_id, attempt = side.lease(self.place) if self.held else (side.task(self.place), 0)
        report = lifecycle.Report(
            task_id,
            self.status,
            CAST[self.by],
            side.now,
            attempt=None if self.late is None else attempt - self.late,
            retryable=self.retryable,
        )
        return Job(lifecycle.report_all, report)


class Heartbeat(NamedTuple):
    """Extend a lease."""

    place: int
    late: bool
    by: int

    def job(self, side: Side) -> Job:
        task_id, attempt = side.lease(self.place)
        beat = leases.Heartbeat(task_id, attempt - self.late, CAST[self.by], side.now)
        return Job(leases.heartbeat_all, beat)


class Release(NamedTuple):
    """Give a task back."""

    place: int
    late: bool
    by: int

    def job(self, side: Side) -> Job:
        task_id, attempt = side.lease(self.place)
        given = leases.Release(task_id, attempt - self.late, CAST[self.by], side.now)
        return Job(leases.release_all, given)


class Decide(NamedTuple):
    """Approve or reject a request. shown: the digest of what was looked at."""

    place: int
    verdict: Verdict
    by: int
    shown: str

    def job(self, side: Side) -> Job:
        request, by = side.request(self.place), CAST[self.by]
        decision = decisions.Decision(request, self.verdict, by, side.now, shown=self.shown)
        return Job(decisions.decide_all, decision)


class Act(Protocol):
    """Something that happens between two rounds."""

    def act(self, side: Side) -> None: ...


class Wait(NamedTuple):
    """Let time go by."""

    seconds: int

    def act(self, side: Side) -> None:
        side.now += timedelta(seconds=self.seconds)


class Sweep(NamedTuple):
    """Do what is due."""

    def act(self, side: Side) -> None:
        duties = (
            routing.route_pending,
            sla.check_slas,
            leases.requeue_lost_leases,
            transitions.expire_approvals,
        )
        for duty in duties:
            duty(now=side.now)


class Requeue(NamedTuple):
    """Put a failed task back."""

    place: int

    def act(self, side: Side) -> None:
        with contextlib.suppress(DomainError):
            retries.requeue(task_id=side.task(self.place), by=CAST[3], now=side.now)


class Limit(NamedTuple):
    """Change what an agent may do."""

    agent: str
    active: bool
    paused: bool
    most: int | None

    def act(self, side: Side) -> None:
        agent = Agent.objects.get(name=self.agent)
        agent.active, agent.paused, agent.concurrency_limit = self.active, self.paused, self.most
        agent.save()


class Tighten(NamedTuple):
    """Ask for sign-off where nobody did."""

    def act(self, side: Side) -> None:
        if not ApprovalPolicy.objects.filter(name="stricter").exists():
            ApprovalPolicy.objects.create(
                name="stricter", decider_role="admin", reason="It is late.", expires_after=60
            )


class Tamper(NamedTuple):
    """Change a task behind the back of its sign-off."""

    place: int

    def act(self, side: Side) -> None:
        waiting = Task.objects.filter(status__in=["pending", "assigned"]).exclude(approval_id="")
        task_id = side.pick(waiting, self.place, "task_id")
        Task.objects.filter(task_id=task_id).update(payload={"evil": True}, awaiting_approval=False)
