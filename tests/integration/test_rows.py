"""Rows that are read and inserted by statements made once are those of the ORM."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from orchestrator_site.infra.rows import insert, placeholders, select
from tasks_app.models import Task

FIELDS = [field.attname for field in Task._meta.concrete_fields]


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
