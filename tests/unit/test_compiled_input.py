"""What a compiled form takes, its serializer takes too, with equal values: for every serializer."""

import functools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from events_app.consumers.serializers import NewConsumer
from events_app.serializers import PublishSerializer
from orchestrator_site.api import compiled
from orchestrator_site.api.serializers import (
    MAX_OBJECT_BYTES,
    ObjectTooLarge,
    SuccessSerializer,
    TimeField,
)
from orchestrator_site.views.serializers import NewTokenSerializer
from tasks_app.api.serializers.batches import BatchItemSerializer, BatchRequest
from tasks_app.api.serializers.claims import ClaimSerializer
from tasks_app.api.serializers.tasks import NewTaskSerializer, ReportSerializer, TaskListQuery
from tasks_app.models import Status
from tests.support.serializers import subclasses

OURS = ("orchestrator_site", "tasks_app", "approvals_app", "events_app")
CALLER = {"caller": "dev-agent-1"}


def inputs() -> list[Any]:
    """Return every serializer of ours that is no answer and no row: a new one is among them."""
    answers = (SuccessSerializer, serializers.ModelSerializer)
    found: set[Any] = {
        each
        for each in subclasses(serializers.Serializer)
        if each.__module__.split(".")[0] in OURS and not issubclass(each, answers)
    }
    return sorted(found, key=lambda each: (each.__module__, each.__name__))


INPUTS = [each for each in inputs() if any(not f.read_only for f in each().fields.values())]
TEXTS = (
    *("", " ", "a", " a", "a ", "\u2003a", "a\u00a0", "a\x1f", "a\x85", "a\n", "\ta", "\u200ba"),
    *("\x00", "a\x00b", "\ud800", "a\udfffb", "é", "e\u0301", "💥", "İ", "ﬀ", "٣", "５"),
    *("5", "-5", "05", "+5", "5 ", "1_0", "1.0", "-0", "9" * 15, "9" * 16, "1" * 20, "null"),
    *("task.done", "pr.merged", "Task.Done", "task.*", "*", "a..b", "task.done\n", ",", "a,b.*"),
    *("true", "True", "on", "now", "beginning", "2026-01-31T12:00:00Z", "2026-01-31 12:00"),
    *("1969-12-31T23:59:59Z", "2026-01-31T12:00:00+14:00", "2026-13-01T00:00:00Z", "2026-01-31"),
)
NUMBERS = (
    *(0, 1, -1, 2, 5, 2**31 - 1, 2**31, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63) - 1),
    *(10**100, 0.0, -0.0, 1.0, 1.5, 5.0, 1e15, 1e16, 1e22, 1e308, float("nan"), float("inf")),
)
JSON = st.recursive(
    st.sampled_from((*TEXTS, *NUMBERS, True, False, None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TEXTS), inner),
    max_leaves=6,
)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": [value]}
    return value


def edges_of(field: Any) -> list[Any]:
    """Return values on both sides of a field's bounds."""
    longest, most = getattr(field, "max_length", None), getattr(field, "max_value", None)
    least = getattr(field, "min_value", None)
    values: list[Any] = []
    if longest is not None and not hasattr(field, "child"):
        values += [letter * (longest + off) for letter in "aé💥" for off in (-1, 0, 1)]
        values += ["a" * longest + " ", " " + "a" * (longest - 1)]
    for bound in (least, most):
        if bound is not None:
            numbers = [bound - 1, bound, bound + 1]
            values += [*numbers, *map(str, numbers), *map(float, numbers)]
    return values


def good_for(field: Any) -> st.SearchStrategy[Any]:
    """Return values that a field mostly takes."""
    if isinstance(field, serializers.ChoiceField):
        return st.sampled_from([*field.choice_strings_to_values, *map(str.upper, field.choices)])
    if isinstance(field, serializers.BooleanField):
        return st.booleans()
    if isinstance(field, serializers.IntegerField):
        return st.integers(field.min_value, field.max_value)
    if isinstance(field, serializers.ListSerializer):
        return st.lists(near(type(field.child)), max_size=3)
    if isinstance(field, serializers.ListField):
        items = st.lists(value_for(field.child), max_size=3)
        most = field.max_length or 50
        return items | st.sampled_from([["pr.merged"] * n for n in (most - 1, most, most + 1)])
    if isinstance(field, serializers.DictField):
        return st.dictionaries(st.sampled_from(TEXTS), JSON, max_size=3) | st.just({"d": deep(40)})
    if isinstance(field, TimeField):
        return st.datetimes().map(lambda time: f"{time.isoformat()}Z")
    if isinstance(field, serializers.Serializer):
        return near(type(field))
    return st.sampled_from(["pr.merged", "now", "dev_agent"])


def value_for(field: Any) -> st.SearchStrategy[Any]:
    """Return values a field takes, and values near them, and anything."""
    edges = st.sampled_from(edges_of(field) or list(TEXTS))
    good = good_for(field)
    return st.one_of(good, good, good, good, edges, st.sampled_from(TEXTS), JSON)


def near(serializer_class: Any) -> st.SearchStrategy[Any]:
    """Return data as a serializer takes it, and data that is a little beside it."""
    fields = {name: f for name, f in serializer_class().fields.items() if not f.read_only}
    kinds = {name: value_for(field) for name, field in fields.items()}
    required = {name: kinds[name] for name, field in fields.items() if field.required}
    optional = {name: kind for name, kind in kinds.items() if name not in required}
    whole = st.fixed_dictionaries(required, optional={**optional, "unknown": JSON})
    return whole | st.fixed_dictionaries({}, optional=kinds)


def taken(serializer_class: Any, data: Any) -> dict[str, Any] | None:
    serializer = functools.partial(serializer_class, data=data, context=CALLER)
    return compiled.taken(compiled.form_of(serializer_class), data, serializer)


def exactly(value: Any) -> Any:
    """Return a value with the types in it, so that `True` is not 1 and -0.0 is not 0.0."""
    if type(value) is dict:
        return {(type(name), name): exactly(inner) for name, inner in value.items()}
    if type(value) is list:
        return [exactly(inner) for inner in value]
    return (type(value), repr(value))


@pytest.mark.parametrize("serializer_class", INPUTS)
def test_what_a_form_takes_its_serializer_takes_with_equal_values(serializer_class: Any) -> None:
    @settings(max_examples=80, deadline=None)
    @given(near(serializer_class) | JSON)
    def holds(data: Any) -> None:
        values = taken(serializer_class, data)
        if values is not None:
            serializer = serializer_class(data=data, context=CALLER)
            assert serializer.is_valid(), serializer.errors
            assert exactly(values) == exactly(dict(serializer.validated_data))

    holds()


GOOD: dict[Any, dict[str, Any]] = {
    NewTaskSerializer: {
        "type": "bugfix",
        "payload": {"issue": "Größe", "n": [1, {"deep": None}]},
        "priority": "P1",
        "source": "",
        "sla_target": None,
        "metadata": {},
        "not_before": "2026-01-31T12:00:00Z",
        "depends_on": ["task_1"],
    },
    ReportSerializer: {"status": "in_progress", "attempt": "1", "result": {"a": 1}, "error": None},
    ClaimSerializer: {"agent": "dev_agent", "types": ["bugfix"], "lease_seconds": 300},
    PublishSerializer: {"event_type": "pr.merged", "source_agent": "dev_agent", "task_id": None},
    NewConsumer: {"name": "billing", "types": ["task.*"]},
    TaskListQuery: {"status": "pending", "limit": "10"},
    BatchRequest: {"tasks": [{"type": "bugfix", "payload": {}, "ref": "a"}], "mode": "each"},
}


@pytest.mark.parametrize("serializer_class", [each for each in GOOD if each is not NewConsumer])
def test_plain_input_needs_no_serializer(serializer_class: Any) -> None:
    data = GOOD[serializer_class]

    values = taken(serializer_class, data)

    serializer = serializer_class(data=data)
    serializer.is_valid(raise_exception=True)
    assert values is not None and exactly(values) == exactly(dict(serializer.validated_data))


def test_a_status_that_is_reported_is_one_of_the_statuses() -> None:
    values = taken(ReportSerializer, {"status": "completed"})

    assert values is not None and type(values["status"]) is Status


@pytest.mark.parametrize(
    ("serializer_class", "data"),
    [
        (NewTaskSerializer, {"type": "bugfix", "payload": {}, "source": " api "}),
        (NewTaskSerializer, {"type": "bugfix", "payload": {}, "max_attempts": 3.0}),
        (TaskListQuery, {"overdue": "yes"}),
        (BatchItemSerializer, {"type": 7, "payload": {}}),
        (NewConsumer, {"name": "billing", "start": "2026-01-31T12:00:00Z"}),
        (NewTokenSerializer, {"user_id": "dev-agent-1", "role": "agent"}),
    ],
)
def test_what_a_form_does_not_say_goes_to_the_serializer(serializer_class: Any, data: Any) -> None:
    serializer = serializer_class(data=data, context=CALLER)
    serializer.is_valid(raise_exception=True)

    assert taken(serializer_class, data) is None
    assert compiled.checked(serializer_class, data, CALLER) == serializer.validated_data


@pytest.mark.parametrize("name", ["type", "payload"])
def test_a_refusal_is_worded_by_the_serializer(name: str) -> None:
    data: Any = {"type": "bugfix", "payload": {}, name: None}
    serializer = NewTaskSerializer(data=data)
    assert not serializer.is_valid()

    with pytest.raises(ValidationError) as refusal:
        compiled.checked(NewTaskSerializer, data)

    assert refusal.value.detail == serializer.errors


@pytest.mark.parametrize("letter", ["a", "é", "ﬀ", "💥", "\n", "\x01"])
def test_an_object_is_as_large_as_before_to_the_byte(letter: str) -> None:
    widths = {"a": 1, "\n": 2, "💥": 12}
    room = (MAX_OBJECT_BYTES - len('{"a": ""}')) // widths.get(letter, 6)
    data = {"event_type": "pr.merged", "source_agent": "dev_agent"}

    fits = {**data, "payload": {"a": letter * room}}
    assert compiled.checked(PublishSerializer, fits)["payload"] == fits["payload"]
    with pytest.raises(ObjectTooLarge):
        compiled.checked(PublishSerializer, {**data, "payload": {"a": letter * (room + 1)}})


def test_a_default_is_made_anew_for_each_request() -> None:
    first, second = (compiled.checked(NewConsumer, {"name": "billing"}) for _ in range(2))

    first["types"].append("task.*")
    assert second["types"] == []
