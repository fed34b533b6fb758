"""A stream as the door sees it: what it wants, how an event is written in it, how many there may be.

`feed.py` does the writing, on the event loop.
"""

import collections
import dataclasses
import json
import threading
from collections.abc import Mapping
from typing import Any

from django.conf import settings

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
ENDS = "system.stream_ended"  # an event type of the server's own, which nobody can publish
MOST_PER_PROCESS = 1000
MOST_PER_CREDENTIAL = MOST_PER_PROCESS // 2  # all tokens signed with the shared secret are one


@dataclasses.dataclass(frozen=True, slots=True)
class EncodedEvent:
    """An event as it is written in a stream, in both shapes, and what the filters look at."""

    position: int
    event_type: str
    task_id: str
    trace_id: str
    source_agent: str
    plain: bytes
    cloud: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class StreamRequest:
    """Which events a stream is to carry, from where on, and for whom. task_id and so on: empty for all."""

    position: int
    actor: Actor
    credentials: Mapping[str, str]
    types: tuple[str, ...] = ()
    task_id: str = ""
    trace_id: str = ""
    source_agent: str = ""
    cloud: bool = False

    def leave(self) -> None:
        """Give its place back."""
        quota.leave(self.actor.name, self.actor.credential)

    def wants(self, frame: EncodedEvent) -> bool:
        """Return whether an event passes the filters."""
        return (
            self.task_id in ("", frame.task_id)
            and self.trace_id in ("", frame.trace_id)
            and self.source_agent in ("", frame.source_agent)
            and matches(frame.event_type, list(self.types))
        )

    def written(self, frame: EncodedEvent) -> bytes:
        """Return the event in the shape that was asked for."""
        return frame.cloud if self.cloud else frame.plain

    def page(self, after: int) -> tuple[list[EncodedEvent], int]:
        """Return the next events that pass, and the position to go on from; raise CursorExpired."""
        events, position = reading.read(
            after=after,
            limit=PAGE,
            room=PAGE_BYTES,
            types=list(self.types) or None,
            task_id=self.task_id,
            trace_id=self.trace_id,
            source_agent=self.source_agent,
        )
        return [encoded(event) for event in events], position


def is_full(frames: list[EncodedEvent]) -> bool:
    """Return whether there may be more events behind a page."""
    return len(frames) == PAGE or sum(len(frame.plain) for frame in frames) > PAGE_BYTES * 3 // 4


def encoded(event: Event) -> EncodedEvent:
    """Return an event as it is written."""
    return EncodedEvent(
        event.position,
        event.event_type,
        event.task_id,
        event.trace_id,
        event.source_agent,
        written(event.event_type, plain(event), cursor(event.place)),
        written(event.event_type, cloud_event(event), cursor(event.place)),
    )


def written(kind: str, data: Mapping[str, Any], place: str = "") -> bytes:
    """Return one server-sent event; JSON in ASCII holds no line end, so nothing in it can pass for another."""
    head = f"id: {place}\n" if place else ""
    return f"{head}event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def refused(status: int, refusal: DomainError | str) -> bytes:
    """Return the event that says why a stream ends."""
    state = refusal.state if isinstance(refusal, DomainError) else {}
    return written(ENDS, {"code": status, "detail": str(refusal), **state})


def one_page(wish: StreamRequest) -> bytes:
    """Return what a server that cannot stream answers: what is there; the client comes back for more."""
    frames, position = wish.page(wish.position)
    # An id without data moves the client's Last-Event-ID past what did not concern it.
    return BEGIN + b"".join(map(wish.written, frames)) + f"id: {cursor(position)}\n\n".encode()


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
