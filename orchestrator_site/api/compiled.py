"""Input is checked by forms compiled once from the serializers, which stay the one declaration.

A form takes a part of what its serializer takes, with equal values: text that needs no trimming,
numbers that are numbers. Whatever a form does not take goes to the serializer, so every refusal is
worded there. A field that no form can say exactly is `Never`: who sends it meets the serializer.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, cast

import msgspec
import orjson
from django.core import validators
from django.core.exceptions import ValidationError as DjangoValidationError
from msgspec import UNSET, Meta, UnsetType
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from orchestrator_site.api.parsers import LARGEST
from orchestrator_site.api.serializers import (
    MAX_OBJECT_BYTES,
    SmallObjectField,
    TimeField,
    WholeNumberField,
)

UNTRIMMED = r"[^\x00\ud800-\udfff]*"
TRIMMED = rf"(?!\s){UNTRIMMED}(?<!\s)"
QUERY_DIGITS = r"\A-?[0-9]{1,15}\Z"
REFUSALS = (
    msgspec.ValidationError,
    ValidationError,
    DjangoValidationError,
    UnicodeEncodeError,  # msgspec's, for half of a surrogate pair
)
OVERRIDES = ("is_valid", "run_validation", "run_validators", "to_internal_value")
# What the forms say themselves.
VALIDATORS = (
    validators.MaxLengthValidator,
    validators.MinLengthValidator,
    validators.MaxValueValidator,
    validators.MinValueValidator,
    validators.RegexValidator,
    validators.ProhibitNullCharactersValidator,
    ProhibitSurrogateCharactersValidator,
)


class Never:
    """The type of a field whose values only the serializer can judge."""


class Shape(NamedTuple):
    """The type of a field in a form, and what makes the checked value of one that is given.

    finish: never called with None; raises ValidationError for what the form does not take.
    """

    type: Any
    finish: Callable[[Any], Any] | None = None


class Form(NamedTuple):
    """A compiled serializer.

    finishes: by field, what is done to a given value. defaults: those of fields with a finish.
    judges: by field, the name of the serializer's own `validate_…`. validates: whether it has a
    `validate` of its own.
    """

    struct: type[msgspec.Struct]
    finishes: tuple[tuple[str, Callable[[Any], Any]], ...]
    defaults: tuple[tuple[str, Callable[[], Any]], ...]
    judges: tuple[tuple[str, str], ...]
    validates: bool


def checked(
    serializer_class: Any, data: Any, context: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the `validated_data` of a serializer; raise its ValidationError."""
    serializer = functools.partial(serializer_class, data=data, context=context or {})
    values = taken(form_of(serializer_class), data, serializer)
    if values is not None:
        return values
    asked = serializer()
    asked.is_valid(raise_exception=True)
    closely: dict[str, Any] = asked.validated_data
    return closely


def taken(form: Form | None, data: Any, serializer: Callable[[], Any]) -> dict[str, Any] | None:
    """Return what a form makes of the data, or None where the serializer must look itself.

    serializer: makes the one whose own `validate` methods are called.
    """
    if form is None:
        return None
    try:
        values = filled(form, msgspec.convert(data, form.struct))
        return judged(form, values, serializer()) if form.judges or form.validates else values
    except REFUSALS:
        return None


def filled(form: Form, found: msgspec.Struct) -> dict[str, Any]:
    """Return the values of what a form has found, without those that were not sent."""
    fields = msgspec.structs.asdict(found)
    values = {name: value for name, value in fields.items() if value is not UNSET}
    for name, finish in form.finishes:
        if values.get(name) is not None:
            values[name] = finish(values[name])
    for name, default in form.defaults:
        if name not in values:
            values[name] = default()
    return values


def judged(form: Form, values: dict[str, Any], serializer: Any) -> dict[str, Any]:
    """Return the values after the serializer's own methods had them."""
    for name, method in form.judges:
        if name in values:
            values[name] = getattr(serializer, method)(values[name])
    return serializer.validate(values) if form.validates else values


@functools.cache
def form_of(serializer_class: Any) -> Form | None:
    """Return the form of a serializer, or None if it is more than its fields and `validate`s."""
    plain: Any = serializers.Serializer
    if not issubclass(serializer_class, plain) or any(
        getattr(serializer_class, name) is not getattr(plain, name) for name in OVERRIDES
    ):
        return None
    serializer = serializer_class()
    fields = {name: field for name, field in serializer.fields.items() if not field.read_only}
    if serializer.validators or not all(map(stands_alone, fields.values())):
        return None
    shapes = {name: shape_of(field) for name, field in fields.items()}
    finishes = {name: shape.finish for name, shape in shapes.items() if shape.finish is not None}
    declared = [(name, *declaration(field, shapes[name])) for name, field in fields.items()]
    judges = [(name, f"validate_{name}") for name in fields]
    return Form(
        struct=msgspec.defstruct(serializer_class.__name__, declared, kw_only=True),
        finishes=tuple(finishes.items()),
        defaults=tuple(
            (name, fields[name].get_default)
            for name in finishes
            if fields[name].default is not serializers.empty
        ),
        judges=tuple(judge for judge in judges if hasattr(serializer, judge[1])),
        validates=serializer_class.validate is not plain.validate,
    )


def stands_alone(field: serializers.Field) -> bool:
    """Return whether a field gives one value of its own name, and asks for no context."""
    default = getattr(field.default, "requires_context", False)
    return field.source_attrs == [field.field_name] and not default


def declaration(field: serializers.Field, shape: Shape) -> tuple[Any, ...]:
    """Return the type of a field in a form and, if it may be absent, its default."""
    kind = shape.type | None if field.allow_null else shape.type
    if field.required:
        return (kind,)
    if field.default is serializers.empty or shape.finish is not None:
        return kind | UnsetType, UNSET
    return kind, msgspec.field(default_factory=field.get_default)


def shape_of(field: Any) -> Shape:
    """Return the shape of a field, by its very class: another may check more."""
    known = all(type(validator) in VALIDATORS for validator in field.validators)
    shape = SHAPES.get(type(field)) if known else None
    return Shape(Never) if shape is None else shape(field)


def text(field: Any) -> Shape:
    """Say text as its field keeps it."""
    pattern = rf"\A(?={TRIMMED if field.trim_whitespace else UNTRIMMED}\Z)"
    for validator in field.validators:
        if isinstance(validator, validators.RegexValidator):
            regex = re.compile(validator.regex)
            if validator.inverse_match or regex.flags != re.UNICODE:
                return Shape(Never)
            pattern += f"(?={regex.pattern})"
    shortest = max(field.min_length or 0, 0 if field.allow_blank else 1)
    limits = Meta(min_length=shortest, max_length=field.max_length, pattern=pattern)
    return Shape(Annotated[str, limits])


def whole_number(field: Any) -> Shape:
    """Say a whole number, also as digits where the field takes a query's text."""
    least = -LARGEST if field.min_value is None else field.min_value
    most = LARGEST if field.max_value is None else field.max_value
    number = Annotated[int, Meta(ge=least, le=most)]
    if not getattr(field, "in_query", False):
        return Shape(number)

    def read(value: int | str) -> int:
        if not least <= (found := int(value)) <= most:
            raise msgspec.ValidationError
        return found

    return Shape(number | Annotated[str, Meta(pattern=QUERY_DIGITS)], read)


def choice(field: Any) -> Shape:
    """Say one of the words of a choice."""
    values = field.choice_strings_to_values
    words: Any = Literal[tuple(values)]
    plain = all(type(value) is str and value == word for word, value in values.items())
    return Shape(words) if plain else Shape(words, values.__getitem__)


def json_object(field: Any) -> Shape:
    """Say a JSON object that may hold anything."""
    if type(field.child) is not type(serializers.DictField.child):
        return Shape(Never)
    return Shape(Annotated[dict[str, Any], Meta(min_length=0 if field.allow_empty else 1)])


def small_object(field: Any) -> Shape:
    """Say a JSON object that is surely small: as ASCII it is at most three times as long."""

    def measured(content: dict[str, Any]) -> dict[str, Any]:
        try:
            size = len(orjson.dumps(content))
        except TypeError:
            raise msgspec.ValidationError from None
        if 3 * size > MAX_OBJECT_BYTES:
            raise msgspec.ValidationError
        return content

    return json_object(field)._replace(finish=measured)


def plain_list(field: Any) -> Shape:
    """Say a list whose items need no finish."""
    item = shape_of(field.child)
    if item.type is Never or item.finish is not None:
        return Shape(Never)
    kind: Any = item.type | None if field.child.allow_null else item.type
    return Shape(Annotated[list[kind], length_of(field)])


def list_of_forms(field: Any) -> Shape:
    """Say a list of objects, each of which has a form; their `validate`s get no context."""
    child, child_class = field.child, cast(Any, type(field.child))
    form = form_of(child_class)
    if form is None or child.allow_null:
        return Shape(Never)
    kind: Any = form.struct
    shape = Annotated[list[kind], length_of(field)]
    return Shape(shape, lambda found: [judged(form, filled(form, item), child) for item in found])


def length_of(field: Any) -> Meta:
    """Return how long a list may be."""
    shortest = max(field.min_length or 0, 0 if field.allow_empty else 1)
    return Meta(min_length=shortest, max_length=field.max_length)


SHAPES: dict[type, Callable[[Any], Shape]] = {
    serializers.CharField: text,
    serializers.RegexField: text,
    serializers.ChoiceField: choice,
    serializers.BooleanField: lambda field: Shape(bool),
    serializers.IntegerField: whole_number,
    WholeNumberField: whole_number,
    TimeField: lambda field: Shape(str, field.run_validation),
    serializers.DictField: json_object,
    SmallObjectField: small_object,
    serializers.ListField: plain_list,
    serializers.ListSerializer: list_of_forms,
}
