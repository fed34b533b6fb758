"""What event requests and answers look like."""

from rest_framework import serializers

from events_app.models import Event
from events_app.rules import EVENT_TYPE, cursor
from orchestrator_site.api.serializers import SuccessSerializer

PRIORITIES = ("P0", "P1", "P2", "P3")


class PublishSerializer(serializers.Serializer):
    """An event to publish."""

    event_type = serializers.RegexField(EVENT_TYPE, max_length=128, help_text="Like `deployment.completed`.")
    source_agent = serializers.CharField(max_length=100, help_text="Who you are; kept as said, marked if verified.")
    payload = serializers.DictField(required=False, help_text="Any JSON object; empty if absent.")
    task_id = serializers.CharField(max_length=64, required=False, allow_null=True, allow_blank=True)
    trace_id = serializers.CharField(max_length=128, required=False, allow_null=True, allow_blank=True)
    priority = serializers.ChoiceField(choices=PRIORITIES, required=False, allow_null=True)

    def validate(self, attrs: dict[str, object]) -> dict[str, object]:
        """Return the event without what was given as null."""
        return {name: value for name, value in attrs.items() if value is not None}


class PublishedAnswer(SuccessSerializer):
    """The event is stored."""

    event_type = serializers.CharField()
    message = serializers.CharField()
    event_id = serializers.CharField()


class EventSerializer(serializers.ModelSerializer):
    """A fact of the log. `cursor` goes into `after` to go on from here."""

    cursor = serializers.SerializerMethodField()

    class Meta:
        model = Event
        fields = [
            "event_id",
            "cursor",
            "event_type",
            "origin",
            "source_agent",
            "source_verified",
            "publisher",
            "door",
            "payload",
            "task_id",
            "trace_id",
            "priority",
            "moved_from",
            "moved_to",
            "created_at",
        ]

    def get_cursor(self, event: Event) -> str | None:
        """Return the event's cursor; null until it has its place."""
        return None if event.position is None else cursor(event.position)
