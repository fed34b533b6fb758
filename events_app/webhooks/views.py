"""The API door of webhooks."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from events_app.models import Subscription
from events_app.webhooks import services as webhooks
from events_app.webhooks.serializers import (
    DeliveryListAnswer,
    DeliveryListQuery,
    NewSubscription,
    Resend,
    ResendAnswer,
    SecretAnswer,
    SubscriptionAnswer,
    SubscriptionListAnswer,
)
from orchestrator_site.api.serializers import SuccessSerializer
from orchestrator_site.api.viewsets import ApiViewSet
from orchestrator_site.core import cursors
from orchestrator_site.core.actors import Role

DELIVERIES = "deliveries"  # the kind of the cursors


class SubscriptionViewSet(ApiViewSet):
    """Have events sent to a URL, signed as Standard Webhooks says, until they arrive."""

    roles = dict.fromkeys(
        ("create", "list", "retrieve", "destroy", "rotate", "enable", "deliveries", "resend"),
        Role.ADMIN,
    )
    once_actions = ("create", "rotate", "resend")
    examples = {
        "create": {
            "url": "https://hooks.example.com/orchestrator",
            "types": ["task.*"],
            "format": "json",
        },
    }

    @extend_schema(request=NewSubscription, responses=SecretAnswer)
    def create(self, request: Request) -> Response:
        """Send events to a URL from now on.

        The answer shows the secret that signs them, this once.
        """
        params = self.checked(NewSubscription) | self.stamp
        return self.once(lambda: with_secret(webhooks.subscribe(**params)), shown_once="secret")

    @extend_schema(responses=SubscriptionListAnswer)
    def list(self, request: Request) -> Response:
        """List the subscriptions, newest first."""
        rows = webhooks.newest()
        return Response(SubscriptionListAnswer({"count": len(rows), "subscriptions": rows}).data)

    @extend_schema(responses=SubscriptionAnswer)
    def retrieve(self, request: Request, subscription_id: str) -> Response:
        """Show a subscription and how it fares."""
        return Response(SubscriptionAnswer(answer_of(webhooks.find(subscription_id))).data)

    @extend_schema(request=None, responses={200: SuccessSerializer})
    def destroy(self, request: Request, subscription_id: str) -> Response:
        """Delete a subscription; what is on its way is forgotten."""
        webhooks.delete(subscription_id=subscription_id, **self.stamp)
        return Response(SuccessSerializer({}).data)

    @extend_schema(request=None, responses=SecretAnswer)
    def rotate(self, request: Request, subscription_id: str) -> Response:
        """Make a new secret, shown this once. For 24 hours the old one signs beside it."""
        params = {"subscription_id": subscription_id, **self.stamp}
        return self.once(lambda: with_secret(webhooks.rotate(**params)), shown_once="secret")

    @extend_schema(request=None, responses=SubscriptionAnswer)
    def enable(self, request: Request, subscription_id: str) -> Response:
        """Switch a subscription on again; it goes on where it stopped."""
        subscription = webhooks.switch_on(subscription_id=subscription_id, **self.stamp)
        return Response(SubscriptionAnswer(answer_of(subscription)).data)

    @extend_schema(parameters=[DeliveryListQuery], responses=DeliveryListAnswer)
    def deliveries(self, request: Request, subscription_id: str) -> Response:
        """List what was sent or is to be sent, newest first, with every attempt."""
        params = self.asked(DeliveryListQuery)
        if "cursor" in params:
            params["below"] = cursors.decode(params.pop("cursor"), DELIVERIES, int)[0]
        rows, below = webhooks.deliveries(subscription_id=subscription_id, **params)
        following = None if below is None else cursors.encode(DELIVERIES, below)
        answer = {"count": len(rows), "deliveries": rows, "next": following}
        return Response(DeliveryListAnswer(answer).data)

    @extend_schema(request=Resend, responses=ResendAnswer)
    def resend(self, request: Request, subscription_id: str) -> Response:
        """Send one event again, or everything since a time."""
        params = self.checked(Resend) | {"subscription_id": subscription_id, **self.stamp}

        def perform() -> Mapping[str, Any]:
            count = webhooks.resend(**params)
            return ResendAnswer({"subscription_id": subscription_id, "resending": count}).data

        return self.once(perform)

    @property
    def stamp(self) -> dict[str, Any]:
        """Return who changes something, and when."""
        return {"by": self.actor, "now": self.now}


def answer_of(subscription: Subscription) -> dict[str, Any]:
    """Return what an answer says of a subscription."""
    return {"subscription_id": subscription.subscription_id, "subscription": subscription}


def with_secret(subscription: Subscription) -> Mapping[str, Any]:
    """Return the answer that shows the secret."""
    return SecretAnswer(answer_of(subscription) | {"secret": subscription.secret}).data
