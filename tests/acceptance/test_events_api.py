"""Publishing events over HTTP, as the guide says.

Every answer is checked against the schema as well.
"""

from collections.abc import Callable
from typing import Any

import pytest

from events_app.models import Event
from tasks_app.models import Task
from tasks_app.services.statistics import counts

Callers = Callable[..., Any]
GUIDE = {
    "event_type": "deployment.completed",
    "source_agent": "ops_agent",
    "payload": {"service": "api-backend", "version": "v1.2.3", "environment": "production"},
    "task_id": "task_abc123",
    "trace_id": "trace_xyz789",
    "priority": "P2",
}
SMALL = {"event_type": "pr.merged", "source_agent": "dev_agent"}


def test_the_guides_event_is_stored_as_it_was_said(api: Callers) -> None:
    answer = api("agent", name="ops-agent-1").post("/events/publish", GUIDE)

    event = Event.objects.get()
    said = answer.json()
    assert (said["success"], said["event_type"]) == (True, "deployment.completed")
    assert (said["message"], said["event_id"]) == ("Event published successfully", event.event_id)
    assert {name: getattr(event, name) for name in GUIDE} == GUIDE
    assert (event.publisher, event.origin, event.door, event.source_verified) == (
        "ops-agent-1",
        "agent",
        "api",
        True,
    )


def test_what_is_optional_may_be_left_out_or_null(api: Callers) -> None:
    agent = api("agent")

    answers = [
        agent.post("/events/publish", SMALL),
        agent.post(
            "/events/publish",
            {**SMALL, "task_id": None, "trace_id": None, "priority": None, "payload": {}},
        ),
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert set(Event.objects.values_list("task_id", "trace_id", "priority")) == {("", "", "")}
    assert [event.payload for event in Event.objects.all()] == [{}, {}]


@pytest.mark.parametrize(
    ("name", "source", "verified"),
    [
        ("dev-agent-1", "dev-agent-1", True),
        ("dev-agent-1", "dev_agent", True),
        ("dev-agent-1", "ops_agent", False),
        ("dev-agent-1", "dev-agent-2", False),
        ("mallory", "dev_agent", False),
    ],
)
def test_a_sender_is_kept_as_said_and_marked_if_verified(
    api: Callers, name: str, source: str, verified: bool
) -> None:
    api("agent", name=name).post("/events/publish", {**SMALL, "source_agent": source})

    event = Event.objects.get()
    assert (event.source_agent, event.publisher, event.source_verified) == (source, name, verified)


@pytest.mark.parametrize(
    "event_type", ["task.started", "task.completed", "task.failed", "task.progress"]
)
def test_what_an_agent_says_of_a_task_changes_nothing(
    api: Callers, make_task: Callable[..., Task], event_type: str
) -> None:
    task = make_task(priority="P0")
    before = counts()

    answer = api("agent").post(
        "/events/publish", {**SMALL, "event_type": event_type, "task_id": task.task_id}
    )

    assert answer.status_code == 200
    assert Task.objects.get().status == "assigned"
    assert counts() == before


RESERVED = [
    "approval.approved",
    "sla.violation",
    "task.created",
    "task.claimed",
    "system.x",
    "tasks.pruned",
    "auth.login",
]


@pytest.mark.parametrize("event_type", RESERVED)
@pytest.mark.parametrize("role", ["agent", "admin"])
def test_only_the_server_says_what_is_the_servers(api: Callers, event_type: str, role: str) -> None:
    answer = api(role).post("/events/publish", {**SMALL, "event_type": event_type})

    assert (answer.status_code, Event.objects.count()) == (403, 0)


@pytest.mark.parametrize("source", ["orchestrator", "system", "console", "human_admin", "SYSTEM"])
def test_nobody_speaks_under_the_servers_names(api: Callers, source: str) -> None:
    answer = api("admin").post("/events/publish", {**SMALL, "source_agent": source})

    assert (answer.status_code, Event.objects.count()) == (403, 0)


def test_a_body_cannot_say_where_an_event_stands(api: Callers) -> None:
    forged = {
        "event_id": "evt_mine",
        "position": 1,
        "publisher": "root",
        "origin": "system",
        "moved_to": "completed",
    }

    api("agent").post("/events/publish", {**SMALL, **forged})

    event = Event.objects.get()
    assert event.event_id != "evt_mine" and event.moved_to == ""
    assert (event.publisher, event.origin) == ("dev-agent-1", "agent")


@pytest.mark.parametrize("text", ["data: x\n\ndata: y", "</script>", "\u2028", "__proto__", "🦆"])
def test_any_text_is_kept_as_it_is(api: Callers, text: str) -> None:
    api("agent").post("/events/publish", {**SMALL, "payload": {text: [text]}})

    assert Event.objects.get().payload == {text: [text]}


def test_a_key_publishes_once(api: Callers) -> None:
    answers = [
        api("agent").post("/events/publish", SMALL, **{"Idempotency-Key": "k-1"}) for _ in range(2)
    ]

    assert answers[0].content == answers[1].content
    assert Event.objects.count() == 1


@pytest.mark.parametrize(
    ("role", "status"), [(None, 401), ("user", 403), ("agent", 200), ("admin", 200)]
)
def test_publishing_needs_the_role_agent(api: Callers, role: str | None, status: int) -> None:
    assert api(role).post("/events/publish", SMALL).status_code == status
