"""What may be said, how a place is written, what a pattern takes in, what a CloudEvent means."""

import pytest

from events_app import rules
from events_app.errors import ReservedEventType, ReservedSource
from events_app.log import cloudevents
from orchestrator_site.core import tracing
from orchestrator_site.core.cursors import BadCursor
from tests.conftest import actor


@pytest.mark.parametrize("position", [0, 1, 63, 64, 10**6, 2**62])
def test_a_cursor_comes_back_as_its_position(position: int) -> None:
    assert rules.position_of(rules.cursor(position)) == position


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "-1",
        "0",
        "MTox\n",
        "MTotMQ",
        "Mjox",
        "MToxLjU",
        "é",
        "\x00",
        rules.cursor(2**62 + 1),
        "A" * 9999,
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        rules.position_of(text)


@pytest.mark.parametrize(
    ("pattern", "event_type", "taken"),
    [
        ("pr.merged", "pr.merged", True),
        ("pr.merged", "pr.merged.again", False),
        ("pr.*", "pr.merged", True),
        ("pr.*", "pr.merged.again", True),
        ("pr.*", "pr", False),
        ("pr.*", "prx.merged", False),
        ("*", "anything", True),
    ],
)
def test_a_pattern_takes_in_a_type_or_a_family(pattern: str, event_type: str, taken: bool) -> None:
    assert rules.matches(event_type, [pattern]) is taken
    assert rules.matches(event_type, [])


@pytest.mark.parametrize(
    "event_type",
    [
        "approval.approved",
        "sla.violation",
        "agent.silent",
        "system.x",
        "task.assigned",
        "task.created",
        "tasks.pruned",
    ],
)
def test_only_the_server_says_what_changes_state(event_type: str) -> None:
    with pytest.raises(ReservedEventType):
        rules.ensure_may_say(event_type, "dev_agent")


@pytest.mark.parametrize(
    "event_type", ["task.started", "task.completed", "deployment.completed", "pr.merged"]
)
def test_an_agent_says_what_the_guide_lets_it_say(event_type: str) -> None:
    rules.ensure_may_say(event_type, "dev_agent")


@pytest.mark.parametrize("source", ["system", "Orchestrator", "CONSOLE", "human_admin"])
def test_nobody_speaks_as_the_server(source: str) -> None:
    with pytest.raises(ReservedSource):
        rules.ensure_may_say("pr.merged", source)


@pytest.mark.parametrize(
    ("name", "source", "speaks"),
    [
        ("dev-agent-1", "dev-agent-1", True),
        ("dev-agent-1", "dev_agent", True),
        ("dev_agent", "dev_agent", True),
        ("dev-agent-1", "dev-agent-2", False),
        ("dev-agent-1", "ops_agent", False),
        ("dev-agent", "dev", False),
    ],
)
def test_a_credential_speaks_for_itself_and_its_pool(name: str, source: str, speaks: bool) -> None:
    assert rules.speaks_for(actor(name), source) is speaks


@pytest.mark.parametrize(
    ("traceparent", "trace"),
    [
        (
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0af7651916cd43dd8448eb211c80319c",
        ),
        (
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "0af7651916cd43dd8448eb211c80319c",
        ),
        ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", ""),
        ("0af7651916cd43dd8448eb211c80319c", ""),
        ("", ""),
    ],
)
def test_a_traceparent_names_a_trace(traceparent: str, trace: str) -> None:
    assert tracing.trace_id_of(traceparent) == trace


@pytest.mark.parametrize(
    ("source", "agent"),
    [
        ("dev_agent", "dev_agent"),
        ("/dev_agent", "dev_agent"),
        ("/agents/dev_agent/", "dev_agent"),
        ("https://host/dev%20agent", "dev agent"),
        ("https://host", "host"),
        ("urn:agents:dev", "urn:agents:dev"),
    ],
)
def test_the_source_of_a_cloudevent_names_its_sender(source: str, agent: str) -> None:
    said = cloudevents.as_published(
        {"specversion": "1.0", "id": "1", "type": "a", "source": source}
    )

    assert said["source_agent"] == agent


@pytest.mark.parametrize(
    ("accept", "asked"),
    [
        ("application/cloudevents+json", True),
        ("text/html, application/cloudevents-batch+json;q=0.5", True),
        ("Application/CloudEvents+JSON; charset=utf-8", True),
        ("application/json", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_cloudevents_are_for_those_who_ask(accept: str, asked: bool) -> None:
    assert cloudevents.asked_for(accept) is asked
