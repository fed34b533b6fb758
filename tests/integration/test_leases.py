"""Tasks are handed out for a while: claim, heartbeat, release, and what happens when a holder
vanishes.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from events_app.models import Event
from orchestrator_site.core.actors import Actor
from tasks_app import errors
from tasks_app.errors import UnknownAgent
from tasks_app.models import Agent, RoutingRule, Status, Task
from tasks_app.services import claims, leases, lifecycle

Make = Callable[..., Task]


def ids(tasks: list[Task]) -> list[str]:
    return [task.task_id for task in tasks]


def test_a_claim_hands_out_the_whole_task(make_task: Make, dev: Actor, now: datetime) -> None:
    payload = {"issue": 1, "deep": [{"é": None}, 0.5]}
    task = make_task(payload=payload, metadata={"repo": "x"}, sla_target=60, not_before=now)

    [taken] = claims.claim(agent="dev_agent", by=dev, now=now, lease_seconds=30)

    stored = Task.objects.get(pk=task.pk)
    names = [field.name for field in Task._meta.fields]
    assert {name: getattr(taken, name) for name in names} == {
        name: getattr(stored, name) for name in names
    }
    assert (taken.payload, taken.metadata, taken.due_at) == (
        payload,
        {"repo": "x"},
        now + timedelta(seconds=60),
    )
    assert (taken.status, taken.holder, taken.reported_by, taken.attempt) == (
        "in_progress",
        dev.name,
        dev.name,
        1,
    )
    assert (taken.started_at, taken.heartbeat_at, taken.lease_expires_at) == (
        now,
        now,
        now + timedelta(seconds=30),
    )
    told = Event.objects.get(event_type="task.claimed")
    assert told.payload == {"agent": "dev_agent", "attempt": 1}
    assert (told.moved_from, told.moved_to, told.publisher) == ("assigned", "in_progress", dev.name)


def test_the_most_urgent_goes_first_then_the_oldest(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    tasks = [make_task(priority=priority) for priority in ("P3", "P2", "P2")]
    old = make_task(priority="P3", now=now - timedelta(hours=4))

    taken = claims.claim(agent="dev_agent", by=dev, now=now, limit=10)

    assert ids(taken) == ids([old, tasks[1], tasks[2], tasks[0]])


def test_an_agent_gets_only_its_own_tasks_of_the_types_it_asks_for(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    bug, _, feature = make_task(), make_task(type="deployment"), make_task(type="feature")

    assert ids(
        claims.claim(agent="dev_agent", by=dev, now=now, types=["feature", "deployment"], limit=9)
    ) == [feature.task_id]
    assert ids(claims.claim(agent="dev_agent", by=dev, now=now, limit=9)) == [bug.task_id]


@pytest.mark.parametrize(("microseconds", "expected"), [(-1, 0), (0, 1), (1, 1)])
def test_nothing_is_handed_out_before_its_time(
    make_task: Make, dev: Actor, now: datetime, microseconds: int, expected: int
) -> None:
    make_task(not_before=now)

    assert (
        len(claims.claim(agent="dev_agent", by=dev, now=now + timedelta(microseconds=microseconds)))
        == expected
    )


def change(row: Any, **changes: object) -> None:
    for name, value in changes.items():
        setattr(row, name, value)
    row.save()


def test_the_paused_and_the_switched_off_are_handed_nothing(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    make_task()
    agent, rule = Agent.objects.get(name="dev_agent"), RoutingRule.objects.get(task_type="bugfix")

    for row, changes in (
        (agent, {"paused": True}),
        (agent, {"paused": False, "active": False}),
        (rule, {"paused": True}),
    ):
        change(row, **changes)
        assert claims.claim(agent="dev_agent", by=dev, now=now) == []
        change(agent, active=True)

    change(rule, paused=False)
    assert len(claims.claim(agent="dev_agent", by=dev, now=now)) == 1


def test_an_unknown_agent_has_no_queue(db: None, dev: Actor, now: datetime) -> None:
    with pytest.raises(UnknownAgent):
        claims.claim(agent="nobody", by=dev, now=now)


def test_an_agent_runs_no_more_than_its_limit(make_task: Make, dev: Actor, now: datetime) -> None:
    change(Agent.objects.get(name="dev_agent"), concurrency_limit=2)
    for _ in range(4):
        make_task()

    taken = [
        len(claims.claim(agent="dev_agent", by=dev, now=now, limit=limit)) for limit in (1, 5, 5)
    ]
    lifecycle.report_status(
        task_id=Task.objects.filter(status="in_progress")[0].task_id,
        status=Status.COMPLETED,
        by=dev,
        now=now,
    )
    taken.append(len(claims.claim(agent="dev_agent", by=dev, now=now, limit=5)))

    assert taken == [1, 1, 0, 1]


def test_a_type_runs_no_more_than_its_limit_and_leaves_the_rest_untouched(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    change(RoutingRule.objects.get(task_type="bugfix"), concurrency_limit=2)
    bugs, feature = [make_task() for _ in range(3)], make_task(type="feature")

    taken = claims.claim(agent="dev_agent", by=dev, now=now, limit=10)

    assert ids(taken) == ids([bugs[0], bugs[1], feature])
    left = Task.objects.get(pk=bugs[2].pk)
    assert (left.status, left.attempt, left.started_at, left.reported_by) == (
        "assigned",
        0,
        None,
        dev.name,
    )
    assert claims.claim(agent="dev_agent", by=dev, now=now, limit=10) == []


def test_a_limit_lowered_below_what_runs_hands_out_nothing(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    for _ in range(3):
        make_task()
    claims.claim(agent="dev_agent", by=dev, now=now, limit=2)

    change(RoutingRule.objects.get(task_type="bugfix"), concurrency_limit=1)
    by_type = claims.claim(agent="dev_agent", by=dev, now=now)
    change(RoutingRule.objects.get(task_type="bugfix"), concurrency_limit=None)
    change(Agent.objects.get(name="dev_agent"), concurrency_limit=1)

    assert by_type == claims.claim(agent="dev_agent", by=dev, now=now) == []


@pytest.fixture
def held(make_task: Make, dev: Actor, now: datetime) -> Task:
    make_task()
    [task] = claims.claim(agent="dev_agent", by=dev, now=now, lease_seconds=60)
    return task


def test_a_heartbeat_extends_the_lease_and_keeps_what_it_does_not_say(
    held: Task, dev: Actor, now: datetime
) -> None:
    soon, later = now + timedelta(seconds=30), now + timedelta(seconds=80)

    leases.heartbeat(task_id=held.task_id, attempt=1, by=dev, now=soon, progress=40, note="half")
    task = leases.heartbeat(task_id=held.task_id, attempt=1, by=dev, now=later)

    assert (task.lease_expires_at, task.heartbeat_at) == (later + timedelta(seconds=60), later)
    assert (task.progress, task.note) == (40, "half")


@pytest.mark.parametrize(("seconds", "alive"), [(59, True), (60, False), (61, False)])
def test_a_heartbeat_does_not_revive_a_lease(
    held: Task, dev: Actor, now: datetime, seconds: int, alive: bool
) -> None:
    when = now + timedelta(seconds=seconds)

    if alive:
        leases.heartbeat(task_id=held.task_id, attempt=1, by=dev, now=when)
    else:
        with pytest.raises(errors.LeaseLost):
            leases.heartbeat(task_id=held.task_id, attempt=1, by=dev, now=when)

    assert leases.requeue_lost_leases(now=when) == (0 if alive else 1)


@pytest.mark.parametrize("call", [leases.heartbeat, leases.release])
@pytest.mark.parametrize(
    ("holder", "attempt", "refusal"),
    [("ops", 1, "NotHolder"), ("dev", 2, "LeaseLost"), ("dev", 0, "LeaseLost")],
)
def test_only_the_holder_of_the_present_attempt_speaks_for_it(
    held: Task,
    dev: Actor,
    ops: Actor,
    now: datetime,
    call: Any,
    holder: str,
    attempt: int,
    refusal: str,
) -> None:
    before = Task.objects.values().get()

    with pytest.raises(getattr(errors, refusal)):
        call(task_id=held.task_id, attempt=attempt, by=dev if holder == "dev" else ops, now=now)

    assert Task.objects.values().get() == before


def test_a_holder_hears_that_its_task_was_cancelled(held: Task, dev: Actor, now: datetime) -> None:
    lifecycle.cancel_task(task_id=held.task_id, by=dev, now=now)

    assert leases.heartbeat(task_id=held.task_id, attempt=1, by=dev, now=now).status == "cancelled"


def test_a_released_task_is_the_next_again_and_loses_no_attempt(
    held: Task, dev: Actor, ops: Actor, now: datetime
) -> None:
    for attempt in range(1, 6):
        task = leases.release(
            task_id=held.task_id, attempt=attempt, by=dev, now=now, reason="Restart"
        )
        assert (task.status, task.holder, task.lease_expires_at) == ("assigned", "", None)
        [again] = claims.claim(agent="dev_agent", by=dev, now=now)
        assert again.attempt == attempt + 1

    told = Event.objects.filter(event_type="task.released").first()
    assert told and told.payload == {"agent": "dev_agent", "attempt": 1, "reason": "Restart"}
    assert (told.moved_from, told.moved_to) == ("in_progress", "assigned")


def test_a_lost_task_is_taken_back_once(held: Task, now: datetime) -> None:
    later = now + timedelta(seconds=60)

    taken = [
        leases.requeue_lost_leases(now=when)
        for when in (later - timedelta(microseconds=1), later, later)
    ]

    task = Task.objects.get()
    assert taken == [0, 1, 0]
    assert (task.status, task.holder, task.lease_expires_at, task.not_before) == (
        "assigned",
        "",
        None,
        None,
    )
    told = Event.objects.get(event_type="task.requeued")
    assert (told.payload["reason"], told.payload["attempt"]) == ("lease_lost", 1)
    assert (told.moved_from, told.moved_to, told.publisher) == ("in_progress", "assigned", "system")


def test_a_task_whose_agents_all_vanish_fails(make_task: Make, dev: Actor, now: datetime) -> None:
    make_task(max_attempts=2)

    for hour in range(2):
        claims.claim(agent="dev_agent", by=dev, now=now + timedelta(hours=hour), lease_seconds=60)
        leases.requeue_lost_leases(now=now + timedelta(hours=hour, minutes=1))

    task = Task.objects.get()
    assert (task.status, task.failure_reason) == ("failed", "lease_lost")
    assert dev.name in task.error


def test_tasks_reported_without_a_lease_are_never_taken_back(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    lifecycle.report_status(task_id=make_task().task_id, status=Status.IN_PROGRESS, by=dev, now=now)

    assert leases.requeue_lost_leases(now=now + timedelta(days=365)) == 0


PLANS = [
    "hashagg",
    "hashjoin",
    "mergejoin",
    "material",
    "sort",
    "indexscan",
    "bitmapscan",
    "seqscan",
]


@pytest.mark.parametrize(
    "off",
    [
        [],
        PLANS[:4],
        PLANS[:5],
        PLANS[:6],
        PLANS[:7],
        ["hashagg", "hashjoin", "material", "seqscan"],
    ],
    ids=str,
)
def test_a_claim_hands_out_no_more_than_asked_however_the_database_plans_it(
    make_task: Make, dev: Actor, now: datetime, off: list[str]
) -> None:
    for _ in range(20):
        make_task()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for plan in off:
                cursor.execute(f"SET LOCAL enable_{plan} = off")

    assert [
        len(claims.claim(agent="dev_agent", by=dev, now=now, limit=limit)) for limit in (1, 1, 3)
    ] == [1, 1, 3]
