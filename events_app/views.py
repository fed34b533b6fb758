"""The API door of events."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from events_app import services
from events_app.serializers import PublishedAnswer, PublishSerializer
from orchestrator_site.actors import Role
from orchestrator_site.api.views import ApiViewSet


class EventViewSet(ApiViewSet):
    """Publish events for others to hear."""

    roles = {"publish": Role.AGENT}
    rate_scopes = {"publish": "events_publish"}
    once_actions = ("publish",)

    @extend_schema(request=PublishSerializer, responses=PublishedAnswer)
    def publish(self, request: Request) -> Response:
        """Publish an event to the event bus for other agents to consume."""
        event = self.checked(PublishSerializer)
        return self.once(lambda: self._published(event))

    def _published(self, said: dict[str, Any]) -> dict[str, Any]:
        event = services.publish(**said, by=self.actor, now=self.now)
        answer = {
            "event_type": event.event_type,
            "message": "Event published successfully",
            "event_id": event.event_id,
        }
        return PublishedAnswer(answer).data
