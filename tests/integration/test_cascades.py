"""Ends that many tasks wait for: settled in bounded steps, each dependent once, however many there
are.
"""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from approvals_app.models import Approval
from events_app.models import Event
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import Invalid
from tasks_app.errors import TooManyDependents
from tasks_app.models import Dependency, Settlement, Status, Task
from tasks_app.services import claims, dependencies, lifecycle, retries

Make = Callable[..., Task]
EDGES = (
    "INSERT INTO tasks_app_dependency (task_id, depends_on_id) "
    "SELECT later.id, earlier.id FROM tasks_app_task later "
    "JOIN tasks_app_task earlier ON earlier.source = %s "
    "WHERE later.source = %s AND earlier.id %% 2 = later.id %% 2"
)


def layer(name: str, number: int, now: datetime, *, waits_for: int, **more: Any) -> None:
    """Insert tasks of one layer, as if they had been handed in. waits_for: dependencies of each."""
    common: dict[str, Any] = {
        "type": "bugfix",
        "payload": {},
        "priority": "P2",
        "status": "assigned",
        "assigned_agent": "dev_agent",
    }
    common |= {
        "created_by": "dev-agent-1",
        "door": "api",
        "created_at": now,
        "turn_at": now,
        "source": name,
        **more,
    }
    Task.objects.bulk_create(Task(**common, open_dependencies=waits_for) for _ in range(number))


def connect(earlier: str, later: str) -> None:
    """Let each task of a layer wait for half of the layer before it."""
    with connection.cursor() as rows:
        rows.execute(EDGES, [earlier, later])


def wait_for(task: Task, name: str) -> None:
    """Let each task of a layer wait for one task."""
    Dependency.objects.bulk_create(
        Dependency(task=later, depends_on=task)
        for later in Task.objects.filter(source=name).only("pk")
    )


def steps(now: datetime) -> Iterator[int]:
    """Do the steps that are left, one after the other."""
    while (told := dependencies.settle_step(now=now)) is not None:
        yield told


def told(event_type: str) -> int:
    return Event.objects.filter(event_type=event_type).count()


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of a few dependents."""
    monkeypatch.setattr(dependencies, "STEP", 7)
    monkeypatch.setattr(dependencies, "FIXED_COST", 2)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the lock over all rows is SQLite's")
@pytest.mark.serial(timed=True)
def test_a_cancellation_over_50_000_edges_holds_the_write_lock_for_200_ms_at_most(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    root, small = make_task(), make_task()
    make_task(depends_on=[small.task_id])
    lifecycle.cancel_task(task_id=small.task_id, by=dev, now=now)  # what Python does once is done
    for number in range(11):
        layer(f"layer-{number}", 100, now, waits_for=50 if number else 1)
        if number:
            connect(f"layer-{number - 1}", f"layer-{number}")
    wait_for(root, "layer-0")
    assert Dependency.objects.count() == 50_101

    gc.collect()  # what earlier tests left behind is not this one's time
    took, begun = [], time.thread_time()
    lifecycle.cancel_task(task_id=root.task_id, by=dev, now=now)
    for _ in range(6):
        took.append(time.thread_time() - begun)
        begun = time.thread_time()
        assert dependencies.settle_step(now=now)

    assert max(took) < 0.2, took
    assert Settlement.objects.exists() and Task.objects.filter(status="failed").count() >= 200


def test_a_request_settles_few_and_a_sweep_the_rest(
    make_task: Make, dev: Actor, now: datetime, small_steps: None
) -> None:
    root = make_task()
    layer("first", 20, now, waits_for=1)
    wait_for(root, "first")

    lifecycle.report_status(task_id=root.task_id, status=Status.COMPLETED, by=dev, now=now)

    assert (told("task.ready"), Settlement.objects.count()) == (7, 1)
    assert len(claims.claim(agent="dev_agent", by=dev, now=now, limit=50)) == 7
    assert sum(steps(now)) == 13
    assert (told("task.ready"), Settlement.objects.count()) == (20, 0)
    assert not Task.objects.filter(source="first", open_dependencies__gt=0).exists()
    assert not list(steps(now)) and told("task.ready") == 20


def test_a_failure_goes_down_wide_layers_each_task_once(
    make_task: Make, dev: Actor, now: datetime, small_steps: None
) -> None:
    root = make_task()
    for number in range(4):
        layer(f"layer-{number}", 10, now, waits_for=5 if number else 1, sla_target=1, due_at=now)
        if number:
            connect(f"layer-{number - 1}", f"layer-{number}")
    layer("free", 10, now, waits_for=5, on_dependency_failure="free")
    connect("layer-3", "free")
    wait_for(root, "layer-0")

    lifecycle.cancel_task(task_id=root.task_id, by=dev, now=now)
    total = sum(steps(now))

    lost = Task.objects.filter(source__startswith="layer")
    assert {(task.status, task.failure_reason, task.open_dependencies) for task in lost} == {
        ("failed", "dependency", 0)
    }
    assert all(
        task.failed_at == now and task.sla_breached_at == now and task.error for task in lost
    )
    assert total + 7 >= Dependency.objects.count() == 10 + 4 * 50
    assert not Dependency.objects.filter(settled_at__isnull=True).exists()
    assert (told("task.failed"), told("task.ready"), told("sla.violation")) == (40, 10, 40)


def test_what_waits_for_a_signature_is_withdrawn_in_the_same_steps(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    root = make_task()
    gated = [make_task(priority="P0", depends_on=[root.task_id]) for _ in range(5)]

    lifecycle.cancel_task(task_id=root.task_id, by=dev, now=now)

    assert set(
        Task.objects.filter(pk__in=[task.pk for task in gated]).values_list("status", flat=True)
    ) == {"failed"}
    ends = Approval.objects.values_list("status", "decided_by", "decision_reason")
    assert set(ends) == {("withdrawn", "system", f"{root.task_id} is cancelled.")}
    assert told("approval.withdrawn") == 5


def test_what_is_requeued_before_all_have_heard_keeps_the_rest_waiting(
    make_task: Make, dev: Actor, admin: Actor, now: datetime, small_steps: None
) -> None:
    root = make_task()
    layer("first", 20, now, waits_for=1)
    wait_for(root, "first")
    lifecycle.report_status(task_id=root.task_id, status=Status.FAILED, by=dev, now=now)

    retries.requeue(task_id=root.task_id, by=admin, now=now)

    assert not any(steps(now)) and not Settlement.objects.exists()
    assert told("task.failed") == 8
    lifecycle.report_status(task_id=root.task_id, status=Status.COMPLETED, by=dev, now=now)
    assert sum(steps(now)) == 6 and told("task.ready") == 13


def test_a_cancellation_may_give_any_reason(make_task: Make, dev: Actor, now: datetime) -> None:
    root = make_task()
    task = make_task(depends_on=[root.task_id])

    lifecycle.cancel_task(task_id=root.task_id, by=dev, now=now, reason="dependency")

    task.refresh_from_db()
    assert task.status == "failed"


def test_a_task_has_a_thousand_dependents_at_most(make_task: Make, now: datetime) -> None:
    root = make_task()
    layer("first", 999, now, waits_for=1)
    wait_for(root, "first")
    make_task(depends_on=[root.task_id])

    with pytest.raises(TooManyDependents, match=f"{root.task_id} has 1,000 dependents already"):
        make_task(depends_on=[make_task().task_id, root.task_id])


def test_a_task_names_fifty_dependencies_at_most(make_task: Make) -> None:
    ids = [make_task().task_id for _ in range(51)]

    assert make_task(depends_on=ids[:50]).open_dependencies == 50
    with pytest.raises(Invalid, match="at most 50"):
        make_task(depends_on=ids)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_sweeps_at_once_tell_each_dependent_once(
    make_task: Make, dev: Actor, now: datetime, small_steps: None
) -> None:
    root = make_task()
    layer("first", 20, now, waits_for=1)
    layer("second", 10, now, waits_for=10)
    wait_for(root, "first")
    connect("first", "second")
    lifecycle.cancel_task(task_id=root.task_id, by=dev, now=now)
    faults: list[BaseException] = []

    def sweep() -> None:
        try:
            while Settlement.objects.exists():
                dependencies.settle_step(now=timezone.now())
        except BaseException as fault:
            faults.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not faults
    assert told("task.failed") == 30
    assert not Task.objects.filter(open_dependencies__gt=0).exists()
