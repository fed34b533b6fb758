"""Requeueing and cancelling many tasks in the console, at once and in the background."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from events_app.models import Event
from orchestrator_site.core.actors import Actor
from tasks_app import jobs
from tasks_app.models import BulkOperation, Task
from tasks_app.services import bulk as bulk_services
from tests.support import console
from tests.support.console import Login, Make, failed

login = console.login


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
