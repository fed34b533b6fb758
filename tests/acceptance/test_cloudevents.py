"""CloudEvents 1.0 in and out, judged by the official SDK."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_http_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from events_app.log.cloudevents import BATCH, STRUCTURED
from events_app.models import Event

ATTRIBUTES = {
    "id": "1234",
    "source": "https://agents.example/teams/dev_agent",
    "type": "deployment.completed",
    "specversion": "1.0",
    "subject": "task_1",
    "datacontenttype": "application/json",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}


@pytest.fixture
def send(api: Callable[..., Any]) -> Callable[..., Any]:
    """Publish what the SDK wrote: `send(message)`."""
    caller = api("agent")

    def publish(message: HTTPMessage) -> Any:
        headers = {name.lower(): value for name, value in message.headers.items()}
        kind = headers.pop("content-type")
        return caller.send_raw("POST", "/events/publish", message.body, kind, **headers)

    return publish


def new_event(**attributes: Any) -> CloudEvent:
    return CloudEvent({**ATTRIBUTES, **attributes}, {"service": "api", "text": "über"})


def read_by_sdk(said: dict[str, Any]) -> Any:
    """Return an event as the SDK reads it; it refuses what is not a CloudEvent."""
    body = json.dumps(said).encode()
    return from_http_event(HTTPMessage({"content-type": STRUCTURED}, body), JSONFormat())


@pytest.mark.parametrize("write", [to_structured_event, to_binary_event])
def test_what_the_sdk_sends_is_published(
    send: Callable[..., Any], write: Callable[..., HTTPMessage]
) -> None:
    answer = send(write(new_event(), JSONFormat()))

    assert answer.status_code == 200, answer.content
    event = Event.objects.get()
    assert answer.json()["event_id"] == event.event_id
    assert (event.event_type, event.source_agent, event.task_id) == (
        "deployment.completed",
        "dev_agent",
        "task_1",
    )
    assert event.payload == {"service": "api", "text": "über"}
    assert event.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert event.origin == "agent" and event.source_verified


def test_an_event_sent_twice_is_stored_once(send: Callable[..., Any]) -> None:
    first, second = (send(to_structured_event(new_event(), JSONFormat())) for _ in range(2))
    other = send(to_structured_event(new_event(id="5678"), JSONFormat()))

    assert second.json() == first.json() and second.headers["Idempotent-Replay"] == "true"
    assert other.json() != first.json() and Event.objects.count() == 2


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"specversion": "0.3"}, 400),
        ({"id": ""}, 400),
        ({"id": 7}, 400),
        ({"source": None}, 400),
        ({"source": "https://agents.example/orchestrator"}, 403),
        ({"type": "Com.Example"}, 400),
        ({"type": "approval.approved"}, 403),
        ({"data": [1]}, 400),
        ({"data": "text"}, 400),
        ({"data_base64": "AAAA"}, 400),
        ({"datacontenttype": "text/xml"}, 400),
        ({"priority": "P9"}, 400),
        ({"subject": "not a task"}, 200),
        ({"datacontenttype": "application/vnd.acme+json; charset=utf-8"}, 200),
    ],
)
def test_what_is_no_cloudevent_is_refused(
    api: Callable[..., Any], change: dict[str, Any], status: int
) -> None:
    said = {**ATTRIBUTES, "data": {}, **change}

    answer = api("agent").send_raw("POST", "/events/publish", json.dumps(said).encode(), STRUCTURED)

    assert answer.status_code == status, answer.content
    assert Event.objects.count() == (status == 200)


def test_binary_attributes_are_percent_decoded(api: Callable[..., Any]) -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-type": "pr.merged",
        "ce-source": "/caf%C3%A9",
    }

    api("agent").send_raw("POST", "/events/publish", b'{"a": 1}', "application/json", **headers)

    assert Event.objects.get().source_agent == "café"


@pytest.fixture
def published(api: Callable[..., Any]) -> Event:
    """One event with everything."""
    said = {"event_type": "pr.merged", "source_agent": "dev agent/1", "payload": {"a": [1, None]}}
    api("agent").post(
        "/events/publish", said | {"task_id": "task_1", "trace_id": "trace_1", "priority": "P1"}
    )
    return Event.objects.get()


@pytest.mark.parametrize("accept", [STRUCTURED, BATCH, f"text/html, {BATCH};q=0.9"])
def test_the_log_is_read_as_cloudevents(
    api: Callable[..., Any], published: Event, accept: str
) -> None:
    caller = api("user")

    answer = caller.client.get("/events", headers={**caller.headers, "Accept": accept})
    following = caller.client.get(
        f"/events?after={answer.headers['X-Next-Cursor']}",
        headers={**caller.headers, "Accept": accept},
    )

    assert answer.headers["Content-Type"] == BATCH and following.json() == []
    assert answer.headers["X-RateLimit-Remaining"]
    event = read_by_sdk(answer.json()[0])
    assert (event.get_id(), event.get_type(), event.get_subject()) == (
        published.event_id,
        "pr.merged",
        "task_1",
    )
    assert event.get_source() == "/dev%20agent%2F1" and event.get_data() == {"a": [1, None]}
    assert event.get_time() == published.created_at
    assert event.get_extension("traceid") == "trace_1" and event.get_extension("origin") == "agent"


def test_what_goes_out_can_come_in_again(
    api: Callable[..., Any], published: Event, send: Callable[..., Any]
) -> None:
    caller = api("user")
    [said] = caller.client.get("/events", headers={**caller.headers, "Accept": BATCH}).json()

    assert send(to_structured_event(read_by_sdk(said), JSONFormat())).status_code == 200

    again = Event.objects.order_by("pk").last()
    for field in ("event_type", "source_agent", "payload", "task_id", "trace_id", "priority"):
        assert getattr(again, field) == getattr(published, field)


def test_a_consumer_fetches_cloudevents(api: Callable[..., Any], published: Event) -> None:
    caller = api("agent")
    caller.post("/events/consumers", {"name": "c", "start": "beginning", "types": ["pr.*"]})

    answer = caller.client.post(
        "/events/consumers/c/fetch", headers={**caller.headers, "Accept": STRUCTURED}
    )

    assert answer.headers["Content-Type"] == BATCH
    event = read_by_sdk(answer.json()[0])
    assert event.get_id() == published.event_id and event.get_extension("delivery") == 1
