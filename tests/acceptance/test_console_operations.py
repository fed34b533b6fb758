"""The console for operators: steering tasks, finding them, and what a task shows."""

from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from approvals_app.models import Approval
from events_app.models import Event
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.ids import first_id
from tasks_app.models import Status, Task
from tasks_app.services import claims, lifecycle
from tests.support import console
from tests.support.console import Login, Make, failed

login = console.login

SUBMITTED = {"_form_submitted": "True"}


def steer(client: Client, task: Task, verb: str, **form: str) -> Any:
    return client.post(f"/admin/tasks_app/task/{task.task_id}/{verb}/", {**SUBMITTED, **form})


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
