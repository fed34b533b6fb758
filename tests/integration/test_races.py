"""Many at once: of several deciders, claimers, sweepers, exactly one wins, and nobody waits for
ever.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from approvals_app.errors import AlreadyDecided
from approvals_app.models import Approval, ApprovalPolicy
from approvals_app.services import transitions
from events_app.log import reading
from events_app.models import Event
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import Conflict, DomainError
from tasks_app.models import Agent, Status, Task
from tasks_app.services import bulk, claims, leases, lifecycle, routing, sla
from tasks_app.services.statistics import counts
from tests.conftest import actor
from tests.support import decisions

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(
        connection.vendor != "postgresql",
        reason="Races are run on PostgreSQL; SQLite lets one writer in at a time.",
    ),
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
]
Make = Callable[..., Task]
Together = Callable[..., list[Any]]


@pytest.fixture
def together() -> Iterator[Together]:
    """Run calls at the same moment, each in a thread with a connection of its own.

    Return results and refusals.
    """
    with ThreadPoolExecutor(24) as pool:

        def run(*calls: Callable[[], Any]) -> list[Any]:
            barrier = threading.Barrier(len(calls))

            def one(call: Callable[[], Any]) -> Any:
                connection.ensure_connection()
                barrier.wait(30)
                try:
                    return call()
                except DomainError as refusal:
                    return refusal

            return list(pool.map(one, calls))

        yield run
        closing = threading.Barrier(24)
        list(pool.map(lambda _: (closing.wait(30), connection.close()), range(24)))


def lost(outcome: Any) -> bool:
    return isinstance(outcome, DomainError)


@pytest.mark.parametrize("mixed", [False, True])
def test_of_eight_deciders_exactly_one_wins(
    make_task: Make, together: Together, now: datetime, mixed: bool
) -> None:
    for _ in range(30):
        approval_id = make_task(priority="P0").approval_id

        outcomes = together(
            *(
                partial(
                    decisions.reject if mixed and place % 2 else decisions.approve,
                    approval_id=approval_id,
                    by=actor(f"decider-{place}"),
                    now=now,
                )
                for place in range(8)
            )
        )

        [winner] = [outcome for outcome in outcomes if not lost(outcome)]
        assert all(
            isinstance(outcome, AlreadyDecided) for outcome in outcomes if outcome is not winner
        )
        approval = Approval.objects.get(approval_id=approval_id)
        assert (approval.status, approval.decided_by) == (winner.status, winner.decided_by)
        told = Counter(
            Event.objects.filter(task_id=approval.task_id).values_list("event_type", flat=True)
        )
        assert told["approval.approved"] + told["approval.rejected"] == 1
        assert told["approval.decision_refused"] == 7


def test_of_six_equal_keys_one_makes_the_task(api: Callable[..., Any], together: Together) -> None:
    body = {"type": "bugfix", "payload": {"issue": "1"}, "priority": "P0"}
    api("agent").get("/stats")  # the schema that answers are checked against is made once
    for round_ in range(10):
        headers = {"Idempotency-Key": f"key-{round_}"}

        answers = together(
            *[partial(api("agent").post, "/tasks", body, **headers) for _ in range(6)]
        )

        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["task_id"] for answer in answers}) == 1
        assert [answer.headers.get("Idempotent-Replay") for answer in answers].count("true") == 5
    assert (Task.objects.count(), Approval.objects.count()) == (10, 10)


def test_twenty_sweepers_tell_of_each_deadline_once(
    make_task: Make, together: Together, now: datetime
) -> None:
    tasks = [make_task(sla_target=60 + place % 60) for place in range(100)]
    warned = now + timedelta(seconds=90)

    made = [
        together(*(partial(sla.check_slas, now=when) for _ in range(20)))
        for when in (warned, now + timedelta(days=1))
    ]

    told = Counter(
        Event.objects.filter(event_type__startswith="sla.").values_list("task_id", "event_type")
    )
    assert told == {
        (task.task_id, kind): 1 for task in tasks for kind in ("sla.warning", "sla.violation")
    }
    assert [sum(pair[kind] for sweeps in made for pair in sweeps) for kind in (0, 1)] == [100, 100]
    assert (counts()["sla_warnings"], counts()["sla_violations"]) == (100, 100)


def test_sixteen_claimers_lease_each_of_200_tasks_once(
    make_task: Make, together: Together, now: datetime
) -> None:
    for _ in range(200):
        make_task()

    def work(name: str) -> list[str]:
        mine: list[str] = []
        while taken := claims.claim(agent="dev_agent", by=actor(name), now=now, limit=3):
            mine += [task.task_id for task in taken]
        return mine

    taken = together(*(partial(work, f"dev-agent-{place}") for place in range(16)))

    everything = [task_id for mine in taken for task_id in mine]
    assert len(everything) == len(set(everything)) == 200
    assert set(Task.objects.values_list("status", "attempt")) == {("in_progress", 1)}
    holders = dict(Task.objects.values_list("task_id", "holder"))
    assert all(
        holders[task_id] == f"dev-agent-{place}"
        for place, mine in enumerate(taken)
        for task_id in mine
    )
    assert counts()["in_progress"] == 200


def test_claimers_at_once_keep_to_the_limit_of_their_agent(
    make_task: Make, together: Together, now: datetime
) -> None:
    Agent.objects.filter(name="dev_agent").update(concurrency_limit=5)
    for _ in range(30):
        make_task()

    together(
        *(
            lambda: claims.claim(agent="dev_agent", by=actor("x"), now=now, limit=3)
            for _ in range(12)
        )
    )

    assert Task.objects.filter(status="in_progress").count() == 5


def test_approving_cancelling_and_reassigning_at_once_leaves_no_contradiction(
    make_task: Make, together: Together, admin: Actor, now: datetime
) -> None:
    seen: Counter[str] = Counter()
    for round_ in range(200):
        task = make_task(priority="P0")
        calls = [
            partial(
                decisions.approve, approval_id=task.approval_id, by=actor("ops-agent-1"), now=now
            ),
            partial(lifecycle.cancel_task, task_id=task.task_id, by=admin, now=now),
            partial(
                routing.reassign,
                task_id=task.task_id,
                agent="ops_agent",
                reason="x",
                by=admin,
                now=now,
            ),
        ]
        if round_ % 2:
            calls[1] = partial(decisions.reject, approval_id=task.approval_id, by=admin, now=now)

        outcomes = together(*calls)

        assert all(isinstance(outcome, Conflict) or not lost(outcome) for outcome in outcomes), (
            outcomes
        )
        check_consistent(task)
        seen[Task.objects.get(pk=task.pk).status] += 1
    assert seen["cancelled"] >= 100  # every cancellation came through
    assert counts() == counts() | {"cancelled": seen["cancelled"], "assigned": seen["assigned"]}


def check_consistent(task: Task) -> None:
    """Check that a task and its requests say the same."""
    task.refresh_from_db()
    states = dict(
        Approval.objects.filter(task_id=task.task_id).values_list("approval_id", "status")
    )
    pending = [approval_id for approval_id, status in states.items() if status == "pending"]
    if task.status == "cancelled":
        assert pending == []
    else:
        assert pending == ([task.approval_id] if task.awaiting_approval else [])
        assert states[task.approval_id] == ("pending" if task.awaiting_approval else "approved")


def test_a_request_that_expires_while_it_is_approved_ends_one_way(
    make_task: Make, together: Together, now: datetime
) -> None:
    ApprovalPolicy.objects.update(expires_after=60)
    before = now + timedelta(seconds=59)
    for _ in range(30):
        task = make_task(priority="P0")

        together(
            partial(decisions.approve, approval_id=task.approval_id, by=actor("ops"), now=before),
            lambda: transitions.expire_approvals(now=now + timedelta(seconds=60)),
        )

        status = Approval.objects.get(approval_id=task.approval_id).status
        assert (status, Task.objects.get(pk=task.pk).status) in (
            ("approved", "assigned"),
            ("expired", "cancelled"),
        )


def test_of_a_report_and_a_sweep_at_the_lease_s_end_one_wins(
    make_task: Make, together: Together, dev: Actor, now: datetime
) -> None:
    end = now + timedelta(seconds=60)
    won: Counter[bool] = Counter()
    for _ in range(100):
        task = make_task()
        claims.claim(agent="dev_agent", by=dev, now=now, lease_seconds=60)

        report, swept = together(
            partial(
                lifecycle.report_status,
                task_id=task.task_id,
                status=Status.COMPLETED,
                by=dev,
                now=end - timedelta(microseconds=1),
                attempt=1,
            ),
            lambda: leases.requeue_lost_leases(now=end),
        )

        task.refresh_from_db()
        assert (task.status, swept) == (("assigned", 1) if lost(report) else ("completed", 0))
        lifecycle.cancel_task(task_id=task.task_id, by=dev, now=end) if lost(report) else None
        won[lost(report)] += 1
    assert counts()["completed"] == won[False]


def test_of_two_reports_one_ends_the_task(
    make_task: Make, together: Together, now: datetime
) -> None:
    for _ in range(30):
        task = make_task()

        outcomes = together(
            *(
                partial(
                    lifecycle.report_status,
                    task_id=task.task_id,
                    status=status,
                    by=actor(name),
                    now=now,
                )
                for status, name in ((Status.COMPLETED, "a"), (Status.FAILED, "b"))
            )
        )

        assert sorted(map(lost, outcomes)) == [False, True]
    assert counts()["completed"] + counts()["failed"] == 30


def test_a_task_that_waits_for_several_is_freed_once(
    make_task: Make, together: Together, now: datetime
) -> None:
    for _ in range(20):
        needed = [make_task() for _ in range(4)]
        task = make_task(depends_on=[other.task_id for other in needed])

        together(
            *(
                partial(
                    lifecycle.report_status,
                    task_id=other.task_id,
                    status=Status.COMPLETED,
                    by=actor("a"),
                    now=now,
                )
                for other in needed
            )
        )

        assert Task.objects.get(pk=task.pk).open_dependencies == 0
        assert Event.objects.filter(task_id=task.task_id, event_type="task.ready").count() == 1


def test_readers_at_once_give_each_event_one_place(
    make_task: Make, together: Together, now: datetime
) -> None:
    def write() -> None:
        for _ in range(20):
            make_task()

    def read() -> list[int]:
        seen: list[int] = []
        while len(seen) < 6 * 20 * 2:
            events, _ = reading.read(after=seen[-1] if seen else 0, limit=7)
            seen += [event.position for event in events if event.position is not None]
        return seen

    outcomes = together(*[write] * 6, *[read] * 4)

    assert outcomes[6:] == [list(range(1, 241))] * 4
    assert counts()["assigned"] == 120


def test_once_a_policy_is_saved_no_claim_hands_out_what_it_gates(
    make_task: Make, together: Together, now: datetime
) -> None:
    """Claims that began before may go through; those that begin after ask, each task once."""
    for _ in range(60):
        make_task()
    saved = threading.Event()

    def claim(name: str) -> list[tuple[bool, str]]:
        taken = []
        for _ in range(12):
            before = saved.is_set()
            taken += [
                (before, task.task_id)
                for task in claims.claim(agent="dev_agent", by=actor(name), now=now)
            ]
        return taken

    def tighten() -> list[tuple[bool, str]]:
        ApprovalPolicy.objects.create(name="All", reason="Freeze.")
        saved.set()
        return []

    taken = together(tighten, *(partial(claim, f"dev-agent-{place}") for place in range(8)))

    handed = [pair for mine in taken for pair in mine]
    assert not [task_id for too_late, task_id in handed if too_late]
    asked = list(Approval.objects.values_list("task_id", flat=True))
    assert len(asked) == len(set(asked))
    assert not set(asked) & {task_id for _, task_id in handed}
    assert len(asked) + len(handed) == 60


def test_many_workers_go_on_with_a_bulk_operation_and_do_each_task_once(
    make_task: Make, together: Together, admin: Actor, now: datetime, monkeypatch: Any
) -> None:
    monkeypatch.setattr(bulk, "STEP", 2)
    monkeypatch.setattr(bulk, "find_account", lambda name: User(username=name, is_superuser=True))
    pks = [make_task().pk for _ in range(40)]
    operation = bulk.start(verb="cancel", pks=pks, by=admin, now=now, reason="Not needed.")
    monkeypatch.setattr(bulk, "STEP", 40)

    together(*[lambda: bulk.continue_all(clock=lambda: now)] * 8)

    operation.refresh_from_db()
    assert (operation.done, operation.refused) == (40, 0)
    assert Event.objects.filter(event_type="task.cancelled").count() == 40
