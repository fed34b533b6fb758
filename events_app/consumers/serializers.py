"""What the requests and answers of named consumers look like."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rest_framework import serializers

from events_app.log import reading, sequencing
from events_app.models import Consumer
from events_app.rules import cursor, plain, position_of
from events_app.serializers import EventSerializer, checked_patterns
from orchestrator_site.api.serializers import SuccessSerializer, TimeField, WholeNumberField

NAME = r"\A[A-Za-z0-9_-]{1,64}\Z"
HOUR, MOST = 3600, 100


class PlaceField(serializers.CharField):
    """A place in the log: `now`, `beginning`, a cursor, or a time."""

    def to_internal_value(self, data: Any) -> str:
        text = str(super().to_internal_value(data))
        if time_of(text) is not None:
            TimeField().run_validation(text)
        return text


class NewConsumer(serializers.Serializer):
    """A consumer to make."""

    name = serializers.RegexField(NAME, help_text="Letters, digits, `-` and `_`; at most 64.")
    types = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        default=list,
        help_text="Such as `task.*`; empty for all.",
    )
    start = PlaceField(
        max_length=64,
        default="now",
        help_text="`now`, `beginning`, a cursor, or a time (RFC 3339).",
    )
    ack_seconds = WholeNumberField(min_value=1, max_value=HOUR, default=60)
    max_deliveries = WholeNumberField(min_value=1, max_value=100, default=5)

    validate_types = staticmethod(checked_patterns)


def start_position(text: str) -> int:
    """Return the position that `start` names; raise BadCursor, CursorExpired or CursorAhead."""
    if text == "now":
        return sequencing.head()
    if text == "beginning":
        return sequencing.bounds()[0]
    if (time := time_of(text)) is not None:
        return reading.position_at(time)
    position = position_of(text, field="start")
    reading.ensure_readable(position)
    return position


def time_of(text: str) -> datetime | None:
    """Return the moment a text says, or None; without a zone it is UTC."""
    try:
        time = parse_datetime(text)
    except ValueError:
        return None
    return timezone.make_aware(time) if time is not None and timezone.is_naive(time) else time


class Fetch(serializers.Serializer):
    """How many events, and how long to wait for the first."""

    limit = WholeNumberField(min_value=1, max_value=MOST, default=10)
    wait_seconds = WholeNumberField(
        min_value=0, max_value=60, default=0, help_text="Wait for the first so long."
    )
    ack_seconds = WholeNumberField(
        min_value=1,
        max_value=HOUR,
        required=False,
        help_text="Handed out again unless acknowledged by then.",
    )


class Ack(serializers.Serializer):
    """Events that are done."""

    event_ids = serializers.ListField(child=serializers.CharField(max_length=64), max_length=1000)


class Replay(serializers.Serializer):
    """What to hand out again: all that is parked, or these events, or everything after a place."""

    event_ids = serializers.ListField(
        child=serializers.CharField(max_length=64),
        max_length=1000,
        required=False,
        help_text="Parked events.",
    )
    after = PlaceField(max_length=64, required=False, help_text="As `start`: go back to there.")


class ConsumerSerializer(serializers.ModelSerializer):
    """A consumer and how far it is."""

    cursor = serializers.SerializerMethodField(help_text="How far it has been handed out.")
    behind = serializers.SerializerMethodField(
        help_text="Events in the log it has not looked at yet."
    )
    in_flight = serializers.SerializerMethodField(help_text="Handed out, not acknowledged.")
    parked = serializers.SerializerMethodField(help_text="Given up after `max_deliveries`.")

    class Meta:
        model = Consumer
        fields = [
            "name",
            "owner",
            "types",
            "ack_seconds",
            "max_deliveries",
            "cursor",
            "behind",
            "in_flight",
            "parked",
            "created_at",
            "fetched_at",
        ]

    def get_cursor(self, consumer: Consumer) -> str:
        return cursor(consumer.place)

    def get_behind(self, consumer: Consumer) -> int:
        return max(0, sequencing.bounds()[1] - consumer.position)

    def get_in_flight(self, consumer: Consumer) -> int:
        return consumer.deliveries.in_flight().count()

    def get_parked(self, consumer: Consumer) -> int:
        return consumer.deliveries.parked().count()


class ConsumerAnswer(SuccessSerializer):
    """One consumer."""

    consumer = ConsumerSerializer()


class ConsumerListAnswer(SuccessSerializer):
    """The caller's consumers; all of them for an administrator."""

    consumers = ConsumerSerializer(many=True)


class DeliveredSerializer(EventSerializer):
    """An event as it is handed out."""

    delivery = serializers.IntegerField(
        help_text="How many times it has been handed out; 1 is the first."
    )

    class Meta(EventSerializer.Meta):
        fields = [*EventSerializer.Meta.fields, "delivery"]

    def to_representation(self, delivered: Any) -> dict[str, Any]:
        return plain(delivered.event) | {"delivery": delivered.delivery}


class FetchAnswer(SuccessSerializer):
    """Events to work on; acknowledge each, or it comes again."""

    events = DeliveredSerializer(many=True)


class AckAnswer(SuccessSerializer):
    """What was acknowledged."""

    acknowledged = serializers.IntegerField()
    unknown = serializers.IntegerField(
        help_text="Not waiting for it: acknowledged before, or never handed out."
    )


class ParkedSerializer(serializers.Serializer):
    """An event that was given up."""

    event_id = serializers.CharField()
    deliveries = serializers.IntegerField()
    parked_at = serializers.DateTimeField()
    event = EventSerializer(allow_null=True, help_text="Null once it has been pruned.")


class ParkedQuery(serializers.Serializer):
    """How many parked events, and from where on."""

    limit = WholeNumberField(in_query=True, min_value=1, max_value=MOST, default=MOST)
    cursor = serializers.CharField(
        max_length=64, required=False, help_text="The `next` of the last page."
    )


class ParkedAnswer(SuccessSerializer):
    """The events that were given up, oldest first.

    `next` goes back in as `cursor`; null on the last page.
    """

    parked = ParkedSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class ReplayAnswer(SuccessSerializer):
    """What will be handed out again."""

    replayed = serializers.IntegerField(help_text="Parked events that came back.")
    cursor = serializers.CharField(help_text="From where on it reads new ones.")
