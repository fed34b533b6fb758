"""The approval console over HTTP: who sees what, who decides, and that nothing else can be done."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals_app.models import Approval, ApprovalPolicy
from approvals_app.models import Status as ApprovalStatus
from approvals_app.services import decisions
from events_app.models import Event
from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from tasks_app.models import Status, Task
from tasks_app.services import routing
from tests.support import console

Make = Callable[..., Task]
Login = Callable[..., Client]
INBOX = "/admin/approvals_app/approval/"
HIDDEN = "pay\u202ephish\u202c\u200b <script>alert(1)</script> <img src=x onerror=alert(2)>"


login = console.login


def waiting(task: Task) -> Approval:
    return Approval.objects.get(task_id=task.task_id, status="pending")


def decide(client: Client, approval: Approval, verb: str = "approve", **form: str) -> Any:
    """Send a dialog as the page does."""
    sent = {"_form_submitted": "True", "digest": approval.digest, "reason": "Looked at it.", **form}
    address = f"{INBOX}{approval.approval_id}/{verb}/"
    return client.post(address, sent, headers={"HX-Request": "true"})


def said(client: Client) -> str:
    """Return the messages the next page shows."""
    return client.get(INBOX).content.decode()


# --- Who gets in ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "",
        "approvals_app/approval/",
        "tasks_app/task/",
        "events_app/event/",
        "orchestrator_site/apikey/",
        "auth/user/",
    ],
)
def test_a_page_without_a_login_shows_nothing(db: None, path: str) -> None:
    answer = Client().get(f"/admin/{path}")

    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/?next=/admin/")
    assert not answer.content


def test_a_dialog_without_a_login_decides_nothing(make_task: Make) -> None:
    approval = waiting(make_task(priority="P0"))

    answer = decide(Client(), approval)

    assert answer["Location"].startswith("/admin/login/")
    assert waiting(Task.objects.get()).status == "pending"


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "javascript:alert(1)", "/\\evil.example"]
)
def test_a_login_leads_to_no_other_site(login: Login, target: str) -> None:
    login(None)

    answer = Client().post(
        f"/admin/login/?next={target}",
        {"username": "dana", "password": "a-password-9", "next": target},
    )

    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def test_a_login_changes_the_session(login: Login) -> None:
    login(None)
    client = Client()
    client.get("/admin/login/")
    session = client.session
    session["planted"] = "1"
    session.save()
    client.cookies["sessionid"] = str(session.session_key)

    client.post("/admin/login/", {"username": "dana", "password": "a-password-9"})

    assert client.cookies["sessionid"].value != session.session_key


def test_a_disabled_account_is_out_at_once(login: Login) -> None:
    client = login("Approvers")
    User.objects.update(is_active=False)

    assert client.get(INBOX).status_code == 302


def test_the_console_may_not_be_framed(login: Login) -> None:
    answer = login("Viewers").get("/admin/")

    assert answer["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]


def test_no_page_may_run_scripts_of_its_text(login: Login) -> None:
    """Only the console may evaluate, for Alpine; nowhere does a script inside a page run."""
    client = login(None)

    policies = {
        path: client.get(path)["Content-Security-Policy"] for path in ("/admin/", "/docs", "/redoc")
    }

    scripts = {path: re.findall(r"script-src [^;]*", policy) for path, policy in policies.items()}
    assert scripts == {"/admin/": ["script-src 'self' 'unsafe-eval'"], "/docs": [], "/redoc": []}
    assert all(policy.startswith("default-src 'self';") for policy in policies.values())


def test_a_browser_at_the_front_door_is_led_to_the_console(db: None) -> None:
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

    led = Client(headers={"Accept": browser}).get("/")

    assert (led.status_code, led["Location"], led["Vary"]) == (302, "/admin/", "Accept")
    for accepted in ("*/*", "application/json", "application/json, text/html", ""):
        assert Client(headers={"Accept": accepted}).get("/").json()["service"] == "orchestrator"


def test_an_address_that_ends_with_an_id_leads_to_its_page(login: Login, make_task: Make) -> None:
    task = make_task()
    client = login("Viewers")

    for end in ("", "/"):
        page = client.get(f"/admin/tasks_app/task/{task.task_id}{end}", follow=True)
        assert page.redirect_chain[-1][0] == f"/admin/tasks_app/task/{task.task_id}/change/"
        assert page.status_code == 200
    assert client.get("/admin/tasks_app/nothing", follow=True).status_code == 404
    assert client.get("/admin//evil.example")["Location"] == "/admin//evil.example/"


def test_pages_are_compressed_but_for_those_with_a_secret(login: Login) -> None:
    client = login(None, headers={"Accept-Encoding": "gzip"})
    key = {"name": "dev-agent-7", "role": "agent", "expires_at_0": "", "expires_at_1": ""}

    made = client.post("/admin/orchestrator_site/apikey/add/", key, follow=True)

    assert "Content-Encoding" not in made and b"Copy it now" in made.content
    listed = client.get("/admin/orchestrator_site/apikey/")
    assert listed["Content-Encoding"] == "gzip" and "Accept-Encoding" in listed["Vary"]
    assert "Content-Encoding" not in client.get("/tasks")


# --- The inbox --------------------------------------------------------------------------------


def test_the_inbox_shows_what_waits_the_most_urgent_first(login: Login, make_task: Make) -> None:
    for priority, issue in (("P1", "older"), ("P0", "urgent"), ("P1", "newer"), ("P2", "free")):
        make_task(priority=priority, payload={"issue": issue})

    page = login("Approvers").get(INBOX).content.decode()

    places = [page.index(f"issue: {issue}") for issue in ("urgent", "older", "newer")]
    assert places == sorted(places)
    assert "issue: free" not in page


def test_a_request_is_shown_in_full_with_who_asked(login: Login, make_task: Make) -> None:
    task = make_task(
        priority="P0", payload={"deep": {"list": [1, "x" * 3000]}}, metadata={"ticket": "OPS-1"}
    )
    approval = waiting(task)

    page = login("Viewers").get(f"{INBOX}{approval.approval_id}/change/").content.decode()

    for shown in (
        "dev-agent-1",
        "shared secret",
        "x" * 3000,
        "OPS-1",
        approval.digest,
        task.task_id,
        "task.created",
    ):
        assert shown in page


def test_hidden_characters_are_boxed_and_flagged_and_markup_is_inert(
    login: Login, make_task: Make
) -> None:
    approval = waiting(make_task(priority="P0", payload={HIDDEN: HIDDEN}, source=HIDDEN))
    client = login("Approvers")

    for path in (
        INBOX,
        f"{INBOX}{approval.approval_id}/change/",
        f"{INBOX}{approval.approval_id}/approve/",
        "/admin/",
    ):
        page = client.get(path).content.decode()
        assert "\u202e" not in page and "\u200b" not in page
        assert "<script>alert" not in page and "<img src=x" not in page
        assert 'title="RIGHT-TO-LEFT OVERRIDE">U+202E</span>' in page
    assert (
        "Hidden characters."
        in client.get(f"{INBOX}{approval.approval_id}/change/").content.decode()
    )


@pytest.mark.parametrize(
    "term", ["x" * 10_000, "%", "'", "\\", "(a+)+$", "\x00", "💥", "\u202e", "' OR 1=1 --"]
)
@pytest.mark.parametrize("page", ["approvals_app/approval", "tasks_app/task", "events_app/event"])
def test_a_search_takes_any_term(login: Login, make_task: Make, page: str, term: str) -> None:
    make_task()

    assert login("Viewers").get(f"/admin/{page}/", {"q": term}).status_code == 200


def test_a_search_finds_by_approval_task_requester_and_trace(login: Login, make_task: Make) -> None:
    task = make_task(priority="P0", trace_id="release-7", payload={"issue": "wanted"})
    make_task(
        priority="P0",
        payload={"issue": "other"},
        by=Actor("x", Role.AGENT, Door.API, Assurance.SHARED, "jwt"),
    )
    client = login("Viewers")

    for term in (waiting(task).approval_id, task.task_id, "dev-agent-1", "release-7"):
        page = client.get(INBOX, {"q": term}).content.decode()
        assert "issue: wanted" in page and "issue: other" not in page


@pytest.mark.parametrize(
    "address", ["approval_x/change/", "%00/change/", "99999999999999999999/change/", "%ff/approve/"]
)
def test_an_unknown_request_is_no_fault(login: Login, address: str) -> None:
    assert login("Approvers").get(INBOX + address).status_code in (302, 404)


# --- Deciding ---------------------------------------------------------------------------------


def test_an_approver_approves_and_the_record_names_them(login: Login, make_task: Make) -> None:
    task = make_task(priority="P0")
    client = login("Approvers")

    answer = decide(client, waiting(task))

    approval = Approval.objects.get()
    assert answer["HX-Refresh"] == "true"
    assert "Approved: P0 bugfix. Nothing else waits for you." in said(client)
    assert (approval.status, approval.decided_by, approval.door) == ("approved", "dana", "console")
    assert (approval.decider_credential, approval.decision_reason) == (
        "account:dana",
        "Looked at it.",
    )
    assert Event.objects.get(event_type="approval.approved").origin == "human"
    task.refresh_from_db()
    assert not task.awaiting_approval


def test_a_rejection_needs_a_reason_and_cancels_the_task(login: Login, make_task: Make) -> None:
    task = make_task(priority="P0")
    client = login("Approvers")

    again = decide(client, waiting(task), "reject", reason=" ").content.decode()
    assert "Say why" in again
    assert waiting(task)
    decide(client, waiting(task), "reject", reason="Freeze.")

    task.refresh_from_db()
    assert (Approval.objects.get().decision_reason, task.status) == ("Freeze.", Status.CANCELLED)


@pytest.mark.parametrize("group", ["Viewers", "Operators"])
def test_who_may_not_decide_has_no_buttons_and_gets_no_further(
    login: Login, make_task: Make, group: str
) -> None:
    approval = waiting(make_task(priority="P0"))
    client = login(group)

    for page in (INBOX, f"{INBOX}{approval.approval_id}/change/", "/admin/"):
        assert "/approve/" not in client.get(page).content.decode()
    assert client.get(f"{INBOX}{approval.approval_id}/approve/").status_code == 403
    assert decide(client, approval).status_code == 403
    assert bulk(client, [approval], "approve_selected", confirmed="yes").status_code == 403
    assert Approval.objects.get().status == "pending"


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_a_decision_without_a_valid_token_is_refused(
    login: Login, make_task: Make, token: str
) -> None:
    approval = waiting(make_task(priority="P0"))
    client = login("Approvers", enforce_csrf_checks=True)
    client.get(f"{INBOX}{approval.approval_id}/approve/")

    answer = decide(client, approval, csrfmiddlewaretoken=token)

    assert answer.status_code == 403
    assert Approval.objects.get().status == "pending"


def test_a_late_decision_hears_the_outcome(
    login: Login, make_task: Make, ops: Actor, now: Any
) -> None:
    approval = waiting(make_task(priority="P0"))
    decisions.reject(approval_id=approval.approval_id, by=ops, now=now, reason="No.")
    client = login("Approvers")

    answer = decide(client, approval).content.decode()

    assert f"{approval.approval_id} is already rejected by ops-agent-1." in answer
    assert "Looked at it." in answer and "button dialog-submit" not in answer
    assert Approval.objects.get().status == "rejected"


@pytest.mark.parametrize("change", ["form", "row"])
def test_a_decision_on_something_else_than_was_shown_is_refused(
    login: Login, make_task: Make, change: str
) -> None:
    approval = waiting(make_task(priority="P0"))
    client = login("Approvers")
    if change == "row":
        Approval.objects.update(snapshot={**approval.snapshot, "payload": {"issue": "worse"}})

    answer = decide(
        client, approval, digest=approval.digest if change == "row" else "0" * 64
    ).content.decode()

    assert "is not what you were shown" in answer and "Looked at it." in answer
    assert Approval.objects.get().status == "pending"


def test_fields_added_by_hand_change_nothing(login: Login, make_task: Make) -> None:
    approval = waiting(make_task(priority="P0"))

    decide(
        login("Approvers"), approval, status="expired", decided_by="root", priority="P3", door="api"
    )

    approval.refresh_from_db()
    assert (approval.status, approval.decided_by, approval.priority, approval.door) == (
        "approved",
        "dana",
        "P0",
        "console",
    )


@pytest.mark.parametrize("mode", ["four-eyes", "strict", "human"])
def test_nobody_decides_their_own_request_here_either(
    login: Login, make_task: Make, settings: Any, mode: str
) -> None:
    settings.ORCHESTRATOR_APPROVAL_MODE = mode
    approval = waiting(make_task(priority="P0"))
    client = login("Approvers", name="dev-agent-1")

    answer = decide(client, approval).content.decode()

    assert "Nobody decides what they asked for" in answer
    assert Approval.objects.get().status == "pending"


def test_a_policy_for_admins_is_not_for_approvers(login: Login, make_task: Make) -> None:
    ApprovalPolicy.objects.update(decider_role="admin")
    approval = waiting(make_task(priority="P0"))
    client = login("Approvers")

    assert "needs the role admin" in decide(client, approval).content.decode()
    decide(login(None, name="root"), approval)

    assert Approval.objects.get().decided_by == "root"


# --- Deciding several -------------------------------------------------------------------------


def bulk(client: Client, approvals: list[Approval], action: str, **form: str) -> Any:
    chosen = [approval.pk for approval in approvals]
    return client.post(INBOX, {"action": action, "index": "0", "_selected_action": chosen, **form})


def test_several_are_approved_after_a_second_look(login: Login, make_task: Make) -> None:
    approvals = [waiting(make_task(priority="P1")) for _ in range(3)]
    client = login("Approvers")

    look = bulk(client, approvals, "approve_selected").content.decode()
    assert "Approve 3 requests?" in look
    assert Approval.objects.pending().count() == 3
    bulk(client, approvals, "approve_selected", confirmed="yes", reason="All fine.")

    assert set(Approval.objects.values_list("status", "decision_reason")) == {
        ("approved", "All fine.")
    }
    page = said(client)
    assert "3 requests approved." in page and approvals[0].approval_id not in page


def test_rejecting_several_needs_a_reason(login: Login, make_task: Make) -> None:
    approvals = [waiting(make_task(priority="P1")), waiting(make_task(priority="P0"))]
    client = login("Approvers")

    assert (
        "Say why"
        in bulk(client, approvals, "reject_selected", confirmed="yes", reason="").content.decode()
    )
    assert Approval.objects.pending().count() == 2
    bulk(client, approvals, "reject_selected", confirmed="yes", reason="Freeze.")

    assert not Approval.objects.pending().exists()


@pytest.mark.parametrize(
    ("priorities", "mode", "name", "sentence"),
    [
        (["P1", "P0"], "guide", "dana", "A P0 request is approved on its own"),
        (["P1"] * 21, "guide", "dana", "At most 20 requests"),
        (["P1", "P1"], "four-eyes", "dev-agent-1", "Nobody decides what they asked for"),
    ],
)
def test_a_bulk_approval_that_may_not_be_is_refused_as_a_whole(
    login: Login,
    make_task: Make,
    settings: Any,
    priorities: list[str],
    mode: str,
    name: str,
    sentence: str,
) -> None:
    settings.ORCHESTRATOR_APPROVAL_MODE = mode
    approvals = [waiting(make_task(priority=priority)) for priority in priorities]
    client = login("Approvers", name=name)

    bulk(client, approvals, "approve_selected", confirmed="yes", reason="ok")

    assert sentence in said(client)
    assert Approval.objects.filter(status=ApprovalStatus.PENDING).count() == len(priorities)


def test_of_several_those_decided_meanwhile_say_so(
    login: Login, make_task: Make, ops: Actor, now: Any
) -> None:
    first, second = waiting(make_task(priority="P1")), waiting(make_task(priority="P1"))
    decisions.approve(approval_id=first.approval_id, by=ops, now=now)
    client = login("Approvers")

    bulk(client, [first, second], "approve_selected", confirmed="yes")

    page = said(client)
    assert f"{first.approval_id} is already approved by ops-agent-1." in page
    assert "1 request approved." in page and Approval.objects.get(pk=second.pk).status == "approved"
    assert Approval.objects.get(pk=first.pk).decided_by == "ops-agent-1"


def test_rows_that_are_no_rows_are_refused(login: Login) -> None:
    answer = login("Approvers").post(
        INBOX, {"action": "approve_selected", "index": "0", "_selected_action": "x"}
    )

    assert answer.status_code == 400


# --- What must be seen wherever one decides ---------------------------------------------------


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
        "bulk": bulk(client, [approval], "approve_selected").content.decode()
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
