"""Read, insert and update model rows by statements made once: for the few tables of the hot path.

The ORM writes such a statement anew each time, which costs several times what the database needs
for it. What comes out are plain model instances, made and converted as the ORM does.
"""

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import orjson
from django.db.models import DateTimeField, Field, JSONField, Model
from django.db.models.base import ModelState

from orchestrator_site.infra.changes import here

M = TypeVar("M", bound=Model)
MOST_VALUES = 900  # in one statement: SQLite takes 999


Convert = Callable[[Any], Any]


class Fields(tuple["Field[Any, Any]", ...]):
    """Some fields of a model, made once: the same or another, so that each need not be hashed."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


class Layout(NamedTuple):
    """Fields of a model: how a row's values are read, and what those that change go through.

    stored, kept: by place, what makes a value as SQLite takes it, and as the model has it.
    """

    names: tuple[str, ...]
    read: Callable[[Any], tuple[Any, ...]]
    stored: tuple[tuple[int, Convert], ...]
    kept: tuple[tuple[int, Convert], ...]


@functools.cache
def layout(fields: Fields) -> Layout:
    """Return the layout of two or more fields."""
    names = tuple(field.attname for field in fields)
    stored = ((place, stores(field)) for place, field in enumerate(fields))
    return Layout(
        names=names,
        read=attrgetter(*names),
        stored=tuple((place, store) for place, store in stored if store is not None),
        kept=tuple(
            (place, convert) for place, field in enumerate(fields) for convert in converters(field)
        ),
    )


def stores(field: "Field[Any, Any]") -> Convert | None:
    """Return what makes a value that SQLite takes, None if it takes what a row has."""
    if isinstance(field, DateTimeField):
        return sqlite_time
    return json_text if isinstance(field, JSONField) else None


def stored_time(moment: datetime) -> datetime | str:
    """Return a time as the database takes it in a statement of our own text."""
    return moment if here.database.vendor == "postgresql" else sqlite_time(moment)


@functools.lru_cache(256)
def sqlite_time(moment: datetime) -> str:
    """Return a time as SQLite's backend stores it; a row has one several times."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ")


def json_text(value: Any) -> str:
    """Return JSON: of what a JSON column holds, or of rows for PostgreSQL to read."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # numbers over 64 bits
        return json.dumps(value, default=datetime.isoformat)


def converters(field: "Field[Any, Any]") -> list[Convert]:
    """Return what makes a value that the model has, one after the other."""
    database, expression = here.database, field.cached_col
    if database.vendor == "sqlite" and isinstance(field, DateTimeField):
        return [functools.partial(datetime.replace, tzinfo=UTC)]
    ours = expression.get_db_converters(database)
    return [
        functools.partial(convert, expression=expression, connection=database)
        for convert in (*database.ops.get_db_converters(expression), *ours)
    ]


@functools.cache
def columns(model: type[Model], without: tuple[str, ...] = ()) -> str:
    """Return the columns of a model's own table as a statement names them, without some fields."""
    fields = fields_but(model, without)
    return ", ".join(here.database.ops.quote_name(str(field.column)) for field in fields)


@functools.lru_cache(256)
def selection(model: type[Model], where: str, without: tuple[str, ...]) -> str:
    """Return the statement that reads rows."""
    names, table = columns(model, without), model._meta.db_table
    return f"SELECT {names} FROM {table} WHERE {where}"  # noqa: S608 - our own names


def select(
    model: type[M], where: str, values: Sequence[Any], *, without: tuple[str, ...] = ()
) -> list[M]:
    """Return the rows for which a condition holds. where: of our own text, with %s for values.

    without: fields that are read later, when somebody asks for them.
    """
    found = here.database.run(selection(model, where, without), values)
    return instances(model, found, without=without)


def instances(
    model: type[M], found: Iterable[Sequence[Any]], *, without: tuple[str, ...] = ()
) -> list[M]:
    """Return the rows that a statement answered with the model's `columns`."""
    names, _, _, kept = layout(fields_but(model, without))
    rows, alias = [], here.database.alias
    for values in map(list, found):
        for place, convert in kept:
            if values[place] is not None:
                values[place] = convert(values[place])
        row = bare(model, dict(zip(names, values, strict=True)))
        row._state.adding, row._state.db = False, alias
        rows.append(row)
    return rows


@functools.cache
def fields_but(model: type[Model], without: tuple[str, ...]) -> Fields:
    """Return the fields of a model's own table without some."""
    return Fields(field for field in model._meta.concrete_fields if field.name not in without)


def bare(model: type[M], values: dict[str, Any]) -> M:
    """Return a row with these values, as `Model.__init__` would for one for each field."""
    row = model.__new__(model)
    row.__dict__ = values
    row._state = ModelState()
    return row


@functools.cache
def defaults(model: type[Model]) -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
    """Return what fields are where nothing is given, and what makes it anew for each row."""
    fields = model._meta.concrete_fields
    given = {field.attname: field.default for field in fields if field.has_default()}
    made = {name: default for name, default in given.items() if callable(default)}
    fixed = {field.attname: field.get_default() for field in fields if field.attname not in made}
    return fixed, made


def new(model: type[M], **values: Any) -> M:
    """Return a row that is not stored: as `model(**values)`, which asks each field anew."""
    fixed, made = defaults(model)
    for name, make in made.items():
        if name not in values:
            values[name] = make()
    return bare(model, {**fixed, **values})


def placeholders(number: int) -> str:
    """Return what stands for a list of values in a statement."""
    return ", ".join(["%s"] * number)


def insert(model: type[M], rows: Sequence[M]) -> None:
    """Insert rows that are new, and note their keys."""
    fields, database = all_but_key(model), here.database
    if database.vendor == "postgresql":
        found = database.run(insertion(model), [as_json(fields, rows)])
    else:
        waiting, found = iter(rows), []
        while part := list(islice(waiting, MOST_VALUES // len(fields))):
            found += database.run(insertion(model, len(part)), prepared(fields, part))
    note_keys(rows, [key for (key,) in found])


def note_keys(rows: Sequence[Model], keys: Iterable[Any]) -> None:
    """Note that rows are stored, under these keys."""
    alias = here.database.alias
    for row, key in zip(rows, keys, strict=True):
        row.pk, row._state.adding, row._state.db = key, False, alias


def all_but_key(model: type[Model]) -> Fields:
    """Return the fields of a new row, whose key the database makes."""
    return fields_but(model, (model._meta.pk.name,))


@functools.cache
def insertion(model: type[Model], number: int = 0) -> str:
    """Return the statement that inserts rows. number: of rows, 0 for a JSON."""
    fields = all_but_key(model)
    names = ", ".join(str(field.column) for field in fields)
    table, key = model._meta.db_table, model._meta.pk.column
    source = f"SELECT {names} FROM {given(model)} WITH ORDINALITY ORDER BY ordinality"  # noqa: S608 - our own names
    if number:
        source = "VALUES " + ", ".join([f"({placeholders(len(fields))})"] * number)
    return f"INSERT INTO {table} ({names}) {source} RETURNING {key}"


def given(model: type[Model]) -> str:
    """Return what PostgreSQL reads rows of a JSON with: as those of the model's table."""
    return f"json_populate_recordset(NULL::{model._meta.db_table}, %s::json)"


def prepared(fields: Fields, rows: Iterable[Model]) -> list[Any]:
    """Return the values of rows, one row after the other, as SQLite takes them."""
    _, read, stored, _ = layout(fields)
    prepared: list[Any] = []
    for row in rows:
        values = list(read(row))
        for place, store in stored:
            if values[place] is not None:
                values[place] = store(values[place])
        prepared += values
    return prepared


def update(
    model: type[M], rows: Sequence[M], names: Iterable[str], *, returning: str = "NULL"
) -> dict[Any, Any]:
    """Write these columns of stored rows; return what the database says of each, by its key.

    names: of fields whose values every row has. returning: an expression of our own text.
    """
    said: dict[Any, Any] = {}
    fields = fields_named(model, ("pk", *sorted(names)))
    waiting, database = iter(rows), here.database
    while part := list(islice(waiting, MOST_VALUES // len(fields))):
        if database.vendor == "postgresql":
            found = database.run(assignment(model, fields, returning), [as_json(fields, part)])
        else:
            sql = assignment(model, fields, returning, len(part))
            found = database.run(sql, prepared(fields, part))
        said.update(found)
    return said


@functools.cache
def fields_named(model: type[Model], names: tuple[str, ...]) -> Fields:
    """Return fields of a model's own table; `pk` is its key."""
    by_name = {field.name: field for field in model._meta.concrete_fields}
    return Fields(model._meta.pk if name == "pk" else by_name[name] for name in names)


@functools.cache
def assignment(model: type[Model], fields: Fields, returning: str, number: int = 0) -> str:
    """Return the statement that updates rows. number: of rows, 0 for a JSON."""
    table, columns = model._meta.db_table, [str(field.column) for field in fields]
    if number:
        marks = ", ".join([f"({placeholders(len(fields))})"] * number)
        source, names = f"(VALUES {marks})", [f"column{n + 1}" for n in range(len(fields))]
    else:
        source, names = f"(SELECT {', '.join(columns)} FROM {given(model)})", columns  # noqa: S608 - our own names
    key, *values = [f"given.{name}" for name in names]
    assigned = ", ".join(
        f"{name} = {value}" for name, value in zip(columns[1:], values, strict=True)
    )
    return (
        f"UPDATE {table} SET {assigned} FROM {source} AS given"  # noqa: S608 - our own names
        f" WHERE {table}.{columns[0]} = {key} RETURNING {table}.{columns[0]}, {returning}"
    )


def as_json(fields: Fields, rows: Iterable[Model]) -> str:
    """Return columns of rows for PostgreSQL to read: its statement is the same for any number."""
    names, read, _, _ = layout(fields)
    return json_text([dict(zip(names, read(row), strict=True)) for row in rows])
