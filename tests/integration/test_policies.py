"""All policies that match count, the strictest wins, and changes hold for what has not started."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from approvals_app.errors import MayNotDecide, NotGranted, PolicyTightened
from approvals_app.models import Approval, ApprovalPolicy
from events_app.models import Event
from orchestrator_site.core.actors import Actor
from tasks_app.models import Status, Task
from tasks_app.services import claims, lifecycle, routing
from tests.support import decisions

Make = Callable[..., Task]


def add_policy(name: str = "All bugs", **more: Any) -> ApprovalPolicy:
    """Add a policy for tasks of the type bugfix."""
    return ApprovalPolicy.objects.create(
        **{"name": name, "types": ["bugfix"], "reason": f"{name}."} | more
    )


@pytest.mark.parametrize("name", ["A first one", "Z last one"])
def test_a_stricter_policy_counts_whatever_its_name(make_task: Make, name: str) -> None:
    add_policy(name, decider_role="admin", expires_after=60)

    asked = Approval.objects.get(approval_id=make_task(priority="P0").approval_id)

    assert (asked.decider_role, asked.expires_at) == (
        "admin",
        asked.created_at + timedelta(seconds=60),
    )
    assert asked.policy == f"{name} · Critical and high priority"
    assert asked.reason == f"{name}. P0 and P1 tasks need sign-off before they start."


def test_a_waiting_task_that_comes_to_match_asks_instead_of_being_handed_out(
    make_task: Make, dev: Actor, ops: Actor, now: datetime
) -> None:
    waiting, other = make_task(), make_task(type="documentation")
    add_policy()

    assert claims.claim(agent=waiting.assigned_agent, by=dev, now=now, types=["bugfix"]) == []

    asked = Approval.objects.get()
    waiting.refresh_from_db()
    assert (asked.task_id, asked.requested_by, asked.status) == (
        waiting.task_id,
        dev.name,
        "pending",
    )
    assert (waiting.approval_id, waiting.awaiting_approval, waiting.attempt) == (
        asked.approval_id,
        True,
        0,
    )
    assert claims.claim(agent=other.assigned_agent, by=dev, now=now, types=["documentation"])
    decisions.approve(approval_id=asked.approval_id, by=ops, now=now)
    assert len(claims.claim(agent=waiting.assigned_agent, by=dev, now=now)) == 1


@pytest.mark.parametrize("status", [Status.IN_PROGRESS, Status.COMPLETED])
def test_a_report_that_starts_such_a_task_is_refused_and_names_the_request(
    make_task: Make, dev: Actor, now: datetime, status: Status
) -> None:
    task = make_task()
    add_policy()

    with pytest.raises(NotGranted) as refusal:
        lifecycle.report_status(task_id=task.task_id, status=status, by=dev, now=now)

    asked = Approval.objects.get()
    assert refusal.value.state["approval_id"] == asked.approval_id
    assert (refusal.value.state["approval_status"], asked.task_id) == ("pending", task.task_id)


def test_a_task_that_runs_is_not_stopped_by_a_new_policy(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    make_task()
    [running] = claims.claim(agent="dev_agent", by=dev, now=now)
    add_policy()

    done = lifecycle.report_status(
        task_id=running.task_id, status=Status.COMPLETED, by=dev, now=now, attempt=1
    )

    assert (done.status, Approval.objects.count()) == ("completed", 0)


def test_a_grant_on_weaker_terms_starts_nothing(
    make_task: Make, dev: Actor, ops: Actor, admin: Actor, now: datetime
) -> None:
    task = make_task(priority="P0")
    decisions.approve(approval_id=task.approval_id, by=ops, now=now)
    add_policy(decider_role="admin")

    assert claims.claim(agent="dev_agent", by=dev, now=now) == []

    asked = Approval.objects.pending().get()
    assert (asked.task_id, asked.decider_role) == (task.task_id, "admin")
    decisions.approve(approval_id=asked.approval_id, by=admin, now=now)
    assert len(claims.claim(agent="dev_agent", by=dev, now=now)) == 1


@pytest.mark.parametrize("stricter", [{"decider_role": "admin"}, {"expires_after": 60}])
def test_a_waiting_request_on_weaker_terms_is_superseded_when_somebody_decides(
    make_task: Make, admin: Actor, now: datetime, stricter: dict[str, Any]
) -> None:
    task = make_task(priority="P0")
    add_policy(**stricter)

    with pytest.raises(PolicyTightened):
        decisions.approve(approval_id=task.approval_id, by=admin, now=now)

    old, new = Approval.objects.order_by("pk")
    task.refresh_from_db()
    assert (old.status, new.status, task.approval_id) == ("superseded", "pending", new.approval_id)
    assert all(getattr(new, name) for name in stricter if name != "expires_after")
    decisions.approve(approval_id=new.approval_id, by=admin, now=now)
    task.refresh_from_db()
    assert not task.awaiting_approval


@pytest.mark.parametrize(("after", "handed"), [(60, 1), (61, 0)])
def test_a_grant_given_within_the_shorter_time_holds(
    make_task: Make, dev: Actor, ops: Actor, now: datetime, after: int, handed: int
) -> None:
    task = make_task(priority="P0")
    decisions.approve(approval_id=task.approval_id, by=ops, now=now + timedelta(seconds=after))
    add_policy(expires_after=60)

    assert len(claims.claim(agent="dev_agent", by=dev, now=now + timedelta(hours=1))) == handed


def test_a_weaker_policy_changes_nothing_for_a_grant(
    make_task: Make, dev: Actor, ops: Actor, now: datetime
) -> None:
    add_policy(decider_role="admin")
    task = make_task(priority="P0")
    ApprovalPolicy.objects.get(name="All bugs").delete()
    with pytest.raises(MayNotDecide):
        decisions.approve(approval_id=task.approval_id, by=ops, now=now)


def test_a_reassigned_task_asks_on_the_terms_of_now(
    make_task: Make, admin: Actor, now: datetime
) -> None:
    task = make_task(priority="P0")
    add_policy(decider_role="admin")

    routing.reassign(task_id=task.task_id, agent="ops_agent", reason="On call", by=admin, now=now)

    assert Approval.objects.pending().get().decider_role == "admin"


def test_one_claim_asks_for_a_bounded_number(
    make_task: Make, dev: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "MOST_HELD_BACK", 2)
    for _ in range(5):
        make_task()
    add_policy()

    asked = []
    for _ in range(4):
        assert claims.claim(agent="dev_agent", by=dev, now=now) == []
        asked.append(Approval.objects.count())

    assert asked == [2, 4, 5, 5]
    assert not Event.objects.filter(event_type="task.claimed").exists()
