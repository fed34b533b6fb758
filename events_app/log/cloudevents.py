"""CloudEvents 1.0 in JSON, structured and binary: how they come in and how they go out. Pure.

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
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return bool(kinds & {STRUCTURED, BATCH})


def cloud_event(event: Event, **more: Any) -> dict[str, Any]:
    """Return a stored event as a CloudEvent. more: further extension attributes; what is empty is left out."""
    said = {
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
    return {name: value for name, value in said.items() if value != ""}


def sent_in(meta: Mapping[str, Any], body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the attributes and data of the CloudEvent in a request, or None if there is none.

    meta: a WSGI environment. body: its JSON object, the event itself or, in binary mode, its data.
    """
    kind = (meta.get("CONTENT_TYPE") or "").partition(";")[0].strip().lower()
    if kind == STRUCTURED:
        return body
    if f"{HEADER}SPECVERSION" not in meta:
        return None
    found = {name: value for name, value in meta.items() if name.startswith(HEADER)}
    return {name[len(HEADER) :].lower(): unquote(value) for name, value in found.items()} | {
        "data": body
    }


def as_published(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Return an incoming CloudEvent in the words of `POST /events/publish`; raise NotACloudEvent."""
    ensure_valid(sent)
    said = {
        "event_type": sent["type"],
        "source_agent": unquote(sent["source"].rstrip("/").rpartition("/")[2]),
        "payload": sent.get("data", {}),
        "task_id": subject if TASK_ID.match(subject := text(sent, "subject")) else "",
        "trace_id": tracing.trace_id_of(text(sent, "traceparent")) or text(sent, "traceid"),
        "priority": text(sent, "priority"),
    }
    return {name: value for name, value in said.items() if value != ""}


def ensure_valid(sent: Mapping[str, Any]) -> None:
    """Raise NotACloudEvent naming the attribute that is missing or cannot be read."""
    if sent.get("specversion") != "1.0":
        raise NotACloudEvent("The specversion must be 1.0.", field="specversion")
    for name in REQUIRED:
        if not text(sent, name):
            raise NotACloudEvent(f"A CloudEvent has a {name}.", field=name)
    if "data_base64" in sent:
        raise NotACloudEvent("The data must be a JSON object.", field="data_base64")
    kind = text(sent, "datacontenttype").partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise NotACloudEvent("The datacontenttype must be JSON.", field="datacontenttype")


def text(sent: Mapping[str, Any], name: str) -> str:
    """Return an attribute that is a text, empty if absent; raise NotACloudEvent."""
    value = sent.get(name)
    if value is not None and not isinstance(value, str):
        raise NotACloudEvent(f"The {name} must be text.", field=name)
    return value or ""


def idempotency_key(sent: Mapping[str, Any]) -> str:
    """Return the key under which an event is stored once: its source and id name it."""
    return "ce-" + hashlib.sha256(f"{sent['source']}\n{sent['id']}".encode()).hexdigest()
