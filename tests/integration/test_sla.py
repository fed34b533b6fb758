"""Deadlines: warned once, violated once, whoever sweeps and however late."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from events_app.models import Event
from orchestrator_site.core.actors import Actor
from tasks_app import jobs
from tasks_app.models import Status, Task
from tasks_app.services import lifecycle, retries, sla
from tasks_app.services.statistics import counts

Make = Callable[..., Task]


def told() -> list[str]:
    return list(
        Event.objects.filter(event_type__startswith="sla.")
        .order_by("pk")
        .values_list("event_type", flat=True)
    )


@pytest.mark.parametrize(
    ("seconds", "made", "state"),
    [
        (0, (0, 0), "on_track"),
        (79, (0, 0), "on_track"),
        (80, (1, 0), "warning"),
        (99, (1, 0), "warning"),
        (100, (1, 1), "violated"),
        (3600, (1, 1), "violated"),
    ],
)
def test_a_task_is_warned_of_at_80_percent_and_violated_at_100(
    make_task: Make, now: datetime, seconds: int, made: tuple[int, int], state: str
) -> None:
    task = make_task(sla_target=100)
    when = now + timedelta(seconds=seconds)

    found = sla.check_slas(now=when)

    task.refresh_from_db()
    assert (found, task.sla_state) == (made, state)
    assert (task.sla_warned_at, task.sla_breached_at) == (
        when if made[0] else None,
        when if made[1] else None,
    )
    assert told() == ["sla.warning"] * made[0] + ["sla.violation"] * made[1]


def test_sweeping_again_tells_nothing_new(make_task: Make, now: datetime) -> None:
    make_task(sla_target=100)

    made = [
        sla.check_slas(now=now + timedelta(seconds=seconds))
        for seconds in (80, 80, 90, 100, 100, 200)
    ]

    assert made == [(1, 0), (0, 0), (0, 0), (0, 1), (0, 0), (0, 0)]
    assert told() == ["sla.warning", "sla.violation"]


def test_an_event_tells_which_deadline(make_task: Make, now: datetime) -> None:
    task = make_task(sla_target=100, trace_id="trace-1")

    sla.check_slas(now=now + timedelta(seconds=80))

    event = Event.objects.get(event_type="sla.warning")
    assert event.payload == {
        "agent": "dev_agent",
        "target": 100,
        "deadline": "2026-01-31T12:01:40Z",
    }
    assert (event.task_id, event.trace_id, event.publisher, event.origin) == (
        task.task_id,
        "trace-1",
        "system",
        "system",
    )


@pytest.mark.parametrize(
    ("seconds", "state", "events"),
    [
        (79, "met", []),
        (99, "met", ["sla.warning"]),
        (100, "violated", ["sla.warning", "sla.violation"]),
        (500, "violated", ["sla.warning", "sla.violation"]),
    ],
)
def test_what_is_completed_before_any_sweep_ran_is_settled_by_its_report(
    make_task: Make, dev: Actor, now: datetime, seconds: int, state: str, events: list[str]
) -> None:
    task = make_task(sla_target=100)
    when = now + timedelta(seconds=seconds)

    lifecycle.report_status(task_id=task.task_id, status=Status.COMPLETED, by=dev, now=when)
    swept = sla.check_slas(now=when + timedelta(days=1))

    task.refresh_from_db()
    assert (task.sla_state, told(), swept) == (state, events, (0, 0))


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_what_ended_otherwise_is_closed(
    make_task: Make, dev: Actor, now: datetime, status: str
) -> None:
    task = make_task(sla_target=100)
    if status == "failed":
        lifecycle.report_status(task_id=task.task_id, status=Status.FAILED, by=dev, now=now)
    else:
        lifecycle.cancel_task(task_id=task.task_id, by=dev, now=now)

    assert sla.check_slas(now=now + timedelta(days=1)) == (0, 0)
    task.refresh_from_db()
    assert task.sla_state == "closed"


def test_waiting_for_a_person_does_not_hide_a_breach(make_task: Make, now: datetime) -> None:
    task = make_task(priority="P0", sla_target=100)

    assert sla.check_slas(now=now + timedelta(seconds=100)) == (1, 1)
    task.refresh_from_db()
    assert (task.status, task.sla_state) == ("assigned", "violated")


def test_a_requeued_task_is_not_warned_of_twice(
    make_task: Make, dev: Actor, admin: Actor, now: datetime
) -> None:
    task = make_task(sla_target=100)
    sla.check_slas(now=now + timedelta(seconds=80))
    lifecycle.report_status(
        task_id=task.task_id, status=Status.FAILED, by=dev, now=now + timedelta(seconds=81)
    )
    retries.requeue(task_id=task.task_id, by=admin, now=now + timedelta(seconds=82))

    assert sla.check_slas(now=now + timedelta(seconds=100)) == (0, 1)
    assert told() == ["sla.warning", "sla.violation"]


def test_tasks_without_a_target_are_never_late(make_task: Make, now: datetime) -> None:
    make_task()

    assert sla.check_slas(now=now + timedelta(days=1000)) == (0, 0)


def test_more_than_a_batch_is_swept_at_once(
    make_task: Make, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sla, "BATCH", 2)
    for seconds in range(5):
        make_task(sla_target=100 + seconds)

    assert sla.check_slas(now=now + timedelta(days=1)) == (5, 5)
    assert sorted(told()) == ["sla.violation"] * 5 + ["sla.warning"] * 5


def test_the_counts_know_of_deadlines(make_task: Make) -> None:
    make_task(sla_target=1)
    make_task(sla_target=31_536_000, now=timezone.now())

    jobs.check_slas()

    assert (counts()["sla_warnings"], counts()["sla_violations"]) == (1, 1)
