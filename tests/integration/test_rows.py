"""Rows that are read and written by statements made once are those of the ORM."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from events_app.models import Event
from orchestrator_site.infra.rows import insert, new, placeholders, select, update
from tasks_app.models import Status, Task

FIELDS = [field.attname for field in Task._meta.concrete_fields]
WRITTEN = ["status", "error", "result", "failed_at", "lease_seconds", "awaiting_approval"]


def values_of(task: Task) -> dict[str, Any]:
    return {name: getattr(task, name) for name in FIELDS}


@pytest.mark.django_db
def test_a_row_is_read_as_the_orm_reads_it(make_task: Callable[..., Task]) -> None:
    ids = sorted(
        make_task(payload=payload, priority=priority, sla_target=60, metadata={"a": [1, None]}).pk
        for priority in ("P0", "P2")
        for payload in ({}, {"ünï": "¼ \\ ' \" %s", "deep": {"n": 1.5, "none": None, "no": False}})
    )

    rows = select(Task, f"id IN ({placeholders(len(ids))})", ids)

    wanted = [values_of(task) for task in Task.objects.filter(pk__in=ids).order_by("pk")]
    assert sorted(map(values_of, rows), key=lambda row: row["id"]) == wanted
    rows[0].note = "changed"
    rows[0].save()
    assert Task.objects.get(pk=rows[0].pk).note == "changed"


@pytest.mark.django_db
@pytest.mark.parametrize("number", [0, 1, 50])
def test_rows_are_inserted_as_the_orm_inserts_them(
    make_task: Callable[..., Task], number: int
) -> None:
    first = make_task(sla_target=60, metadata={"a": "ü"})
    rows = []
    for place in range(number):
        task = Task.objects.get(pk=first.pk)
        task.pk, task.task_id = None, f"task_copy_{place}"
        task.result = None if place % 2 else {"n": place}
        task.not_before = task.created_at + timedelta(seconds=place) if place % 3 else None
        rows.append(task)

    insert(Task, rows)

    stored = {task.pk: values_of(task) for task in Task.objects.exclude(pk=first.pk)}
    assert stored == {task.pk: values_of(task) for task in rows}
    assert len(stored) == number


@pytest.mark.django_db
@pytest.mark.parametrize("number", [0, 1, 50])
def test_rows_are_updated_as_the_orm_updates_them(
    make_task: Callable[..., Task], number: int, now: datetime
) -> None:
    untouched = values_of(make_task(sla_target=60))
    tasks = [make_task(payload={"n": place}, metadata={"n": place}) for place in range(number)]
    for place, task in enumerate(tasks):
        task.status = Status.FAILED if place % 2 else Status.ASSIGNED
        task.error = ("¼ \\ ' \" %s %% \t", "")[place % 2]
        task.result = (None, {}, {"ünï": [1.5, None, 2**70, "'%s'"]})[place % 3]
        task.failed_at = now + timedelta(microseconds=place) if place % 2 else None
        task.lease_seconds, task.awaiting_approval = place or None, place % 3 == 0
        task.note = "not written"

    said = update(Task, tasks, WRITTEN, returning="attempt + 1")

    stored = {task.pk: values_of(task) for task in Task.objects.all()}
    assert stored.pop(untouched["id"]) == untouched
    assert stored == {task.pk: values_of(task) | {"note": ""} for task in tasks}
    assert said == {task.pk: 1 for task in tasks}


@pytest.mark.parametrize("model", [Task, Event])
def test_a_new_row_is_what_its_model_makes(model: type[Task | Event]) -> None:
    made, own = new(model, payload={"n": 1}), model(payload={"n": 1})

    values = [vars(row) | {"_state": vars(row._state)} for row in (made, own)]
    names = [row.pop("event_id" if model is Event else "task_id") for row in values]

    assert values[0] == values[1]
    assert len(set(names)) == 2
    assert new(Task).metadata is not new(Task).metadata
