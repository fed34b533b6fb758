"""Write the events of a change, numbered, as its last statements.

The ledger's row is locked from here to the commit, so that positions become visible in their order
and what is rolled back leaves no hole. Nothing else is locked afterwards.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from django.db import connection, transaction
from django.db.models import Model

from events_app.hooks import receivers, tallies
from events_app.models import Event

FIELDS = [field for field in Event._meta.concrete_fields if not field.primary_key]
STORED = [field for field in FIELDS if field.name != "position"]
CHUNK = 900 // len(FIELDS)  # rows in one INSERT: SQLite takes 999 values
ADVANCE = "UPDATE events_app_ledger SET head = head + %s RETURNING head"


def write(events: list[Event]) -> None:
    """Store events with the next positions, and count what they moved."""
    added = [add_up(count(events)) for _, count in tallies]
    with connection.cursor() as rows:
        if connection.vendor == "postgresql":
            number = len(events)
            values: list[Any] = [number, number, as_json(events), *map(json.dumps, added)]
            rows.execute(statement(), values)
            first = rows.fetchone()[0] - len(events) + 1
        else:
            rows.execute(ADVANCE, [len(events)])
            first = rows.fetchone()[0] - len(events) + 1
            for place in range(0, len(events), CHUNK):
                insert(rows, events[place : place + CHUNK], first + place)
            for (model, _), numbers in zip(tallies, added, strict=True):
                if numbers:
                    rows.execute(*addition(model, numbers))
    for position, event in enumerate(events, start=first):
        event.position = position
    for receive in tuple(receivers):
        transaction.on_commit(functools.partial(receive, list(events)), robust=True)


def add_up(counted: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that change, in one order for all."""
    return {name: counted[name] for name in sorted(counted) if counted[name]}


def as_json(events: Iterable[Event]) -> str:
    """Return rows for PostgreSQL to read, without their positions."""
    return json.dumps(
        [
            {field.name: getattr(event, field.name) for field in STORED}
            | {"created_at": event.created_at.isoformat()}
            for event in events
        ]
    )


@functools.cache
def statement() -> str:
    """Return PostgreSQL's: one round trip, and every writer locks in the same order.

    The counts are joined to the ledger's row, so that they are locked after it.
    """
    names = ", ".join(field.name for field in STORED)
    types = ", ".join(f"{field.name} {field.db_type(connection)}" for field in STORED)
    counts = [
        f""", counted{place} AS (
            UPDATE {model._meta.db_table} AS count SET number = count.number + value::bigint
            FROM place, json_each_text(%s::json) WHERE count.name = key
        )"""  # noqa: S608 - names of our own tables
        for place, (model, _) in enumerate(tallies)
    ]
    return f"""
        WITH place AS ({ADVANCE}), told AS (
            INSERT INTO {Event._meta.db_table} ({names}, position)
            SELECT {names}, head - %s + nth FROM place, ROWS FROM
                (json_to_recordset(%s::json) AS ({types})) WITH ORDINALITY AS news({names}, nth)
            ORDER BY nth
        ) {"".join(counts)}
        SELECT head FROM place
    """  # noqa: S608 - names of our own columns


def addition(model: type[Model], numbers: dict[str, int]) -> tuple[str, list[Any]]:
    """Return the statement that adds to counts by name, and its values."""
    cases = " ".join(["WHEN %s THEN %s"] * len(numbers))
    names = ", ".join(["%s"] * len(numbers))
    sql = (
        f"UPDATE {model._meta.db_table} SET number = number + CASE name {cases} END"  # noqa: S608
        f" WHERE name IN ({names})"
    )
    return sql, [*chain.from_iterable(numbers.items()), *numbers]


def insert(rows: Any, events: list[Event], first: int) -> None:
    """Insert a chunk with one statement. rows: a cursor. first: the first one's position."""
    values: list[Any] = []
    for position, event in enumerate(events, start=first):
        event.position = position
        values += [
            field.get_db_prep_save(getattr(event, field.name), connection) for field in FIELDS
        ]
    names = ", ".join(field.name for field in FIELDS)
    marks = ", ".join([f"({', '.join(['%s'] * len(FIELDS))})"] * len(events))
    rows.execute(f"INSERT INTO {Event._meta.db_table} ({names}) VALUES {marks}", values)  # noqa: S608
