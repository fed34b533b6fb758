"""Requests and answers of agents and task types."""

from rest_framework import serializers

from orchestrator_site.api.serializers import (
    SuccessSerializer,
    WholeNumberField,
)


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
