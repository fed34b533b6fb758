"""Read, insert and update model rows by statements made once: for the few tables of the hot path.

The ORM writes such a statement anew each time, which costs several times what the database needs
for it. What comes out are plain model instances, made and converted as the ORM does.
"""

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from django.db import connection
from django.db.models import DateTimeField, Field, JSONField, Model, TextChoices

M = TypeVar("M", bound=Model)
MOST_VALUES = 900  # in one statement: SQLite takes 999


class Column(NamedTuple):
    """A column of a model, and what its values go through on the way out."""

    name: str
    field: "Field[Any, Any]"
    converters: list[Callable[..., Any]]
    expression: Any


@functools.cache
def columns(model: type[Model]) -> list[Column]:
    """Return the columns of a model's own table."""
    rows = []
    for field in model._meta.concrete_fields:
        expression = field.cached_col
        converters = connection.ops.get_db_converters(expression)
        converters += expression.get_db_converters(connection)
        rows.append(Column(str(field.column), field, converters, expression))
    return rows


@functools.cache
def selection(model: type[Model], where: str) -> str:
    """Return the statement that reads rows."""
    names = ", ".join(connection.ops.quote_name(column.name) for column in columns(model))
    return f"SELECT {names} FROM {model._meta.db_table} WHERE {where}"  # noqa: S608 - our own names


def select(model: type[M], where: str, values: Sequence[Any]) -> list[M]:
    """Return the rows for which a condition holds. where: of our own text, with %s for values."""
    names = [column.field.attname for column in columns(model)]
    with connection.cursor() as cursor:
        cursor.execute(selection(model, where), values)
        rows = cursor.fetchall()
    return [model.from_db(connection.alias, names, converted(model, row)) for row in rows]


def converted(model: type[Model], row: Iterable[Any]) -> list[Any]:
    """Return the values of a row as the model has them."""
    values = list(row)
    for place, column in enumerate(columns(model)):
        for convert in column.converters:
            values[place] = convert(values[place], column.expression, connection)
    return values


def placeholders(number: int) -> str:
    """Return what stands for a list of values in a statement."""
    return ", ".join(["%s"] * number)


def insert(model: type[M], rows: Sequence[M]) -> None:
    """Insert rows that are new, and note their keys."""
    stored = [column for column in columns(model) if not column.field.primary_key]
    names = ", ".join(connection.ops.quote_name(column.name) for column in stored)
    marks, waiting = f"({placeholders(len(stored))})", iter(rows)
    while part := list(islice(waiting, MOST_VALUES // len(stored))):
        values = [prepared(column.field, row) for row in part for column in stored]
        key = model._meta.pk.column
        sql = (
            f"INSERT INTO {model._meta.db_table} ({names})"  # noqa: S608 - our own names
            f" VALUES {', '.join([marks] * len(part))} RETURNING {key}"
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            keys = cursor.fetchall()
        for row, (value,) in zip(part, keys, strict=True):
            row.pk, row._state.adding, row._state.db = value, False, connection.alias


def prepared(field: "Field[Any, Any]", row: Model) -> Any:
    """Return a value as the database takes it; only times and JSON differ from what a row has."""
    value = getattr(row, field.attname)
    if isinstance(field, DateTimeField | JSONField):
        return field.get_db_prep_save(value, connection)
    return value.value if isinstance(value, TextChoices) else value


def update(
    model: type[M], rows: Sequence[M], names: Iterable[str], *, returning: str = "NULL"
) -> dict[Any, Any]:
    """Write these columns of stored rows; return what the database says of each, by its key.

    names: of fields whose values every row has. returning: an expression of our own text.
    """
    said: dict[Any, Any] = {}
    fields = fields_named(model, ("pk", *sorted(names)))
    waiting = iter(rows)
    while part := list(islice(waiting, MOST_VALUES // len(fields))):
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(assignment(model, fields, returning), [as_json(fields, part)])
            else:
                values = [prepared(field, row) for row in part for field in fields]
                cursor.execute(assignment(model, fields, returning, len(part)), values)
            said.update(cursor.fetchall())
    return said


@functools.cache
def fields_named(model: type[Model], names: tuple[str, ...]) -> "tuple[Field[Any, Any], ...]":
    """Return fields of a model's own table; `pk` is its key."""
    by_name = {field.name: field for field in model._meta.concrete_fields}
    return tuple(model._meta.pk if name == "pk" else by_name[name] for name in names)


@functools.cache
def assignment(
    model: type[Model], fields: "tuple[Field[Any, Any], ...]", returning: str, number: int = 0
) -> str:
    """Return the statement that updates rows. number: of rows, 0 for a JSON."""
    table, columns = model._meta.db_table, [str(field.column) for field in fields]
    if number:
        marks = ", ".join([f"({placeholders(len(fields))})"] * number)
        source, given = f"(VALUES {marks}) AS given", [f"column{n + 1}" for n in range(len(fields))]
    else:
        types = ", ".join(f"{field.column} {field.db_type(connection)}" for field in fields)
        source, given = f"json_to_recordset(%s::json) AS given ({types})", columns
    key, *values = [f"given.{name}" for name in given]
    assigned = ", ".join(
        f"{name} = {value}" for name, value in zip(columns[1:], values, strict=True)
    )
    return (
        f"UPDATE {table} SET {assigned} FROM {source}"  # noqa: S608 - our own names
        f" WHERE {table}.{columns[0]} = {key} RETURNING {table}.{columns[0]}, {returning}"
    )


def as_json(fields: "Iterable[Field[Any, Any]]", rows: Iterable[Model]) -> str:
    """Return columns of rows for PostgreSQL to read: its statement is the same for any number."""
    given = [{field.column: getattr(row, field.attname) for field in fields} for row in rows]
    return json.dumps(given, default=datetime.isoformat)
