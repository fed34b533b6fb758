"""The life of a task: which status may follow which, and what the content of a task is."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks_app.errors import InvalidTransition
from tasks_app.models import NEXT, OPEN, STAMP, Status, Task

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
# Written out by hand from the contract, not derived from the code.
ARROWS = {
    "pending": {"assigned", "failed", "cancelled"},
    "assigned": {"pending", "in_progress", "completed", "failed", "cancelled"},
    "in_progress": {"assigned", "completed", "failed", "cancelled"},
    "completed": set(),
    "failed": {"assigned"},
    "cancelled": set(),
}
PAIRS = [(left.value, taken.value) for left in Status for taken in Status]


@pytest.mark.parametrize(("left", "taken"), PAIRS)
def test_only_the_written_arrows_exist(left: str, taken: str) -> None:
    task = Task(task_id="task_1", status=left)

    if taken in ARROWS[left]:
        assert task.move_to(Status(taken), now=NOW) == (left, taken)
        assert task.status == taken
    else:
        with pytest.raises(InvalidTransition) as refusal:
            task.move_to(Status(taken), now=NOW)
        assert refusal.value.state == {"task_id": "task_1", "status": left}
        assert task.status == left


@pytest.mark.parametrize("taken", [status for status in Status if status in STAMP])
def test_every_status_stamps_its_time(taken: Status) -> None:
    left = next(status for status, following in NEXT.items() if taken in following)
    task = Task(task_id="task_1", status=left)

    task.move_to(taken, now=NOW)

    assert getattr(task, STAMP[taken]) == NOW


def test_a_finished_task_is_never_open() -> None:
    assert set(OPEN) == {"pending", "assigned", "in_progress"}


def later(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"due_at": None, "status": "completed"}, "none"),
        ({"due_at": later(9), "status": "assigned"}, "on_track"),
        ({"due_at": later(9), "status": "in_progress", "sla_warned_at": later(8)}, "warning"),
        ({"due_at": later(9), "status": "in_progress", "sla_breached_at": later(9)}, "violated"),
        ({"due_at": later(9), "status": "completed"}, "met"),
        ({"due_at": later(9), "status": "completed", "sla_warned_at": later(8)}, "met"),
        ({"due_at": later(9), "status": "completed", "sla_breached_at": later(9)}, "violated"),
        ({"due_at": later(9), "status": "failed"}, "closed"),
        ({"due_at": later(9), "status": "cancelled"}, "closed"),
        ({"due_at": later(9), "status": "cancelled", "sla_breached_at": later(9)}, "violated"),
    ],
)
def test_the_state_of_a_deadline(fields: dict[str, Any], expected: str) -> None:
    assert Task(**fields).sla_state == expected


SIGNED = {
    "task_id": "task_2",
    "type": "feature",
    "payload": {"issue": "2"},
    "priority": "P1",
    "assigned_agent": "ops_agent",
    "source": "mail",
    "created_by": "somebody",
    "metadata": {"a": 1},
    "sla_target": 61,
    "parent_task_id": "task_0",
    "max_attempts": 4,
}


@pytest.mark.parametrize("field", SIGNED)
def test_whatever_a_person_was_shown_is_part_of_the_content(field: str) -> None:
    task = Task(
        task_id="task_1",
        type="bugfix",
        payload={"issue": "1"},
        priority="P0",
        assigned_agent="dev_agent",
    )
    before = task.content()

    setattr(task, field, SIGNED[field])

    assert task.content() != before


def test_a_sign_off_is_for_what_is_done_not_for_when() -> None:
    task = Task(task_id="task_1", type="bugfix", payload={"issue": "1"}, priority="P0")
    before = task.content()

    task.not_before = NOW

    assert task.content() == before


def test_taking_a_new_turn_lets_go_of_the_lease() -> None:
    task = Task(
        status="assigned", holder="dev-agent-1", lease_expires_at=NOW, progress=50, note="half"
    )

    task.queue_again(ready_at=NOW, wait=timedelta(minutes=15))

    assert (task.turn_at, task.holder, task.lease_expires_at) == (
        NOW + timedelta(minutes=15),
        "",
        None,
    )
    assert (task.progress, task.note) == (None, "")
