"""Decisions that arrive together: each gets its own outcome, for the price of one."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from approvals_app.errors import (
    AlreadyDecided,
    MayNotDecide,
    NotShown,
    PolicyTightened,
    UnknownApproval,
)
from approvals_app.models import Approval, ApprovalPolicy, Status
from approvals_app.services.decisions import Decision, decide_all
from events_app.models import Event
from orchestrator_site.core.actors import Actor
from tasks_app.models import Task
from tests.conftest import actor

Make = Callable[..., Task]
YES, NO = Status.APPROVED, Status.REJECTED
pytestmark = pytest.mark.django_db


@pytest.fixture
def ids(make_task: Make) -> list[str]:
    """Five requests, their ids in the order in which they were made."""
    return [make_task(priority="P0").approval_id for _ in range(5)]


def states() -> list[str]:
    return list(Approval.objects.order_by("pk").values_list("status", flat=True))


def refusals_told() -> list[tuple[str, str]]:
    told = Event.objects.filter(event_type="approval.decision_refused").order_by("position")
    return [(event.publisher, event.payload["approval_id"]) for event in told]


def test_each_decision_of_a_list_has_its_own_outcome(
    ids: list[str], dev: Actor, ops: Actor, now: datetime, settings: Any
) -> None:
    settings.ORCHESTRATOR_APPROVAL_MODE = "four-eyes"
    ids.append("approval_nowhere")
    said = [
        Decision(ids[0], YES, ops, now),
        Decision(ids[1], YES, dev, now),  # asked for it
        Decision(ids[2], NO, ops, now, "Not today."),
        Decision(ids[3], YES, ops, now, shown="0" * 64),
        Decision(ids[5], YES, ops, now),
        Decision(ids[4], YES, actor("ops-agent-2"), now),
    ]

    outcomes = decide_all(said)

    expected = [Approval, MayNotDecide, Approval, NotShown, UnknownApproval, Approval]
    assert list(map(type, outcomes)) == expected
    assert states() == ["approved", "pending", "rejected", "pending", "approved"]
    deciders = list(Approval.objects.order_by("pk").values_list("decided_by", flat=True))
    assert deciders == [ops.name, "", ops.name, "", "ops-agent-2"]
    assert refusals_told() == [(dev.name, ids[1]), (ops.name, ids[3])]
    awaiting = list(Task.objects.order_by("pk").values_list("status", "awaiting_approval"))
    assert awaiting == [
        ("assigned", False),
        ("assigned", True),
        ("cancelled", True),
        ("assigned", True),
        ("assigned", False),
    ]


def test_of_several_decisions_on_one_request_the_first_counts(
    ids: list[str], dev: Actor, ops: Actor, now: datetime
) -> None:
    said = [
        Decision(ids[0], YES, ops, now, "First"),
        Decision(ids[0], NO, dev, now),
        Decision(ids[1], NO, dev, now),
        Decision(ids[0], YES, ops, now, "Again"),
        Decision(ids[0], YES, dev, now),
    ]

    first, against, other, again, late = decide_all(said)

    assert isinstance(first, Approval) and not first.repeated
    assert isinstance(again, Approval) and again.repeated and again.decision_reason == "First"
    assert isinstance(other, Approval) and other.status == "rejected"
    for refusal in (against, late):
        assert isinstance(refusal, AlreadyDecided)
        assert refusal.state["decided_by"] == ops.name
    told = Event.objects.filter(payload__approval_id=ids[0]).order_by("position")
    kinds_told = list(told.values_list("event_type", flat=True))
    assert kinds_told[1:] == ["approval.approved"] + ["approval.decision_refused"] * 2


def test_a_refused_try_does_not_keep_the_next_one_in_the_list_from_deciding(
    ids: list[str], dev: Actor, ops: Actor, now: datetime, settings: Any
) -> None:
    settings.ORCHESTRATOR_APPROVAL_MODE = "four-eyes"

    refused, decided = decide_all([Decision(ids[0], YES, by, now) for by in (dev, ops)])

    assert isinstance(refused, MayNotDecide)
    assert isinstance(decided, Approval) and decided.decided_by == ops.name


def test_a_request_that_asks_for_too_little_by_now_is_asked_anew_and_the_others_are_decided(
    ids: list[str], make_task: Make, ops: Actor, now: datetime
) -> None:
    task = make_task(priority="P0", type="deployment")
    ApprovalPolicy.objects.create(
        name="Admins", types=["deployment"], decider_role="admin", reason="Only admins."
    )
    named = [ids[0], task.approval_id, ids[1], task.approval_id]

    outcomes = decide_all([Decision(approval_id, YES, ops, now) for approval_id in named])

    assert list(map(type, outcomes)) == [Approval, PolicyTightened, Approval, AlreadyDecided]
    assert states() == ["approved"] * 2 + ["pending"] * 3 + ["superseded", "pending"]
    anew = Approval.objects.latest("pk")
    task.refresh_from_db()
    assert (task.awaiting_approval, task.approval_id) == (True, anew.approval_id)
    assert anew.decider_role == "admin"


def test_a_task_that_fails_by_the_rejection_of_another_does_not_start(
    make_task: Make, dev: Actor, ops: Actor, now: datetime
) -> None:
    first = make_task(priority="P0")
    second = make_task(priority="P0", depends_on=[first.task_id])
    said = [Decision(first.approval_id, NO, ops, now), Decision(second.approval_id, YES, ops, now)]

    decide_all(said)

    second.refresh_from_db()
    assert (second.status, second.failure_reason) == ("failed", "dependency")
    assert not Approval.objects.pending().exists()


def test_an_approval_lets_only_those_tasks_through_that_name_it_and_wait(
    ids: list[str], ops: Actor, now: datetime
) -> None:
    Task.objects.filter(approval_id=ids[1]).update(approval_id="approval_other")
    Task.objects.filter(approval_id=ids[2]).update(status="failed")

    decide_all([Decision(approval_id, YES, ops, now) for approval_id in ids])

    awaiting = list(Task.objects.order_by("pk").values_list("awaiting_approval", flat=True))
    assert awaiting == [False, True, True, False, False]
