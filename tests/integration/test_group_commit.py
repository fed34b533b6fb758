"""What arrives together is carried out together, and nobody pays for another's fault."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection, Generator
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from events_app.models import Event
from orchestrator_site.api import idempotency
from orchestrator_site.api.viewsets import in_place
from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from orchestrator_site.core.errors import Conflict, DomainError
from orchestrator_site.core.times import now
from orchestrator_site.infra import cached_rows
from orchestrator_site.infra.group_commit import MOST, Grouped, Queued, together, with_followers
from orchestrator_site.models import IdempotencyKey
from tasks_app.errors import UnknownType
from tasks_app.models import Task
from tasks_app.services import claims, intake

ALICE = Actor("alice", Role.AGENT, Door.API, Assurance.PERSONAL, "key:alice")


class Double:
    """A work that notes with what it is called; it waits at the first call until it may go on."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []
        self.may_go_on = threading.Event()

    def __call__(self, items: list[Any]) -> list[Any]:
        self.calls.append(list(items))
        if len(self.calls) == 1:
            self.may_go_on.wait(5)
        for item in items:
            if isinstance(item, BaseException):
                raise item
        return [Conflict("odd") if item % 2 else item * 2 for item in items]


class Batch(int):
    """An item that counts for many."""

    weight = MOST - 1


def run(
    work: Double, items: list[Any], then: Callable[[], None] = lambda: None
) -> tuple[list[Any], list[list[Any]]]:
    """Return the outcomes of items that arrive while the work is busy with a first one."""

    async def main() -> list[Any]:
        grouped = Grouped(asyncio.get_running_loop())
        first = grouped.read(work, 0)
        while not work.calls:
            await asyncio.sleep(0)
        futures = [grouped.read(work, item) for item in items]
        then()
        work.may_go_on.set()
        outcomes = await asyncio.gather(first, *futures)
        grouped.close()
        return list(outcomes[1:])

    return asyncio.run(main()), work.calls[1:]


def test_what_arrives_together_is_one_call_and_each_gets_its_own_outcome() -> None:
    outcomes, calls = run(Double(), [2, 3, 4])

    assert calls == [[2, 3, 4]]
    assert [outcomes[0], str(outcomes[1]), outcomes[2]] == [4, "odd", 8]


def test_one_call_takes_so_many_items_and_no_more() -> None:
    outcomes, calls = run(Double(), [2] * 100)

    assert outcomes == [4] * 100
    assert [len(items) for items in calls] == [32, 32, 32, 4]


def test_a_batch_counts_for_as_many_as_it_holds() -> None:
    _, calls = run(Double(), [Batch(2), 4, Batch(6), 8])

    assert calls == [[2, 4], [6, 8]]


def test_small_tables_are_renewed_once_for_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    renewals: list[None] = []
    monkeypatch.setattr(cached_rows, "all_fresh", lambda: False)
    monkeypatch.setattr(cached_rows, "renew_all", lambda: renewals.append(None))

    async def main() -> None:
        grouped = Grouped(asyncio.get_running_loop())
        await asyncio.gather(*(grouped.prepare() for _ in range(20)))
        grouped.close()

    asyncio.run(main())

    assert len(renewals) == 1


def test_who_shares_a_call_waits_no_longer_than_they_said() -> None:
    thawed, calls = threading.Event(), list[int]()

    def hang() -> str:
        calls.append(1)
        thawed.wait(5)
        return "thawed"

    async def main() -> str:
        grouped = Grouped(asyncio.get_running_loop())
        patient = asyncio.create_task(grouped.call_shared(hang))
        with pytest.raises(TimeoutError):
            await grouped.call_shared(hang, seconds=0.01)
        thawed.set()
        grouped.close()
        return str(await patient)

    assert asyncio.run(main()) == "thawed" and calls == [1]


def test_a_fault_of_one_is_taken_apart_and_harms_nobody_else() -> None:
    fault = ZeroDivisionError("mine")

    outcomes, calls = run(Double(), [2, fault, 4])

    assert outcomes == [4, fault, 8]
    assert calls == [[2, fault, 4], [2], [fault], [4]]


def test_a_database_that_is_gone_is_said_to_all_and_not_asked_again_for_each() -> None:
    outcomes, calls = run(Double(), [2, OperationalError("gone"), 4])

    assert [type(outcome) for outcome in outcomes] == [OperationalError] * 3
    assert len(set(map(id, outcomes))) == 3, "a fault that is raised by two tasks at once is shared"
    assert len(calls) == 1


def test_a_deadlock_is_taken_apart_for_the_database_is_there() -> None:
    deadlock = OperationalError("deadlock detected")
    deadlock.__cause__ = psycopg.errors.DeadlockDetected()

    outcomes, calls = run(Double(), [2, deadlock, 4])

    assert outcomes == [4, deadlock, 8]
    assert calls == [[2, deadlock, 4], [2], [deadlock], [4]]


def test_a_caller_who_has_left_holds_nobody_up() -> None:
    async def main() -> Any:
        work, grouped = Double(), Grouped(asyncio.get_running_loop())
        gone = grouped.read(work, 2)
        gone.cancel()
        work.may_go_on.set()
        outcome = await grouped.read(work, 4)
        grouped.close()
        return outcome

    assert asyncio.run(main()) == 8


def test_outside_of_a_server_a_coroutine_may_not_wait() -> None:
    class Later:
        def __await__(self) -> Generator[None, None, None]:
            yield

    async def waits() -> None:
        await Later()

    with pytest.raises(RuntimeError, match="waits although nothing here would wake it"):
        in_place(waits())


def new(**fields: Any) -> intake.NewTask:
    return intake.NewTask({"type": "bugfix", "payload": {}, **fields}, ALICE, now())


@pytest.mark.django_db
def test_of_many_new_tasks_only_those_that_cannot_be_are_refused() -> None:
    parent = intake.create_task(type="bugfix", payload={}, by=ALICE, now=now())
    news = [
        new(),
        new(type="nobody"),
        new(parent_task_id=parent.task_id),
        new(parent_task_id="task_none"),
        new(depends_on=[parent.task_id]),
        new(depends_on=["task_none"]),
    ]

    outcomes = intake.create_all(news)

    assert [isinstance(outcome, Task) for outcome in outcomes] == [True, False] * 3
    assert isinstance(outcomes[1], UnknownType)
    assert Task.objects.count() == 4


@pytest.mark.django_db
def test_the_number_of_statements_does_not_grow_with_the_number_of_new_tasks(
    django_assert_max_num_queries: Any,
) -> None:
    intake.create_all([new()])

    # One for the tasks of each twenty or so on SQLite, and the log's own.
    with django_assert_max_num_queries(12):
        assert len(intake.create_all([new() for _ in range(50)])) == 50


def keyed(key: str, **fields: Any) -> idempotency.Keyed:
    return idempotency.Keyed(
        work=intake.create_all,
        item=new(**fields),
        write=lambda task: {"task_id": task.task_id},
        principal="alice",
        key=key,
        operation="POST /tasks",
        body=fields,
        now=now(),
    )


@pytest.mark.django_db
def test_a_key_that_comes_twice_at_once_makes_one_task() -> None:
    [first, again, other] = idempotency.answer_all([keyed("a"), keyed("a"), keyed("b")])

    assert isinstance(first, tuple) and isinstance(again, tuple) and isinstance(other, tuple)
    assert again == (first[0], True)
    assert not other[1] and other[0] != first[0]
    assert Task.objects.count() == 2


@pytest.mark.django_db
def test_a_key_of_what_was_refused_may_be_used_again() -> None:
    [refusal] = idempotency.answer_all([keyed("a", type="nobody")])

    assert isinstance(refusal, DomainError)
    assert not IdempotencyKey.objects.exists()
    [answer] = idempotency.answer_all([keyed("a")])
    assert isinstance(answer, tuple) and not answer[1]


@pytest.mark.django_db
def test_a_key_that_is_used_for_something_else_is_refused_alone() -> None:
    idempotency.answer_all([keyed("a")])

    other, fine = idempotency.answer_all([keyed("a", source="elsewhere"), keyed("b")])

    assert isinstance(other, idempotency.KeyReused)
    assert isinstance(fine, tuple)


def waiting_claim() -> Queued:
    """Return a claim that was handed in because of something."""
    claim = claims.Claim("dev_agent", ALICE, now(), waits=True)
    return Queued(claims.claim_all, claim, Future())  # type: ignore[arg-type] # nobody awaits it


@pytest.mark.django_db
def test_a_claim_that_waits_takes_its_task_in_the_transaction_that_brings_it() -> None:
    said: list[Collection[str]] = []

    def woken(topics: Collection[str]) -> list[Queued]:
        said.append(topics)
        return [waiting_claim()]

    create = Queued(intake.create_all, new(), Future())  # type: ignore[arg-type]
    with CaptureQueriesContext(connection) as sent:
        jobs, (task, [claimed]) = with_followers([create], woken)

    assert said == [{"tasks:dev_agent"}] and len(jobs) == 2
    assert (claimed.task.task_id, claimed.task.holder) == (task.task_id, "alice")
    ledger = [query for query in sent if "events_app_ledger" in query["sql"]]
    assert len(ledger) == 1  # one numbering of all events, so one transaction
    told = Event.objects.filter(task_id=task.task_id).order_by("position")
    names = ["task.created", "task.assigned", "task.claimed"]
    assert list(told.values_list("event_type", flat=True)) == names


@pytest.mark.django_db
def test_what_fails_because_of_a_waiting_claim_is_done_without_it() -> None:
    calls: list[int] = []

    def fail_first(items: list[Any]) -> list[Any]:
        calls.append(Task.objects.count())
        if len(calls) == 1:
            raise ZeroDivisionError
        return claims.claim_all(items)

    claim = waiting_claim()._replace(work=fail_first)
    create = Queued(intake.create_all, new(), Future())  # type: ignore[arg-type]
    jobs, (task, [claimed]) = with_followers([create], lambda topics: [claim])

    assert calls == [1, 1] and len(jobs) == 2
    assert claimed.task.task_id == task.task_id == Task.objects.get().task_id
    assert Event.objects.filter(task_id=task.task_id).count() == 3


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_fault_that_somebody_passed_over_undoes_nothing_that_is_acknowledged() -> None:
    def woken(topics: Collection[str]) -> list[Queued]:
        passed_over, block = contextlib.suppress(DatabaseError), transaction.atomic(savepoint=False)
        with passed_over, block, connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")
        return []

    create = Queued(intake.create_all, new(), Future())  # type: ignore[arg-type]
    _, [task] = with_followers([create], woken)

    assert Task.objects.get().task_id == task.task_id
    assert Event.objects.filter(task_id=task.task_id).count() == 2


@pytest.mark.django_db
def test_together_leaves_nothing_of_what_failed() -> None:
    def work(news: list[intake.NewTask]) -> list[Any]:
        outcomes = intake.create_all(news)
        if any(new.fields.get("source") == "poison" for new in news):
            raise ZeroDivisionError
        return outcomes

    def whole(news: list[intake.NewTask]) -> list[Any]:
        with idempotency.change():
            return work(news)

    outcomes = together(whole, [new(), new(source="poison"), new()])

    assert [type(outcome) for outcome in outcomes] == [Task, ZeroDivisionError, Task]
    assert Task.objects.count() == 2
    assert connection.in_atomic_block
