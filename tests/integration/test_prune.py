"""Forgetting what ended long ago: only that, with what belongs to it, and the counts stay right."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace

import pytest
from django.core.management.base import CommandError
from django.db import connection

from approvals_app.models import Approval
from events_app.models import Event
from orchestrator_site.core import pacing
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.pacing import Pace
from orchestrator_site.management.progress import Progress
from tasks_app.models import Dependency, Status, Task
from tasks_app.services import lifecycle, retention
from tasks_app.services.statistics import counts, queue_stats
from tests.support import decisions
from tests.support.growth import fill_tasks

Make = Callable[..., Task]
DAY = timedelta(days=1)


def end(task: Task, by: Actor, now: datetime, status: str = "completed") -> None:
    lifecycle.report_status(task_id=task.task_id, status=Status(status), by=by, now=now)


def left() -> list[str]:
    return list(Task.objects.order_by("pk").values_list("task_id", flat=True))


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize(("seconds", "kept"), [(-1, False), (0, True), (1, True)])
def test_only_what_ended_before_the_moment_goes(
    make_task: Make, dev: Actor, admin: Actor, now: datetime, status: str, seconds: int, kept: bool
) -> None:
    task = make_task(now=now - 90 * DAY)
    ended = now - 30 * DAY + timedelta(seconds=seconds)
    if status == "cancelled":
        lifecycle.cancel_task(task_id=task.task_id, by=dev, now=ended)
    else:
        end(task, dev, ended, status)

    number = retention.prune_tasks(before=now - 30 * DAY, by=admin, now=now)

    assert (number, left()) == ((0, [task.task_id]) if kept else (1, []))


def test_open_tasks_stay_however_old(
    make_task: Make, dev: Actor, admin: Actor, now: datetime
) -> None:
    running, _ = make_task(now=now - 900 * DAY), make_task(now=now - 900 * DAY)
    end(running, dev, now - 900 * DAY, "in_progress")

    assert retention.prune_tasks(before=now, by=admin, now=now) == 0


def test_what_an_open_task_depends_on_or_belongs_to_stays(
    make_task: Make, dev: Actor, admin: Actor, now: datetime
) -> None:
    needed, parent, lonely = (make_task(now=now - 90 * DAY) for _ in range(3))
    waiting = make_task(depends_on=[needed.task_id])
    child = make_task(parent_task_id=parent.task_id)
    for task in (needed, parent, lonely):
        end(task, dev, now - 80 * DAY)

    assert retention.prune_tasks(before=now - DAY, by=admin, now=now) == 1
    assert left() == [needed.task_id, parent.task_id, waiting.task_id, child.task_id]

    end(waiting, dev, now - 70 * DAY)
    end(child, dev, now - 70 * DAY)
    assert retention.prune_tasks(before=now + DAY, by=admin, now=now) == 4


def test_what_belongs_to_a_task_goes_with_it_and_the_log_stays(
    make_task: Make, dev: Actor, ops: Actor, admin: Actor, now: datetime
) -> None:
    first = make_task(priority="P0", now=now - 90 * DAY)
    second = make_task(depends_on=[first.task_id], now=now - 90 * DAY)
    kept = make_task(priority="P0")
    decisions.approve(approval_id=first.approval_id, by=ops, now=now - 90 * DAY)
    end(first, dev, now - 90 * DAY)
    end(second, dev, now - 90 * DAY)
    events = Event.objects.count()

    assert retention.prune_tasks(before=now - DAY, by=admin, now=now) == 2

    assert list(Approval.objects.values_list("approval_id", flat=True)) == [kept.approval_id]
    assert not Dependency.objects.exists()
    assert Event.objects.count() == events + 1
    told = Event.objects.get(event_type="tasks.pruned")
    assert told.payload == {"number": 2, "before": (now - DAY).isoformat()}
    assert told.publisher == admin.name


def test_the_counts_stay_right(
    make_task: Make, dev: Actor, admin: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for status in ("completed", "failed", "completed", "failed", "completed"):
        end(make_task(now=now - 90 * DAY), dev, now - 90 * DAY, status)
    make_task()
    before = counts()

    number = retention.prune_tasks(before=now - DAY, by=admin, now=now)

    assert (before["completed"], before["failed"], number) == (3, 2, 5)
    assert queue_stats() == {"pending_tasks": 1, "processing_tasks": 0, "total_tasks": 1}
    assert counts() == before | {"completed": 0, "failed": 0}
    numbers = [
        event.payload["number"]
        for event in Event.objects.filter(event_type="tasks.pruned").order_by("pk")
    ]
    assert numbers == [2, 2, 1]


def test_the_counts_stay_right_when_nobody_counted_before(
    make_task: Make, dev: Actor, admin: Actor, now: datetime
) -> None:
    end(make_task(now=now - 90 * DAY), dev, now - 90 * DAY)

    retention.prune_tasks(before=now - DAY, by=admin, now=now)

    assert set(counts().values()) == {0}


def test_with_nothing_to_do_nothing_is_told(db: None, admin: Actor, now: datetime) -> None:
    assert retention.prune_tasks(before=now, by=admin, now=now) == 0
    assert not Event.objects.exists()


def test_pruning_stopped_at_any_moment_leaves_whole_steps(
    make_task: Make, dev: Actor, admin: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        end(make_task(now=now - 90 * DAY), dev, now - 90 * DAY)

    def stop(pruned: int) -> None:
        if pruned == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retention.prune_tasks(before=now - DAY, by=admin, now=now, between=stop)

    assert (
        len(left()),
        counts()["completed"],
        Event.objects.filter(event_type="tasks.pruned").count(),
    ) == (1, 1, 2)
    assert retention.prune_tasks(before=now - DAY, by=admin, now=now) == 1 and not left()


def test_a_step_takes_no_more_dependencies_than_it_should(
    make_task: Make, dev: Actor, admin: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "EDGES", 3)
    roots = [make_task(now=now - 90 * DAY) for _ in range(3)]
    for task in [
        make_task(depends_on=[root.task_id for root in roots], now=now - 90 * DAY) for _ in range(2)
    ]:
        lifecycle.cancel_task(task_id=task.task_id, by=dev, now=now - 90 * DAY)
    for root in roots:
        end(root, dev, now - 90 * DAY)
    steps: list[int] = []

    retention.prune_tasks(before=now - DAY, by=admin, now=now, between=steps.append)

    assert steps == [1, 2, 5] and not Dependency.objects.exists()


def test_a_step_takes_as_many_tasks_as_go_in_forty_milliseconds(
    make_task: Make, dev: Actor, admin: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(now=now - 90 * DAY)
    end(task, dev, now - 90 * DAY)
    task.refresh_from_db()
    fill_tasks(task, 299)
    # The time as it were if removing tasks were all that took any: a millisecond for each.
    clock = SimpleNamespace(monotonic=lambda: -Task.objects.count() / 1000)
    monkeypatch.setattr(pacing, "time", clock)
    steps: list[int] = []

    retention.prune_tasks(before=now - DAY, by=admin, now=now, between=steps.append)

    numbers = [after - before for before, after in pairwise([0, *steps])]
    assert numbers == [25, 40, 40, 40, 40, 40, 40, 35]


@pytest.mark.parametrize(("slow", "rows"), [(0.0004, 100), (0.01, 25), (0.00001, 500)])
def test_the_size_of_a_step_follows_its_time(
    db: None, slow: float, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: now[0]))
    size, sizes = pacing.StepSize(most=500), []

    for _ in range(8):
        sizes.append(size.rows)
        with size.transaction():
            now[0] += slow * size.rows

    assert sizes[-1] == rows and max(sizes) <= rows


@pytest.mark.skipif(connection.vendor != "sqlite", reason="about the embedded store")
def test_pruning_copies_the_write_ahead_log_in_small_parts(
    make_task: Make, dev: Actor, admin: Actor, now: datetime
) -> None:
    end(make_task(now=now - 90 * DAY), dev, now - 90 * DAY)
    pages: list[int] = []

    def look(_: int = 0) -> None:
        with connection.cursor() as cursor:
            pages.append(cursor.execute("PRAGMA wal_autocheckpoint").fetchone()[0])

    retention.prune_tasks(before=now - DAY, by=admin, now=now, between=look)
    look()

    assert pages == [100, 1000]


def test_pruning_rests_in_proportion_to_its_work() -> None:
    rests: list[float] = []
    times = iter([0.0, 0.1, 0.1, 5.0, 5.0])
    pace = Pace(clock=lambda: next(times), rest=rests.append)

    pace(1)
    pace(2)

    assert rests == [0.2, 1.0]


def test_a_command_that_is_stopped_says_how_far_it_came() -> None:
    progress = Progress(lambda line: None, "task(s) removed", of=1200)

    with pytest.raises(CommandError, match="Stopped: 1,000 of 1,200 task"), progress.stoppable():
        progress(1000)
        raise KeyboardInterrupt
