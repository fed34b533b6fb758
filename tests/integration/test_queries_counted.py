"""The hot path stays lean: how many statements a request costs, and that none of them grows with
the table.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals_app.models import Approval
from approvals_app.models import Status as ApprovalStatus
from approvals_app.services.decisions import Decision, decide_all
from orchestrator_site.core.actors import Actor
from orchestrator_site.infra import cached_rows
from tasks_app.models import Status, Task
from tasks_app.services import claims, leases, lifecycle
from tasks_app.services.intake import NewTask, create_all
from tests.conftest import actor

Make = Callable[..., Task]
Callers = Callable[..., Any]
NEW = {"type": "bugfix", "payload": {"issue": "1"}}
LOG = ["WITH"] if connection.vendor == "postgresql" else ["UPDATE", "INSERT", "UPDATE"]
STORED = LOG if connection.vendor == "postgresql" else ["INSERT", *LOG]  # a new task, with its log


@contextmanager
def statements() -> Iterator[list[str]]:
    """Give the statements that were sent, filled when the block ends."""
    found: list[str] = []
    with CaptureQueriesContext(connection) as captured:
        yield found
    found += [query["sql"].strip() for query in captured]


def kinds(sent: list[str]) -> list[str]:
    """Return the first word of each statement, without the test's own savepoints."""
    return [sql.split()[0] for sql in sent if not sql.startswith(("SAVEPOINT", "RELEASE"))]


@pytest.fixture(autouse=True)
def no_row_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep cached rows for the whole of a test, however long it takes."""
    monkeypatch.setattr(cached_rows, "time", SimpleNamespace(monotonic=lambda: 0.0))


@pytest.fixture
def warm(api: Callers) -> Any:
    """A caller whose process has served before: rules, agents, policies and its own record are in
    memory.
    """
    agent = api("agent")
    agent.post("/tasks", NEW)
    agent.get("/stats")
    return agent


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_creating_a_task_is_one_transaction_that_writes_its_log_last(warm: Any) -> None:
    with statements() as sent:
        warm.post("/tasks", NEW)

    assert kinds(sent) == ["BEGIN", *STORED, "COMMIT"]


def test_creating_a_task_asks_nothing_before_it(warm: Any) -> None:
    with statements() as sent:
        warm.post("/tasks", {**NEW, "sla_target": 60, "metadata": {"a": 1}, "trace_id": "trace-1"})

    assert kinds(sent) == STORED


def test_creating_a_task_sends_no_celery_message(
    warm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from celery.app.task import Task as Job

    sent: list[object] = []
    monkeypatch.setattr(Job, "apply_async", lambda *args, **options: sent.append(args))

    warm.post("/tasks", NEW)
    warm.post("/tasks", {**NEW, "priority": "P0"})

    assert sent == []


def test_a_gated_task_costs_the_request_and_its_event_more(warm: Any) -> None:
    warm.post(
        "/tasks", {**NEW, "priority": "P0"}
    )  # now and then the caller's pending ones are counted

    with statements() as sent:
        warm.post("/tasks", {**NEW, "priority": "P0"})

    assert kinds(sent) == ["INSERT", *STORED]


def test_many_gated_tasks_cost_as_much_as_one(make_task: Make, dev: Actor, now: datetime) -> None:
    make_task(priority="P0")
    for number in (1, 10):
        news = [NewTask({**NEW, "priority": "P0"}, dev, now)] * number

        with statements() as sent:
            created = create_all(news)

        assert {task.awaiting_approval for task in created if isinstance(task, Task)} == {True}
        assert kinds(sent) == ["INSERT", *STORED]


CYCLE = {
    "claim": ["WITH", *LOG],
    "heartbeat": ["SELECT", "UPDATE"],
    "report": ["SELECT", "UPDATE", *LOG],
}


def test_a_claim_cycle_costs_this_much(make_task: Make, dev: Actor, now: datetime) -> None:
    make_task()
    make_task()
    claims.claim(agent="dev_agent", by=dev, now=now)

    with statements() as claimed:
        [task] = claims.claim(agent="dev_agent", by=dev, now=now)
    with statements() as beaten:
        leases.heartbeat(task_id=task.task_id, attempt=1, by=dev, now=now + timedelta(seconds=1))
    with statements() as reported:
        lifecycle.report_status(
            task_id=task.task_id, status=Status.COMPLETED, by=dev, now=now, attempt=1
        )

    assert kinds(claimed) == CYCLE["claim"]
    assert kinds(beaten) == CYCLE["heartbeat"]
    assert kinds(reported) == CYCLE["report"]


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_repeating_what_claims_have_said_is_one_look_at_all_tasks(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    for _ in range(3):
        make_task()
    taken = claims.claim(agent="dev_agent", by=dev, now=now, limit=3)

    with statements() as sent:
        outcomes = lifecycle.report_all(
            [
                lifecycle.Report(task.task_id, Status.IN_PROGRESS, dev, now, attempt=1)
                for task in taken
            ]
        )

    assert kinds(sent) == ["SELECT"]
    assert [(one.task_id, one.attempt) for one in outcomes if isinstance(one, Task)] == [
        (task.task_id, 1) for task in taken
    ]


PARTIES = {"guide": [], "four-eyes": ["SELECT", "SELECT"]}  # the tasks, and the keys of all


@pytest.mark.parametrize("mode", PARTIES)
def test_approving_many_costs_as_much_as_approving_one(
    make_task: Make, now: datetime, settings: Any, mode: str
) -> None:
    settings.ORCHESTRATOR_APPROVAL_MODE = mode
    for number in (1, 20):
        asked = [make_task(priority="P0").approval_id for _ in range(number)]
        with statements() as sent:
            outcomes = decide_all(
                [
                    Decision(approval_id, ApprovalStatus.APPROVED, actor(f"ops-{place}"), now)
                    for place, approval_id in enumerate(asked)
                ]
            )

        assert {one.status for one in outcomes if isinstance(one, Approval)} == {"approved"}
        assert kinds(sent) == ["SELECT", *PARTIES[mode], "UPDATE", "WITH", *LOG[:2]]


def test_claiming_many_costs_as_much_as_claiming_one(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    claims.claim(agent="dev_agent", by=dev, now=now)
    costs = []
    for number in (1, 20):
        for _ in range(number):
            make_task()
        with statements() as sent:
            assert len(claims.claim(agent="dev_agent", by=dev, now=now, limit=50)) == number
        costs.append(kinds(sent))

    assert costs[0] == costs[1]


def test_asking_in_vain_costs_one_statement(db: None, dev: Actor, now: datetime) -> None:
    claims.claim(agent="dev_agent", by=dev, now=now)

    with statements() as sent:
        claims.claim(agent="dev_agent", by=dev, now=now)

    assert kinds(sent) == ["WITH"]


READS = {
    "/stats": 3,
    "/health": 4,
    "/tasks": 2,
    "/tasks?status=assigned&overdue=true": 2,
    "/approvals/pending": 1,
    "/approvals/history": 1,
    "/agents": 6,
}


@pytest.mark.parametrize("path", READS)
def test_a_read_costs_the_same_however_much_there_is(
    api: Callers, make_task: Make, dev: Actor, now: datetime, path: str
) -> None:
    caller, costs = api("agent"), []
    caller.get(path)
    for _ in range(2):
        for _ in range(6):
            make_task(priority="P0", sla_target=1)
        for approval in Approval.objects.filter(status="pending")[:3]:
            Approval.objects.filter(pk=approval.pk).update(
                status="approved", decided_by="x", decided_at=now
            )
        with statements() as sent:
            assert caller.get(path).status_code == 200
        costs.append(len(kinds(sent)))

    assert costs[0] == costs[1] <= READS[path], sent


@pytest.mark.parametrize("path", ["/stats", "/health"])
def test_counts_are_read_not_counted(api: Callers, make_task: Make, path: str) -> None:
    make_task()
    caller = api("agent")
    caller.get(path)

    with statements() as sent:
        caller.get(path)

    assert not [sql for sql in sent if 'tasks_app_task"' in sql or "COUNT(" in sql.upper()], sent
