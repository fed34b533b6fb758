"""Listening to events over a real server."""

import contextlib
import json
import threading
import time
from typing import Any

import jwt
import pytest
import requests

from events_app.event_types import STREAM_ENDED
from tests.support.live import LiveServer
from tests.support.processes import up
from tests.support.sse import Stream, listen

pytestmark = pytest.mark.timeout(180)


def publish(server: LiveServer, event_type: str, **said: Any) -> float:
    """Publish an event; return when it was answered."""
    body = {"event_type": event_type, "source_agent": "dev_agent", **said}
    answer = requests.post(
        f"{server.url}/events/publish",
        json=body,
        headers={"Authorization": f"Bearer {server.token()}"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return time.monotonic()


def types(messages: list[Any]) -> list[str]:
    return [message.data["event_type"] for message in messages]


def test_events_are_heard_as_they_happen(server: LiveServer) -> None:
    with listen(server.url, server.token("user"), "types=heard.*") as stream:
        assert stream.answer.status == 200
        publish(server, "heard.first", payload={"text": "data: x\n\nevent: y\n\u2028</script>"})
        publish(server, "other")
        publish(server, "heard.second")

        first, second = stream.until("heard.second")

    assert first.event == "heard.first" and first.data["cursor"] == first.id
    assert first.data["payload"] == {"text": "data: x\n\nevent: y\n\u2028</script>"}
    assert types([first, second]) == ["heard.first", "heard.second"]


def test_a_stream_tells_proxies_to_keep_out_and_has_rate_headers(server: LiveServer) -> None:
    with listen(server.url, server.token("user")) as stream:
        headers = stream.answer.headers

    assert headers["Content-Type"] == "text/event-stream"
    assert headers["Cache-Control"] == "no-cache" and headers["X-Accel-Buffering"] == "no"
    assert int(headers["X-RateLimit-Remaining"]) > 0 and headers["Content-Length"] is None


def test_who_comes_back_misses_nothing(server: LiveServer) -> None:
    with listen(server.url, server.token("user"), "types=back.*") as stream:
        publish(server, "back.n0")
        last = stream.until("back.n0")[-1]
    for number in range(1, 250):  # more than a page
        publish(server, f"back.n{number}")

    with listen(
        server.url, server.token("user"), "types=back.*&after=now", Last_Event_ID=last.id
    ) as stream:
        seen = types(stream.until("back.n249"))

    assert seen == [f"back.n{number}" for number in range(1, 250)]


def test_joining_under_load_leaves_no_gap_and_repeats_nothing(server: LiveServer) -> None:
    start = requests.get(
        f"{server.url}/events?after=now",
        headers={"Authorization": f"Bearer {server.token()}"},
        timeout=30,
    ).json()["next"]
    writer = threading.Thread(
        target=lambda: [publish(server, f"load.n{number}") for number in range(150)]
    )
    seen: list[list[str]] = []

    def read(query: str) -> None:
        with listen(
            server.url,
            server.token("user", name=f"reader-{query[-1]}"),
            f"types=load.*&after={start}&{query}",
        ) as stream:
            seen.append(types(stream.until("load.n149")))

    writer.start()
    readers = []
    for number in range(6):
        readers.append(threading.Thread(target=read, args=[f"source_agent=dev_agent&x={number}"]))
        readers[-1].start()
        time.sleep(0.1)  # so that each joins at another moment
    for thread in [writer, *readers]:
        thread.join(60)

    assert seen == [[f"load.n{number}" for number in range(150)]] * 6


@pytest.mark.parametrize("query", ["task_id=task_1", "trace_id=trace_1", "source_agent=ops_agent"])
def test_a_stream_carries_only_what_was_asked_for(server: LiveServer, query: str) -> None:
    with listen(server.url, server.token("user"), f"{query}&types=asked.*") as stream:
        publish(server, "asked.no")
        publish(server, "asked.yes", task_id="task_1", trace_id="trace_1", source_agent="ops_agent")

        assert types(stream.until("asked.yes")) == ["asked.yes"]


def test_a_stream_beyond_the_limit_of_a_principal_is_refused_until_one_ends(
    server: LiveServer,
) -> None:
    token = server.token("user", name="many")
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(listen(server.url, token)) for _ in range(5)]
        with listen(server.url, token) as refused:
            assert refused.answer.status == 429
            assert (
                refused.answer.headers["Retry-After"]
                and "streams" in json.loads(refused.answer.read())["detail"]
            )
        with listen(server.url, server.token("user", name="other")) as other:
            assert other.answer.status == 200
        streams[0].close()

        assert eventually(lambda: opens(server, token))


def opens(server: LiveServer, token: str) -> bool:
    with listen(server.url, token) as stream:
        return stream.answer.status == 200


def eventually(holds: Any, seconds: float = 10) -> bool:
    """Return whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(found)


def test_a_quiet_stream_lives_and_ends_with_its_token(server: LiveServer) -> None:
    now = int(time.time())
    claims = {"sub": "short", "role": "user", "iat": now - 60, "exp": now - 8}
    token = jwt.encode(claims, server.secret, algorithm="HS256")
    began = time.monotonic()

    with listen(server.url, token) as stream:
        last = stream.next()

        assert last is not None and last.event == STREAM_ENDED and last.data["code"] == 401
        assert time.monotonic() - began < 32
        assert stream.comments >= 1
        assert stream.next() is None


def test_cloudevents_are_streamed_to_who_accepts_them(server: LiveServer) -> None:
    accept = "application/cloudevents+json"
    with listen(server.url, server.token("user"), "types=cloud.*", Accept=accept) as stream:
        publish(server, "cloud.here", payload={"a": 1})

        [message] = stream.until("cloud.here")

    assert message.data["specversion"] == "1.0" and message.data["data"] == {"a": 1}


@pytest.mark.serial(timed=True)
def test_the_server_ends_its_streams_when_it_is_stopped(tmp_path: Any) -> None:
    with up(tmp_path) as running:
        secret = (tmp_path / "orchestrator_jwt_secret").read_text().strip()
        server = LiveServer(running.url, secret, "", {})
        stream = Stream(running.url, server.token("user"))
        began = time.monotonic()

        status = running.end()

        assert status == 0 and time.monotonic() - began < 3
        goodbye = stream.next()
        assert goodbye and (goodbye.event, goodbye.data["code"]) == ("system.stream_ended", 503)
        assert stream.next() is None
