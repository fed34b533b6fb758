"""Rows that people configure: each change is one event, through whichever door it comes."""

import dataclasses
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.db import models

from events_app import services
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import NotFound

Row = TypeVar("Row", bound=models.Model)


@dataclasses.dataclass(frozen=True)
class Configuration(Generic[Row]):
    """One kind of row, and how it is changed.

    key: the field that names a row. said_as: what the payload of the events calls it.
    unknown: makes the refusal of a name. wakes: the topics to wake after a change.
    """

    model: type[Row]
    event_type: str
    key: str
    said_as: str
    unknown: Callable[[str], NotFound]
    wakes: Callable[[Any], Iterable[str]] = lambda row: ()

    @services.change
    def add(self, *, by: Actor, now: datetime, **fields: Any) -> Row:
        """Store a new row and record it."""
        row = self.model()
        changes = apply(row, fields)
        row.save(force_insert=True)
        self.record_change(row, "added", changes, by=by, now=now)
        return row

    @services.change
    def change(self, name: str, /, *, by: Actor, now: datetime, **fields: Any) -> Row:
        """Change a row and record what differs, if anything does. Raise NotFound."""
        row = self.lock(name)
        if changes := apply(row, fields):
            row.save(update_fields=list(changes))
            self.record_change(row, "changed", changes, by=by, now=now)
        return row

    @services.change
    def remove(self, name: str, /, *, by: Actor, now: datetime) -> None:
        """Delete a row and record it. Raise NotFound."""
        row = self.lock(name)
        self.record_change(row, "removed", {}, by=by, now=now)
        row.delete()

    def lock(self, name: str) -> Row:
        """Return the row with a name, locked until the transaction ends; raise NotFound."""
        rows = self.model._default_manager.select_for_update()
        if (row := rows.filter(**{self.key: name}).first()) is None:
            raise self.unknown(name)
        return row

    def record_change(
        self, row: Row, did: str, changes: dict[str, Any], *, by: Actor, now: datetime
    ) -> None:
        """Record what was done to a row."""
        payload = {self.said_as: getattr(row, self.key), "did": did, "changes": changes}
        services.record(
            event_type=self.event_type, by=by, now=now, payload=payload, wakes=self.wakes(row)
        )


def apply(row: models.Model, fields: dict[str, Any]) -> dict[str, list[Any]]:
    """Set fields of a row; return those that differ now: field -> [before, after]."""
    names = {name: getattr(row._meta.get_field(name), "attname", name) for name in fields}
    before = {name: getattr(row, attribute) for name, attribute in names.items()}
    for name, value in fields.items():
        setattr(row, name, value)
    after = {name: getattr(row, attribute) for name, attribute in names.items()}
    return {name: [before[name], after[name]] for name in fields if before[name] != after[name]}
