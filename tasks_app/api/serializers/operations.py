"""Requests and answers of what operators do with tasks, and of their timelines."""

from rest_framework import serializers

from events_app.serializers import EventSerializer
from orchestrator_site.api.serializers import (
    SuccessSerializer,
    WholeNumberField,
)
from tasks_app.models import FailureReason


class ReasonSerializer(serializers.Serializer):
    """Why something is done."""

    reason = serializers.CharField(max_length=2000, required=False, default="", allow_blank=True)


class ReassignSerializer(serializers.Serializer):
    """Another agent for a waiting task, and why."""

    agent = serializers.CharField(max_length=64)
    reason = serializers.CharField(max_length=500)


class DeadLetterQuery(serializers.Serializer):
    """Which dead letters."""

    type = serializers.CharField(max_length=64, required=False)
    assigned_agent = serializers.CharField(max_length=64, required=False)
    failure_reason = serializers.ChoiceField(choices=FailureReason.values, required=False)
    limit = WholeNumberField(in_query=True, min_value=1, max_value=200, default=50)
    cursor = serializers.CharField(max_length=100, required=False)


class RequeueSerializer(serializers.Serializer):
    """Which dead letters to put back in the queue."""

    type = serializers.CharField(max_length=64, required=False)
    assigned_agent = serializers.CharField(max_length=64, required=False)
    failure_reason = serializers.ChoiceField(choices=FailureReason.values, required=False)
    limit = WholeNumberField(min_value=1, max_value=200, default=200)


class RequeuedAnswer(SuccessSerializer):
    """What was put back."""

    count = serializers.IntegerField()
    task_ids = serializers.ListField(child=serializers.CharField())


class TimelineQuery(serializers.Serializer):
    """How much of a timeline, and from where on."""

    limit = WholeNumberField(in_query=True, min_value=1, max_value=1000, default=1000)
    cursor = serializers.CharField(
        max_length=100, required=False, help_text="The `next` of the last page."
    )


class TimelineAnswer(SuccessSerializer):
    """What happened to a task, in order. `next` goes back in as `cursor`; null on the last page."""

    task_id = serializers.CharField()
    count = serializers.IntegerField(help_text="Events on this page.")
    timeline = EventSerializer(many=True)
    next = serializers.CharField(allow_null=True)
