"""Lists of the console read a bounded part of what callers send, and say what is not checked."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals_app.models import Approval
from events_app.models import Event
from tasks_app.models import Task
from tests.support import console
from tests.support.growth import fill, fill_events, fill_tasks

Login = Callable[..., Client]
Make = Callable[..., Task]
login = console.login
LIST = "/admin/approvals_app/approval/"
MIB = 1_048_576
MOST_MEMORY = 24 * MIB  # 4 MiB as text and as objects, and the page itself
LARGE = {"note": "pay\u202ement", "text": "x" * 1_000_000}
UNCHECKED = "too large to check here"


@pytest.fixture
def large(make_task: Make) -> Task:
    """Fifty tasks, requests and events of a megabyte each; the first task is returned."""
    first = make_task(priority="P0", payload=LARGE, metadata=LARGE)
    Task.objects.update(error="x" * 10_000)
    fill_tasks(first, 49, payload="template.payload")
    fill(Approval.objects.get(), 49, task_id="'task_' || n")
    event = Event.objects.earliest("pk")
    Event.objects.update(payload=LARGE)
    fill_events(event, 98)
    Event.objects.update(task_id=first.task_id)
    return first


def test_fifty_rows_of_a_megabyte_are_not_read_whole(login: Login, large: Task) -> None:
    client = login(None)
    task = f"/admin/tasks_app/task/{large.task_id}/change/"

    for path in ("/admin/", LIST, "/admin/tasks_app/task/", "/admin/events_app/event/", task):
        client.get(path)  # templates and permissions are read once
        tracemalloc.start()
        answer = client.get(path)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answer.status_code == 200
        assert most < MOST_MEMORY, path


@pytest.mark.parametrize("path", [LIST, "/admin/"])
def test_what_is_not_checked_is_said_and_cannot_be_decided_there(
    login: Login, make_task: Make, path: str
) -> None:
    make_task(priority="P0", type="deployment", payload=LARGE)
    make_task(priority="P1", payload={"note": "pay\u202ement"})
    whole, small = Approval.objects.order_by("pk")

    page = login("Approvers").get(path).content.decode()

    assert page.count(UNCHECKED) == 1 and "deployment" in page and "for ops_agent" in page
    assert f"{whole.approval_id}/change/" in page and f"{whole.approval_id}/approve/" not in page
    assert f"{small.approval_id}/approve/" in page
    assert "idden characters" in page


def test_a_list_that_was_tampered_with_says_so(login: Login, make_task: Make) -> None:
    make_task(priority="P0")
    Approval.objects.update(snapshot={"type": "bugfix", "payload": "another"})

    assert "does not match its digest" in login("Approvers").get(LIST).content.decode()


@pytest.mark.parametrize("place", ["change", "approve"])
def test_the_page_and_the_dialog_check_all_of_it(login: Login, make_task: Make, place: str) -> None:
    make_task(priority="P0", payload=LARGE)
    approval = Approval.objects.get()

    page = login("Approvers").get(f"{LIST}{approval.approval_id}/{place}/").content.decode()

    assert "Hidden characters" in page and UNCHECKED not in page
    assert "/approve/" in page


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_what_is_not_checked_is_not_decided_among_others(
    login: Login, make_task: Make, verb: str
) -> None:
    for payload in (LARGE, {"text": "small"}):
        make_task(priority="P1", payload=payload)
    ticked = list(Approval.objects.values_list("pk", flat=True))
    sent: dict[str, Any] = {"action": f"{verb}_selected", "_selected_action": ticked}

    page = login("Approvers").post(LIST, {**sent, "confirmed": "yes", "reason": "No."}, follow=True)

    whole = Approval.objects.earliest("pk")
    assert f"{whole.approval_id} is too large to be checked here" in page.content.decode()
    assert Approval.objects.pending().count() == 2


def test_the_number_of_queries_does_not_grow_with_the_rows(login: Login, make_task: Make) -> None:
    make_task(priority="P0", payload=LARGE)
    make_task(priority="P1")
    client = login("Approvers")
    client.get(LIST)

    def queries() -> int:
        with CaptureQueriesContext(connection) as sent:
            client.get(LIST)
        return sum('FROM "approvals_app_' in query["sql"] for query in sent)

    few = queries()
    for approval in Approval.objects.order_by("pk")[:2]:
        fill(approval, 20, task_id=f"'task_{approval.pk}_' || n")

    assert queries() == few


def test_a_story_begins_with_the_creation_of_the_task(login: Login, make_task: Make) -> None:
    task = make_task(priority="P0")
    story = login("Viewers").get(f"/admin/tasks_app/task/{task.task_id}/change/").content.decode()

    assert story.index("approval.requested") < story.index("task.created")


def test_headings_say_what_the_menu_says(login: Login, make_task: Make) -> None:
    task, client = make_task(payload={"issue": "1"}), login(None)

    headings = {
        "auth/user/": "Accounts",
        "orchestrator_site/principal/": "Restricted principals",
        "events_app/subscription/": "Webhooks",
        f"tasks_app/task/{task.task_id}/change/": "bugfix for dev_agent",
    }
    for path, heading in headings.items():
        header = client.get(f"/admin/{path}").content.decode().partition("<main")[0]
        assert f">{heading}<" in header.rpartition("<header")[2] or f">{heading}</" in header, path
