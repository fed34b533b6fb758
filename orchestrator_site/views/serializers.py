"""What the site's own doors take and give."""

from typing import Any

from rest_framework import serializers

from orchestrator_site.api.serializers import SuccessSerializer
from orchestrator_site.core.actors import Role
from orchestrator_site.core.names import MAX_NAME, fault_of, is_name


class RootSerializer(serializers.Serializer):
    """The front page."""

    service = serializers.CharField()
    version = serializers.CharField()
    links = serializers.DictField(child=serializers.CharField())


class QueueStatsSerializer(serializers.Serializer):
    """How much work there is."""

    pending_tasks = serializers.IntegerField(help_text="Waiting: pending and assigned.")
    processing_tasks = serializers.IntegerField(help_text="In progress.")
    total_tasks = serializers.IntegerField(help_text="All that are kept.")


class HealthSerializer(serializers.Serializer):
    """How the stores are."""

    status = serializers.ChoiceField(["healthy", "degraded"])
    redis = serializers.ChoiceField(["connected", "disconnected", "embedded"])
    queue_stats = QueueStatsSerializer()


class LiveSerializer(serializers.Serializer):
    """The process serves."""

    status = serializers.ChoiceField(["alive"])


class NameField(serializers.CharField):
    """The name of a principal, taken as it is sent; the caller's own is not checked anew."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_NAME, trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        caller = self.context.get("caller")
        if not (is_name(data) and data == caller) and (fault := fault_of(data)):
            raise serializers.ValidationError(fault)
        return str(data)


class NewTokenSerializer(serializers.Serializer):
    """Whom a token is for."""

    user_id = NameField(help_text="Becomes the token's `sub`.")
    role = serializers.ChoiceField([role.value for role in Role])


class TokenSerializer(SuccessSerializer):
    """A new token, under both names that clients look for."""

    access_token = serializers.CharField()
    token = serializers.CharField(help_text="The same.")
    token_type = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="Seconds.")
    user_id = serializers.CharField()
    role = serializers.CharField()
