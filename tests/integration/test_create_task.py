"""Taking in work: routed, gated where policy asks, written down, all in one transaction."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from approvals_app.models import Approval, ApprovalPolicy
from events_app.models import Event
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import Invalid
from tasks_app import errors
from tasks_app.errors import UnknownDependency
from tasks_app.models import Agent, RoutingRule, Task

GUIDE = {
    "bugfix": "dev_agent",
    "feature": "dev_agent",
    "refactor": "dev_agent",
    "deployment": "ops_agent",
    "monitoring": "ops_agent",
    "incident": "ops_agent",
    "faq_update": "faq_agent",
    "documentation": "faq_agent",
    "knowledge_sync": "faq_agent",
}
Make = Callable[..., Task]


@pytest.mark.parametrize("task_type", GUIDE)
def test_the_guides_types_go_to_the_guides_agents(make_task: Make, task_type: str) -> None:
    task = make_task(type=task_type)

    assert (task.status, task.assigned_agent) == ("assigned", GUIDE[task_type])


@pytest.mark.parametrize("priority", ["P0", "P1", "P2", "P3"])
def test_p0_and_p1_ask_for_sign_off(make_task: Make, dev: Actor, priority: str) -> None:
    task = make_task(priority=priority)

    asked = list(
        Approval.objects.values_list("approval_id", "task_id", "priority", "status", "requested_by")
    )
    gated = (
        [(task.approval_id, task.task_id, priority, "pending", dev.name)]
        if priority in ("P0", "P1")
        else []
    )
    assert asked == gated
    assert (task.status, task.awaiting_approval) == ("assigned", bool(gated))


def test_what_is_stored_is_what_was_given(make_task: Make, now: datetime, dev: Actor) -> None:
    payload = {"issue": 1, "rate": 0.1, "deep": [{"é": None}, True], "big": 2**53 - 1}

    made = make_task(
        payload=payload,
        source="github",
        sla_target=3600,
        metadata={"repo": "x"},
        trace_id="trace-1",
    )

    task = Task.objects.get(task_id=made.task_id)
    assert (task.payload, task.metadata, task.source, task.trace_id) == (
        payload,
        {"repo": "x"},
        "github",
        "trace-1",
    )
    assert (task.created_by, task.door, task.created_at, task.assigned_at) == (
        dev.name,
        "api",
        now,
        now,
    )
    assert (task.due_at, task.warn_at) == (
        now + timedelta(seconds=3600),
        now + timedelta(seconds=2880),
    )


def test_an_intake_is_written_down(make_task: Make, dev: Actor) -> None:
    task = make_task(priority="P1", trace_id="trace-1")

    events = list(Event.objects.order_by("pk"))

    assert [event.event_type for event in events] == [
        "approval.requested",
        "task.created",
        "task.assigned",
    ]
    assert {(event.task_id, event.trace_id, event.priority) for event in events} == {
        (task.task_id, "trace-1", "P1")
    }
    assert {(event.publisher, event.door, event.origin) for event in events} == {
        (dev.name, "api", "system")
    }
    assert [(event.moved_from, event.moved_to) for event in events] == [
        ("", ""),
        ("", "assigned"),
        ("", ""),
    ]


def test_without_an_able_agent_a_task_waits_as_pending(make_task: Make) -> None:
    Agent.objects.filter(name="dev_agent").update(active=False)

    task = make_task()

    assert (task.status, task.assigned_agent, task.assigned_at) == ("pending", "", None)
    assert [event.event_type for event in Event.objects.all()] == ["task.created"]


def test_the_fallback_takes_over_while_the_agent_is_off(make_task: Make) -> None:
    Agent.objects.filter(name="dev_agent").update(active=False)
    RoutingRule.objects.filter(task_type="bugfix").update(fallback_id="ops_agent")

    assert make_task().assigned_agent == "ops_agent"


REFUSED: dict[str, tuple[dict[str, Any], type[Invalid], str]] = {
    "unknown type": ({"type": "unknown"}, errors.UnknownType, "type"),
    "unknown parent": ({"parent_task_id": "task_nowhere"}, errors.UnknownParent, "parent_task_id"),
    "unknown dependency": ({"depends_on": ["task_nowhere"]}, UnknownDependency, "depends_on"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_task_leaves_nothing_behind(make_task: Make, case: str) -> None:
    new, refusal, field = REFUSED[case]

    with pytest.raises(refusal) as refused:
        make_task(priority="P0", **new)

    assert refused.value.field == field
    assert (
        not Task.objects.exists() and not Approval.objects.exists() and not Event.objects.exists()
    )


def test_a_policy_can_gate_a_type_whatever_its_priority(make_task: Make, now: datetime) -> None:
    ApprovalPolicy.objects.create(
        name="Deployments",
        types=["deployment"],
        decider_role="admin",
        expires_after=60,
        reason="Production.",
    )

    gated, free = (
        make_task(type="deployment", priority="P3"),
        make_task(type="bugfix", priority="P3"),
    )

    approval = Approval.objects.get(task_id=gated.task_id)
    assert (approval.policy, approval.decider_role, approval.reason) == (
        "Deployments",
        "admin",
        "Production.",
    )
    assert approval.expires_at == now + timedelta(seconds=60)
    assert free.approval_id == ""


def test_an_inactive_policy_asks_for_nothing(make_task: Make) -> None:
    ApprovalPolicy.objects.get().delete()

    assert make_task(priority="P0").approval_id == ""


def test_children_name_their_parent(make_task: Make) -> None:
    parent = make_task()

    assert make_task(parent_task_id=parent.task_id).parent_task_id == parent.task_id
