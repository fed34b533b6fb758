"""Read and write CloudEvents 1.0 in JSON, structured and binary. Pure.

Source: CloudEvents 1.0.2, its JSON event format and its HTTP protocol binding.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from events_app import rules
from events_app.errors import NotACloudEvent
from events_app.models import Event
from orchestrator_site.core import tracing
from orchestrator_site.core.times import rfc3339

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
REQUIRED = ("id", "source", "type")
TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
HEADER = "HTTP_CE_"  # of binary mode, in a WSGI environment


def asked_for(accept: str) -> bool:
    """Return whether an Accept header asks for CloudEvents."""
    return not {STRUCTURED, BATCH}.isdisjoint(map(media_type, accept.split(",")))


def media_type(header: str) -> str:
    """Return the media type of a header's value, without its parameters."""
    return header.partition(";")[0].strip().lower()


def cloud_event(event: Event, **more: Any) -> dict[str, Any]:
    """Return a stored event as a CloudEvent, without what is empty. more: extension attributes."""
    attributes = {
        "specversion": "1.0",
        "id": event.event_id,
        "source": f"/{quote(event.source_agent, safe='')}",
        "type": event.event_type,
        "subject": event.task_id,
        "time": rfc3339(event.created_at),
        "datacontenttype": "application/json",
        "data": event.payload,
        "cursor": rules.cursor(event.place) if event.position else "",
        "origin": event.origin,
        "publisher": event.publisher,
        "verified": event.source_verified,
        "door": event.door,
        "traceid": event.trace_id,
        "priority": event.priority,
        "movedfrom": event.moved_from,
        "movedto": event.moved_to,
    } | more
    return {name: value for name, value in attributes.items() if value != ""}


def sent_in(meta: Mapping[str, Any], body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the attributes and data of the CloudEvent in a request, or None if there is none.

    meta: a WSGI environment. body: its JSON object, the event itself or, in binary mode, its data.
    """
    if media_type(meta.get("CONTENT_TYPE") or "") == STRUCTURED:
        return body
    if f"{HEADER}SPECVERSION" not in meta:
        return None
    headers = {name: value for name, value in meta.items() if name.startswith(HEADER)}
    attributes = {name[len(HEADER) :].lower(): unquote(headers[name]) for name in headers}
    return attributes | {"data": body}


def as_published(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Return a CloudEvent with the fields of `POST /events/publish`; raise NotACloudEvent."""
    ensure_valid(sent)
    fields = {
        "event_type": sent["type"],
        "source_agent": unquote(sent["source"].rstrip("/").rpartition("/")[2]),
        "payload": sent.get("data", {}),
        "task_id": subject if TASK_ID.match(subject := text(sent, "subject")) else "",
        "trace_id": tracing.trace_id_of(text(sent, "traceparent")) or text(sent, "traceid"),
        "priority": text(sent, "priority"),
    }
    return {name: value for name, value in fields.items() if value != ""}


def ensure_valid(sent: Mapping[str, Any]) -> None:
    """Raise NotACloudEvent naming the attribute that is missing or cannot be read."""
    if sent.get("specversion") != "1.0":
        raise NotACloudEvent("The specversion must be 1.0.", field="specversion")
    for name in REQUIRED:
        if not text(sent, name):
            raise NotACloudEvent(f"A CloudEvent has a {name}.", field=name)
    if "data_base64" in sent:
        raise NotACloudEvent("The data must be a JSON object.", field="data_base64")
    kind = media_type(text(sent, "datacontenttype"))
    if kind not in ("", "application/json") and not kind.endswith("+json"):
        raise NotACloudEvent("The datacontenttype must be JSON.", field="datacontenttype")


def text(sent: Mapping[str, Any], name: str) -> str:
    """Return an attribute that is a text, empty if absent; raise NotACloudEvent."""
    value = sent.get(name)
    if value is not None and not isinstance(value, str):
        raise NotACloudEvent(f"The {name} must be text.", field=name)
    return value or ""


def idempotency_key(sent: Mapping[str, Any]) -> str:
    """Return the key under which an event is stored once, made of its source and id."""
    return "ce-" + hashlib.sha256(f"{sent['source']}\n{sent['id']}".encode()).hexdigest()
