"""Requests and answers of claims, batches, operations and agents."""

from typing import Any

from rest_framework import serializers

from events_app.serializers import EventSerializer
from orchestrator_site.api.serializers import (
    SharedFieldsSerializer,
    SuccessSerializer,
    WholeNumberField,
)
from tasks_app.api.serializers.tasks import NewTaskSerializer, TaskSerializer
from tasks_app.models import FailureReason

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


class BatchItemSerializer(NewTaskSerializer):
    """A task of a batch. Others of the batch may name its `ref` in `depends_on`."""

    ref = serializers.CharField(max_length=64, required=False)


class BatchSerializer(serializers.Serializer):
    """A batch whose tasks are not checked yet: one by one in mode `each`."""

    tasks = serializers.ListField(child=serializers.DictField(), min_length=1, max_length=100)
    mode = serializers.ChoiceField(choices=["all", "each"], default="all")


class BatchRequest(BatchSerializer):
    """Up to 100 tasks, created all or none, or each that can be."""

    tasks = BatchItemSerializer(many=True)


class BatchResultSerializer(serializers.Serializer):
    """A task, or why there is none."""

    success = serializers.BooleanField()
    task_id = serializers.CharField(allow_null=True)
    task = TaskSerializer(allow_null=True)
    detail = serializers.CharField(allow_null=True)


class BatchAnswer(SuccessSerializer):
    """One result for each task, in the order given."""

    mode = serializers.CharField()
    created = serializers.IntegerField()
    results = BatchResultSerializer(many=True)


class AgentSerializer(serializers.Serializer):
    """A pool of workers and how it is."""

    name = serializers.CharField()
    description = serializers.CharField()
    active = serializers.BooleanField()
    paused = serializers.BooleanField()
    silent = serializers.BooleanField()
    last_seen_at = serializers.DateTimeField(allow_null=True)
    silent_since = serializers.DateTimeField(allow_null=True)
    concurrency_limit = serializers.IntegerField(allow_null=True)
    running = serializers.IntegerField()
    waiting = serializers.IntegerField(
        help_text="Tasks it could be handed now; counted up to 1,000."
    )
    holders = serializers.ListField(
        child=serializers.CharField(), help_text="Who holds a live lease."
    )
    types = serializers.ListField(child=serializers.CharField())


class AgentsAnswer(SuccessSerializer):
    """Every agent."""

    count = serializers.IntegerField()
    agents = AgentSerializer(many=True)


class AgentChangeSerializer(serializers.Serializer):
    """What to change of an agent."""

    active = serializers.BooleanField(required=False)
    paused = serializers.BooleanField(required=False)
    concurrency_limit = WholeNumberField(
        min_value=0, max_value=100_000, required=False, allow_null=True
    )
    silent_after = WholeNumberField(
        min_value=5, max_value=31_536_000, required=False, allow_null=True
    )


class AgentChangedAnswer(SuccessSerializer):
    """The agent as it is now."""

    agent = serializers.CharField(source="name")
    active = serializers.BooleanField()
    paused = serializers.BooleanField()
    concurrency_limit = serializers.IntegerField(allow_null=True)
    silent_after = serializers.IntegerField(allow_null=True)


class TypeChangeSerializer(serializers.Serializer):
    """What to change of a task type."""

    paused = serializers.BooleanField(required=False)
    concurrency_limit = WholeNumberField(
        min_value=0, max_value=100_000, required=False, allow_null=True
    )


class TypeChangedAnswer(SuccessSerializer):
    """The type as it is now."""

    type = serializers.CharField(source="task_type")
    agent = serializers.CharField(source="agent_id")
    paused = serializers.BooleanField()
    concurrency_limit = serializers.IntegerField(allow_null=True)


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
