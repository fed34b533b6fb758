"""Decisions: one, final, by whoever may, and on record."""

import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from approvals_app.errors import AlreadyDecided, MayNotDecide, NotShown, UnknownApproval
from approvals_app.models import Approval, ApprovalPolicy
from approvals_app.services import transitions
from events_app.models import Event
from events_app.services import change
from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from tasks_app.models import Task
from tasks_app.services import claims, routing
from tests.support import decisions
from tests.unit.test_approval_rules import contents

Make = Callable[..., Task]
ALICE = Actor("alice", Role.ADMIN, Door.CONSOLE, Assurance.HUMAN, "account:alice")
DECIDE = {"approved": decisions.approve, "rejected": decisions.reject}


@pytest.fixture
def asked(make_task: Make) -> Approval:
    return Approval.objects.get(task_id=make_task(priority="P0", trace_id="trace-1").task_id)


@pytest.mark.parametrize("verdict", DECIDE)
def test_a_decision_names_who_when_by_which_door_and_why(
    asked: Approval, now: datetime, verdict: str
) -> None:
    later = now + timedelta(seconds=5)

    DECIDE[verdict](approval_id=asked.approval_id, by=ALICE, now=later, reason="Because")

    asked.refresh_from_db()
    assert (asked.status, asked.decided_by, asked.decided_at) == (verdict, "alice", later)
    assert (asked.door, asked.decider_credential, asked.decision_reason) == (
        "console",
        "account:alice",
        "Because",
    )
    told = Event.objects.get(event_type=f"approval.{verdict}")
    assert (told.origin, told.publisher, told.door, told.trace_id) == (
        "human",
        "alice",
        "console",
        "trace-1",
    )
    assert told.payload == {
        "approval_id": asked.approval_id,
        "digest": asked.digest,
        "reason": "Because",
    }


@pytest.mark.parametrize("second", DECIDE)
@pytest.mark.parametrize("first", DECIDE)
def test_a_decision_is_final(
    asked: Approval, dev: Actor, ops: Actor, now: datetime, first: str, second: str
) -> None:
    DECIDE[first](approval_id=asked.approval_id, by=ops, now=now)

    with pytest.raises(AlreadyDecided) as refusal:
        DECIDE[second](approval_id=asked.approval_id, by=dev, now=now)

    assert refusal.value.state == {
        "approval_id": asked.approval_id,
        "status": first,
        "decided_by": ops.name,
    }
    assert f"already {first} by {ops.name}" in str(refusal.value)
    assert Approval.objects.get().status == first


def test_a_refused_try_is_on_record(asked: Approval, dev: Actor, ops: Actor, now: datetime) -> None:
    decisions.approve(approval_id=asked.approval_id, by=ops, now=now)

    with pytest.raises(AlreadyDecided):
        decisions.reject(approval_id=asked.approval_id, by=dev, now=now)

    told = Event.objects.get(event_type="approval.decision_refused")
    assert (told.publisher, told.payload["wanted"]) == (dev.name, "rejected")


def test_a_record_that_was_rolled_back_is_made_at_the_next_try(
    asked: Approval, ops: Actor, now: datetime
) -> None:
    def attempt() -> None:
        with pytest.raises(NotShown):
            decisions.approve(approval_id=asked.approval_id, by=ops, now=now, shown="other")

    with pytest.raises(ZeroDivisionError), change():
        attempt()
        raise ZeroDivisionError  # what arrived together with it
    attempt()
    attempt()

    assert Event.objects.filter(event_type="approval.decision_refused").count() == 1


@pytest.mark.parametrize("verdict", DECIDE)
def test_a_decision_on_other_content_than_was_looked_at_is_refused(
    asked: Approval, ops: Actor, now: datetime, verdict: str
) -> None:
    with pytest.raises(NotShown):
        DECIDE[verdict](approval_id=asked.approval_id, by=ops, now=now, shown="0" * 64)

    assert Approval.objects.get().status == "pending"
    assert (
        DECIDE[verdict](approval_id=asked.approval_id, by=ops, now=now, shown=asked.digest).status
        == verdict
    )


def test_a_request_that_was_tampered_with_is_not_signed(
    asked: Approval, ops: Actor, now: datetime
) -> None:
    Approval.objects.update(snapshot={**asked.snapshot, "payload": {"issue": "worse"}})

    with pytest.raises(NotShown):
        decisions.approve(approval_id=asked.approval_id, by=ops, now=now)

    assert Approval.objects.get().status == "pending"


@pytest.mark.parametrize("mode", ["four-eyes", "strict", "human"])
@pytest.mark.parametrize("hand", ["asked for", "held", "edited"])
def test_who_has_a_hand_in_it_decides_only_in_guide_mode(
    make_task: Make, now: datetime, settings: Any, mode: str, hand: str
) -> None:
    bob = Actor("bob", Role.ADMIN, Door.CONSOLE, Assurance.HUMAN, "account:bob")
    task = make_task(priority="P0", by=bob) if hand == "asked for" else make_task(priority="P0")
    if hand == "edited":
        routing.reassign(task_id=task.task_id, agent="ops_agent", reason="On call", by=bob, now=now)
    if hand == "held":
        Task.objects.update(holder="bob")
    approval_id = Approval.objects.pending().get().approval_id
    settings.ORCHESTRATOR_APPROVAL_MODE = mode

    with pytest.raises(MayNotDecide):
        decisions.approve(approval_id=approval_id, by=bob, now=now)

    assert Approval.objects.get(approval_id=approval_id).status == "pending"
    assert (
        Event.objects.filter(event_type="approval.decision_refused", publisher="bob").count() == 1
    )
    assert decisions.approve(approval_id=approval_id, by=ALICE, now=now).decided_by == "alice"


def test_in_guide_mode_an_agent_may_decide_its_own_request(
    asked: Approval, dev: Actor, now: datetime
) -> None:
    assert decisions.approve(approval_id=asked.approval_id, by=dev, now=now).decided_by == dev.name


def test_a_policy_may_demand_an_admin(make_task: Make, ops: Actor, now: datetime) -> None:
    ApprovalPolicy.objects.all().delete()
    ApprovalPolicy.objects.create(name="Admins", decider_role="admin", reason="Only admins.")
    approval_id = make_task().approval_id

    with pytest.raises(MayNotDecide):
        decisions.approve(approval_id=approval_id, by=ops, now=now)

    assert decisions.approve(
        approval_id=approval_id, by=dataclasses.replace(ops, role=Role.ADMIN), now=now
    )


def test_an_unknown_request_is_said_to_be_unknown(db: None, ops: Actor, now: datetime) -> None:
    with pytest.raises(UnknownApproval):
        decisions.approve(approval_id="approval_nowhere", by=ops, now=now)


@pytest.mark.parametrize(("seconds", "in_time"), [(59, True), (60, False), (61, False)])
def test_a_decision_counts_until_the_request_expires(
    make_task: Make, ops: Actor, now: datetime, seconds: int, in_time: bool
) -> None:
    ApprovalPolicy.objects.update(expires_after=60)
    task = make_task(priority="P0")
    when = now + timedelta(seconds=seconds)

    if in_time:
        decisions.approve(approval_id=task.approval_id, by=ops, now=when)
    else:
        with pytest.raises(AlreadyDecided, match="has expired"):
            decisions.approve(approval_id=task.approval_id, by=ops, now=when)

    assert transitions.expire_approvals(now=when) == (0 if in_time else 1)
    task.refresh_from_db()
    assert task.status == ("assigned" if in_time else "cancelled")


def test_an_expired_request_cancels_its_task_and_says_so(make_task: Make, now: datetime) -> None:
    ApprovalPolicy.objects.update(expires_after=60)
    task = make_task(priority="P0")

    expired = [transitions.expire_approvals(now=now + timedelta(seconds=60)) for _ in range(2)]

    task.refresh_from_db()
    approval = Approval.objects.get()
    assert expired == [1, 0]
    assert (approval.status, approval.decided_by, approval.door) == ("expired", "system", "system")
    assert (task.status, task.error) == ("cancelled", "Nobody decided in time.")
    types = list(Event.objects.order_by("pk").values_list("event_type", flat=True))
    assert types[3:] == ["approval.expired", "task.cancelled"]


def test_a_rejection_without_a_reason_still_says_why(
    asked: Approval, ops: Actor, now: datetime
) -> None:
    decisions.reject(approval_id=asked.approval_id, by=ops, now=now)

    assert Task.objects.get().error == "The request for sign-off was rejected."


def test_an_approval_puts_the_task_in_the_queue(
    asked: Approval, dev: Actor, ops: Actor, now: datetime
) -> None:
    assert claims.claim(agent="dev_agent", by=dev, now=now) == []

    decisions.approve(approval_id=asked.approval_id, by=ops, now=now)

    assert Task.objects.get().awaiting_approval is False
    assert len(claims.claim(agent="dev_agent", by=dev, now=now)) == 1


def test_an_approval_wakes_the_agent_after_the_commit(
    asked: Approval, ops: Actor, now: datetime, django_capture_on_commit_callbacks: Any
) -> None:
    from orchestrator_site.infra import wakeups

    heard: set[str] = set()
    stop = wakeups.listen(heard.update)

    with django_capture_on_commit_callbacks(execute=True):
        decisions.approve(approval_id=asked.approval_id, by=ops, now=now)
    stop()

    assert {"tasks:dev_agent", "events"} <= heard


@pytest.mark.no_cover  # measuring would take long
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(payload=contents)
def test_a_sign_off_survives_any_content_the_database_can_keep(
    make_task: Make, dev: Actor, ops: Actor, now: datetime, payload: dict[str, Any]
) -> None:
    task = make_task(priority="P0", payload=payload, metadata=payload)
    decisions.approve(approval_id=task.approval_id, by=ops, now=now)

    handed = claims.claim(agent="dev_agent", by=dev, now=now)

    assert [found.task_id for found in handed] == [task.task_id]
    assert handed[0].payload == Task.objects.get(pk=task.pk).payload
