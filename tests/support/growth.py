"""Many rows in no time: copies of rows the service made itself, multiplied by the database."""

from typing import Any

from django.db import connection, models

from events_app.models import Event, Ledger
from tasks_app.models import Task


def multiply(row: models.Model, count: int, **changed: str) -> None:
    """Add copies of a row.

    changed: SQL for the columns that differ, of `n`, which goes from 1 to `count`.
    """
    changed = {name: value.replace("%", "%%") for name, value in changed.items()}
    key, quote = row._meta.pk, connection.ops.quote_name
    fields = [field for field in row._meta.concrete_fields if field != key or key.name in changed]
    names = [str(field.column) for field in fields]
    values = [changed.get(name, f"template.{quote(name)}") for name in names]
    columns, table = map(quote, names), quote(row._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH RECURSIVE series(n) AS "
            f"(SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {count}) "
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "
            f"FROM series, {table} AS template WHERE template.id = %s",
            [key.get_db_prep_value(row.pk, connection)],
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
    """Have PostgreSQL's planner know what there is; SQLite's is told at migration."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
