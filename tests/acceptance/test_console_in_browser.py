"""The console in a real browser: decide with a mouse and on a phone, with no other host and no
error in sight.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import CHROMIUM, INBOX, PASSWORD, Visitor, approval_of, ask, hand_in
from tests.support.documents import ROOT
from tests.support.live import LiveServer, live_server

pytestmark = [pytest.mark.browser, pytest.mark.serial]
PAGES = (
    "",
    "approvals_app/approval/",
    "approvals_app/approval/?status=decided",
    "tasks_app/task/",
    "events_app/event/",
    "events_app/subscription/",
    "events_app/subscription/add/",
    "events_app/delivery/",
    "tasks_app/routingrule/",
    "tasks_app/routingrule/add/",
    "tasks_app/agent/1/change/",
    "approvals_app/approvalpolicy/1/change/",
    "orchestrator_site/apikey/add/",
    "orchestrator_site/principal/add/",
    "auth/user/add/",
    "auth/group/1/change/",
    "password_change/",
)
HOSTILE = (
    "<script>bad()</script>",
    "<img src=x onerror=bad()>",
    "\"'><svg onload=bad()>",
    "javascript:bad()",
    "{{ bad() }} {% debug %} ${bad()}",
    "</pre></script><script>bad()</script>",
    '" x-data="bad()" x-init="bad()',
    "\u202egnp.live\u202c\u200b\ufeff",
    "https://evil.example/track.png",
    "<iframe src=https://evil.example></iframe>",
)


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    """A service of its own: only people decide, and its lists are looked at."""
    if not CHROMIUM:
        pytest.skip("there is no Chromium on this machine")
    with live_server(ORCHESTRATOR_APPROVAL_MODE="human") as running:
        create = [
            sys.executable,
            "manage.py",
            "createsuperuser",
            "--noinput",
            "--username=dana",
            "--email=d@example.com",
        ]
        environment = {**os.environ, **running.environment, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
        subprocess.run(
            create, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=60
        )
        yield running


@pytest.fixture(scope="module")
def chromium(server: LiveServer) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, server: LiveServer) -> Iterator[Any]:
    opened: list[Visitor] = []

    def open_page(width: int = 1360, scheme: str = "light") -> Visitor:
        opened.append(Visitor(chromium, server, width, scheme).login())
        return opened[-1]

    yield open_page
    for visitor in opened:
        visitor.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1360, "light"), (1360, "dark"), (390, "light")])
def test_no_page_asks_another_host_or_reports_an_error(
    visit: Any, server: LiveServer, width: int, scheme: str
) -> None:
    task = hand_in(server)
    approval, row = f"{INBOX}{task['approval_id']}", f"tasks_app/task/{task['task_id']}"
    dialogs = (f"{approval}/approve/", f"{approval}/reject/", f"{row}/cancel/", f"{row}/reassign/")
    visitor = visit(width, scheme)

    for path in (
        *PAGES,
        f"{approval}/change/",
        f"{row}/change/",
        *(dialogs if scheme == "light" else ()),
    ):
        visitor.go(path)
        overflow = visitor.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0, f"{path} is {overflow} px too wide"

    assert visitor.wrong == []


def test_keys_reach_the_filters_and_the_menu(visit: Any) -> None:
    visitor = visit()
    visitor.go(INBOX)

    visitor.page.focus("a:has-text('Filters')")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_selector("#changelist-filter a:focus", state="visible")
    visitor.page.keyboard.press("Escape")
    visitor.page.wait_for_selector("#changelist-filter", state="hidden")
    visitor.page.focus("[aria-label='Show or hide the menu']:visible")
    visitor.page.keyboard.press(" ")
    visitor.page.wait_for_selector("#nav-sidebar-inner", state="hidden")

    assert visitor.page.locator("main, [role=main]").count() == 1
    assert visitor.page.eval_on_selector_all(
        "thead th",
        "all => all.every((one) => one.textContent.trim() || one.querySelector('input'))",
    )
    assert visitor.page.eval_on_selector_all(
        "a[href]", "all => all.every((one) => one.textContent.trim() || one.ariaLabel)"
    )
    assert visitor.wrong == []


def test_a_list_of_nothing_has_no_bar_of_pages(visit: Any, server: LiveServer) -> None:
    task, visitor = hand_in(server), visit()
    bar = visitor.page.locator(".lg\\:scrollable-top")
    visitor.go(f"{INBOX}?q=none")
    assert bar.count() == 1 and not bar.is_visible()

    visitor.go(f"{INBOX}?q={task['approval_id']}")

    assert bar.is_visible()


def test_a_script_inside_a_page_does_not_run(visit: Any) -> None:
    visitor = visit()
    add = "const script = document.createElement('script'); script.textContent = 'window.ran = 1';"

    visitor.page.evaluate(add + "document.body.append(script)")

    assert visitor.page.evaluate("window.ran") is None
    assert any("script-src" in told for told in visitor.wrong)


def test_a_person_approves_from_the_inbox(visit: Any, server: LiveServer) -> None:
    task = hand_in(server, payload={"service": "approved-here"})
    visitor = visit()

    visitor.go(INBOX)
    visitor.decide("approve", "Looked at it.", within="tbody:has-text('approved-here')")

    assert visitor.page.is_visible("text=Approved: P0 deployment · approved-here.")
    approval = approval_of(server, task)
    assert (approval["status"], approval["decided_by"]) == ("approved", "dana")
    assert visitor.wrong == []


def test_a_person_decides_without_scripts(chromium: Any, server: LiveServer) -> None:
    task = hand_in(server, payload={"service": "without-scripts"})
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.goto(f"{server.url}{INBOX}{task['approval_id']}/change/")

    page.fill("[name=username]", "dana")
    page.fill("[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.click(".button-approve")
    page.fill("textarea", "No script.")
    page.click(".dialog-submit")

    page.wait_for_selector("text=Approved: P0 deployment · without-scripts.")
    assert approval_of(server, task)["decision_reason"] == "No script."
    page.context.close()


def test_a_person_rejects_on_a_phone_and_must_say_why(visit: Any, server: LiveServer) -> None:
    task = hand_in(server, payload={"service": "rejected-here"})
    visitor = visit(390)
    visitor.go(f"{INBOX}{task['approval_id']}/change/")

    visitor.page.click(".button-reject")
    visitor.page.wait_for_selector("#dialog textarea", state="visible")
    visitor.page.click("#dialog .dialog-submit")
    visitor.page.wait_for_selector("text=Say why")
    assert approval_of(server, task)["status"] == "pending"
    visitor.page.fill("#dialog textarea", "Freeze until Monday.")
    with visitor.page.expect_navigation():
        visitor.page.click("#dialog .dialog-submit")

    visitor.page.wait_for_selector(".decision >> text=Freeze until Monday.")
    assert approval_of(server, task)["status"] == "rejected"
    assert visitor.wrong == []


def test_an_operator_cancels_a_task(visit: Any, server: LiveServer) -> None:
    task = hand_in(server, payload={"service": "cancelled-here"})
    visitor = visit()
    visitor.go(f"tasks_app/task/{task['task_id']}/change/")

    visitor.decide("reject", "Not needed any more.")

    assert visitor.page.is_visible("text=Why it was cancelled")
    assert visitor.wrong == []


def test_an_operator_cancels_all_that_match_and_sees_it_go_on(
    visit: Any, server: LiveServer
) -> None:
    new = {"type": "documentation", "payload": {}, "priority": "P3"}
    for _ in range(3):
        ask(server, "POST", "/tasks/batch", tasks=[new] * 80)
    visitor = visit()
    visitor.go("tasks_app/task/?type=documentation&status=open")

    visitor.page.check("#action-toggle")
    visitor.page.click("text=Select all tasks that match")
    assert visitor.page.is_visible("text=All that match are selected")
    visitor.page.select_option("select[name=action]", "cancel_selected")
    visitor.page.click("button[name=index]")
    visitor.page.fill("textarea[name=reason]", "Not needed.")
    with visitor.page.expect_navigation(timeout=60_000):
        visitor.page.click("text=Cancel 240 tasks >> nth=-1")

    assert visitor.page.is_visible("text=task(s) cancelled")
    visitor.page.wait_for_selector("#operations:not([hx-get])", state="attached", timeout=60_000)
    assert ask(server, "GET", "/tasks?type=documentation&status=assigned")["count"] == 0
    assert visitor.wrong == []


def test_what_agents_write_never_runs(visit: Any, server: LiveServer) -> None:
    """Hostile text in every field that the API lets an agent fill."""
    payload = {text: [text, {text: text}] for text in HOSTILE}
    task = hand_in(server, payload=payload, metadata=payload, source=HOSTILE[1])
    visitor = visit()

    approval, row = f"{INBOX}{task['approval_id']}", f"tasks_app/task/{task['task_id']}"
    for path in (
        "",
        INBOX,
        f"{approval}/change/",
        f"{approval}/approve/",
        f"{row}/change/",
        "events_app/event/",
    ):
        visitor.go(path)
        visitor.page.wait_for_timeout(100)
        assert not re.search("[\u202a-\u202e\u200b\ufeff]", visitor.page.content())
    visitor.go(f"{approval}/change/")

    assert visitor.page.is_visible("text=Hidden characters.")
    assert visitor.page.is_visible("pre >> text=<script>bad()</script>")
    assert visitor.wrong == []


def test_a_new_key_is_shown_once(visit: Any) -> None:
    visitor = visit()
    visitor.go("orchestrator_site/apikey/add/")
    visitor.page.fill("[name=name]", "ops-agent-9")
    visitor.page.select_option("[name=role]", "agent")
    visitor.page.click("[name=_save]")
    text = visitor.page.inner_text("#secret-text")

    visitor.page.click("text=I have copied it")
    visitor.page.wait_for_load_state("networkidle")

    assert text.startswith("ork_")
    assert text not in visitor.page.content()
    assert visitor.wrong == []


def test_a_person_decides_by_keyboard_and_loses_nothing_typed(
    visit: Any, server: LiveServer
) -> None:
    """Space opens, Tab stays inside, a click beside and a refusal keep the text, Escape gives the
    focus back.
    """
    task = hand_in(server, payload={"service": "by-keyboard"})
    visitor = visit()
    page = visitor.page
    visitor.go(f"{INBOX}{task['approval_id']}/change/")

    page.focus(".button-reject")
    page.keyboard.press("Space")
    page.wait_for_selector("#dialog textarea", state="visible")
    page.wait_for_function("document.activeElement.matches('#dialog textarea')")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("text=Say why")
    page.fill("#dialog textarea", "Not today.")
    page.mouse.click(5, 5)
    for _ in range(7):
        page.keyboard.press("Tab")
        assert page.evaluate("!!document.activeElement.closest('#dialog')")
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement.matches('.button-reject')")
    page.keyboard.press("Space")
    page.wait_for_selector("#dialog textarea", state="visible")
    page.wait_for_function("document.activeElement.matches('#dialog textarea')")
    assert page.input_value("#dialog textarea") == "Not today."
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")

    page.wait_for_selector("text=Rejected: P0 deployment · by-keyboard.")
    assert approval_of(server, task)["decision_reason"] == "Not today."
    assert visitor.wrong == []


def test_what_is_typed_while_a_dialog_opens_stands_in_it(visit: Any, server: LiveServer) -> None:
    task = hand_in(server, payload={"service": "typed-early"})
    visitor = visit()
    visitor.go(f"{INBOX}{task['approval_id']}/change/")
    page = visitor.page
    asked: list[Any] = []
    page.route(re.compile("/reject/"), lambda route: asked.append(route))

    page.focus(".button-reject")
    with page.expect_request(re.compile("/reject/")):
        page.keyboard.press("Space")
    page.keyboard.type("Not ")
    page.click(".button-reject")  # once more, as in a double click
    for request in asked:
        request.continue_()
    page.wait_for_selector("#modal-content #dialog textarea", state="attached")
    page.keyboard.type("today.")
    page.wait_for_function("document.activeElement.matches('#dialog textarea')")

    assert page.input_value("#dialog textarea") == "Not today."
    assert len(asked) == 1


def test_a_refused_decision_keeps_the_reason_and_says_who_was_first(
    visit: Any, server: LiveServer
) -> None:
    task = hand_in(server, payload={"service": "decided-elsewhere"})
    first, second = visit(), visit()
    for visitor in (first, second):
        visitor.go(f"{INBOX}{task['approval_id']}/change/")
    second.page.click(".button-approve")
    second.page.wait_for_selector("#dialog textarea", state="visible")
    second.page.fill("#dialog textarea", "A long reason.")
    first.decide("reject", "I was first.")

    second.page.click("#dialog .dialog-submit")

    second.page.wait_for_selector("#dialog .dialog-refusal >> text=is already rejected by dana.")
    assert second.page.input_value("#dialog textarea") == "A long reason."
    assert not second.page.is_visible("#dialog .dialog-submit")
    assert second.wrong == []


def test_on_a_phone_the_two_buttons_stay_in_reach(visit: Any, server: LiveServer) -> None:
    task = hand_in(server, payload={"text": "line\n" * 200})
    visitor = visit(390)
    visitor.go(f"{INBOX}{task['approval_id']}/change/")

    for _ in range(2):
        box = visitor.page.locator(".button-approve").bounding_box()
        assert box["y"] > 700 and box["y"] + box["height"] <= 850
        visitor.page.mouse.wheel(0, 4000)
        visitor.page.wait_for_timeout(50)
    assert visitor.page.locator("pre .text").first.bounding_box()["height"] > 1000
