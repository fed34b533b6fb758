"""What event requests and answers look like."""

from typing import Any

from rest_framework import serializers

from events_app.models import Event
from events_app.rules import EVENT_TYPE, FIELDS, PATTERN, cursor, plain
from orchestrator_site.api.serializers import (
    RowSerializer,
    SharedFieldsSerializer,
    SmallObjectField,
    SuccessSerializer,
    WholeNumberField,
)
from orchestrator_site.core.priorities import Priority

MOST_TYPES, LONGEST_TYPE = 50, 128


class PublishSerializer(SharedFieldsSerializer):
    """An event to publish."""

    event_type = serializers.RegexField(
        EVENT_TYPE,
        max_length=LONGEST_TYPE,
        trim_whitespace=False,
        help_text="Like `deployment.completed`.",
    )
    source_agent = serializers.CharField(
        max_length=100, help_text="Who you are; kept as said, marked if verified."
    )
    payload = SmallObjectField(
        required=False, help_text="Any JSON object up to 256 KiB; empty if absent."
    )
    task_id = serializers.CharField(
        max_length=64, required=False, allow_null=True, allow_blank=True
    )
    trace_id = serializers.CharField(
        max_length=128, required=False, allow_null=True, allow_blank=True
    )
    priority = serializers.ChoiceField(choices=Priority.choices, required=False, allow_null=True)

    def validate(self, attrs: dict[str, object]) -> dict[str, object]:
        """Return the event without what was given as null."""
        return {name: value for name, value in attrs.items() if value is not None}


class PublishedAnswer(SuccessSerializer):
    """The event is stored."""

    event_type = serializers.CharField()
    message = serializers.CharField()
    event_id = serializers.CharField()


class EventBatchSerializer(serializers.Serializer):
    """A batch whose events are not checked yet: one by one in mode `each`."""

    events = serializers.ListField(child=serializers.DictField(), min_length=1, max_length=100)
    mode = serializers.ChoiceField(choices=["all", "each"], default="all")


class EventBatchRequest(EventBatchSerializer):
    """Up to 100 events, published all or none, or each that can be."""

    events = PublishSerializer(many=True)


class EventBatchResultSerializer(serializers.Serializer):
    """An event that is stored, or why there is none."""

    success = serializers.BooleanField()
    event_type = serializers.CharField(allow_null=True)
    event_id = serializers.CharField(allow_null=True)
    detail = serializers.CharField(allow_null=True)


class EventBatchAnswer(SuccessSerializer):
    """One result for each event, in the order given."""

    mode = serializers.CharField()
    published = serializers.IntegerField()
    results = EventBatchResultSerializer(many=True)


class EventSerializer(RowSerializer):
    """A fact of the log. `cursor` goes into `after` to go on from here."""

    cursor = serializers.SerializerMethodField()

    class Meta:
        model = Event
        fields = ["cursor", *FIELDS, "created_at"]

    def get_cursor(self, event: Event) -> str | None:
        """Return the event's cursor; null until it has its place."""
        return None if event.position is None else cursor(event.place)

    def to_representation(self, event: Event) -> dict[str, Any]:
        """Return the fields, read straight from the row: a page has hundreds of them."""
        return plain(event)


def checked_patterns(patterns: list[str]) -> list[str]:
    """Return type patterns; raise ValidationError when there are too many, or one is none."""
    if len(patterns) > MOST_TYPES:
        raise serializers.ValidationError(f"At most {MOST_TYPES} types.")
    for pattern in patterns:
        if len(pattern) > LONGEST_TYPE or not PATTERN.match(pattern):
            raise serializers.ValidationError(
                f"Not a type, `family.*` or `*`: {pattern[:LONGEST_TYPE]}"
            )
    return patterns


class EventFilter(serializers.Serializer):
    """Which events, and from where on."""

    after = serializers.CharField(
        max_length=64,
        required=False,
        help_text="A cursor: the `next` of the last page or the `cursor` of an event; "
        "or `now`, or `beginning`.",
    )
    types = serializers.CharField(
        max_length=MOST_TYPES * (LONGEST_TYPE + 1),
        required=False,
        help_text="Such as `task.*,pr.merged`; at most 50.",
    )
    task_id = serializers.CharField(max_length=64, required=False)
    trace_id = serializers.CharField(max_length=128, required=False)
    source_agent = serializers.CharField(max_length=100, required=False)

    def validate_types(self, text: str) -> list[str]:
        return checked_patterns([part.strip() for part in text.split(",") if part.strip()])


class EventListQuery(EventFilter):
    """Which events, from where on, and how many."""

    limit = WholeNumberField(in_query=True, min_value=1, max_value=500, default=100)


class EventListAnswer(SuccessSerializer):
    """Events in order.

    `next` goes into `after`, also when the page is empty; at the end it stays the same.
    """

    events = EventSerializer(many=True)
    next = serializers.CharField(help_text="The cursor to go on from.")


class CloudEventSerializer(serializers.Serializer):
    """A CloudEvent 1.0; `cursor`, `origin`, `publisher` and others are extension attributes."""

    specversion = serializers.CharField()
    id = serializers.CharField()
    source = serializers.CharField()
    type = serializers.CharField()
    time = serializers.DateTimeField(required=False)
    subject = serializers.CharField(required=False, help_text="The task it is about.")
    datacontenttype = serializers.CharField(required=False)
    data = serializers.DictField(required=False)
