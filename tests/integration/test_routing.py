"""Who gets what: rules, agents, and what happens when they change."""

from collections.abc import Callable
from datetime import datetime

import pytest
from celery.app.task import Task as Job

from approvals_app.models import Approval
from events_app.models import Event
from orchestrator_site.core.actors import Actor
from tasks_app import jobs
from tasks_app.errors import NotWaiting, UnknownAgent
from tasks_app.models import Agent, RoutingRule, Task
from tasks_app.services import claims, routing

Make = Callable[..., Task]


def switch(name: str, **changes: object) -> None:
    agent = Agent.objects.get(name=name)
    for field, value in changes.items():
        setattr(agent, field, value)
    agent.save()


def test_a_task_is_routed_when_its_agent_is_switched_on(make_task: Make, now: datetime) -> None:
    switch("dev_agent", active=False)
    task = make_task()

    before = routing.route_pending(now=now)
    switch("dev_agent", active=True)
    after = [routing.route_pending(now=now) for _ in range(2)]

    task.refresh_from_db()
    assert (before, after) == (0, [1, 0])
    assert (task.status, task.assigned_agent, task.assigned_at) == ("assigned", "dev_agent", now)
    told = Event.objects.get(event_type="task.assigned")
    assert (told.moved_from, told.moved_to, told.publisher) == ("pending", "assigned", "system")


def test_waiting_tasks_move_on_when_their_agent_is_switched_off(
    make_task: Make, now: datetime
) -> None:
    RoutingRule.objects.filter(task_type="bugfix").update(fallback_id="ops_agent")
    bug, feature = make_task(), make_task(type="feature")
    switch("dev_agent", active=False)

    moved = routing.route_pending(now=now)

    bug.refresh_from_db()
    feature.refresh_from_db()
    assert moved == 2
    assert (bug.status, bug.assigned_agent) == ("assigned", "ops_agent")
    assert (feature.status, feature.assigned_agent, feature.assigned_at) == ("pending", "", None)
    moves = set(
        Event.objects.exclude(moved_from="").values_list("event_type", "moved_from", "moved_to")
    )
    assert moves == {("task.unrouted", "assigned", "pending")}


def test_running_tasks_stay_when_their_agent_is_switched_off(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    make_task()
    claims.claim(agent="dev_agent", by=dev, now=now)
    switch("dev_agent", active=False)

    assert routing.route_pending(now=now) == 0
    assert Task.objects.get().status == "in_progress"


def test_a_silent_agents_tasks_go_to_the_fallback_only(make_task: Make, now: datetime) -> None:
    RoutingRule.objects.filter(task_type="bugfix").update(fallback_id="ops_agent")
    bug, feature = make_task(), make_task(type="feature")
    switch("dev_agent", silent_since=now)

    moved = routing.route_pending(now=now)

    bug.refresh_from_db()
    feature.refresh_from_db()
    assert (moved, bug.assigned_agent, feature.assigned_agent) == (1, "ops_agent", "dev_agent")


def test_a_gated_task_that_moves_asks_for_a_new_sign_off(make_task: Make, now: datetime) -> None:
    RoutingRule.objects.filter(task_type="bugfix").update(fallback_id="ops_agent")
    task = make_task(priority="P0")
    switch("dev_agent", active=False)

    routing.route_pending(now=now)

    task.refresh_from_db()
    assert list(Approval.objects.order_by("pk").values_list("status", flat=True)) == [
        "superseded",
        "pending",
    ]
    assert Approval.objects.pending().get().approval_id == task.approval_id
    assert task.awaiting_approval


def test_a_sweep_is_bounded_and_goes_on_where_it_stopped(make_task: Make, now: datetime) -> None:
    switch("dev_agent", active=False)
    for _ in range(5):
        make_task()
    switch("dev_agent", active=True)

    assert [routing.route_pending(now=now, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_the_job_does_the_same(make_task: Make) -> None:
    switch("dev_agent", active=False)
    make_task()
    switch("dev_agent", active=True)

    jobs.route_pending()

    assert Task.objects.get().status == "assigned"


def test_a_new_rule_takes_what_waits(make_task: Make, now: datetime) -> None:
    switch("dev_agent", active=False)
    make_task()
    rule = RoutingRule.objects.get(task_type="bugfix")
    rule.agent_id = "ops_agent"
    rule.save()

    assert routing.route_pending(now=now) == 1
    assert Task.objects.get().assigned_agent == "ops_agent"


@pytest.mark.parametrize("status", ["in_progress", "completed", "failed", "cancelled"])
def test_only_a_waiting_task_is_reassigned(
    make_task: Make, admin: Actor, now: datetime, status: str
) -> None:
    task = make_task(priority="P0")
    Task.objects.update(status=status)
    events = Event.objects.count()

    with pytest.raises(NotWaiting):
        routing.reassign(task_id=task.task_id, agent="ops_agent", reason="x", by=admin, now=now)

    assert (Approval.objects.get().status, Event.objects.count()) == ("pending", events)


def test_reassigning_is_on_record(make_task: Make, admin: Actor, now: datetime) -> None:
    task = make_task()

    routing.reassign(task_id=task.task_id, agent="ops_agent", reason="On call", by=admin, now=now)

    told = Event.objects.order_by("-pk").first()
    assert told and (told.event_type, told.publisher) == ("task.assigned", admin.name)
    assert told.payload == {
        "agent": "ops_agent",
        "previous_agent": "dev_agent",
        "reason": "On call",
    }


def test_a_task_is_not_given_to_an_agent_nobody_knows(
    make_task: Make, admin: Actor, now: datetime
) -> None:
    with pytest.raises(UnknownAgent):
        routing.reassign(task_id=make_task().task_id, agent="nobody", reason="x", by=admin, now=now)


def test_what_one_sweep_does_not_move_is_sent_for_at_once(
    make_task: Make, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []
    monkeypatch.setattr(Job, "apply_async", lambda *args, **options: sent.append(args))
    monkeypatch.setattr(routing, "MOST", 2)
    switch("dev_agent", active=False)
    for _ in range(3):
        make_task()
    switch("dev_agent", active=True)

    jobs.route_pending()
    left = Task.objects.filter(status="pending").count()
    jobs.route_pending()

    assert (left, Task.objects.filter(status="pending").count(), len(sent)) == (1, 0, 1)
