"""`POST /events/publish/batch`: many events at once, all or none, or each that can be."""

from collections.abc import Callable
from typing import Any

import pytest

from events_app.models import Event

BATCH = "/events/publish/batch"
SAID = {"event_type": "test.passed", "source_agent": "dev_agent"}
RESERVED = {**SAID, "event_type": "approval.approved"}


@pytest.fixture
def agent(api: Callable[..., Any]) -> Any:
    return api("agent")


def test_a_batch_stands_in_the_log_in_its_order(agent: Any) -> None:
    events = [{**SAID, "payload": {"n": number}, "task_id": "task_1"} for number in range(100)]
    answer = agent.post(BATCH, {"events": events}).json()

    stored = agent.get("/events?types=test.*&limit=500").json()["events"]
    assert (answer["success"], answer["mode"], answer["published"]) == (True, "all", 100)
    assert [event["payload"]["n"] for event in stored] == list(range(100))
    assert [one["event_id"] for one in answer["results"]] == [one["event_id"] for one in stored]
    assert stored[0] | {"cursor": None, "event_id": None, "created_at": None} == {
        **{"event_id": None, "cursor": None, "created_at": None, "event_type": "test.passed"},
        **{"origin": "agent", "source_agent": "dev_agent", "source_verified": True},
        **{"publisher": "dev-agent-1", "door": "api", "payload": {"n": 0}, "task_id": "task_1"},
        **{"trace_id": "", "priority": "", "moved_from": "", "moved_to": ""},
    }


def test_of_all_none_is_published_when_one_is_refused(agent: Any) -> None:
    answer = agent.post(BATCH, {"events": [SAID, RESERVED]})

    assert answer.status_code == 400
    assert answer.json()["detail"] == (
        "Event 1 of the batch: Only the server may publish approval.approved events."
    )
    assert not Event.objects.filter(event_type="test.passed").exists()


def test_of_each_those_are_published_that_can_be(agent: Any) -> None:
    events = [SAID, RESERVED, {**SAID, "priority": "P9"}, {**SAID, "event_type": "test.failed"}]
    answer = agent.post(BATCH, {"mode": "each", "events": events}).json()

    assert [one["success"] for one in answer["results"]] == [True, False, False, True]
    assert answer["published"] == Event.objects.filter(event_type__startswith="test.").count() == 2
    assert "Only the server" in answer["results"][1]["detail"]
    assert answer["results"][2]["detail"].startswith("priority: ")


@pytest.mark.parametrize(
    "body",
    [
        {"events": []},
        {"events": [SAID] * 101},
        {"events": [SAID, {"event_type": "No Type", "source_agent": "dev_agent"}]},
        {"events": [SAID], "mode": "some"},
        {"events": [5]},
        {},
    ],
)
def test_a_batch_that_cannot_be_read_is_refused_whole(agent: Any, body: Any) -> None:
    assert agent.post(BATCH, body).status_code == 400
    assert not Event.objects.filter(event_type="test.passed").exists()


def test_a_batch_sent_twice_with_its_key_is_published_once(agent: Any) -> None:
    first, second = (
        agent.post(BATCH, {"events": [SAID, SAID]}, **{"Idempotency-Key": "batch-1"})
        for _ in range(2)
    )

    assert first.json() == second.json() and second.headers["Idempotent-Replay"] == "true"
    assert Event.objects.filter(event_type="test.passed").count() == 2


def test_events_that_name_no_trace_take_that_of_the_request(agent: Any) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    events = [SAID, {**SAID, "trace_id": "own"}]
    agent.post(BATCH, {"events": events}, traceparent=f"00-{trace}-00f067aa0ba902b7-01")

    stored = Event.objects.filter(event_type="test.passed").order_by("position")
    assert list(stored.values_list("trace_id", flat=True)) == [trace, "own"]


def test_a_batch_counts_its_events(settings: Any, api: Callable[..., Any]) -> None:
    settings.RATE_LIMIT_SCALE = 1
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "events_batch": 10}
    answers = [api("agent").post(BATCH, {"events": [SAID] * number}) for number in (6, 5, 3)]

    assert [answer.status_code for answer in answers] == [200, 429, 200]
    assert Event.objects.filter(event_type="test.passed").count() == 9


def test_users_publish_no_batches(api: Callable[..., Any]) -> None:
    assert api("user").post(BATCH, {"events": [SAID]}).status_code == 403
