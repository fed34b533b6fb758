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
from orchestrator_site.infra.rows import (
    all_but_key,
    as_json,
    fields_but,
    given,
    insert,
    insertion,
    note_keys,
)

STORED = fields_but(Event, ("id", "position"))
ADVANCE = "UPDATE events_app_ledger SET head = head + %s {wait} RETURNING head"


def write(events: list[Event], new: Sequence[Model]) -> None:
    """Store events with the next positions, and count what they moved. new: inserted before."""
    added = [add_up(count(events)) for _, count in tallies]
    if here.database.vendor == "postgresql":
        together(events, new, added)
    else:
        in_turn(events, new, added)
    for receive in tuple(receivers):
        here.database.on_commit(functools.partial(receive, list(events)), robust=True)


def together(events: list[Event], new: Sequence[Model], added: list[dict[str, int]]) -> None:
    """Write by PostgreSQL's one statement."""
    model = type(new[0]) if new else None
    values: list[Any] = [as_json(all_but_key(model), new)] if model else []
    values += [len(events), len(events), as_json(STORED, events), *map(json.dumps, added)]
    [(head, *keys)] = here.database.run_last(statement(model), values)
    number(events, head)
    if model:
        note_keys(new, keys[0])


def in_turn(events: list[Event], new: Sequence[Model], added: list[dict[str, int]]) -> None:
    """Write by SQLite's statements, which lets one in at a time."""
    if new:
        insert(type(new[0]), new)
    run = here.database.run
    number(events, run(ADVANCE.format(wait=""), [len(events)])[0][0])
    insert(Event, events)
    for (model, _), numbers in zip(tallies, added, strict=True):
        if numbers:
            run(*addition(model, numbers))


def number(events: Sequence[Event], head: int) -> None:
    """Give events their positions. head: the last one's."""
    for position, event in enumerate(events, start=head - len(events) + 1):
        event.position = position


def add_up(counted: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that change, in one order for all."""
    return {name: counted[name] for name in sorted(counted) if counted[name]}


@functools.cache
def statement(new: type[Model] | None) -> str:
    """Return PostgreSQL's: one round trip, and every writer locks in the same order.

    The counts are joined to the ledger's row, so that they are locked after it; new rows are
    counted before it is locked. new: the model of rows to insert as well.
    """
    names = ", ".join(field.name for field in STORED)
    stored = f"stored AS ({insertion(new)}), " if new else ""
    wait = "WHERE (SELECT count(*) FROM stored) > 0" if new else ""
    keys = f", ARRAY(SELECT {new._meta.pk.column} FROM stored ORDER BY 1)" if new else ""  # noqa: S608 - our own name
    counts = [
        f""", counted{place} AS (
            UPDATE {model._meta.db_table} AS count SET number = count.number + value::bigint
            FROM place, json_each_text(%s::json) WHERE count.name = key
        )"""  # noqa: S608 - names of our own tables
        for place, (model, _) in enumerate(tallies)
    ]
    return f"""
        WITH {stored} place AS ({ADVANCE.format(wait=wait)}), told AS (
            INSERT INTO {Event._meta.db_table} ({names}, position)
            SELECT {names}, head - %s + ordinality
            FROM place, {given(Event)} WITH ORDINALITY ORDER BY ordinality
        ) {"".join(counts)}
        SELECT head {keys} FROM place
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
