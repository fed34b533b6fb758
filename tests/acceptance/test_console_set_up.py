"""Agents, rules and policies in the console."""

from typing import Any

import pytest
from kombu.exceptions import OperationalError

from approvals_app.models import ApprovalPolicy
from events_app.models import Event
from tasks_app import jobs
from tasks_app.models import Agent, RoutingRule
from tests.support import console
from tests.support.console import Login, Make

login = console.login


def told(event_type: str) -> list[dict[str, Any]]:
    events = Event.objects.filter(event_type=event_type).order_by("pk")
    return list(events.values_list("payload", flat=True))


def agent_form(**changes: Any) -> dict[str, Any]:
    return {
        "description": "Dev",
        "active": "on",
        "concurrency_limit": "",
        "silent_after": "",
        **changes,
    }


def test_a_change_of_an_agent_is_recorded_and_routes_what_waits(
    login: Login,
    make_task: Make,
    django_capture_on_commit_callbacks: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        jobs.route_pending, "delay", jobs.route_pending
    )  # what a worker would do, done here
    Agent.objects.update(active=False)
    task = make_task()
    assert task.status == "pending"
    agent = Agent.objects.get(name="dev_agent")

    with django_capture_on_commit_callbacks(execute=True):
        login("Operators", name="olga").post(
            f"/admin/tasks_app/agent/{agent.pk}/change/", agent_form()
        )

    task.refresh_from_db()
    assert (task.status, task.assigned_agent) == ("assigned", "dev_agent")
    event = Event.objects.get(event_type="agent.changed")
    assert (event.publisher, event.door, event.origin) == ("olga", "console", "human")
    assert event.payload["agent"] == "dev_agent"
    assert event.payload["changes"]["active"] == [False, True]


def test_a_broker_that_is_away_does_not_fail_the_change(
    login: Login, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OperationalError("refused")

    monkeypatch.setattr(jobs.route_pending, "apply_async", refuse)
    agent = Agent.objects.get(name="dev_agent")

    with django_capture_on_commit_callbacks(execute=True):
        answer = login("Operators").post(
            f"/admin/tasks_app/agent/{agent.pk}/change/", agent_form(paused="on")
        )

    assert answer.status_code == 302
    agent.refresh_from_db()
    assert agent.paused


def test_the_name_of_an_agent_stays_and_nobody_deletes_one(login: Login) -> None:
    agent = Agent.objects.get(name="dev_agent")
    client = login(None)

    client.post(f"/admin/tasks_app/agent/{agent.pk}/change/", agent_form(name="renamed"))

    agent.refresh_from_db()
    assert agent.name == "dev_agent"
    assert (
        client.post(f"/admin/tasks_app/agent/{agent.pk}/delete/", {"post": "yes"}).status_code
        == 403
    )


def test_rules_are_added_and_removed_on_record(login: Login) -> None:
    client = login("Operators")

    client.post(
        "/admin/tasks_app/routingrule/add/",
        {"task_type": "audit", "agent": "ops_agent", "fallback": ""},
    )
    rule = RoutingRule.objects.get(task_type="audit")
    client.post(f"/admin/tasks_app/routingrule/{rule.pk}/delete/", {"post": "yes"})

    assert [(change["type"], change["did"]) for change in told("rule.changed")] == [
        ("audit", "added"),
        ("audit", "removed"),
    ]


def test_a_policy_takes_priorities_and_types(login: Login, make_task: Make) -> None:
    policy = ApprovalPolicy.objects.get()
    form = {
        "name": policy.name,
        "active": "on",
        "priorities": ["P0"],
        "types": "deployment, incident",
    }
    client = login("Operators")

    client.post(
        f"/admin/approvals_app/approvalpolicy/{policy.pk}/change/",
        {**form, "decider_role": "agent", "expires_after": "", "reason": "Because."},
    )

    policy.refresh_from_db()
    assert (policy.priorities, policy.types) == (["P0"], ["deployment", "incident"])
    assert told("policy.changed")[0]["changes"]["priorities"] == [["P0", "P1"], ["P0"]]
    assert not make_task(priority="P0").awaiting_approval
    assert make_task(priority="P0", type="incident").awaiting_approval


POLICY = {
    "name": "Production",
    "active": "on",
    "decider_role": "admin",
    "expires_after": "",
    "reason": "Careful.",
}


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ("deploymnet", "There are no tasks of the type deploymnet. Did you mean deployment?"),
        ("deployment, zzz", "There are no tasks of the type zzz. Routing has the types there are."),
    ],
)
def test_a_policy_for_a_type_that_is_none_is_refused(login: Login, types: str, said: str) -> None:
    answer = login("Operators").post(
        "/admin/approvals_app/approvalpolicy/add/", POLICY | {"types": types}
    )

    assert answer.status_code == 200 and said in answer.content.decode()
    assert not ApprovalPolicy.objects.filter(name="Production").exists()


def test_a_policy_keeps_a_type_that_has_lost_its_rule(login: Login) -> None:
    policy = ApprovalPolicy.objects.create(name="Production", types=["retired"], reason="Careful.")
    address = f"/admin/approvals_app/approvalpolicy/{policy.pk}/change/"

    login("Operators").post(address, POLICY | {"types": "retired, deployment"})

    policy.refresh_from_db()
    assert (policy.types, policy.decider_role) == (["retired", "deployment"], "admin")


def test_a_rule_for_a_type_that_looks_like_a_slip_says_so(login: Login) -> None:
    form = {
        "task_type": "deploymnet",
        "description": "",
        "agent": "ops_agent",
        "fallback": "",
        "concurrency_limit": "",
    }

    page = (
        login("Operators")
        .post("/admin/tasks_app/routingrule/add/", form, follow=True)
        .content.decode()
    )

    assert "deploymnet is a new type. Did you mean deployment, which has a rule?" in page
    assert RoutingRule.objects.filter(task_type="deploymnet").exists()


PAUSED = '<span class="chip chip-warning">paused</span>'


@pytest.mark.parametrize("page", ["agent", "routingrule"])
def test_what_is_paused_is_marked_and_what_is_well_is_not(login: Login, page: str) -> None:
    client, address = login("Operators"), f"/admin/tasks_app/{page}/"
    well = client.get(address).content.decode()
    number = (Agent if page == "agent" else RoutingRule).objects.update(paused=True)

    paused = client.get(address).content.decode()

    assert "Handed out" in well and PAUSED not in well
    assert paused.count(PAUSED) == number > 0
