"""A page ends at its limit or at 4 MiB, whichever is first, and `next` goes on."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from approvals_app.models import Approval
from events_app import services
from events_app.consumers import services as consumers
from events_app.log import sequencing
from events_app.models import ConsumerDelivery
from events_app.streams import sse
from orchestrator_site.core.actors import Actor
from orchestrator_site.infra.pagination import MOST_BYTES
from tasks_app.models import Task
from tasks_app.services import agents as agent_services
from tasks_app.services import claims

Make = Callable[..., Task]
Callers = Callable[..., Any]
MIB = {"text": "x" * 1_048_000}
QUARTER = {"text": "x" * 262_000}


@pytest.fixture
def five(make_task: Make) -> list[Task]:
    """Five tasks of a MiB: four of them fit on a page."""
    return [make_task(payload=MIB, metadata={"number": number}) for number in range(5)]


def publish(by: Actor, now: datetime, count: int, **said: Any) -> None:
    for number in range(count):
        payload = {**QUARTER, "number": number}
        services.publish(
            event_type="big.file", source_agent=by.name, payload=payload, by=by, now=now, **said
        )


def pages(get: Callable[[str], Any], path: str, rows: str, name: str = "cursor") -> list[list[Any]]:
    """Return the pages of a list, to the end."""
    found, following = [], ""
    while following is not None:
        sign = "&" if "?" in path else "?"
        answer = get(f"{path}{sign}{name}={following}" if following else path).json()
        following = answer["next"]
        if not answer[rows]:
            break
        found.append(answer[rows])
    return found


def test_a_list_of_tasks_ends_at_four_mebibytes(api: Callers, five: list[Task]) -> None:
    read = pages(api("user").get, "/tasks?limit=200", "tasks")

    assert [len(page) for page in read] == [4, 1]
    shown = [(task["payload"], task["metadata"]["number"]) for page in read for task in page]
    assert shown == [(MIB, number) for number in reversed(range(5))]


def test_small_and_large_tasks_share_a_page(api: Callers, make_task: Make) -> None:
    for number in range(12):
        make_task(payload=MIB if number % 3 == 0 else {"number": number})

    read = pages(api("user").get, "/tasks?limit=5", "tasks")

    assert [len(page) for page in read] == [5, 5, 2]
    assert sum(task["payload"] == MIB for page in read for task in page) == 4


def test_a_row_larger_than_a_page_is_shown_alone(make_task: Make, api: Callers) -> None:
    for number in range(3):
        make_task(payload={"text": "x" * (MOST_BYTES + 1), "number": number})

    read = pages(api("user").get, "/tasks", "tasks")

    assert [[task["payload"]["number"] for task in page] for page in read] == [[2], [1], [0]]


def test_dead_letters_end_at_four_mebibytes(api: Callers, five: list[Task]) -> None:
    Task.objects.update(status="failed", failure_reason="lease_lost")

    assert [len(page) for page in pages(api("user").get, "/tasks/dead-letters", "tasks")] == [4, 1]


def test_a_claim_leases_no_more_than_fits_in_its_answer(
    five: list[Task], dev: Actor, now: datetime
) -> None:
    taken = [claims.claim(agent="dev_agent", by=dev, now=now, limit=50) for _ in range(3)]

    assert [len(tasks) for tasks in taken] == [4, 1, 0]
    assert [task.attempt for tasks in taken for task in tasks] == [1] * 5


def test_a_claim_leases_no_more_where_types_are_limited(
    five: list[Task], dev: Actor, admin: Actor, now: datetime
) -> None:
    agent_services.change_type(task_type="bugfix", concurrency_limit=50, by=admin, now=now)

    taken = [claims.claim(agent="dev_agent", by=dev, now=now, limit=50) for _ in range(3)]

    assert [len(tasks) for tasks in taken] == [4, 1, 0]


def test_a_task_larger_than_an_answer_is_still_handed_out(
    make_task: Make, dev: Actor, now: datetime
) -> None:
    for _ in range(2):
        make_task(payload={"text": "x" * (MOST_BYTES + 1)})

    taken = [claims.claim(agent="dev_agent", by=dev, now=now, limit=10) for _ in range(2)]

    assert [len(tasks) for tasks in taken] == [1, 1]


def test_a_page_of_events_ends_at_four_mebibytes(api: Callers, dev: Actor, now: datetime) -> None:
    publish(dev, now, 20)

    read = pages(api("user").get, "/events?limit=500", "events", name="after")

    assert [len(page) for page in read] == [16, 4]
    assert [event["payload"]["number"] for page in read for event in page] == list(range(20))


def test_a_timeline_goes_on_where_it_ended(
    api: Callers, make_task: Make, dev: Actor, now: datetime
) -> None:
    task = make_task()
    publish(dev, now, 20, task_id=task.task_id)

    read = pages(api("user").get, f"/tasks/{task.task_id}/timeline", "timeline")

    assert [len(page) for page in read] == [18, 4]  # the first two are its creation
    few = pages(api("user").get, f"/tasks/{task.task_id}/timeline?limit=8", "timeline")
    assert [len(page) for page in few] == [8, 8, 6]


@pytest.mark.django_db
def test_a_fetch_ends_at_four_mebibytes_and_counts_only_what_it_hands_out(
    dev: Actor, now: datetime
) -> None:
    consumers.create(name="c", start=0, types=[], ack_seconds=60, max_deliveries=5, by=dev, now=now)
    publish(dev, now, 20, priority="P1")
    later = now + timedelta(minutes=5)

    new = [consumers.fetch(name="c", by=dev, now=now, limit=100) for _ in range(2)]
    again = [consumers.fetch(name="c", by=dev, now=later, limit=100) for _ in range(2)]

    assert [len(found) for found in new] == [17, 4]  # the first event is that the consumer was made
    assert [len(found) for found in again] == [17, 4]
    assert set(ConsumerDelivery.objects.values_list("deliveries", flat=True)) == {2}


def test_parked_events_are_listed_page_by_page(api: Callers, dev: Actor, now: datetime) -> None:
    start = sequencing.head()
    consumers.create(
        name="c", start=start, types=["big.*"], ack_seconds=60, max_deliveries=1, by=dev, now=now
    )
    publish(dev, now, 20)
    for _ in range(2):
        consumers.fetch(name="c", by=dev, now=now, limit=100)
    consumers.fetch(name="c", by=dev, now=now + timedelta(minutes=5))
    agent = api("agent", name=dev.name)

    read = pages(agent.get, "/events/consumers/c/parked", "parked")

    assert [len(page) for page in read] == [16, 4]
    assert all(row["event"]["payload"]["text"] for page in read for row in page)
    assert [
        len(page) for page in pages(agent.get, "/events/consumers/c/parked?limit=8", "parked")
    ] == [8, 8, 4]


def test_a_stream_catches_up_in_pages_of_a_mebibyte(dev: Actor, now: datetime, db: None) -> None:
    publish(dev, now, 6)
    request = sse.StreamRequest(position=0, actor=dev, credentials={}, types=("big.*",))

    frames, position = request.page(0)

    assert (len(frames), sse.is_full(frames)) == (4, True)
    frames, _ = request.page(position)
    assert (len(frames), sse.is_full(frames)) == (2, False)


def test_the_lists_of_approvals_go_on_where_they_ended(
    api: Callers, make_task: Make, now: datetime
) -> None:
    for number in range(7):
        make_task(priority="P0" if number % 2 else "P1", now=now + timedelta(seconds=number // 3))
    user = api("user")

    waiting = pages(user.get, "/approvals/pending?limit=2", "approvals")

    asked = [row["approval_id"] for page in waiting for row in page]
    whole = user.get("/approvals/pending").json()
    assert asked == [row["approval_id"] for row in whole["approvals"]] and whole["next"] is None
    assert [row["priority"] for page in waiting for row in page] == ["P0"] * 3 + ["P1"] * 4
    Approval.objects.update(status="rejected", decided_at=now, decision_reason="no " * 600)
    Approval.objects.filter(approval_id=asked[0]).update(decided_at=now + timedelta(hours=1))
    decided = [
        row["approval_id"]
        for page in pages(user.get, "/approvals/history?limit=2", "history")
        for row in page
    ]
    assert decided[0] == asked[0] and sorted(decided) == sorted(asked)
    assert decided == [
        row["approval_id"] for row in user.get("/approvals/history").json()["history"]
    ]


@pytest.mark.parametrize("path", ["/approvals/pending", "/approvals/history", "/tasks"])
@pytest.mark.parametrize(
    "cursor", ["x", "W10", "WzFd", "bnVsbA", "WyJQMCIsMSwyXQ", "é", "W251bGwsMV0"]
)
def test_a_cursor_of_something_else_is_refused(api: Callers, path: str, cursor: str) -> None:
    assert api("user").get(f"{path}?cursor={cursor}").status_code == 400
