"""Pools of workers: pause, limit, silence."""

from datetime import datetime, timedelta

import pytest

from events_app.models import Event
from orchestrator_site.core.actors import Actor
from tasks_app.models import Agent, RoutingRule, Status
from tasks_app.services import agents as agent_services
from tasks_app.services import claims, routing


def told(event_type: str) -> int:
    return Event.objects.filter(event_type=event_type).count()


def test_a_paused_agent_keeps_its_tasks_but_is_handed_none(
    make_task, dev: Actor, admin: Actor, now: datetime
) -> None:
    make_task()

    agent_services.change_agent(name="dev_agent", paused=True, by=admin, now=now)
    paused = claims.claim(agent="dev_agent", by=dev, now=now)
    agent_services.change_agent(name="dev_agent", paused=False, by=admin, now=now)

    assert paused == []
    assert len(claims.claim(agent="dev_agent", by=dev, now=now)) == 1


def test_tasks_of_a_paused_type_are_not_handed_out(
    make_task, dev: Actor, admin: Actor, now: datetime
) -> None:
    make_task(type="bugfix", priority="P2")
    other = make_task(type="feature", priority="P3")

    agent_services.change_type(task_type="bugfix", paused=True, by=admin, now=now)

    assert [task.pk for task in claims.claim(agent="dev_agent", by=dev, now=now, limit=5)] == [
        other.pk
    ]


@pytest.mark.parametrize(("limit", "handed"), [(0, 0), (1, 1), (2, 2), (None, 3)])
def test_an_agent_runs_no_more_than_its_limit(
    limit, handed, make_task, dev: Actor, admin, now: datetime
) -> None:
    for _ in range(3):
        make_task()
    agent_services.change_agent(name="dev_agent", concurrency_limit=limit, by=admin, now=now)

    first = claims.claim(agent="dev_agent", by=dev, now=now, limit=10)
    second = claims.claim(agent="dev_agent", by=dev, now=now, limit=10)

    assert (len(first), len(second)) == (handed, 0)


def test_a_type_runs_no_more_than_its_limit_and_others_go_on(
    make_task, dev: Actor, admin, now: datetime
) -> None:
    for kind in ("bugfix", "bugfix", "feature"):
        make_task(type=kind)
    agent_services.change_type(task_type="bugfix", concurrency_limit=1, by=admin, now=now)

    handed = claims.claim(agent="dev_agent", by=dev, now=now, limit=10)

    assert sorted(task.type for task in handed) == ["bugfix", "feature"]


def test_a_silent_agent_is_named_once_and_its_waiting_tasks_go_to_the_fallback(
    make_task, dev, now: datetime
) -> None:
    Agent.objects.filter(name="dev_agent").update(silent_after=60, last_seen_at=now)
    RoutingRule.objects.filter(task_type="bugfix").update(fallback_id="ops_agent")
    routing.agents.forget()
    routing.routing_rules.forget()
    task = make_task()
    later = now + timedelta(seconds=61)

    named = [
        agent_services.mark_stale_agents(now=now + timedelta(seconds=60)),
        agent_services.mark_stale_agents(now=later),
    ]
    again = agent_services.mark_stale_agents(now=later + timedelta(hours=1))
    routing.route_pending(now=later)

    task.refresh_from_db()
    assert (named, again, told("agent.silent")) == ([0, 1], 0, 1)
    assert (task.assigned_agent, task.status) == ("ops_agent", Status.ASSIGNED)


def test_an_agent_that_comes_back_says_so_once_and_gets_work_again(
    make_task, dev: Actor, now: datetime
) -> None:
    Agent.objects.filter(name="dev_agent").update(silent_after=60, last_seen_at=now)
    agent_services.mark_stale_agents(now=now + timedelta(minutes=2))

    claims.claim(agent="dev_agent", by=dev, now=now + timedelta(minutes=3))
    claims.claim(agent="dev_agent", by=dev, now=now + timedelta(minutes=3))

    assert told("agent.back") == 1
    assert routing.route("bugfix") == "dev_agent"


def test_the_overview_names_live_holders_and_load(make_task, dev: Actor, now: datetime) -> None:
    make_task(), make_task()
    claims.claim(agent="dev_agent", by=dev, now=now, lease_seconds=60)

    [row] = [row for row in agent_services.overview(now=now) if row["name"] == "dev_agent"]
    [later] = [
        row
        for row in agent_services.overview(now=now + timedelta(seconds=61))
        if row["name"] == "dev_agent"
    ]

    assert (row["running"], row["waiting"], row["holders"]) == (1, 1, ["dev-agent-1"])
    assert later["holders"] == []
