"""Answers are written by plans made once from the serializers' declared fields."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rest_framework import serializers
from rest_framework.fields import SkipField

Write = Callable[[Any], Any]


class Entry(NamedTuple):
    """A field of an answer: its name, where its value comes from, and how that is written.

    key: "*" for the whole row; None where the field itself must say (defaults, dotted sources).
    """

    name: str
    key: str | None
    write: Write
    field: Any


def plan_of(serializer: serializers.Serializer) -> list[Entry]:
    """Return the plan of a serializer."""
    fields = serializer.fields.items()
    return [entry_of(name, field) for name, field in fields if not field.write_only]


def entry_of(name: str, field: Any) -> Entry:
    """Return a field's part of the plan."""
    if isinstance(field, serializers.SerializerMethodField):
        return Entry(name, "*", getattr(field.parent, field.method_name), field)
    surely = (field.required or field.read_only) and field.default is serializers.empty
    plain = surely and len(field.source_attrs) == 1
    return Entry(name, field.source if plain else None, writer_of(field), field)


def writer_of(field: Any) -> Write:
    """Return what writes a value as the field does."""
    if type(field) is serializers.CharField:
        return str
    if type(field) is serializers.IntegerField:
        return int
    if type(field).to_representation is serializers.Serializer.to_representation:
        plan = plan_of(field)
        return lambda row: written(plan, row)
    if type(field) is serializers.ListSerializer:
        write_each = writer_of(field.child)
        return lambda rows: [write_each(row) for row in rows]
    write: Write = field.to_representation
    return write


def written(plan: list[Entry], row: Any) -> dict[str, Any]:
    """Return a row, or a mapping, as its serializer writes it."""
    get: Callable[[Any, str], Any] = dict.__getitem__ if type(row) is dict else value_of
    answer = {}
    for name, key, write, field in plan:
        try:
            if key == "*":
                value = row
            else:
                value = field.get_attribute(row) if key is None else get(row, key)
        except SkipField:
            continue
        except (KeyError, AttributeError):  # the field says what stands for it, or what is wrong
            value = field.get_attribute(row)
        answer[name] = None if value is None else write(value)
    return answer


def value_of(row: Any, key: str) -> Any:
    """Return a value of a row; raise KeyError or AttributeError."""
    value = row[key] if isinstance(row, Mapping) else getattr(row, key)
    if callable(value):
        raise AttributeError(key)
    return value
