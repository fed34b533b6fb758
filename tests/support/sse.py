"""A small client for Server-Sent Events.

with listen(server.url, server.token(), "types=pr.*") as stream:
    assert stream.next().data["event_type"] == "pr.merged"
"""

import contextlib
import dataclasses
import http.client
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

SECONDS = 30.0


@dataclasses.dataclass
class Message:
    """One server-sent event. at: monotonic time of its arrival."""

    event: str
    data: Any
    id: str
    at: float


class Stream:
    """An open stream."""

    def __init__(self, url: str, token: str, query: str = "", **headers: str) -> None:
        """headers: such as Last_Event_ID."""
        self.http = http.client.HTTPConnection(urlsplit(url).netloc, timeout=SECONDS)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self.http.request(
            "GET", f"/events/stream?{query}", headers={"Authorization": f"Bearer {token}", **sent}
        )
        self.answer = self.http.getresponse()
        self.last_id = ""
        self.comments = 0

    def next(self) -> Message | None:
        """Return the next event, or None at the end of the stream."""
        event, data = "", ""
        while line := self.answer.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if not name and not value and data:
                return Message(event, json.loads(data), self.last_id, time.monotonic())
            self.comments += line.startswith(":")
            event = value if name == "event" else event
            data = value if name == "data" else data
            self.last_id = value if name == "id" else self.last_id
        return None

    def until(self, event_type: str) -> list[Message]:
        """Return the events up to the first of a type."""
        found: list[Message] = []
        while (message := self.next()) is not None:
            found.append(message)
            if message.event == event_type:
                return found
        raise AssertionError(f"The stream ended before {event_type}: {found}")

    def close(self) -> None:
        """Leave."""
        self.answer.close()
        self.http.close()


@contextlib.contextmanager
def listen(url: str, token: str, query: str = "", **headers: str) -> Iterator[Stream]:
    """Open a stream, and leave it."""
    stream = Stream(url, token, query, **headers)
    try:
        yield stream
    finally:
        stream.close()
