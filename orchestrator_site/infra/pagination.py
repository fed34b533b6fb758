"""Pages that end at 4 MiB: what a caller can grow is measured in the database before it is read."""

from collections.abc import Iterable
from typing import Any

from django.db import connection
from django.db.models import Case, F, Func, IntegerField, Model, When
from django.db.models.functions import Coalesce

MOST_BYTES = 4_194_304


class StoredBytes(Func):
    """How many bytes a text or a JSON value takes as text."""

    output_field = IntegerField()

    def as_sql(self, compiler: Any, connection: Any, **context: Any) -> Any:  # type: ignore[override]
        """Return the SQL of the store."""
        template = stored_bytes("%(expressions)s")
        return super().as_sql(compiler, connection, template=template, **context)


def stored_bytes(column: str) -> str:
    """Return SQL for how many bytes a column takes as text. SQLite has OCTET_LENGTH since 3.43."""
    if connection.vendor == "postgresql":
        return f"OCTET_LENGTH(({column})::text)"
    return f"LENGTH(CAST({column} AS BLOB))"


def fitting(
    rows: Any, *, limit: int, large: Iterable[str], room: int = MOST_BYTES
) -> tuple[list[Any], bool]:
    """Return the first rows, at most `limit` and at most `room` bytes, and whether there are more.

    rows: a query set in order. large: the fields that callers can grow; only they are counted.
    One row always fits. A page of small rows is one statement; where some are large, a second one
    reads those that fit.
    """
    names = list(large)
    share = room // ((limit + 1) * len(names))
    read = list(with_small_values(rows, names, share)[: limit + 1])
    fit = how_many_fit(read[:limit], names, room)
    return filled(rows, read[:fit], names, share), fit < len(read)


def with_small_values(rows: Any, names: list[str], share: int) -> Any:
    """Return the rows with the sizes of the large fields, and with the values that are small."""
    fields = {name: rows.model._meta.get_field(name) for name in names}
    sizes = {f"{name}_bytes": Coalesce(StoredBytes(F(name)), 0) for name in names}
    values = {
        f"{name}_value": Case(
            When(**{f"{name}_bytes__lte": share}, then=F(name)), output_field=field
        )
        for name, field in fields.items()
    }
    return rows.defer(*names).annotate(**sizes).annotate(**values)


def how_many_fit(page: list[Any], names: list[str], room: int) -> int:
    """Return how many of the rows, in order, take at most `room` bytes; at least one."""
    used = 0
    for place, row in enumerate(page):
        used += bytes_of(row, names)
        if used > room and place:
            return place
    return len(page)


def bytes_of(row: Model, names: Iterable[str]) -> int:
    """Return how many bytes the large fields of a row of a page take."""
    return sum(getattr(row, f"{name}_bytes") for name in names)


def filled(rows: Any, page: list[Any], names: list[str], share: int) -> list[Any]:
    """Return the rows with all their values; those that are gone meanwhile are left out."""
    late = [row.pk for row in page if any(getattr(row, f"{name}_bytes") > share for name in names)]
    read = rows.model._default_manager.filter(pk__in=late).values_list("pk", *names)
    stored: dict[Any, Any] = dict.fromkeys(late) | {key: values for key, *values in read}
    for row in page:
        values = stored.get(row.pk) or [getattr(row, f"{name}_value") for name in names]
        row.__dict__.update(zip(names, values, strict=True))
    return [row for row in page if row.pk not in stored or stored[row.pk]]
