"""The API of events: publish, read, stream."""

import json
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from events_app import rules, services
from events_app.errors import TooManyStreams
from events_app.log import cloudevents, reading, sequencing
from events_app.models import Event
from events_app.serializers import (
    CloudEventSerializer,
    EventBatchAnswer,
    EventBatchRequest,
    EventBatchSerializer,
    EventFilter,
    EventListAnswer,
    EventListQuery,
    PublishedAnswer,
    PublishSerializer,
)
from events_app.streams.sse import BEGIN, StreamRequest, one_page, quota
from orchestrator_site.api import long_poll
from orchestrator_site.api.negotiation import JSONRenderer
from orchestrator_site.api.parsers import StrictJSONParser
from orchestrator_site.api.serializers import first_error
from orchestrator_site.api.viewsets import ApiViewSet
from orchestrator_site.auth.authentication import credentials_of
from orchestrator_site.core import tracing
from orchestrator_site.core.actors import Role
from orchestrator_site.core.errors import DomainError

EVENT_STREAM = "text/event-stream"
Items = list[services.Publication | DomainError]
NEXT = "X-Next-Cursor"  # where a list of CloudEvents has no room for it
PLACES = {"now": sequencing.head, "beginning": lambda: None}


class CloudEventParser(StrictJSONParser):
    """Reads a CloudEvent in structured mode."""

    media_type = cloudevents.STRUCTURED


class EventViewSet(ApiViewSet):
    """Publish events for others to hear, and hear those of others."""

    parser_classes = [StrictJSONParser, CloudEventParser]
    roles = {
        "publish": Role.AGENT,
        "publish_batch": Role.AGENT,
        "list": Role.USER,
        "stream": Role.USER,
    }
    rate_scopes = {
        "publish": "events_publish",
        "publish_batch": "events_batch",
        "list": "events_read",
        "stream": "events_read",
    }
    once_actions = ("publish", "publish_batch")
    examples = {
        "publish": {
            "event_type": "pr.merged",
            "source_agent": "dev_agent",
            "payload": {"pull_request": 42},
        },
        "publish_batch": {
            "events": [
                {"event_type": "test.passed", "source_agent": "dev_agent", "payload": {"n": 1}}
            ]
        },
    }

    @extend_schema(
        request={
            "application/json": PublishSerializer,
            cloudevents.STRUCTURED: CloudEventSerializer,
        },
        responses=PublishedAnswer,
    )
    async def publish(self, request: Request) -> Response:
        """Publish an event to the event bus for other agents to consume.

        CloudEvents 1.0 are taken too, structured (`application/cloudevents+json`) or binary
        (`ce-…` headers); one with the same `source` and `id` is stored once.
        """
        sent = cloudevents.sent_in(request.META, self.body())
        body = self.body() if sent is None else cloudevents.as_published(sent)
        body.setdefault("trace_id", self._trace())
        params = self.checked(PublishSerializer, body)
        said, write = self._publication(params), services.publish_all
        if sent is None:
            return await self.write_once(write, said, published_answer)
        key = cloudevents.idempotency_key(sent)
        return await self.write_once(write, said, published_answer, key=key, body=params)

    def _trace(self) -> str:
        return tracing.trace_id_of(self.request.META.get("HTTP_TRACEPARENT", ""))

    @extend_schema(request=EventBatchRequest, responses=EventBatchAnswer)
    async def publish_batch(self, request: Request) -> Response:
        """Publish up to 100 events: `all` or none, or `each` that can be. Each counts in the rate.

        They stand in the log in the order given, with nothing between them.
        """
        params = self.checked(EventBatchSerializer)
        await self.count_items(len(params["events"]))
        all_or_none = params["mode"] == "all"
        items = (self._all if all_or_none else self._each)(params["events"])
        batch = services.PublicationBatch(items, all_or_none)
        answer = partial(batch_answer, params["mode"])
        return await self.write_once(services.publish_batches, batch, answer)

    def _all(self, items: list[dict[str, Any]]) -> Items:
        checked = self.checked(EventBatchRequest, {"events": items})["events"]
        return [self._publication(item) for item in checked]

    def _each(self, items: list[dict[str, Any]]) -> Items:
        read: Items = []
        for item in items:
            try:
                read.append(self._publication(self.checked(PublishSerializer, item)))
            except ValidationError as refusal:
                read.append(DomainError(first_error(refusal.detail)))
        return read

    def _publication(self, said: dict[str, Any]) -> services.Publication:
        fields = {"trace_id": self._trace()} | said
        names = fields.pop("event_type"), fields.pop("source_agent")
        return services.Publication(*names, by=self.actor, now=self.now, fields=fields)

    @extend_schema(
        parameters=[EventListQuery],
        responses={
            (200, "application/json"): EventListAnswer,
            (200, cloudevents.BATCH): CloudEventSerializer(many=True),
        },
    )
    async def list(self, request: Request) -> Response | HttpResponse:
        """Read the log in order, from a cursor on.

        `next` goes back in as `after`, also when the page is empty: a reader that goes on so misses
        no event. Without `after` it begins with the oldest event kept. A cursor older than what is
        kept is a 410. With `Accept: application/cloudevents-batch+json` the events are CloudEvents,
        and `next` is the header `X-Next-Cursor`.
        """
        params = self.asked(EventListQuery)
        cloud = cloudevents.asked_for(request.META.get("HTTP_ACCEPT", ""))
        return await self.executor.call(lambda: written_page(params, cloud=cloud))

    @extend_schema(
        parameters=[EventFilter],
        responses={
            (200, EVENT_STREAM): OpenApiResponse(
                str, "Server-sent events: `id` is the cursor, `data` the event."
            )
        },
    )
    def stream(self, request: Request) -> HttpResponse:
        """Listen to events as they happen (Server-Sent Events).

        Begins after `Last-Event-ID` or `after`, else now. A comment every 15 seconds says that the
        stream lives. A `system.stream_ended` event with `code` and `detail` says why the server
        ends it. With `Accept: application/cloudevents+json` each `data` is a CloudEvent.
        """
        stream = self._stream_request(request)
        if request.method == "HEAD":
            return as_stream(b"")
        if not quota.take(self.actor.name, self.actor.credential):
            raise TooManyStreams
        if long_poll.start_stream(request, stream):
            return as_stream(BEGIN)
        stream.leave()
        return as_stream(one_page(stream))

    def _stream_request(self, request: Request) -> StreamRequest:
        filters = self.asked(EventFilter)
        after = filters.pop("after", "now")
        position = place(request.META.get("HTTP_LAST_EVENT_ID") or after)
        if position is None:
            position, _ = sequencing.bounds()
        reading.ensure_readable(position)
        return StreamRequest(
            position=position,
            actor=self.actor,
            credentials=credentials_of(request.META),
            types=tuple(filters.pop("types", ())),
            cloud=cloudevents.asked_for(request.META.get("HTTP_ACCEPT", "")),
            **filters,
        )


def written_page(params: dict[str, Any], *, cloud: bool) -> Response | HttpResponse:
    """Return a page of the log, written: of 4 MiB that is nothing for the event loop."""
    after = place(params.pop("after", "beginning"))
    events, position = reading.read(after=after, **params)
    following = rules.cursor(position)
    if cloud:
        return as_batch(map(cloudevents.cloud_event, events), {NEXT: following})
    answer = EventListAnswer.of({"events": events, "next": following})
    return Response(JSONRenderer().render(answer))


def published_answer(event: Event) -> dict[str, Any]:
    """Return what is said of an event that was stored."""
    message = "Event published successfully"
    answer = {"event_type": event.event_type, "message": message, "event_id": event.event_id}
    return PublishedAnswer.of(answer)


def place(after: str) -> int | None:
    """Return the position that `after` names; None for the oldest kept. Raise BadCursor."""
    return PLACES[after]() if after in PLACES else rules.position_of(after)


def batch_answer(mode: str, outcomes: Sequence[Event | DomainError]) -> dict[str, Any]:
    """Return what a batch answers: one result for each event, in the order given."""
    results = [
        {
            "success": True,
            "event_type": row.event_type,
            "event_id": row.event_id,
            "detail": None,
        }
        if isinstance(row, Event)
        else {"success": False, "event_type": None, "event_id": None, "detail": str(row)}
        for row in outcomes
    ]
    published = sum(isinstance(row, Event) for row in outcomes)
    return EventBatchAnswer.of({"mode": mode, "published": published, "results": results})


def as_batch(
    events: Iterable[dict[str, Any]], headers: dict[str, str] | None = None
) -> HttpResponse:
    """Return CloudEvents as a batch."""
    return HttpResponse(json.dumps(list(events)), content_type=cloudevents.BATCH, headers=headers)


def as_stream(body: bytes) -> HttpResponse:
    """Return the beginning of a stream, for clients and proxies not to keep."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return HttpResponse(body, content_type=EVENT_STREAM, headers=headers)
