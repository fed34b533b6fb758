"""One change, one event, one behaviour, whichever door it comes through."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from approvals_app.models import ApprovalPolicy
from approvals_app.policies import policies
from events_app.models import Event
from events_app.webhooks import services as webhooks
from orchestrator_site.core.actors import Actor
from tasks_app import jobs
from tasks_app.errors import UnknownAgent, UnknownTaskType
from tasks_app.models import Agent, RoutingRule, Task
from tasks_app.services import agents as agent_services
from tests.support import console

login = console.login
Login = Callable[..., Client]
Make = Callable[..., Task]


class ByApi:
    """An administrator's program."""

    name, origin = "root-1", "system"

    def __init__(self, api: Any, login: Any) -> None:
        self.caller = api("admin", name=self.name)

    def agent(self, name: str, **changes: Any) -> None:
        assert self.caller.patch(f"/agents/{name}", changes).status_code == 200

    def rule(self, task_type: str, **changes: Any) -> None:
        assert self.caller.patch(f"/task-types/{task_type}", changes).status_code == 200


class ByConsole:
    """A person in the console."""

    name, origin = "olga", "human"

    def __init__(self, api: Any, login: Any) -> None:
        self.browser = login("Operators", name=self.name)

    def agent(self, name: str, **changes: Any) -> None:
        self.save(
            "agent",
            Agent.objects.get(name=name),
            "description active paused concurrency_limit silent_after",
            changes,
        )

    def rule(self, task_type: str, **changes: Any) -> None:
        row = RoutingRule.objects.get(task_type=task_type)
        self.save(
            "routingrule", row, "description agent_id fallback_id paused concurrency_limit", changes
        )

    def save(self, page: str, row: Any, fields: str, changes: dict[str, Any]) -> None:
        shown = {name: getattr(row, name) for name in fields.split()} | changes
        form = {
            name.removesuffix("_id"): value
            for name, value in shown.items()
            if value not in (False, None)
        }
        answer = self.browser.post(f"/admin/tasks_app/{page}/{row.pk}/change/", form)
        assert answer.status_code == 302, answer.content


@pytest.fixture(params=[ByApi, ByConsole], ids=["api", "console"])
def door(request: Any, api: Any, login: Login) -> Any:
    """Who makes the change, by each door in turn."""
    return request.param(api, login)


@pytest.fixture
def committed(monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any) -> Any:
    """A context in which what is to be done after the commit is done, and a list of the jobs that
    were asked for.
    """
    asked: list[str] = []
    monkeypatch.setattr(
        jobs.route_pending, "delay", lambda: asked.append("route_pending") or jobs.route_pending()
    )

    @contextmanager
    def commit() -> Iterator[list[str]]:
        with django_capture_on_commit_callbacks(execute=True):
            yield asked

    return commit


def told() -> list[tuple[Any, ...]]:
    """Return what the log says of configuration: type, by whom, by which door, and what."""
    rows = Event.objects.exclude(event_type__startswith="task.").order_by("pk")
    return list(rows.values_list("event_type", "publisher", "door", "origin", "payload"))


def test_switching_an_agent_on_is_one_event_and_routes_at_once(
    door: Any, make_task: Make, committed: Any
) -> None:
    Agent.objects.update(active=False)
    task = make_task()

    with committed() as asked:
        door.agent("dev_agent", active=True)

    task.refresh_from_db()
    assert (task.status, task.assigned_agent, asked) == ("assigned", "dev_agent", ["route_pending"])
    says = {"agent": "dev_agent", "did": "changed", "changes": {"active": [False, True]}}
    where = "api" if isinstance(door, ByApi) else "console"
    assert told() == [("agent.changed", door.name, where, door.origin, says)]


def test_pausing_a_type_is_one_event_and_routes_at_once(door: Any, committed: Any) -> None:
    with committed() as asked:
        door.rule("bugfix", paused=True)

    assert RoutingRule.objects.get(task_type="bugfix").paused
    says = {"type": "bugfix", "did": "changed", "changes": {"paused": [False, True]}}
    assert [(kind, what) for kind, *_, what in told()] == [("rule.changed", says)]
    assert asked == ["route_pending"]


def test_saying_what_is_so_already_changes_and_records_nothing(door: Any, committed: Any) -> None:
    with committed() as asked:
        door.agent("dev_agent", paused=False)
        door.rule("bugfix", paused=False)

    assert (told(), asked) == ([], [])


def test_a_rule_that_is_given_another_agent_names_both(login: Login, committed: Any) -> None:
    with committed():
        ByConsole(None, login).rule("bugfix", agent_id="ops_agent")

    assert told()[0][-1]["changes"] == {"agent": ["dev_agent", "ops_agent"]}


def test_policies_are_added_renamed_and_removed_on_record(login: Login) -> None:
    client = login("Operators")
    form = {
        "name": "late",
        "active": "on",
        "types": "",
        "decider_role": "agent",
        "expires_after": "",
        "reason": "So.",
    }

    client.post("/admin/approvals_app/approvalpolicy/add/", form)
    page = f"/admin/approvals_app/approvalpolicy/{ApprovalPolicy.objects.get(name='late').pk}"
    client.post(f"{page}/change/", form | {"name": "early", "priorities": ["P2"]})
    client.post(f"{page}/delete/", {"post": "yes"})

    says = [(kind, what["policy"], what["did"]) for kind, *_, what in told()]
    assert says == [
        ("policy.changed", "late", "added"),
        ("policy.changed", "early", "changed"),
        ("policy.changed", "early", "removed"),
    ]
    assert told()[1][-1]["changes"] == {"name": ["late", "early"], "priorities": [[], ["P2"]]}


def test_webhooks_are_rotated_alike_by_both_doors(
    api: Any, login: Login, admin: Actor, now: datetime
) -> None:
    hook = webhooks.subscribe(
        url="https://hooks.example.com/x", types=["task.*"], by=admin, now=now
    )

    api("admin", name="root-1").post(f"/events/subscriptions/{hook.subscription_id}/rotate")
    page = f"/admin/events_app/subscription/{hook.subscription_id}/rotate/"
    login(None, name="olga").post(page, {"_form_submitted": "True"})

    of_rotations = [said for said in told() if said[0] == "subscription.rotated"]
    assert [said[1:3] for said in of_rotations] == [("root-1", "api"), ("olga", "console")]
    assert of_rotations[0][-1] == of_rotations[1][-1]


def test_what_is_not_there_cannot_be_changed(db: None, admin: Actor, now: datetime) -> None:
    with pytest.raises(UnknownAgent):
        agent_services.change_agent(name="nobody", paused=True, by=admin, now=now)
    with pytest.raises(UnknownTaskType):
        agent_services.change_type(task_type="nothing", paused=True, by=admin, now=now)
    with pytest.raises(Exception, match="There is no policy"):
        policies.remove("none", by=admin, now=now)
