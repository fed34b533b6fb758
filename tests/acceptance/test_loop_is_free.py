"""No request holds up the event loop, on which all others are answered, for longer than 20 ms."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.support.bad_input import (
    BODIES,
    DECISIONS,
    DOORS,
    EVENT,
    EVENTS,
    READS,
    REPORTS,
    TASK,
    TASKS,
    TEXTS,
    VALUES,
    WORK,
)
from tests.support.live import LiveServer, live_server

pytestmark = pytest.mark.serial(timed=True)
TRIES = 8  # a busy machine holds up anything now and then, but not the same thing each time
PROGRAM = ("-m", "tests.support.slow_loop")
SMALL: dict[str, Any] = {}
LARGEST: list[dict[str, Any]] = [
    {"text": "x" * 1_048_000},
    {"text": "é\u2028" * 80_000},
    {"list": ["\u00e9" * 10] * 9_000},
]
TOO_LARGE: dict[str, Any] = {"list": [0] * 500_000}
LARGE: dict[str, Any] = {"text": "x" * 250_000}
WIDE: dict[str, Any] = {f"name_{number}": [number, "x" * 8] for number in range(3_000)}
Request = tuple[str, str, bytes]


class Watched:
    """A server, and what held up its event loop so far."""

    def __init__(self, server: LiveServer, log: Path) -> None:
        self.server, self.log = server, log
        self.http = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)

    def ask(self, method: str, path: str, body: bytes = b"") -> Any:
        """Return the answer to a request, None if it is no JSON."""
        headers = {"X-API-Key": self.server.api_key, "Content-Type": "application/json"}
        self.http.request(method, path, body or None, headers)
        text = self.http.getresponse().read()
        with contextlib.suppress(ValueError):
            return json.loads(text)

    def held_up_by(self, request: Request) -> list[str]:
        """Return what took long on the loop at a request: one line for each step."""
        before = len(self.lines())
        self.ask(*request)
        self.ask("GET", "/live")  # the loop has gone on, and written down what it had to
        return self.lines()[before:]

    def always_held_up_by(self, request: Request) -> list[str]:
        """Return what took long the last time, if it took long each time."""
        found: list[str] = []
        for _ in range(TRIES):
            if not (found := self.held_up_by(request)):
                break
        return found

    def lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    log = tmp_path_factory.mktemp("loop") / "slow"
    log.touch()
    with live_server(None, PROGRAM, SLOW_LOG=str(log)) as server:
        yield Watched(server, log)


def sent(method: str, path: str, body: Any = None) -> Request:
    return method, quote(path, safe="/?&=%*'{}"), b"" if body is None else json.dumps(body).encode()


def hot(task_ids: list[str]) -> Iterator[Request]:
    """Yield what is asked all the time, small and as large as it may be. task_ids: to read."""
    yield sent("GET", "/health")
    yield sent("GET", "/stats")
    yield from (sent("GET", f"/tasks/{task_id}") for task_id in task_ids)
    yield sent("GET", "/events?limit=500")
    for payload in (SMALL, LARGE, WIDE):
        yield sent("POST", "/tasks", {**TASK, "payload": payload})
        yield sent("POST", "/events/publish", {**EVENT, "payload": payload})
    yield sent("POST", "/tasks/claim", {"agent": "dev_agent", "limit": 5})
    yield sent("POST", "/tasks/batch", {"tasks": [TASK] * 100})
    yield sent("POST", "/events/publish/batch", {"events": [EVENT] * 100})
    for payload in (*LARGEST, TOO_LARGE):
        yield sent("POST", "/tasks", {**TASK, "payload": payload})


def bad_bodies() -> Iterator[Request]:
    """Yield bodies that are no good, and values that no database keeps."""
    for path in ("/tasks", "/tasks/batch", "/tasks/claim", "/events/publish", "/auth/token"):
        for text, _ in TEXTS.values():
            yield "POST", path, text
    for path, body, field in DOORS.values():
        members = [f'"{name}": {json.dumps(body[name])}' for name in body if name != field]
        for value in VALUES.values():
            whole = "{" + ", ".join([*members, f'"{field}": {{"v": {value}}}']) + "}"
            yield "POST", path, whole.encode()
    for path in ("/tasks", "/events/publish"):
        yield "POST", path, b'{"payload": {"a": "' + b"x" * 1_048_576 + b'"}}'


def bad_fields(task: dict[str, Any]) -> Iterator[Request]:
    """Yield requests with one wrong field. task: one that waits for sign-off."""
    for path, good, table in (("/tasks", TASK, TASKS), ("/events/publish", EVENT, EVENTS)):
        for field, values in table.items():
            for value in values:
                yield sent("POST", path, {**good, field.split(".")[0]: value})
    own = f"/tasks/{task['task_id']}"
    yield from (sent("GET", path.format(task=task["task_id"])) for path in READS)
    yield from (sent("PATCH", f"{own}/status{query}") for query in REPORTS)
    yield from (sent("PATCH", f"{own}/status", body) for body, _ in BODIES)
    approval_id = task["approval"]["approval_id"]
    yield from (sent("POST", path.format(approval=approval_id)) for path in DECISIONS)
    yield from (sent("POST", path.format(path=own), body) for path, body, _ in WORK)


def check(watched: Watched, requests: Iterator[Request]) -> None:
    found = {request: watched.always_held_up_by(request) for request in requests}

    slow = {
        f"{method} {path[:80]} ({len(body)} bytes: {body[:60]!r})": lines
        for (method, path, body), lines in found.items()
        if lines
    }
    assert found
    assert not slow, "\n".join(f"{request}: {lines}" for request, lines in slow.items())


def created(watched: Watched, **fields: Any) -> dict[str, Any]:
    """Return a new task."""
    task: dict[str, Any] = watched.ask(*sent("POST", "/tasks", {**TASK, **fields}))["task"]
    return task


def test_what_is_asked_all_the_time_holds_up_nobody(watched: Watched) -> None:
    tasks = [created(watched), *(created(watched, payload=payload) for payload in LARGEST)]

    check(watched, hot([task["task_id"] for task in tasks]))


def test_bodies_that_are_no_good_hold_up_nobody(watched: Watched) -> None:
    check(watched, bad_bodies())


def test_wrong_fields_hold_up_nobody(watched: Watched) -> None:
    check(watched, bad_fields(created(watched, priority="P0")))
