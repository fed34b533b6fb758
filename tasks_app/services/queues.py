"""Take the next tasks of a queue: one statement leases them to all who claim."""

import functools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from orchestrator_site.core.actors import Actor
from orchestrator_site.infra import rows
from orchestrator_site.infra.changes import here
from orchestrator_site.infra.pagination import MOST_BYTES, stored_bytes
from tasks_app import queries
from tasks_app.models import Task
from tasks_app.services.concurrency import Capacity, Queue

# One statement for all who claim from a queue: the queue's partial index gives the order, SKIP
# LOCKED keeps claimers of other processes out of the way. On SQLite the write lock of the
# transaction does, so the clause is left out there. The rows are chosen in a WITH, which is carried
# out once: a sub-select with SKIP LOCKED may be carried out for each row, where LIMIT limits
# nothing. LIMIT is written out: where it is a parameter, PostgreSQL plans for a tenth of all rows.
CLAIM = """
    WITH waiting AS MATERIALIZED (
        SELECT id AS pick, turn_at AS turn {measured} FROM tasks_app_task
        WHERE assigned_agent = %s AND status = 'assigned'
            AND NOT awaiting_approval AND open_dependencies = 0
            AND (not_before IS NULL OR not_before <= %s) {types}
        ORDER BY turn_at, id LIMIT {limit} {lock}
    ), dealt AS MATERIALIZED (
        SELECT pick, ROW_NUMBER() OVER (ORDER BY turn, pick) AS place {used} FROM waiting
    ), claimers (first, last, claimer, credential) AS MATERIALIZED ({claimers})
    UPDATE tasks_app_task SET
        status = 'in_progress', attempt = attempt + 1,
        holder = claimer, reported_by = claimer,
        holder_credential = credential, reporter_credential = credential,
        lease_seconds = %s, lease_expires_at = %s, heartbeat_at = %s,
        started_at = %s, error = '', progress = NULL, note = ''
    FROM dealt, claimers
    WHERE id = pick AND place BETWEEN first AND last {fitting}
    RETURNING {columns}
"""
CLAIMERS = {
    "postgresql": """
        SELECT (value ->> 0)::int, (value ->> 1)::int, value ->> 2, value ->> 3
        FROM json_array_elements(%s::json) AS given (value)
    """,
    "sqlite": """
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),
            json_extract(value, '$[2]'), json_extract(value, '$[3]')
        FROM json_each(%s)
    """,
}


@dataclass
class Claimer:
    """A claimer, how many tasks they asked for, and those they got."""

    by: Actor
    limit: int
    tasks: list[Task] = field(default_factory=list)

    @property
    def places(self) -> int:
        """Return how many more tasks were asked for."""
        return self.limit - len(self.tasks)


def serve(queue: Queue, claimers: Sequence[Claimer], capacity: Capacity, *, now: datetime) -> None:
    """Deal out the next tasks of a queue: one statement, more where types are limited, or where
    the tasks are so large that the first answers are full.
    """
    measured = any(claimer.limit > 1 for claimer in claimers)
    while claimers:
        types, most = capacity.allowed(queue, sum(claimer.places for claimer in claimers))
        if not most:
            return
        sql = statement(None if types is None else len(types), most, measured)
        tasks = take(sql, values_of(queue, types, claimers, now, measured))
        deal(tasks, claimers)
        capacity.note(tasks)
        short = len(tasks) < most
        if short and not (measured and claimers[0].tasks):
            return
        claimers = [
            claimer for claimer in claimers if claimer.places and not (short and claimer.tasks)
        ]


def deal(tasks: Iterable[Task], claimers: Iterable[Claimer]) -> None:
    """Give the tasks to those who asked, as the statement has it."""
    waiting = iter(tasks)
    for claimer in claimers:
        claimer.tasks += islice(waiting, claimer.places)


@functools.lru_cache(256)
def statement(types: int | None, limit: int, measured: bool) -> str:
    """Return the statement that leases the next tasks.

    types: how many are named, None for all. measured: of several tasks only as many as fit in one
    answer, and of the first of them always one.
    """
    database = here.database
    skip_locked = database.features.has_select_for_update_skip_locked
    size = " + ".join(f"COALESCE({stored_bytes(field)}, 0)" for field in queries.LARGE)
    return CLAIM.format(
        measured=f", {size} AS bytes" if measured else "",
        types="" if types is None else f"AND type IN ({rows.placeholders(types)})",
        limit=limit,
        lock="FOR UPDATE SKIP LOCKED" if skip_locked else "",
        used=", SUM(bytes) OVER (ORDER BY turn, pick) AS used" if measured else "",
        claimers=CLAIMERS[database.vendor],
        fitting="AND (used <= %s OR (%s AND place = 1))" if measured else "",
        columns=f"{rows.columns(Task)}, {size if measured else 0}",
    )


def values_of(
    queue: Queue,
    types: Collection[str] | None,
    claimers: Sequence[Claimer],
    now: datetime,
    measured: bool,
) -> list[Any]:
    """Return the values of the statement, in their order."""
    moment = rows.stored_time(now)
    expires = rows.stored_time(now + timedelta(seconds=queue.lease_seconds))
    ranges, last = [], 0
    for claimer in claimers:
        by, first, last = claimer.by, last + 1, last + claimer.places
        ranges.append((first, last, by.name, by.credential))
    given = [queue.agent, moment, *(types or ()), rows.json_text(ranges)]
    held = claimers[0].tasks
    fitting = [MOST_BYTES - sum(task.bytes for task in held), not held] if measured else []
    return [*given, queue.lease_seconds, expires, moment, moment, *fitting]


def take(sql: str, values: Sequence[Any]) -> list[Task]:
    """Lease the next tasks; return them in their order, with their bytes where these count."""
    found = here.database.run(sql, values)
    tasks = rows.instances(Task, [row[:-1] for row in found])
    for task, row in zip(tasks, found, strict=True):
        task.bytes = row[-1]
    return sorted(tasks, key=lambda task: (task.turn_at, task.pk))
