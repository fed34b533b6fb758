"""What nobody may do in the console, what only some may, and what a page costs."""

import re
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals_app.models import Approval
from events_app.models import Event
from events_app.services import publish
from orchestrator_site.core.actors import Actor
from orchestrator_site.models import ApiKey
from tasks_app.models import Task
from tests.support import console
from tests.support.console import Login, Make, failed

login = console.login


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
