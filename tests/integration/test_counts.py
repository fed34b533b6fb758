"""The counts of /stats are folded from the log.

After every kind of move they equal a real count.
"""

import contextlib
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from approvals_app.models import Approval, ApprovalPolicy
from approvals_app.services import transitions
from events_app.models import Event, Ledger
from orchestrator_site.core.actors import Actor, Role
from orchestrator_site.core.errors import DomainError
from orchestrator_site.infra import cached_rows
from tasks_app.models import Agent, Status, Task
from tasks_app.services import claims, intake, leases, lifecycle, retention, retries, routing, sla
from tasks_app.services.statistics import counts, queue_stats
from tests.conftest import actor
from tests.support import decisions

Make = Callable[..., Task]


def really() -> dict[str, int]:
    """Count the slow way."""
    found = Counter(Task.objects.values_list("status", flat=True))
    late = Counter(Event.objects.values_list("event_type", flat=True))
    return {status.value: found[status.value] for status in Status} | {
        "sla_warnings": late["sla.warning"],
        "sla_violations": late["sla.violation"],
    }


def test_a_new_service_counts_nothing(db: None) -> None:
    assert set(counts().values()) == {0}
    assert queue_stats() == {"pending_tasks": 0, "processing_tasks": 0, "total_tasks": 0}


def test_the_guides_three_figures(make_task: Make, dev: Actor, now: datetime) -> None:
    tasks = [make_task() for _ in range(4)]
    lifecycle.report_status(task_id=tasks[0].task_id, status=Status.IN_PROGRESS, by=dev, now=now)
    lifecycle.report_status(task_id=tasks[1].task_id, status=Status.COMPLETED, by=dev, now=now)

    assert queue_stats() == {"pending_tasks": 2, "processing_tasks": 1, "total_tasks": 4}


def test_every_event_is_counted_once_however_often_it_is_asked(make_task: Make) -> None:
    make_task()

    assert [counts()["assigned"] for _ in range(3)] == [1, 1, 1]


def test_a_move_that_was_rolled_back_is_not_counted(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    task = make_task()

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        lifecycle.report_status(task_id=task.task_id, status=Status.COMPLETED, by=dev, now=now)
        raise ZeroDivisionError

    assert counts() == really()


class Operations(RuleBasedStateMachine):
    """Anybody does anything, in any order; the invariants hold after every step."""

    @initialize()
    def begin(self) -> None:
        self.now = datetime.fromisoformat("2026-01-31T12:00:00Z")
        self.dev, self.ops, self.admin = (
            actor("dev-agent-1"),
            actor("ops-agent-1"),
            actor("root-1", Role.ADMIN),
        )
        ApprovalPolicy.objects.update(expires_after=600)
        cached_rows.forget_all()
        for place, priority in enumerate(("P0", "P1", "P0", "P3", "P3")):
            self.create(
                priority=priority,
                seconds=60 * place or None,
                waits=place == 4,
                place=0,
                kind="bugfix",
            )

    def pick(self, rows: Any, place: int) -> Any:
        found = list(rows.order_by("pk"))
        return found[place % len(found)] if found else None

    def attempt(self, call: Callable[..., Any], **arguments: Any) -> None:
        with contextlib.suppress(DomainError):
            call(**arguments, now=self.now)

    @rule(
        priority=st.sampled_from(["P0", "P1", "P3"]),
        seconds=st.none() | st.integers(1, 900),
        waits=st.booleans(),
        place=st.integers(0, 99),
        kind=st.sampled_from(["bugfix", "deployment"]),
    )
    def create(
        self, priority: str, seconds: int | None, waits: bool, place: int, kind: str
    ) -> None:
        needed = self.pick(Task.objects.all(), place) if waits else None
        new = {
            "type": kind,
            "payload": {"n": place},
            "priority": priority,
            "sla_target": seconds,
            "max_attempts": 2,
        }
        self.attempt(
            intake.create_task, **new, depends_on=[needed.task_id] if needed else [], by=self.dev
        )

    @rule(
        place=st.integers(0, 99), status=st.sampled_from(list(Status)[2:5]), retryable=st.booleans()
    )
    def report(self, place: int, status: Status, retryable: bool) -> None:
        if task := self.pick(Task.objects.all(), place):
            self.attempt(
                lifecycle.report_status,
                task_id=task.task_id,
                status=status,
                retryable=retryable,
                by=self.dev,
            )

    @rule(
        agent=st.sampled_from(["dev_agent", "ops_agent"]),
        limit=st.integers(1, 3),
        seconds=st.integers(5, 300),
    )
    def claim(self, agent: str, limit: int, seconds: int) -> None:
        self.attempt(claims.claim, agent=agent, limit=limit, lease_seconds=seconds, by=self.dev)

    @rule(place=st.integers(0, 99), call=st.sampled_from([leases.heartbeat, leases.release]))
    def hold(self, place: int, call: Callable[..., Any]) -> None:
        if task := self.pick(Task.objects.exclude(holder=""), place):
            self.attempt(call, task_id=task.task_id, attempt=task.attempt, by=self.dev)

    @rule(place=st.integers(0, 99), yes=st.sampled_from([True, True, False]), late=st.booleans())
    def decide(self, place: int, yes: bool, late: bool) -> None:
        if approval := self.pick(
            Approval.objects.decided() if late else Approval.objects.pending(), place
        ):
            verdict = decisions.approve if yes else decisions.reject
            self.attempt(verdict, approval_id=approval.approval_id, by=self.ops)

    @rule(place=st.integers(0, 99), call=st.sampled_from([lifecycle.cancel_task, retries.requeue]))
    def operate(self, place: int, call: Callable[..., Any]) -> None:
        if task := self.pick(Task.objects.all(), place):
            self.attempt(call, task_id=task.task_id, by=self.admin)

    @rule(place=st.integers(0, 99), agent=st.sampled_from(["dev_agent", "ops_agent"]))
    def reassign(self, place: int, agent: str) -> None:
        if task := self.pick(Task.objects.all(), place):
            self.attempt(
                routing.reassign, task_id=task.task_id, agent=agent, reason="x", by=self.admin
            )

    @rule(name=st.sampled_from(["dev_agent", "ops_agent"]), active=st.booleans())
    def switch(self, name: str, active: bool) -> None:
        agent = Agent.objects.get(name=name)
        agent.active = active
        agent.save()

    @rule(place=st.integers(0, 99))
    def tamper(self, place: int) -> None:
        waiting = Task.objects.filter(status__in=["pending", "assigned"]).exclude(approval_id="")
        if task := self.pick(waiting, place):
            Task.objects.filter(pk=task.pk).update(
                payload={"n": place, "evil": True}, awaiting_approval=False
            )

    @rule(seconds=st.sampled_from([5, 50, 100, 400, 700]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def sweep(self) -> None:
        for duty in (
            routing.route_pending,
            sla.check_slas,
            leases.requeue_lost_leases,
            transitions.expire_approvals,
        ):
            duty(now=self.now)

    @rule()
    def prune(self) -> None:
        retention.prune_tasks(before=self.now, by=self.admin, now=self.now)

    @invariant()
    def counts_are_right(self) -> None:
        if hasattr(self, "now"):
            assert counts() == really()

    @invariant()
    def no_gated_task_runs_without_a_sign_off_for_its_content(self) -> None:
        for task in Task.objects.filter(status__in=["in_progress", "completed"]).exclude(
            approval_id=""
        ):
            shown = Approval.objects.values("status", "task_id", "snapshot").get(
                approval_id=task.approval_id
            )
            assert shown == {
                "status": "approved",
                "task_id": task.task_id,
                "snapshot": task.content(),
            }

    @invariant()
    def every_open_gate_waits_for_exactly_one_answer(self) -> None:
        for task in Task.objects.filter(status__in=["pending", "assigned"], awaiting_approval=True):
            asked = list(
                Approval.objects.pending()
                .filter(task_id=task.task_id)
                .values_list("approval_id", flat=True)
            )
            assert asked == [task.approval_id]

    @invariant()
    def nobody_is_asked_about_what_is_over(self) -> None:
        asked = Approval.objects.pending().values("task_id")
        assert (
            not Task.objects.filter(task_id__in=asked)
            .exclude(status__in=["pending", "assigned"])
            .exists()
        )

    @invariant()
    def every_deadline_and_every_end_of_a_request_is_told_once(self) -> None:
        late = Event.objects.filter(event_type__startswith="sla.").values_list(
            "task_id", "event_type"
        )
        ends = Event.objects.filter(event_type__in=transitions.EVENT_OF.values()).values_list(
            "payload", flat=True
        )
        told = [*late, *(payload["approval_id"] for payload in ends)]
        assert len(told) == len(set(told))

    @invariant()
    def positions_have_no_gap(self) -> None:
        head = Ledger.objects.get().head
        places = Event.objects.order_by("position").values_list("position", flat=True)
        assert list(places) == list(range(1, head + 1))


class RolledBack(Operations):
    """Each example in a transaction of its own, undone at its end."""

    def __init__(self) -> None:
        self.undo = transaction.atomic()
        self.undo.__enter__()
        super().__init__()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.undo.__exit__(None, None, None)
        cached_rows.forget_all()


@pytest.mark.no_cover  # measuring would take long
@pytest.mark.slow
@pytest.mark.timeout(
    900
)  # it takes a fraction of it, unless it fails and looks for the shortest way to fail
def test_whatever_is_done_the_counts_are_right_and_the_gate_holds(db: None) -> None:
    run_state_machine_as_test(
        RolledBack,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
