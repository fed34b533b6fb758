"""Requests and answers of claims, heartbeats and releases."""

from typing import Any

from rest_framework import serializers

from orchestrator_site.api.serializers import (
    SharedFieldsSerializer,
    SuccessSerializer,
    WholeNumberField,
)
from tasks_app.api.serializers.tasks import TaskSerializer

ATTEMPT: Any = {
    "min_value": 1,
    "max_value": 2**31 - 1,
    "help_text": "The fencing token the claim answered with.",
}


class ClaimSerializer(SharedFieldsSerializer):
    """Which agent's queue, how many tasks, and for how long."""

    agent = serializers.CharField(max_length=64, help_text="The pool: dev_agent.")
    types = serializers.ListField(
        child=serializers.CharField(max_length=64),
        required=False,
        allow_empty=False,
        max_length=100,
        help_text="Only tasks of these types.",
    )
    limit = WholeNumberField(min_value=1, max_value=50, default=1)
    lease_seconds = WholeNumberField(min_value=5, max_value=86_400, default=60)
    wait_seconds = WholeNumberField(
        min_value=0, max_value=60, default=0, help_text="How long to wait while there is nothing."
    )


class ClaimAnswer(SuccessSerializer):
    """What was handed out, most urgent first; empty if there was nothing."""

    tasks = TaskSerializer(many=True)


class HeartbeatSerializer(SharedFieldsSerializer):
    """A heartbeat, with how far the task has come."""

    attempt = WholeNumberField(**ATTEMPT)
    progress = WholeNumberField(min_value=0, max_value=100, required=False, allow_null=True)
    note = serializers.CharField(max_length=500, required=False, allow_blank=True, allow_null=True)


class HeartbeatAnswer(SuccessSerializer):
    """The lease was extended; `cancelled` says to stop."""

    task_id = serializers.CharField()
    status = serializers.CharField()
    cancelled = serializers.BooleanField()
    attempt = serializers.IntegerField()
    lease_expires_at = serializers.DateTimeField(allow_null=True)


class ReleaseSerializer(serializers.Serializer):
    """Give a task back."""

    attempt = WholeNumberField(**ATTEMPT)
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)
