"""What an approver sees wherever one decides: warnings, the deadline, who, what is over."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals_app.models import Approval, ApprovalPolicy
from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from tasks_app.services import routing
from tests.support import console, decisions
from tests.support.console import INBOX, Login, Make, decide, decide_many, said, waiting

login = console.login


def everywhere(client: Client, approval: Approval) -> dict[str, str]:
    """Return the pages on which one can decide this request: name -> HTML."""
    page = f"{INBOX}{approval.approval_id}/"
    got = {
        "overview": "/admin/",
        "inbox": INBOX,
        "page": f"{page}change/",
        "dialog": f"{page}approve/",
    }
    return {name: client.get(path).content.decode() for name, path in got.items()} | {
        "bulk": decide_many(client, [approval], "approve_selected").content.decode()
    }


@pytest.mark.parametrize("hidden", ["\u202e", "p\u0430yments"])
def test_hidden_characters_are_warned_of_wherever_one_decides(
    login: Login, make_task: Make, hidden: str
) -> None:
    approval = waiting(make_task(priority="P1", payload={"a": "x" * 500, "b": [{"deep": hidden}]}))

    for name, page in everywhere(login("Approvers"), approval).items():
        assert "hidden characters" in page.lower(), name


def test_content_that_does_not_match_its_digest_is_warned_of_wherever_one_decides(
    login: Login, make_task: Make
) -> None:
    approval = waiting(make_task(priority="P1"))
    Approval.objects.update(snapshot={**approval.snapshot, "payload": {"issue": "worse"}})

    for name, page in everywhere(login("Approvers"), approval).items():
        assert "not match its digest" in page, name


def test_a_deadline_is_shown_wherever_one_decides(login: Login, make_task: Make, now: Any) -> None:
    approval = waiting(make_task(priority="P1", sla_target=60, now=now))
    Approval.objects.update(due_at=now, expires_at=timezone.now() + timedelta(minutes=10))

    for name, page in everywhere(login("Approvers"), approval).items():
        assert '<span class="deadline late">' in page and '<span class="deadline soon">' in page, (
            name
        )


def test_the_deadline_of_a_request_is_that_of_its_task(make_task: Make) -> None:
    task = make_task(priority="P0", sla_target=60)

    assert waiting(task).due_at == task.due_at


def test_who_decided_is_shown_with_how_well_the_name_is_proven(
    login: Login, make_task: Make, ops: Actor, now: Any
) -> None:
    approval = waiting(
        make_task(
            priority="P0", by=Actor("x", Role.AGENT, Door.API, Assurance.PERSONAL, "key:ab12")
        )
    )
    claimed = Actor("dana", Role.AGENT, Door.API, Assurance.SHARED, "jwt")
    decisions.approve(approval_id=approval.approval_id, by=claimed, now=now)
    client = login("Viewers")

    pages = f"{INBOX}?status=decided", f"{INBOX}{approval.approval_id}/change/"
    for path in (*pages, f"/admin/tasks_app/task/{approval.task_id}/change/"):
        assert "shared secret" in client.get(path).content.decode(), path


@pytest.mark.parametrize("why", ["role", "own"])
def test_no_button_for_what_one_may_not_decide_but_the_reason(
    login: Login, make_task: Make, settings: Any, why: str
) -> None:
    settings.ORCHESTRATOR_APPROVAL_MODE = "four-eyes" if why == "own" else "guide"
    if why == "role":
        ApprovalPolicy.objects.update(decider_role="admin")
    approval = waiting(make_task(priority="P0"))
    sentence = "needs the role admin" if why == "role" else "Nobody decides what they asked for"
    client = login("Approvers", name="dev-agent-1")

    page = f"{INBOX}{approval.approval_id}/"
    for path in ("/admin/", INBOX, f"{page}change/", f"{page}approve/"):
        shown = client.get(path).content.decode()
        assert sentence in shown, path
        assert "/approve/?shown=" not in shown and "button dialog-submit" not in shown, path
    assert "<span>Waiting for you</span><b>0</b>" in client.get("/admin/").content.decode()


def test_asking_who_may_decide_costs_the_same_for_one_row_and_many(
    login: Login, make_task: Make
) -> None:
    client, costs = login("Approvers"), []
    for number in (1, 8):
        for _ in range(number):
            make_task(priority="P1", payload={"service": "shop"})
        client.get(INBOX)
        with CaptureQueriesContext(connection) as sent:
            client.get(INBOX)
            client.get("/admin/")
        tables = "approvals_app_approval", "tasks_app_task"
        costs.append(
            len([query for query in sent if any(table in query["sql"] for table in tables)])
        )

    assert costs[0] == costs[1] > 0


@pytest.mark.parametrize("over", ["decided", "expired"])
def test_the_dialog_of_what_is_over_has_no_live_button(
    login: Login, make_task: Make, ops: Actor, now: Any, over: str
) -> None:
    approval = waiting(make_task(priority="P0"))
    if over == "decided":
        decisions.approve(approval_id=approval.approval_id, by=ops, now=now)
    else:
        Approval.objects.update(expires_at=now - timedelta(seconds=1))

    page = login("Approvers").get(f"{INBOX}{approval.approval_id}/approve/").content.decode()

    assert "button dialog-submit" not in page and "<textarea" not in page
    assert ("is already approved" if over == "decided" else "has expired") in page


def test_a_superseded_request_leads_to_the_one_that_took_its_place(
    login: Login, make_task: Make, admin: Actor, now: Any
) -> None:
    task = make_task(priority="P0")
    old = waiting(task)
    routing.reassign(task_id=task.task_id, agent="ops_agent", reason="On call", by=admin, now=now)
    client = login("Approvers")

    for name in ("change", "approve"):
        page = client.get(f"{INBOX}{old.approval_id}/{name}/").content.decode()
        assert f"{INBOX}{waiting(task).approval_id}/change/" in page


def test_after_a_decision_the_next_request_is_offered(login: Login, make_task: Make) -> None:
    first = waiting(make_task(priority="P0", payload={"title": "One"}))
    second = waiting(make_task(priority="P1", payload={"title": "Two \u202e<b>"}))
    client = login("Approvers")

    decide(client, first)

    page = said(client)
    assert "Approved: P0 bugfix · One." in page
    assert f'<a class="link" href="{INBOX}{second.approval_id}/change/">P1 bugfix · Two ' in page
    assert "<b>." not in page and "\u202e" not in page


def test_the_title_says_what_is_asked_and_ids_stand_under_details(
    login: Login, make_task: Make
) -> None:
    payload = {"service": "shop", "version": "1.4.1", "environment": "production"}
    approval = waiting(make_task(priority="P0", type="deployment", payload=payload))

    page = login("Viewers").get(f"{INBOX}{approval.approval_id}/change/").content.decode()

    assert (
        page.count("P0 deployment · shop 1.4.1 → production") >= 2
    )  # the window and the head of the page
    assert f"{approval.approval_id} (pending)" not in page
    assert approval.digest in page.split("<details")[1].split("</details>")[0]
