"""Claims that arrive together are served by the same few statements, each as if it came alone."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from approvals_app.models import Approval, ApprovalPolicy
from events_app.models import Event
from orchestrator_site.core.actors import Actor
from orchestrator_site.infra.pagination import MOST_BYTES
from tasks_app.errors import UnknownAgent
from tasks_app.models import Agent, RoutingRule, Status, Task
from tasks_app.services import claims, lifecycle
from tasks_app.services.claims import Claim
from tests.conftest import actor
from tests.integration.test_queries_counted import kinds, statements
from tests.support import decisions

Make = Callable[..., Task]


def hand_out(now: datetime, *wanted: dict[str, Any]) -> list[list[str]]:
    """Claim together, each in a name of its own; return the ids of the tasks that each got."""
    together = []
    for place, asked in enumerate(wanted):
        fields: dict[str, Any] = {"agent": "dev_agent", "by": actor(f"{place}"), "now": now} | asked
        together.append(Claim(**fields))
    taken = []
    for place, outcome in enumerate(claims.claim_all(together)):
        assert not isinstance(outcome, UnknownAgent)
        assert {row.task.holder for row in outcome} <= {together[place].by.name}
        taken.append([row.task.task_id for row in outcome])
    return taken


def ids(*tasks: Task) -> list[str]:
    return [task.task_id for task in tasks]


def change(row: Any, **changes: object) -> None:
    for name, value in changes.items():
        setattr(row, name, value)
    row.save()


def test_each_task_goes_to_one_claimer_and_the_first_gets_the_most_urgent(
    make_task: Make, now: datetime
) -> None:
    low, middle = make_task(priority="P3"), make_task(priority="P2")
    high = make_task(priority="P2", now=now - timedelta(minutes=1))

    taken = hand_out(now, {}, {"limit": 1}, {}, {})

    assert taken == [ids(high), ids(middle), ids(low), []]
    told = Event.objects.filter(event_type="task.claimed").order_by("position")
    assert [(event.task_id, event.publisher) for event in told] == [
        (high.task_id, "0"),
        (middle.task_id, "1"),
        (low.task_id, "2"),
    ]
    assert set(Task.objects.values_list("task_id", "holder", "attempt", "status")) == {
        (task.task_id, name, 1, "in_progress")
        for task, name in ((high, "0"), (middle, "1"), (low, "2"))
    }


def test_each_gets_at_most_as_many_as_it_asked_for(make_task: Make, now: datetime) -> None:
    tasks = [make_task() for _ in range(6)]

    taken = hand_out(now, {"limit": 2}, {"limit": 1}, {"limit": 50}, {"limit": 3})

    assert taken == [ids(*tasks[:2]), ids(tasks[2]), ids(*tasks[3:]), []]


def test_each_lease_lasts_as_long_as_was_asked_for(make_task: Make, now: datetime) -> None:
    for _ in range(3):
        make_task()

    hand_out(now, {"lease_seconds": 30}, {"lease_seconds": 90}, {"lease_seconds": 30})

    leases = Task.objects.order_by("holder").values_list("lease_seconds", "lease_expires_at")
    assert list(leases) == [(seconds, now + timedelta(seconds=seconds)) for seconds in (30, 90, 30)]


def test_queues_and_types_are_served_side_by_side(make_task: Make, now: datetime) -> None:
    bug, answer, feature = make_task(), make_task(type="faq_update"), make_task(type="feature")
    wanted = {"types": ["feature", "feature"]}

    taken = hand_out(now, wanted, {"agent": answer.assigned_agent}, {"types": ["feature"]}, {})

    assert taken == [ids(feature), ids(answer), [], ids(bug)]


def test_an_unknown_agent_is_refused_alone(make_task: Make, dev: Actor, now: datetime) -> None:
    task = make_task()

    outcomes = claims.claim_all([Claim("nobody", dev, now), Claim("dev_agent", dev, now)])

    assert isinstance(outcomes[0], UnknownAgent)
    assert [row.task.task_id for row in outcomes[1]] == [task.task_id]  # type: ignore[union-attr]


def test_the_same_worker_may_ask_twice_at_once(make_task: Make, dev: Actor, now: datetime) -> None:
    tasks = [make_task() for _ in range(2)]

    outcomes = claims.claim_all([Claim("dev_agent", dev, now)] * 2)

    assert [[row.task.task_id for row in outcome] for outcome in outcomes] == [  # type: ignore[union-attr]
        ids(task) for task in tasks
    ]


def test_what_is_paused_is_handed_to_none_of_them(make_task: Make, now: datetime) -> None:
    bug, feature = make_task(), make_task(type="feature")
    change(RoutingRule.objects.get(task_type="bugfix"), paused=True)

    assert hand_out(now, {}, {"types": ["bugfix"]}, {}) == [ids(feature), [], []]

    change(RoutingRule.objects.get(task_type="bugfix"), paused=False)
    change(Agent.objects.get(name="dev_agent"), paused=True)
    assert hand_out(now, {}, {}) == [[], []]
    change(Agent.objects.get(name="dev_agent"), paused=False)
    assert hand_out(now, {}, {}) == [ids(bug), []]


def test_an_agents_limit_holds_for_all_of_them_together(make_task: Make, now: datetime) -> None:
    tasks = [make_task() for _ in range(5)]
    change(Agent.objects.get(name="dev_agent"), concurrency_limit=3)

    first = hand_out(now, {"lease_seconds": 30}, {"types": ["bugfix"], "limit": 5}, {})

    assert first == [ids(tasks[0]), ids(tasks[1], tasks[2]), []]
    assert hand_out(now, {}, {}) == [[], []]
    lifecycle.report_status(
        task_id=tasks[0].task_id, status=Status.COMPLETED, by=actor("0"), now=now
    )
    assert hand_out(now, {}, {}) == [ids(tasks[3]), []]


def test_a_types_limit_holds_for_all_of_them_together(make_task: Make, now: datetime) -> None:
    change(RoutingRule.objects.get(task_type="bugfix"), concurrency_limit=2)
    bugs = [make_task() for _ in range(3)]
    features = [make_task(type="feature") for _ in range(2)]

    taken = hand_out(now, {}, {"limit": 2}, {}, {"types": ["bugfix"]})

    assert taken == [ids(bugs[0]), ids(bugs[1], features[0]), ids(features[1]), []]


@pytest.mark.parametrize("limit", [1, 50])
def test_a_shut_gate_keeps_its_task_back_and_harms_nobody(
    make_task: Make, now: datetime, limit: int
) -> None:
    bugs = [make_task() for _ in range(3)]
    features = [make_task(type="feature") for _ in range(2)]
    ApprovalPolicy.objects.create(name="Bugs", types=["bugfix"], reason="Freeze.")

    wanted: dict[str, Any] = {"types": ["feature"], "limit": limit}
    taken = hand_out(now, {"types": ["bugfix"], "limit": limit}, wanted, {}, {})

    assert sorted(task_id for mine in taken for task_id in mine) == sorted(ids(*features))
    assert taken[0] == []
    assert sorted(Approval.objects.values_list("task_id", flat=True)) == sorted(ids(*bugs))
    assert set(Task.objects.filter(type="bugfix").values_list("status", "attempt")) == {
        ("assigned", 0)
    }
    told = Event.objects.filter(event_type="task.claimed").values_list("task_id", flat=True)
    assert sorted(told) == sorted(ids(*features))


def test_where_many_gates_are_shut_other_queues_go_on(
    make_task: Make, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "MOST_HELD_BACK", 2)
    for _ in range(5):
        make_task()
    other = make_task(type="faq_update")
    ApprovalPolicy.objects.create(name="Bugs", types=["bugfix"], reason="Freeze.")

    taken = hand_out(now, {}, {"agent": other.assigned_agent}, {})

    assert taken == [[], ids(other), []]
    assert 2 <= Approval.objects.filter(status="pending").count() <= 4


def test_the_gates_of_granted_tasks_are_asked_together_and_said(
    make_task: Make, ops: Actor, now: datetime
) -> None:
    plain = make_task()
    gated = [make_task(priority="P0") for _ in range(4)]
    for task in gated:
        decisions.approve(approval_id=task.approval_id, by=ops, now=now)

    with statements() as sent:
        outcomes = claims.claim_all(
            [Claim("dev_agent", actor(f"{place}"), now) for place in range(5)]
        )

    rows = [row for outcome in outcomes for row in outcome]  # type: ignore[union-attr]
    assert [row.task.task_id for row in rows] == ids(*gated, plain)
    assert [row.gate["status"] for row in rows] == ["approved"] * 4 + [None]
    assert len([sql for sql in sent if "approvals_app_approval" in sql]) == 1


def test_nobody_is_sent_more_than_four_mebibytes(make_task: Make, now: datetime) -> None:
    quarter = {"text": "x" * (MOST_BYTES // 4 - 1000)}
    tasks = [make_task(payload=quarter) for _ in range(10)]

    taken = hand_out(now, {"limit": 50}, {"limit": 1}, {"limit": 50}, {"limit": 50})

    assert [len(mine) for mine in taken] == [4, 1, 3, 2]
    assert sorted(task_id for mine in taken for task_id in mine) == sorted(ids(*tasks))


def test_a_task_too_large_for_an_answer_is_handed_out_alone(make_task: Make, now: datetime) -> None:
    for _ in range(3):
        make_task(payload={"text": "x" * (MOST_BYTES + 1)})

    taken = hand_out(now, {"limit": 9}, {"limit": 9}, {"limit": 9}, {"limit": 9})

    assert [len(mine) for mine in taken] == [1, 1, 1, 0]


@pytest.mark.parametrize(("most", "limit"), [(32, 1), (10, 3)])
def test_many_claimers_cost_as_many_statements_as_one(
    make_task: Make, now: datetime, most: int, limit: int
) -> None:
    make_task()
    hand_out(now, {"limit": limit})
    costs = []
    for number in (1, most):
        for _ in range(number * limit):
            make_task()
        with statements() as sent:
            taken = hand_out(now, *[{"limit": limit}] * number)
        assert [len(mine) for mine in taken] == [limit] * number
        costs.append(len(kinds(sent)))

    assert costs[0] == costs[1]


@pytest.mark.parametrize("microseconds", [0, 1])
def test_a_waiting_claim_knows_what_is_scheduled_for_it(
    make_task: Make, dev: Actor, now: datetime, microseconds: int
) -> None:
    due = now + timedelta(microseconds=microseconds)
    make_task(type="feature", not_before=now + timedelta(seconds=30))
    make_task(not_before=now + timedelta(seconds=90))

    known = claims.claim_all(
        [
            Claim("dev_agent", dev, due, waits=True),
            Claim("dev_agent", dev, due, types=["bugfix"], waits=True),
            Claim("ops_agent", dev, due, waits=True),
        ]
    )

    past = microseconds / 1_000_000
    assert [getattr(nothing, "due_in", 0) for nothing in known] == [
        pytest.approx(30 - past),
        pytest.approx(90 - past),
        None,
    ]
