"""Server-sent events: what a stream carries, how an event is encoded in it, how many may be open.

`broadcaster.py` does the writing, on the event loop.
"""

import collections
import contextlib
import dataclasses
import json
import threading
from collections.abc import Collection, Mapping
from typing import Any

import orjson
from django.conf import settings

from events_app.event_types import STREAM_ENDED
from events_app.log import reading
from events_app.log.cloudevents import cloud_event
from events_app.models import Event
from events_app.rules import cursor, matches, plain
from orchestrator_site.core.actors import Actor
from orchestrator_site.core.errors import DomainError

PAGE = 100  # events read at once, and at most so many bytes of payload
PAGE_BYTES = 1_048_576
BEGIN = b"retry: 1000\n\n"  # a client comes back after a second
KEEPALIVE = b": still here\n\n"
MOST_PER_PROCESS = 1000
MOST_PER_CREDENTIAL = MOST_PER_PROCESS // 2  # all tokens signed with the shared secret are one


@dataclasses.dataclass(frozen=True, slots=True)
class EncodedEvent:
    """An event as streams write it, and what their filters look at.

    plain, cloud: the bytes in either form; empty for a form that was not asked for.
    """

    position: int
    event_type: str
    task_id: str
    trace_id: str
    source_agent: str
    plain: bytes = b""
    cloud: bytes = b""

    @property
    def size(self) -> int:
        """Return the bytes it takes."""
        return len(self.plain) + len(self.cloud)


@dataclasses.dataclass(frozen=True, slots=True)
class StreamRequest:
    """Which events a stream carries, from where on, and for whom.

    types, task_id, trace_id, source_agent: empty for all. cloud: as CloudEvents.
    """

    position: int
    actor: Actor
    credentials: Mapping[str, str]
    types: tuple[str, ...] = ()
    task_id: str = ""
    trace_id: str = ""
    source_agent: str = ""
    cloud: bool = False

    def leave(self) -> None:
        """Give its place in the quota back."""
        quota.leave(self.actor.name, self.actor.credential)

    def wants(self, event: EncodedEvent) -> bool:
        """Return whether an event passes the filters."""
        return (
            self.task_id in ("", event.task_id)
            and self.trace_id in ("", event.trace_id)
            and self.source_agent in ("", event.source_agent)
            and matches(event.event_type, list(self.types))
        )

    def data_of(self, event: EncodedEvent) -> bytes:
        """Return the event in the form that was asked for; empty if it was not encoded in it."""
        return event.cloud if self.cloud else event.plain

    def page(self, after: int) -> tuple[list[EncodedEvent], int]:
        """Return the next events that pass, and the position to go on from.

        Raise CursorExpired or CursorAhead.
        """
        events, position = reading.read(
            after=after,
            limit=PAGE,
            room=PAGE_BYTES,
            types=list(self.types) or None,
            task_id=self.task_id,
            trace_id=self.trace_id,
            source_agent=self.source_agent,
        )
        return [encode(event, {self.cloud}) for event in events], position


def is_full(events: list[EncodedEvent]) -> bool:
    """Return whether there may be more events behind a page."""
    sizes = (max(len(event.plain), len(event.cloud)) for event in events)
    return len(events) == PAGE or sum(sizes) > PAGE_BYTES * 3 // 4


def encode(event: Event, forms: Collection[bool]) -> EncodedEvent:
    """Encode an event. forms: True for the CloudEvent, False for the plain event."""
    place = cursor(event.place)
    return EncodedEvent(
        event.place,
        event.event_type,
        event.task_id,
        event.trace_id,
        event.source_agent,
        plain=message(event.event_type, plain(event), place) if False in forms else b"",
        cloud=message(event.event_type, cloud_event(event), place) if True in forms else b"",
    )


def message(event_type: str, data: Mapping[str, Any], place: str = "") -> bytes:
    """Return one server-sent event."""
    head = f"id: {place}\n" if place else ""
    return f"{head}event: {event_type}\ndata: ".encode() + in_ascii(data) + b"\n\n"


def in_ascii(data: Mapping[str, Any]) -> bytes:
    """Return JSON in ASCII: it holds no line end, so a message ends where it should."""
    with contextlib.suppress(TypeError):  # numbers over 64 bits, half surrogate pairs
        if (text := orjson.dumps(data)).isascii():
            return text
    return json.dumps(data, separators=(",", ":")).encode()


def end_message(status: int, reason: DomainError | str) -> bytes:
    """Return the event that says why a stream ends."""
    state = reason.state if isinstance(reason, DomainError) else {}
    return message(STREAM_ENDED, {"code": status, "detail": str(reason), **state})


def one_page(request: StreamRequest) -> bytes:
    """Return what a server that cannot stream answers; the client comes back for more."""
    events, position = request.page(request.position)
    # An id without data moves the client's Last-Event-ID past what did not concern it.
    return BEGIN + b"".join(map(request.data_of, events)) + f"id: {cursor(position)}\n\n".encode()


class StreamQuota:
    """How many streams are open in this process, by principal and by credential."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: collections.Counter[str] = collections.Counter()
        self._credentials: collections.Counter[str] = collections.Counter()

    def take(self, name: str, credential: str = "") -> bool:
        """Take a place; return False when there is none left."""
        with self._lock:
            full = (
                self._names[name] >= settings.MAX_STREAMS_PER_PRINCIPAL
                or self._credentials[credential] >= MOST_PER_CREDENTIAL
                or self._credentials.total() >= MOST_PER_PROCESS
            )
            if not full:
                self._names[name] += 1
                self._credentials[credential] += 1
            return not full

    def leave(self, name: str, credential: str = "") -> None:
        """Give a place back."""
        with self._lock:
            for count, held_by in ((self._names, name), (self._credentials, credential)):
                count[held_by] -= 1
                if not count[held_by]:
                    del count[held_by]


quota = StreamQuota()
