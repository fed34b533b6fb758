"""The envelope of every success."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple

from django.db.models import DateTimeField
from rest_framework import serializers
from rest_framework.exceptions import APIException
from rest_framework.utils.serializer_helpers import BindingDict

from orchestrator_site.api import answers
from orchestrator_site.core.times import rfc3339

DIGITS = re.compile(r"-?[0-9]{1,19}")
MAX_OBJECT_BYTES = 262_144


class SharedFieldsSerializer(serializers.Serializer):
    """Builds its fields once per class: once per request costs more than checking the input.

    Sharing is safe because fields keep no state of a request; nested serializers do, so those are
    not for input.
    """

    _shared_fields: BindingDict
    _plan: list[answers.Entry]

    @property
    def fields(self) -> BindingDict:
        """Return the fields of this class, bound to a serializer that has no data."""
        shared: BindingDict | None = self.__class__.__dict__.get("_shared_fields")
        if shared is None:
            shared = super(SharedFieldsSerializer, self.__class__()).fields
            self.__class__._shared_fields = shared
        return shared

    def to_representation(self, row: Any) -> dict[str, Any]:
        return self.of(row)

    @classmethod
    def of(cls, row: Any) -> dict[str, Any]:
        """Return the answer for a row or a mapping, without making a serializer for it."""
        plan: list[answers.Entry] | None = cls.__dict__.get("_plan")
        if plan is None:
            cls._plan = plan = answers.plan_of(cls())
        return answers.written(plan, row)


class WholeNumberField(serializers.IntegerField):
    """A whole number: in JSON a number, in a query ASCII digits.

    Not `true`, `"3600"`, `1_0` or other digits.
    """

    def __init__(self, *, in_query: bool = False, **options: Any) -> None:
        """in_query: it may come as text."""
        super().__init__(**options)
        self.in_query = in_query

    def to_internal_value(self, data: Any) -> int:
        written = isinstance(data, str) and self.in_query and DIGITS.fullmatch(data)
        if not written and (isinstance(data, bool | str) or not isinstance(data, int | float)):
            self.fail("invalid")
        return super().to_internal_value(data)


class TimeField(serializers.DateTimeField):
    """A moment that a caller names: RFC 3339, UTC where it names no zone, from 1970 to 2999.

    The bounds keep sums of times and durations within what Python and the databases hold.
    """

    default_error_messages = {"out_of_range": "The time must lie in the years 1970 to 2999."}
    EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
    LATEST = datetime(3000, 1, 1, tzinfo=UTC)

    def to_internal_value(self, value: Any) -> datetime:
        moment: datetime = super().to_internal_value(value)
        if not self.EARLIEST <= moment < self.LATEST:
            self.fail("out_of_range")
        return moment


class ObjectTooLarge(APIException):
    """The object is larger than 256 KiB."""

    status_code = 413


class SmallObjectField(serializers.DictField):
    """A JSON object of at most 256 KiB."""

    def to_internal_value(self, data: Any) -> dict[Any, Any]:
        """Return the object; raise ValidationError or ObjectTooLarge."""
        content: dict[Any, Any] = super().to_internal_value(data)
        if len(json.dumps(content)) > MAX_OBJECT_BYTES:
            sentence = f"{self.field_name} is over 256 KiB; store it elsewhere and say where."
            raise ObjectTooLarge(sentence)
        return content


class SuccessSerializer(SharedFieldsSerializer):
    """Adds `"success": true`."""

    success = serializers.SerializerMethodField(
        help_text="Always true; a refusal has another shape."
    )

    def get_success(self, answer: Any) -> bool:
        return True


class RowSerializer(serializers.ModelSerializer):
    """Writes a row out as it is: building the fields that describe it costs ten times more.

    A `get_<name>` method gives a field that is not an attribute. Tests check every answer against
    the schema.
    """

    def to_representation(self, row: Any) -> dict[str, Any]:
        return self.written(row, {})

    def written(self, row: Any, beside: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row; times as RFC 3339 in UTC. beside: fields that it does not have itself."""
        reading = reading_of(type(self))
        values = dict(zip(reading.names, reading.read(row), strict=True))
        for name in reading.times:
            if (moment := values[name]) is not None:
                values[name] = rfc3339(moment)
        values.update(beside)
        for name in reading.methods:
            values[name] = getattr(self, f"get_{name}")(row)
        return {name: values[name] for name in self.Meta.fields}


class Reading(NamedTuple):
    """How a row is read: its attributes, those of them that are times, and what a method gives."""

    names: list[str]
    read: Callable[[Any], tuple[Any, ...]]
    times: list[str]
    methods: list[str]


@cache
def reading_of(serializer: type[RowSerializer]) -> Reading:
    """Return how a serializer reads its rows."""
    fields, model = serializer.Meta.fields, serializer.Meta.model
    methods = [name for name in fields if hasattr(serializer, f"get_{name}")]
    names = [name for name in fields if name not in methods and hasattr(model, name)]
    every = model._meta.fields  # type: ignore[attr-defined]
    stamps = {field.name for field in every if isinstance(field, DateTimeField)}
    times = [name for name in names if name in stamps]
    return Reading(names, attrgetter(*names), times, methods)


def first_error(errors: Any) -> str:
    """Return the first thing wrong with an item of a batch, as one sentence."""
    field, sentences = next(iter(errors.items()))
    return f"{field}: {sentences[0] if isinstance(sentences, list) else sentences}"
