"""Another try, or the end of trying."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from events_app.models import Event
from orchestrator_site.core.actors import Actor
from tasks_app.errors import InvalidTransition
from tasks_app.models import Agent, Status, Task
from tasks_app.services import claims, lifecycle, retries

Make = Callable[..., Task]


def claim_and_fail(by: Actor, now: datetime, *, retryable: bool = True) -> Task:
    [task] = claims.claim(agent="dev_agent", by=by, now=now)
    return lifecycle.report_status(
        task_id=task.task_id,
        status=Status.FAILED,
        by=by,
        now=now,
        attempt=task.attempt,
        retryable=retryable,
        error="Flaky",
    )


def test_a_retryable_failure_waits_and_tries_again(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    make_task()

    task = claim_and_fail(dev, now)

    assert (task.status, task.holder, task.attempt) == ("assigned", "", 1)
    assert task.not_before and timedelta(seconds=5) <= task.not_before - now <= timedelta(
        seconds=10
    )
    assert claims.claim(agent="dev_agent", by=dev, now=now) == []
    assert claims.claim(agent="dev_agent", by=dev, now=now + timedelta(seconds=10))[0].attempt == 2
    told = Event.objects.get(event_type="task.requeued")
    assert (told.payload["reason"], told.payload["error"]) == ("retries_exhausted", "Flaky")


def test_the_last_attempt_is_the_last(make_task: Make, dev: Actor, now: datetime) -> None:
    make_task(max_attempts=3)

    states = [claim_and_fail(dev, now + timedelta(hours=hour)).status for hour in range(3)]

    task = Task.objects.get()
    assert states == ["assigned", "assigned", "failed"]
    assert (task.failure_reason, task.error, task.attempt) == ("retries_exhausted", "Flaky", 3)
    assert Event.objects.get(event_type="task.failed").payload["dead_letter"] is True


def test_a_failure_that_is_not_worth_another_try_is_final(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    make_task()

    assert claim_and_fail(dev, now, retryable=False).failure_reason == "reported"


def test_without_a_lease_there_is_no_other_try(make_task: Make, dev: Actor, now: datetime) -> None:
    task = lifecycle.report_status(
        task_id=make_task().task_id,
        status=Status.FAILED,
        by=dev,
        now=now,
        retryable=True,
        error="Flaky",
    )

    assert task.status == "failed"


def test_a_requeued_task_has_a_fresh_set_of_attempts(
    make_task: Make, dev: Actor, admin: Actor, now: datetime
) -> None:
    task = make_task(max_attempts=2)
    for hour in range(2):
        claim_and_fail(dev, now + timedelta(hours=hour))

    requeued = retries.requeue(task_id=task.task_id, by=admin, now=now + timedelta(hours=3))
    states = [claim_and_fail(dev, now + timedelta(hours=hour)).status for hour in (4, 5)]

    assert (requeued.status, requeued.error, requeued.failure_reason, requeued.failed_at) == (
        "assigned",
        "",
        "",
        None,
    )
    assert states == ["assigned", "failed"]
    assert Task.objects.get().attempt == 4


@pytest.mark.parametrize("status", ["pending", "assigned", "in_progress", "completed", "cancelled"])
def test_only_what_failed_is_requeued(
    make_task: Make, admin: Actor, now: datetime, status: str
) -> None:
    task = make_task()
    Task.objects.update(status=status)

    with pytest.raises(InvalidTransition):
        retries.requeue(task_id=task.task_id, by=admin, now=now)

    assert Task.objects.get().status == status


def test_what_failed_before_it_had_an_agent_gets_one(
    make_task: Make, dev: Actor, admin: Actor, now: datetime
) -> None:
    agent = Agent.objects.get(name="dev_agent")
    agent.active = False
    agent.save()
    task = make_task()
    lifecycle.report_status(task_id=task.task_id, status=Status.FAILED, by=dev, now=now)

    with pytest.raises(InvalidTransition, match="No agent can take"):
        retries.requeue(task_id=task.task_id, by=admin, now=now)
    agent.active = True
    agent.save()
    requeued = retries.requeue(task_id=task.task_id, by=admin, now=now)

    assert (requeued.status, requeued.assigned_agent) == ("assigned", "dev_agent")
    assert len(claims.claim(agent="dev_agent", by=dev, now=now)) == 1


def test_dead_letters_are_requeued_by_filter(
    make_task: Make, dev: Actor, admin: Actor, now: datetime
) -> None:
    reported = make_task(type="feature")
    lifecycle.report_status(task_id=reported.task_id, status=Status.FAILED, by=dev, now=now)
    dead = make_task(max_attempts=1)
    claim_and_fail(dev, now)

    other = retries.requeue_dead_letters(limit=10, type="feature", by=admin, now=now)
    done = retries.requeue_dead_letters(limit=10, by=admin, now=now)

    assert (other, done) == ([], [dead.task_id])
