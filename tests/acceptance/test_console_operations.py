"""The console for operators: steering tasks, routing and access, and what nobody may do."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from kombu.exceptions import OperationalError

from approvals_app.models import Approval, ApprovalPolicy
from events_app.models import Event
from events_app.services import publish
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.ids import first_id
from orchestrator_site.models import ApiKey
from tasks_app import jobs
from tasks_app.models import Agent, BulkOperation, RoutingRule, Status, Task
from tasks_app.services import bulk as bulk_services
from tasks_app.services import claims, lifecycle
from tests.support import console

Make = Callable[..., Task]
Login = Callable[..., Client]
login = console.login
SUBMITTED = {"_form_submitted": "True"}


def steer(client: Client, task: Task, verb: str, **form: str) -> Any:
    return client.post(f"/admin/tasks_app/task/{task.task_id}/{verb}/", {**SUBMITTED, **form})


def failed(task: Task, by: Actor, now: datetime) -> Task:
    return lifecycle.report_status(
        task_id=task.task_id, status=Status.FAILED, by=by, now=now, error="It broke."
    )


def told(event_type: str) -> list[dict[str, Any]]:
    events = Event.objects.filter(event_type=event_type).order_by("pk")
    return list(events.values_list("payload", flat=True))


# --- Tasks ------------------------------------------------------------------------------------


def test_an_operator_cancels_with_a_reason(login: Login, make_task: Make) -> None:
    task = make_task(priority="P0")
    client = login("Operators", name="olga")

    assert "Say why" in steer(client, task, "cancel").content.decode()
    steer(client, task, "cancel", reason="Not needed.")

    task.refresh_from_db()
    assert (task.status, task.error, task.reported_by) == ("cancelled", "Not needed.", "olga")
    assert Approval.objects.get().status == "withdrawn"


def test_an_operator_requeues_what_failed_and_the_gate_asks_again(
    login: Login, make_task: Make, dev: Actor, now: datetime
) -> None:
    task = failed(make_task(priority="P0"), dev, now)

    steer(login("Operators"), task, "requeue")

    task.refresh_from_db()
    assert (task.status, task.awaiting_approval) == ("assigned", True)
    assert Approval.objects.pending().count() == 1


def test_an_operator_gives_a_task_to_another_agent(login: Login, make_task: Make) -> None:
    task = make_task(priority="P2")
    client = login("Operators")

    assert (
        "ops_agent"
        in client.get(f"/admin/tasks_app/task/{task.task_id}/reassign/").content.decode()
    )
    steer(client, task, "reassign", agent="ops_agent", reason="Dev is busy.")

    task.refresh_from_db()
    assert task.assigned_agent == "ops_agent"
    assert (
        Event.objects.filter(event_type="task.assigned").latest("pk").payload["reason"]
        == "Dev is busy."
    )


def test_steering_what_is_over_says_why_not(
    login: Login, make_task: Make, dev: Actor, now: datetime
) -> None:
    task = make_task()
    lifecycle.report_status(task_id=task.task_id, status=Status.COMPLETED, by=dev, now=now)
    client = login("Operators")

    steer(client, task, "cancel", reason="Late.")

    page = client.get(f"/admin/tasks_app/task/{task.task_id}/change/").content.decode()
    assert "it cannot become cancelled" in page
    assert f"{task.task_id}/cancel/" not in page


@pytest.mark.parametrize("group", ["Viewers", "Approvers"])
@pytest.mark.parametrize("verb", ["cancel", "requeue", "reassign"])
def test_others_do_not_steer_tasks(login: Login, make_task: Make, group: str, verb: str) -> None:
    task = make_task()
    client = login(group)

    assert steer(client, task, verb, reason="x", agent="ops_agent").status_code == 403
    assert (
        f"/{verb}/"
        not in client.get(f"/admin/tasks_app/task/{task.task_id}/change/").content.decode()
    )
    task.refresh_from_db()
    assert (task.status, task.assigned_agent) == ("assigned", "dev_agent")


def test_a_task_shows_its_content_sign_off_and_history(
    login: Login, make_task: Make, dev: Actor, now: datetime
) -> None:
    task = make_task(priority="P0", payload={"hidden": "a\u202eb<script>"}, sla_target=60)
    failed(task, dev, now)

    page = login("Viewers").get(f"/admin/tasks_app/task/{task.task_id}/change/").content.decode()

    for shown in (
        "It broke.",
        "U+202E",
        "approval.requested",
        "task.failed",
        Approval.objects.get().approval_id,
    ):
        assert shown in page
    assert "<script>" not in page.split("What happened")[0].split('id="content"')[1]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"status": "open"}, {"gated", "late", "plain"}),
        ({"status": "failed"}, {"broken"}),
        ({"priority": "P0"}, {"gated"}),
        ({"type": "deployment"}, {"late"}),
        ({"agent": "ops_agent"}, {"late"}),
        ({"sla": "violated"}, {"late"}),
        ({"sla": "none"}, {"gated", "plain", "broken"}),
        ({"awaiting": "yes"}, {"gated"}),
        ({"awaiting": "no"}, {"late", "plain", "broken"}),
        ({"status": "nonsense"}, set()),
    ],
)
def test_filters_narrow_the_tasks(
    login: Login, make_task: Make, dev: Actor, now: datetime, asked: dict[str, str], found: set[str]
) -> None:
    make_task(priority="P0", payload={"name": "gated"})
    late = make_task(type="deployment", priority="P2", payload={"name": "late"}, sla_target=60)
    Task.objects.filter(pk=late.pk).update(sla_warned_at=now, sla_breached_at=now)
    make_task(payload={"name": "plain"})
    failed(make_task(payload={"name": "broken"}), dev, now)

    page = login("Viewers").get("/admin/tasks_app/task/", asked).content.decode()

    assert {
        name for name in ("gated", "late", "plain", "broken") if f"name: {name}" in page
    } == found


def bulk(client: Client, action: str, tasks: list[Task], query: str = "", **form: str) -> Any:
    asked = {
        "action": action,
        "_selected_action": [task.pk for task in tasks],
        "index": "0",
        **form,
    }
    return client.post(f"/admin/tasks_app/task/{query}", asked)


def test_an_operator_requeues_several_failed_tasks_after_a_look(
    login: Login, make_task: Make, dev: Actor, now: datetime
) -> None:
    tasks = [failed(make_task(), dev, now) for _ in range(3)]
    client = login("Operators", name="olga")

    asked = bulk(client, "requeue_selected", [*tasks[:2], make_task()]).content.decode()
    assert "Requeue 2 tasks?" in asked and Task.objects.filter(status="failed").count() == 3
    bulk(client, "requeue_selected", tasks[:2], confirmed="yes")

    states = [Task.objects.get(pk=task.pk).status for task in tasks]
    assert states == ["assigned", "assigned", "failed"]
    assert Event.objects.filter(event_type="task.requeued", publisher="olga").count() == 2
    assert "2 task(s) requeued." in client.get("/admin/tasks_app/task/").content.decode()


ACROSS = {"select_across": "1", "confirmed": "yes"}


@pytest.fixture
def five_failed(
    make_task: Make, dev: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> list[Task]:
    """Five failed tasks, of which a request does three."""
    monkeypatch.setattr(bulk_services, "STEP", 3)
    return [failed(make_task(), dev, now) for _ in range(5)]


def by_status() -> dict[str, int]:
    return dict(Counter(Task.objects.values_list("status", flat=True)))


def test_what_a_filter_finds_is_counted_and_goes_on_in_the_background(
    login: Login, make_task: Make, dev: Actor, now: datetime, five_failed: list[Task]
) -> None:
    failed(make_task(type="deployment", priority="P2"), dev, now)
    client, query = login("Operators", name="olga"), "?type=bugfix&failure=reported"

    form = {"select_across": "1"}
    asked = bulk(client, "requeue_selected", five_failed[4:], query, **form).content.decode()
    assert "Requeue 5 tasks?" in asked and "The first 3 are done at once" in asked
    bulk(client, "requeue_selected", five_failed[4:], query, **ACROSS)
    page = client.get("/admin/tasks_app/task/").content.decode()
    assert "3 task(s) requeued, 2 go on in the background." in page and "3 of 5 done" in page
    assert by_status() == {"assigned": 3, "failed": 3}

    jobs.continue_bulk_operations()

    assert by_status() == {"assigned": 5, "failed": 1}
    assert "5 of 5 done" in client.get("/admin/tasks_app/task/").content.decode()
    requeued = Event.objects.filter(event_type="task.requeued")
    assert set(requeued.values_list("publisher", "door", "origin")) == {
        ("olga", "console", "human")
    }


def test_what_goes_on_in_the_background_is_done_once_by_many_workers(
    login: Login, five_failed: list[Task]
) -> None:
    bulk(login("Operators"), "requeue_selected", five_failed, **ACROSS)
    operation = BulkOperation.objects.get()
    Task.objects.filter(pk=five_failed[3].pk).delete()

    for _ in range(3):
        bulk_services.continue_all(clock=lambda: operation.started_at)

    operation.refresh_from_db()
    assert (operation.done, operation.refused, operation.left) == (4, 1, 0)
    assert Event.objects.filter(event_type="task.requeued").count() == 4
    later = operation.started_at + timedelta(hours=1)
    bulk_services.continue_all(clock=lambda: later)
    assert not BulkOperation.objects.exists()


def test_nothing_goes_on_for_who_may_not_do_it_any_more(
    login: Login, five_failed: list[Task]
) -> None:
    client = login("Operators", name="olga")
    bulk(client, "requeue_selected", five_failed, **ACROSS)
    User.objects.get(username="olga").groups.clear()

    jobs.continue_bulk_operations()

    assert by_status() == {"assigned": 3, "failed": 2}
    page = login("Viewers").get("/admin/tasks_app/task/").content.decode()
    assert "3 of 5 done, stopped. olga may no longer do this." in page


def test_a_list_names_no_number_it_has_not_counted(login: Login, make_task: Make) -> None:
    make_task()

    page = login("Operators").get("/admin/tasks_app/task/").content.decode()

    assert "Select all tasks that match" in page and "9999" not in page


def test_several_are_cancelled_with_one_reason(login: Login, make_task: Make) -> None:
    tasks = [make_task(), make_task()]
    client = login("Operators")

    assert "Say why" in bulk(client, "cancel_selected", tasks, confirmed="yes").content.decode()
    bulk(client, "cancel_selected", tasks, confirmed="yes", reason="Not needed.")

    assert set(Task.objects.values_list("status", "error")) == {("cancelled", "Not needed.")}


@pytest.mark.parametrize("group", ["Viewers", "Approvers"])
def test_others_do_nothing_to_several(login: Login, make_task: Make, group: str) -> None:
    task = make_task()

    assert (
        bulk(login(group), "cancel_selected", [task], confirmed="yes", reason="x").status_code
        == 403
    )
    assert Task.objects.get().status == "assigned"


def test_tasks_are_found_by_why_they_failed_and_by_age(
    login: Login, make_task: Make, dev: Actor, now: datetime
) -> None:
    old = make_task(payload={"name": "old"})
    Task.objects.filter(pk=old.pk).update(task_id=first_id("task", now))  # an id of that time
    failed(make_task(payload={"name": "broken"}), dev, now)
    client = login("Viewers")

    def found(**asked: str) -> set[str]:
        page = client.get("/admin/tasks_app/task/", asked).content.decode()
        return {name for name in ("broken", "old") if f"name: {name}" in page}

    assert found(failure="reported") == {"broken"} and found(failure="dependency") == set()
    assert found(created="1h") == {"broken"} and found(created="nonsense") == {"broken", "old"}


@pytest.mark.parametrize(
    ("term", "names"),
    [
        ("ops_agent", {"late"}),
        ("deployment", {"late"}),
        ("dev-agent-1", {"late", "plain"}),
        ("dev_agent", {"plain", "own"}),
        ("trace-7", {"own"}),
        ("nobody", set()),
    ],
)
def test_a_search_finds_tasks_by_type_agent_trace_or_who_asked(
    login: Login, make_task: Make, term: str, names: set[str]
) -> None:
    make_task(type="deployment", priority="P2", payload={"name": "late"})
    make_task(payload={"name": "plain"})
    own = make_task(payload={"name": "own"}, trace_id="trace-7")
    Task.objects.filter(pk=own.pk).update(created_by="dev_agent", assigned_agent="faq_agent")

    page = login("Viewers").get("/admin/tasks_app/task/", {"q": term}).content.decode()

    assert {name for name in ("late", "plain", "own") if f"name: {name}" in page} == names


def test_a_task_shows_its_family_and_how_it_ended(
    login: Login, make_task: Make, dev: Actor, now: datetime
) -> None:
    task = make_task(sla_target=3600)
    child = make_task(parent_task_id=task.task_id)
    later = make_task(depends_on=[task.task_id])
    [held] = claims.claim(agent="dev_agent", by=dev, now=now)
    lifecycle.report_status(
        task_id=held.task_id, status=Status.FAILED, by=dev, now=now, attempt=1, error="It broke."
    )

    page = login("Viewers").get(f"/admin/tasks_app/task/{task.task_id}/change/").content.decode()

    assert child.task_id in page and later.task_id in page
    assert "Was held by" in page and ">Failed<" in page and "kept until it ended" in page


def test_the_log_links_to_the_tasks_it_tells_of(login: Login, make_task: Make) -> None:
    task = make_task()

    page = login("Viewers").get("/admin/events_app/event/").content.decode()

    assert f'href="/admin/tasks_app/task/{task.task_id}/change/"' in page


# --- Nobody -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["approvals_app/approval", "tasks_app/task", "events_app/event"])
def test_records_are_not_added_changed_or_deleted_by_anybody(
    login: Login, make_task: Make, page: str
) -> None:
    task = make_task(priority="P0")
    event = Event.objects.filter(task_id=task.task_id).first()
    row = {"approval": Approval.objects.get().pk, "task": task.pk, "event": event and event.pk}[
        page.split("/")[1]
    ]
    client = login(None)
    before = (Approval.objects.count(), Task.objects.count(), Event.objects.count())

    assert client.get(f"/admin/{page}/add/").status_code == 403
    assert client.post(f"/admin/{page}/add/", {"task_id": "x"}).status_code == 403
    assert client.post(f"/admin/{page}/{row}/change/", {"status": "approved"}).status_code == 403
    assert client.post(f"/admin/{page}/{row}/delete/", {"post": "yes"}).status_code == 403
    client.post(
        f"/admin/{page}/",
        {"action": "delete_selected", "_selected_action": row, "post": "yes", "index": "0"},
    )
    assert before == (Approval.objects.count(), Task.objects.count(), Event.objects.count())
    assert Approval.objects.get().status == "pending"


@pytest.mark.parametrize("page", ["auth/user", "auth/group"])
@pytest.mark.parametrize("group", ["Viewers", "Approvers", "Operators"])
def test_accounts_are_for_superusers(login: Login, page: str, group: str) -> None:
    client = login(group)

    assert client.get(f"/admin/{page}/").status_code == 403
    assert client.post(f"/admin/{page}/add/", {"username": "eve", "name": "Eve"}).status_code == 403


@pytest.mark.parametrize(
    "page", ["tasks_app/agent", "tasks_app/routingrule", "approvals_app/approvalpolicy"]
)
@pytest.mark.parametrize("group", ["Viewers", "Approvers"])
def test_only_operators_change_the_set_up(login: Login, page: str, group: str) -> None:
    client = login(group)

    assert client.get(f"/admin/{page}/1/change/").status_code == 200
    assert client.post(f"/admin/{page}/1/change/", {"name": "x"}).status_code == 403
    assert client.post(f"/admin/{page}/add/", {"name": "x"}).status_code == 403


def links_of(page: str) -> set[str]:
    return {
        link.replace("&amp;", "&")
        for link in re.findall(r'(?:href|hx-get)="(/admin/[^"#]*|\?[^"#]*)"', page)
    }


def test_no_get_changes_anything(login: Login, make_task: Make, dev: Actor, now: datetime) -> None:
    """Follow every link of the console, dialogs too: nothing is decided, steered or recorded."""
    make_task(priority="P0")
    failed(make_task(), dev, now)
    client = login(None, name="root")
    ApiKey.objects.create(
        prefix="abc", secret_hash="0" * 64, name="dev", role="agent", created_at=now, created_by="x"
    )
    before = everything()
    seen, left = {"/admin/logout/"}, ["/admin/"]
    while left and len(seen) < 150:
        path = left.pop()
        answer = client.get(path)
        assert answer.status_code < 500 and answer.status_code != 404, path
        found = {
            path.split("?")[0] + link if link[0] == "?" else link
            for link in links_of(answer.content.decode())
        }
        left += sorted(found - seen)
        seen |= found

    assert len(seen) > 60
    assert everything() == before


def everything() -> tuple[Any, ...]:
    rows = (
        Task.objects.values_list("status"),
        Approval.objects.values_list("status"),
        Event.objects.values_list("pk"),
    )
    return (
        *(sorted(row) for row in rows),
        ApiKey.objects.filter(revoked_at=None).count(),
        User.objects.count(),
    )


# --- Set-up -----------------------------------------------------------------------------------


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


# --- Overview ---------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["Viewers", "Approvers", "Operators", None])
def test_the_overview_shows_how_things_stand(
    login: Login, make_task: Make, dev: Actor, now: datetime, group: str | None
) -> None:
    make_task(priority="P0", payload={"issue": "urgent"})
    failed(make_task(), dev, now)
    publish(event_type="pr.merged", source_agent="dev_agent", by=dev, now=now)

    page = login(group).get("/admin/").content.decode()

    for shown in ("issue: urgent", "pr.merged", "dev_agent", "Tasks by status", "Failed"):
        assert shown in page
    assert ("/approve/" in page) == (group in ("Approvers", None))


@pytest.mark.parametrize(
    "path", ["", "approvals_app/approval/", "tasks_app/task/", "events_app/event/"]
)
def test_a_page_asks_no_more_for_more_rows(login: Login, make_task: Make, path: str) -> None:
    client = login(None)
    make_task(priority="P0")
    few = statements(client, path)

    for _ in range(25):
        make_task(priority="P1")

    assert statements(client, path) == few


# Small tables that are read again every second.
BY_THE_CLOCK = ("orchestrator_site_principal", "tasks_app_agent", "tasks_app_routingrule")


def statements(client: Client, path: str) -> int:
    client.get(
        f"/admin/{path}"
    )  # what is new gets its number in the log, and lists are read into memory
    with CaptureQueriesContext(connection) as captured:
        assert client.get(f"/admin/{path}").status_code == 200
    queries = [query["sql"] for query in captured.captured_queries]
    return len([sql for sql in queries if not any(table in sql for table in BY_THE_CLOCK)])


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
