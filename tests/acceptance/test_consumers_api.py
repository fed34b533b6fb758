"""Named consumers over the API."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def caller(api: Callable[..., Any]) -> Any:
    """An agent with a consumer `c` and three events."""
    agent = api("agent")
    assert agent.post("/events/consumers", {"name": "c", "types": ["pr.*"]}).status_code == 200
    for number in range(3):
        agent.post("/events/publish", {"event_type": f"pr.n{number}", "source_agent": "dev_agent"})
    return agent


def test_a_program_reads_its_events_and_acknowledges_them(caller: Any) -> None:
    first = caller.post("/events/consumers/c/fetch", {"limit": 2}).json()
    ids = [event["event_id"] for event in first["events"]]
    acked = caller.post("/events/consumers/c/ack", {"event_ids": [*ids, "evt_unknown"]}).json()
    rest = caller.post("/events/consumers/c/fetch", {"limit": 100}).json()
    shown = caller.get("/events/consumers/c").json()["consumer"]

    assert [event["event_type"] for event in first["events"]] == ["pr.n0", "pr.n1"]
    assert all(event["delivery"] == 1 for event in first["events"])
    assert (acked["acknowledged"], acked["unknown"]) == (2, 1)
    assert [event["event_type"] for event in rest["events"]] == ["pr.n2"]
    assert (shown["in_flight"], shown["parked"], shown["behind"]) == (1, 0, 0)


def test_acknowledging_nothing_changes_nothing(caller: Any) -> None:
    caller.post("/events/consumers/c/fetch", {"limit": 2})

    acked = caller.post("/events/consumers/c/ack", {"event_ids": []})

    assert acked.json() == {"success": True, "acknowledged": 0, "unknown": 0}
    assert caller.get("/events/consumers/c").json()["consumer"]["in_flight"] == 2


@pytest.mark.parametrize(
    "time", ["1970-01-01T00:00:00+00:00", "2999-12-31T23:59:59-14:00", "2030-01-01"]
)
def test_a_time_at_the_edge_of_what_is_taken_does_no_harm(caller: Any, time: str) -> None:
    made = caller.post("/events/consumers", {"name": "edge", "start": time})
    task = {"type": "bugfix", "payload": {}, "priority": "P3", "not_before": time}

    assert made.status_code < 500 and caller.post("/tasks", task).status_code < 500


def test_without_a_fast_server_a_long_poll_answers_at_once(caller: Any) -> None:
    caller.post("/events/consumers/c/fetch", {"limit": 100})

    assert caller.post("/events/consumers/c/fetch", {"wait_seconds": 60}).json()["events"] == []


def test_a_consumer_goes_back_and_is_forgotten(caller: Any) -> None:
    caller.post("/events/consumers/c/fetch", {"limit": 100})

    replayed = caller.post("/events/consumers/c/replay", {"after": "beginning"})
    again = caller.post("/events/consumers/c/fetch", {"limit": 100}).json()["events"]
    gone = caller.send("DELETE", "/events/consumers/c")

    assert replayed.status_code == 200 and len(again) == 3
    assert gone.status_code == 200 and caller.get("/events/consumers/c").status_code == 404
    assert caller.get("/events/consumers").json()["consumers"] == []


def test_nothing_is_parked_at_first(caller: Any) -> None:
    assert caller.get("/events/consumers/c/parked").json()["parked"] == []
    assert caller.post("/events/consumers/c/replay").json()["replayed"] == 0


def test_a_consumer_is_its_owners_business(caller: Any, api: Callable[..., Any]) -> None:
    other = api("agent", name="ops-agent-1")

    answers = [
        other.get("/events/consumers/c"),
        other.send("DELETE", "/events/consumers/c"),
        other.post("/events/consumers/c/fetch"),
        other.post("/events/consumers/c/ack", {"event_ids": []}),
        other.get("/events/consumers/c/parked"),
        other.post("/events/consumers/c/replay"),
        other.post("/events/consumers", {"name": "c"}),
    ]

    assert [answer.status_code for answer in answers] == [403] * 7
    assert api("user").get("/events/consumers").status_code == 403
    assert api("admin", name="root").get("/events/consumers/c").status_code == 200


def test_the_same_again_is_fine_and_something_else_is_a_conflict(caller: Any) -> None:
    assert caller.post("/events/consumers", {"name": "c", "types": ["pr.*"]}).status_code == 200
    assert caller.post("/events/consumers", {"name": "c", "types": ["deploy.*"]}).status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "a b"},
        {"name": "x" * 65},
        {"name": "../c"},
        {"name": "d", "types": "pr.*"},
        {"name": "d", "types": ["*.x"]},
        {"name": "d", "types": ["a"] * 51},
        {"name": "d", "start": "yesterday"},
        {"name": "d", "start": "MTotMQ"},
        {"name": "d", "ack_seconds": 0},
        {"name": "d", "ack_seconds": 3601},
        {"name": "d", "ack_seconds": "60"},
        {"name": "d", "max_deliveries": True},
        {"name": "d", "max_deliveries": 0},
    ],
)
def test_a_bad_consumer_is_refused(caller: Any, body: dict[str, Any]) -> None:
    assert caller.post("/events/consumers", body).status_code == 400


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("fetch", {"limit": 0}),
        ("fetch", {"limit": 101}),
        ("fetch", {"limit": "10"}),
        ("fetch", {"wait_seconds": 61}),
        ("fetch", {"ack_seconds": 0}),
        ("ack", {}),
        ("ack", {"event_ids": "evt_1"}),
        ("ack", {"event_ids": ["x"] * 1001}),
        ("replay", {"event_ids": ["x"], "after": "now"}),
        ("replay", {"after": "x"}),
    ],
)
def test_a_bad_demand_is_refused(caller: Any, verb: str, body: dict[str, Any]) -> None:
    assert caller.post(f"/events/consumers/c/{verb}", body).status_code == 400


def test_a_consumer_that_slept_too_long_is_told_so(caller: Any) -> None:
    from events_app.models import Ledger

    Ledger.objects.update(pruned_to=2, head=10)

    answer = caller.post("/events/consumers/c/fetch")

    assert answer.status_code == 410 and answer.json()["oldest"]
    assert (
        caller.post("/events/consumers/c/replay", {"after": answer.json()["oldest"]}).status_code
        == 200
    )
