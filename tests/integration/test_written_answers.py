"""Every answer is written as its serializer's fields would write it, whatever the row holds."""

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from rest_framework import serializers

from approvals_app.models import Approval
from approvals_app.models import Status as ApprovalStatus
from approvals_app.serializers import ApprovalSerializer
from events_app.consumers.serializers import ConsumerSerializer, DeliveredSerializer
from events_app.consumers.services import Delivered
from events_app.models import Consumer, Delivery, Event, Subscription
from events_app.serializers import EventSerializer
from events_app.webhooks.serializers import DeliverySerializer, SubscriptionSerializer
from orchestrator_site.api.serializers import SharedFieldsSerializer
from tasks_app import rules
from tasks_app.api.serializers.tasks import StatusAnswer, TaskSerializer
from tasks_app.models import FailureReason, Status, Task
from tasks_app.queries import GatedTask
from tests.support.serializers import subclasses

NOON = datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)
TIMES = (NOON, NOON.replace(microsecond=0), NOON.astimezone(timezone(timedelta(hours=14))))
TEXTS = ("", "Größe \u2028 💥", Status.IN_PROGRESS, "now")


def answers() -> list[Any]:
    """Return every serializer that is written by a plan: a new answer is among them."""
    ours = set(subclasses(SharedFieldsSerializer))
    return sorted(ours, key=lambda each: (each.__module__, each.__name__))


def tasks() -> list[GatedTask]:
    """Return a task of every status, with all that may be empty empty, and full."""
    rows = [
        Task(
            task_id="task_1",
            type="bugfix",
            status=status,
            payload={"umlaut": "Größe", "deep": [{"a": None}]},
            result=result,
            sla_target=target,
            due_at=time if target else None,
            created_at=NOON,
            lease_expires_at=time,
            progress=0 if time else None,
            failure_reason=reason,
        )
        for status in Status
        for time in (None, *TIMES)
        for target, result, reason in ((None, None, ""), (60, {"n": 1.5}, FailureReason.values[0]))
    ]
    return [
        GatedTask(row, rules.gate_of(row, state)) for row in rows for state in ("pending", None)
    ]


def approvals() -> list[Approval]:
    return [
        Approval(
            approval_id="approval_1",
            status=status,
            created_at=NOON,
            expires_at=time,
            decided_at=time,
            decided_by="Jana" if time else "",
        )
        for status in ApprovalStatus
        for time in (None, *TIMES)
    ]


def events() -> list[Event]:
    return [
        Event(
            event_id="evt_1", event_type="pr.merged", payload=payload, created_at=time, position=7
        )
        for payload in ({}, {"a": ["Größe", None, 2**53 - 1]})
        for time in TIMES
    ]


def subscriptions() -> list[Subscription]:
    return [
        Subscription(types=["*"], created_at=NOON, active=active, disabled_at=time)
        for active in (True, False)
        for time in (None, *TIMES)
    ]


def deliveries() -> list[Delivery]:
    log = [{"at": NOON.isoformat(), "status": None, "ms": 3, "error": "", "answer": "x"}]
    return [
        Delivery(status=status, attempts=1, log=log, next_attempt_at=NOON, settled_at=time)
        for status in Delivery.Status
        for time in (None, *TIMES)
    ]


def consumers() -> list[Consumer]:
    return [
        Consumer.objects.get_or_create(
            name=f"c{number}",
            defaults={"owner": "dev", "position": 0, "created_at": NOON, "fetched_at": time},
        )[0]
        for number, time in enumerate((None, *TIMES))
    ]


ROWS: dict[type, Any] = {
    TaskSerializer: tasks,
    ApprovalSerializer: approvals,
    EventSerializer: events,
    DeliveredSerializer: lambda: [Delivered(event, 2) for event in events()],
    SubscriptionSerializer: subscriptions,
    DeliverySerializer: deliveries,
    ConsumerSerializer: consumers,
}


def values_of(field: Any) -> list[Any]:
    """Return values of every shape that a field may be given."""
    if isinstance(field, serializers.ListSerializer):
        return [[], values_of(field.child)]
    if isinstance(field, serializers.Serializer):
        values = ROWS[type(field)]() if type(field) in ROWS else shapes_of(type(field))
    elif isinstance(field, serializers.BooleanField):
        values = [True, False]
    elif isinstance(field, serializers.IntegerField):
        values = [0, 1, -1, 2**53, True]
    elif isinstance(field, serializers.DateTimeField):
        values = [*TIMES, NOON.isoformat()]
    elif isinstance(field, serializers.ListField):
        values = [[], values_of(field.child)]
    elif isinstance(field, serializers.DictField):
        values = [{}, dict(enumerate(values_of(field.child)))]
    else:
        values = list(TEXTS)
    return [*values, None] if field.allow_null else values


def shapes_of(serializer_class: Any) -> list[dict[str, Any]]:
    """Return mappings that hold every value of every field at least once."""
    fields = serializer_class().fields.values()
    named = [field for field in fields if len(field.source_attrs) == 1 and field.source != "*"]
    values = {field.source: values_of(field) for field in named}
    most = max(map(len, values.values()), default=1)
    shapes = [{name: v[n % len(v)] for name, v in values.items()} for n in range(most)]
    absent = [field.source for field in named if not field.required]
    return [*shapes, {name: value for name, value in shapes[0].items() if name not in absent}]


def exactly(value: Any) -> Any:
    """Return a value with its types and the order of its fields."""
    if isinstance(value, dict):
        return [(name, exactly(inner)) for name, inner in value.items()]
    if isinstance(value, list):
        return [exactly(inner) for inner in value]
    return (type(value), value)


@pytest.mark.django_db
@pytest.mark.parametrize("serializer_class", answers())
def test_an_answer_is_written_as_its_fields_say(serializer_class: Any) -> None:
    by_fields = serializers.Serializer.to_representation

    for shape in shapes_of(serializer_class):
        for row in (shape, SimpleNamespace(**shape)):
            expected = exactly(dict(by_fields(serializer_class(), row)))
            assert exactly(serializer_class.of(row)) == expected
            assert exactly(dict(serializer_class(row).data)) == expected


def test_an_answer_without_one_of_its_values_is_a_fault_that_names_it() -> None:
    with pytest.raises(KeyError, match="attempt"):
        StatusAnswer.of({"task_id": "task_1", "status": "pending"})
