"""The console over HTTP: who gets in, where addresses lead, and the inbox."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from tasks_app.models import Task
from tests.support import console
from tests.support.console import INBOX, Login, Make, decide, waiting

HIDDEN = "pay\u202ephish\u202c\u200b <script>alert(1)</script> <img src=x onerror=alert(2)>"

login = console.login


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


def test_an_inbox_that_is_cleared_says_so_and_counts_nothing(login: Login, make_task: Make) -> None:
    client, badge = login("Approvers"), '<span class="badge">'
    cleared = client.get(INBOX).content.decode()
    make_task(priority="P0")

    assert "Nothing waits for a decision" in cleared and badge not in cleared
    assert f"{badge}1<" in client.get(INBOX).content.decode()


@pytest.mark.parametrize(
    ("group", "heading"), [("Approvers", "Your decision"), ("Viewers", "Deci")]
)
def test_a_decision_is_yours_only_if_you_may_take_it(
    login: Login, make_task: Make, group: str, heading: str
) -> None:
    approval = waiting(make_task(priority="P0"))

    page = login(group).get(f"{INBOX}{approval.approval_id}/change/").content.decode()

    assert f"<h2>{heading}" in page
