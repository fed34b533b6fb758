"""The API door of named consumers."""

from django.forms import model_to_dict
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from events_app import rules
from events_app.consumers import services as consumers
from events_app.consumers.serializers import (
    Ack,
    AckAnswer,
    ConsumerAnswer,
    ConsumerListAnswer,
    Fetch,
    FetchAnswer,
    NewConsumer,
    ParkedAnswer,
    ParkedQuery,
    Replay,
    ReplayAnswer,
    start_position,
)
from events_app.log import cloudevents
from events_app.serializers import CloudEventSerializer
from events_app.views import as_batch
from orchestrator_site.api import long_poll
from orchestrator_site.api.serializers import SuccessSerializer
from orchestrator_site.api.viewsets import ApiViewSet
from orchestrator_site.core.actors import Role
from orchestrator_site.infra import wakeups


class ConsumerViewSet(ApiViewSet):
    """Read the log under a name: the service remembers how far you are.

    It brings back what you did not finish.
    """

    roles = dict.fromkeys(
        ("create", "list", "retrieve", "destroy", "fetch", "ack", "parked", "replay"), Role.AGENT
    )
    rate_scopes = {"fetch": "events_read", "ack": "events_read"}
    examples = {
        "create": {"name": "release-bot", "types": ["task.*"]},
        "fetch": {"limit": 10, "wait_seconds": 0},
    }
    once_actions = ()  # making it again changes nothing

    @extend_schema(request=NewConsumer, responses=ConsumerAnswer)
    def create(self, request: Request) -> Response:
        """Make a consumer.

        Made again with the same settings it stays as it is; with others it is a 409.
        It belongs to the caller; several processes with the caller's name share it.
        """
        params = self.checked(NewConsumer)
        start = start_position(params.pop("start"))
        consumer = consumers.create(**params, start=start, by=self.actor, now=self.now)
        return Response(ConsumerAnswer({"consumer": consumer}).data)

    @extend_schema(responses=ConsumerListAnswer)
    def list(self, request: Request) -> Response:
        """List the caller's consumers; all of them for an administrator."""
        return Response(ConsumerListAnswer({"consumers": consumers.owned(by=self.actor)}).data)

    @extend_schema(responses=ConsumerAnswer)
    def retrieve(self, request: Request, name: str) -> Response:
        """Return a consumer and how far it is."""
        return Response(ConsumerAnswer({"consumer": consumers.find(name, by=self.actor)}).data)

    @extend_schema(responses={200: SuccessSerializer})
    def destroy(self, request: Request, name: str) -> Response:
        """Forget a consumer."""
        consumers.delete(name=name, by=self.actor, now=self.now)
        return Response(SuccessSerializer({}).data)

    @extend_schema(
        request=Fetch,
        responses={
            (200, "application/json"): FetchAnswer,
            (200, cloudevents.BATCH): CloudEventSerializer(many=True),
        },
    )
    def fetch(self, request: Request, name: str) -> Response | HttpResponse:
        """Take the next events.

        Acknowledge each, or it comes again after `ack_seconds`; at last it is parked.
        With `Accept: application/cloudevents-batch+json` they are CloudEvents.
        """
        params = self.checked(Fetch)
        seconds = params.pop("wait_seconds")
        events = consumers.fetch(name=name, **params, by=self.actor, now=self.now)
        if not events and seconds:
            long_poll.wait_for(
                request, topics=[wakeups.EVENTS], seconds=seconds, key=("consumer", name)
            )
        if cloudevents.asked_for(request.META.get("HTTP_ACCEPT", "")):
            return as_batch(
                cloudevents.cloud_event(each.event, delivery=each.delivery) for each in events
            )
        return Response(FetchAnswer({"events": events}).data)

    @extend_schema(request=Ack, responses=AckAnswer)
    def ack(self, request: Request, name: str) -> Response:
        """Acknowledge events: they will not come again. Acknowledging twice does no harm."""
        event_ids = set(self.checked(Ack)["event_ids"])
        count = consumers.ack(name=name, event_ids=event_ids, by=self.actor)
        unknown = len(event_ids) - count
        return Response(AckAnswer({"acknowledged": count, "unknown": unknown}).data)

    @extend_schema(parameters=[ParkedQuery], responses=ParkedAnswer)
    def parked(self, request: Request, name: str) -> Response:
        """List the events that were handed out `max_deliveries` times and never acknowledged."""
        params = self.asked(ParkedQuery)
        after = rules.position_of(params["cursor"], field="cursor") if "cursor" in params else 0
        rows, end = consumers.parked(name=name, by=self.actor, limit=params["limit"], after=after)
        parked = [model_to_dict(row) | {"event": event} for row, event in rows]
        following = None if end is None else rules.cursor(end)
        return Response(ParkedAnswer({"parked": parked, "next": following}).data)

    @extend_schema(request=Replay, responses=ReplayAnswer)
    def replay(self, request: Request, name: str) -> Response:
        """Hand out again: what is parked, the parked events you name, or all after a place."""
        params = self.checked(Replay)
        after = start_position(params["after"]) if "after" in params else None
        count = consumers.replay(
            name=name, event_ids=params.get("event_ids"), after=after, by=self.actor, now=self.now
        )
        place = rules.cursor(consumers.find(name, by=self.actor).place)
        return Response(ReplayAnswer({"replayed": count, "cursor": place}).data)
