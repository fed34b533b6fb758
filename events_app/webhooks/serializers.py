"""What the requests and answers of subscriptions look like."""

from rest_framework import serializers

from events_app.models import Delivery, Format, Subscription
from events_app.serializers import checked_patterns
from events_app.webhooks.url_policy import MAX_URL
from orchestrator_site.api.serializers import SuccessSerializer, TimeField, WholeNumberField


class NewSubscription(serializers.Serializer):
    """A subscription to make."""

    url = serializers.CharField(
        max_length=MAX_URL,
        trim_whitespace=False,
        help_text="https, port 443, at a public address; see the guide.",
    )
    types = serializers.ListField(
        child=serializers.CharField(),
        allow_empty=False,
        help_text="Such as `task.*` and `pr.merged`, or `*` for all.",
    )
    format = serializers.ChoiceField(choices=Format.choices, default=Format.JSON)
    description = serializers.CharField(max_length=200, required=False, allow_blank=True)
    secret = serializers.CharField(
        max_length=128,
        required=False,
        help_text="One of your own: `whsec_` and the base64 of 24 to 64 random bytes. "
        "Made for you if absent.",
    )

    validate_types = staticmethod(checked_patterns)


class SubscriptionSerializer(serializers.ModelSerializer):
    """A subscription and how it fares; its secret is never shown again."""

    types = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Subscription
        fields = [
            "subscription_id",
            "url",
            "types",
            "format",
            "description",
            "active",
            "disabled_at",
            "disabled_reason",
            "failing_since",
            "dead_in_a_row",
            "previous_secret_until",
            "created_by",
            "created_at",
        ]


class SubscriptionAnswer(SuccessSerializer):
    """One subscription."""

    subscription_id = serializers.CharField()
    subscription = SubscriptionSerializer()


class SecretAnswer(SubscriptionAnswer):
    """One subscription, and the secret that signs from now on: this once."""

    secret = serializers.CharField()


class SubscriptionListAnswer(SuccessSerializer):
    """The subscriptions, newest first."""

    count = serializers.IntegerField()
    subscriptions = SubscriptionSerializer(many=True)


class DeliveryListQuery(serializers.Serializer):
    """Which deliveries."""

    status = serializers.ChoiceField(choices=Delivery.Status.choices, required=False)
    limit = WholeNumberField(in_query=True, min_value=1, max_value=200, default=50)
    cursor = serializers.CharField(
        max_length=64, required=False, help_text="The `next` of the page before."
    )


class AttemptSerializer(serializers.Serializer):
    """How one attempt went."""

    at = serializers.DateTimeField()
    status = serializers.IntegerField(allow_null=True, help_text="Null when there was no answer.")
    ms = serializers.IntegerField(help_text="How long it took.")
    error = serializers.CharField(
        allow_blank=True, help_text="Why it does not count; empty if it arrived."
    )
    answer = serializers.CharField(
        allow_blank=True, help_text="The beginning of what the receiver answered."
    )


class DeliverySerializer(serializers.ModelSerializer):
    """An event on its way to a subscriber."""

    next_attempt_at = serializers.SerializerMethodField(help_text="Null once it is settled.")
    attempts = serializers.IntegerField(help_text="Since it was last started.")
    log = AttemptSerializer(many=True, help_text="The last 20 attempts, oldest first.")

    class Meta:
        model = Delivery
        fields = [
            "event_id",
            "event_type",
            "status",
            "attempts",
            "next_attempt_at",
            "log",
            "created_at",
            "settled_at",
        ]

    def get_next_attempt_at(self, delivery: Delivery) -> str | None:
        if delivery.status != Delivery.Status.PENDING:
            return None
        return serializers.DateTimeField().to_representation(delivery.next_attempt_at)


class DeliveryListAnswer(SuccessSerializer):
    """A page of deliveries, newest first.

    `next` goes back in as `cursor`; null on the last page.
    """

    count = serializers.IntegerField(help_text="Deliveries on this page.")
    deliveries = DeliverySerializer(many=True)
    next = serializers.CharField(allow_null=True)


class Resend(serializers.Serializer):
    """What to send again: one event, or all since a time."""

    event_id = serializers.CharField(max_length=40, required=False)
    since = TimeField(required=False)


class ResendAnswer(SuccessSerializer):
    """What is sent again."""

    subscription_id = serializers.CharField()
    resending = serializers.IntegerField(
        help_text="Known deliveries; events it never had come on top."
    )
