"""Write the events of a change, numbered, as its last statements.

The ledger's row is locked from here to the commit, so that positions become visible in their order
and what is rolled back leaves no hole. Nothing else is locked afterwards.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from django.db.models import Model

from events_app.hooks import receivers, tallies
from events_app.models import Event
from orchestrator_site.infra.changes import here
from orchestrator_site.infra.rows import as_json, fields_but, insert, types_of

STORED = fields_but(Event, ("id", "position"))
ADVANCE = "UPDATE events_app_ledger SET head = head + %s RETURNING head"


def write(events: list[Event]) -> None:
    """Store events with the next positions, and count what they moved."""
    added = [add_up(count(events)) for _, count in tallies]
    database = here.database
    if database.vendor == "postgresql":
        added_json = map(json.dumps, added)
        values: list[Any] = [len(events), len(events), as_json(STORED, events), *added_json]
        number(events, database.run(statement(), values)[0][0])
    else:
        number(events, database.run(ADVANCE, [len(events)])[0][0])
        insert(Event, events)
        for (model, _), numbers in zip(tallies, added, strict=True):
            if numbers:
                database.run(*addition(model, numbers))
    for receive in tuple(receivers):
        database.on_commit(functools.partial(receive, list(events)), robust=True)


def number(events: Sequence[Event], head: int) -> None:
    """Give events their positions. head: the last one's."""
    for position, event in enumerate(events, start=head - len(events) + 1):
        event.position = position


def add_up(counted: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that change, in one order for all."""
    return {name: counted[name] for name in sorted(counted) if counted[name]}


@functools.cache
def statement() -> str:
    """Return PostgreSQL's: one round trip, and every writer locks in the same order.

    The counts are joined to the ledger's row, so that they are locked after it.
    """
    names, types = ", ".join(field.name for field in STORED), types_of(STORED)
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
