"""Many rows in no time: copies of rows the service made itself, multiplied by the database."""

from typing import Any

from django.db import connection, models

from events_app.models import Event, Ledger
from tasks_app.models import Task


def multiply(row: models.Model, count: int, **changed: str) -> None:
    """Add copies of a row. changed: SQL for the columns that differ, of `n`, which goes from 1 to `count`."""
    names = [str(field.column) for field in row._meta.concrete_fields if not field.primary_key]
    quote = connection.ops.quote_name
    table = quote(row._meta.db_table)
    columns = ", ".join(map(quote, names))
    values = ", ".join(changed.get(name, f"template.{quote(name)}") for name in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {count}) "
            f"INSERT INTO {table} ({columns}) SELECT {values} FROM series, {table} AS template "
            f"WHERE template.id = %s",
            [row.pk],
        )


def fill_tasks(task: Task, count: int, **changed: str) -> None:
    """Add tasks that ended."""
    at = "template.created_at"
    multiply(
        task,
        count,
        task_id="'task_' || n || '_' || template.id",
        trace_id="'trace_' || n",
        status="'completed'",
        source="'ci'",
        completed_at=at,
        **changed,
    )


def fill_events(event: Event, count: int, **changed: str) -> None:
    """Add numbered events, three to a task."""
    head = Ledger.objects.get().head
    multiply(
        event,
        count,
        event_id="'evt_' || n || '_' || template.id",
        task_id="'task_' || (n / 3)",
        trace_id="'trace_' || (n / 3)",
        position=f"{head} + n",
        **changed,
    )
    Ledger.objects.update(head=head + count)


def fill(row: Any, count: int, **changed: str) -> None:
    """Add copies of a row whose public id is the only one of its unique columns."""
    [public] = [
        field.column
        for field in row._meta.concrete_fields
        if field.unique and not field.primary_key
    ]
    multiply(row, count, **{public: "'copy_' || n || '_' || template.id"}, **changed)


def analyse() -> None:
    """Have the planner know what there is."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
