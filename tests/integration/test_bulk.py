"""Many tasks requeued or cancelled at once: a step with the request, the rest by the job."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User

from events_app.models import Event
from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from tasks_app.models import BulkOperation, Task
from tasks_app.services import bulk

Make = Callable[..., Task]
DANA = Actor("dana", Role.ADMIN, Door.CONSOLE, Assurance.HUMAN, "account:dana")


@pytest.fixture(autouse=True)
def dana(db: None, monkeypatch: pytest.MonkeyPatch) -> User:
    """The account that chooses; a step is two tasks."""
    monkeypatch.setattr(bulk, "STEP", 2)
    return User.objects.create_superuser("dana", password=None)


def cancel(tasks: list[Task], now: datetime) -> BulkOperation:
    pks = [task.pk for task in tasks]
    return bulk.start(verb="cancel", pks=pks, by=DANA, now=now, reason="Moved.")


def cancelled() -> list[tuple[str, str]]:
    rows = Event.objects.filter(event_type="task.cancelled").order_by("pk")
    return list(rows.values_list("task_id", "publisher"))


def test_few_tasks_are_done_with_the_request_and_nothing_is_left_to_show(
    make_task: Make, now: datetime
) -> None:
    tasks = [make_task(), make_task()]

    operation = cancel(tasks, now)

    assert (operation.done, operation.left) == (2, 0)
    assert cancelled() == [(task.task_id, "dana") for task in tasks]
    assert not BulkOperation.objects.exists()


def test_the_job_goes_on_in_order_and_signs_as_the_one_who_chose(
    make_task: Make, now: datetime
) -> None:
    tasks = [make_task() for _ in range(5)]

    operation = cancel(tasks, now)
    steps = [bulk.continue_all(clock=lambda: now) for _ in range(3)]

    assert (operation.done, operation.left) == (2, 3)
    assert steps == [2, 1, 0]
    assert cancelled() == [(task.task_id, "dana") for task in tasks]


def test_tasks_that_cannot_or_are_gone_are_counted_with_the_first_reason(
    make_task: Make, now: datetime
) -> None:
    waiting, gone = make_task(), make_task()
    pks = [waiting.pk, gone.pk]
    gone.delete()

    operation = bulk.start(verb="requeue", pks=pks, by=DANA, now=now)

    assert (operation.done, operation.refused, operation.left) == (0, 2, 0)
    assert "only a failed task is requeued" in operation.refusal


def test_an_account_that_may_no_longer_do_this_ends_its_operation_where_it_is(
    make_task: Make, now: datetime, dana: User
) -> None:
    operation = cancel([make_task() for _ in range(3)], now)
    dana.is_superuser = False
    dana.save()

    assert bulk.continue_all(clock=lambda: now) == 0

    operation.refresh_from_db()
    assert (operation.done, operation.left, operation.ended_at) == (2, 1, now)
    assert operation.refusal == "dana may no longer do this."


def test_what_has_ended_is_shown_for_ten_minutes(make_task: Make, now: datetime) -> None:
    cancel([make_task() for _ in range(3)], now)
    bulk.continue_all(clock=lambda: now)

    bulk.continue_all(clock=lambda: now + timedelta(minutes=10))
    assert BulkOperation.objects.exists()
    bulk.continue_all(clock=lambda: now + timedelta(minutes=10, seconds=1))
    assert not BulkOperation.objects.exists()
