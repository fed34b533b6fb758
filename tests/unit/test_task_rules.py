"""Who gets a task, by when, and when it is its turn."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator_site.core.errors import Invalid
from tasks_app import rules
from tasks_app.models import Agent, RoutingRule

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def agents(**states: str) -> dict[str, Agent]:
    """Return agents by name; a state is `on`, `off` or `silent`."""
    return {
        name: Agent(
            name=name, active=state != "off", silent_since=NOW if state == "silent" else None
        )
        for name, state in states.items()
    }


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("on", "on", "first"),
        ("off", "on", "second"),
        ("silent", "on", "second"),
        ("silent", "off", "first"),
        ("silent", "silent", "first"),
        ("off", "silent", "second"),
        ("off", "off", ""),
    ],
)
def test_a_rule_names_the_first_able_agent(first: str, second: str, expected: str) -> None:
    rule = RoutingRule(task_type="bugfix", agent_id="first", fallback_id="second")

    assert rules.agent_for(rule, agents(first=first, second=second)) == expected


def test_without_a_rule_or_a_known_agent_nobody_takes_a_task() -> None:
    rule = RoutingRule(task_type="bugfix", agent_id="gone")

    assert rules.agent_for(None, agents(first="on")) == ""
    assert rules.agent_for(rule, agents(first="on")) == ""


@pytest.mark.parametrize(
    ("target", "warned", "due"), [(1, 0.8, 1), (60, 48, 60), (31_536_000, 25_228_800, 31_536_000)]
)
def test_a_warning_comes_at_four_fifths_of_the_target(target: int, warned: float, due: int) -> None:
    assert rules.warn_at(NOW, target) == NOW + timedelta(seconds=warned)
    assert rules.due_at(NOW, target) == NOW + timedelta(seconds=due)


def test_without_a_target_nothing_is_due() -> None:
    assert rules.warn_at(NOW, None) is None
    assert rules.due_at(NOW, None) is None


def test_the_more_urgent_goes_first_but_nobody_starves() -> None:
    turns = [rules.turn_at(NOW, priority) for priority in ("P0", "P1", "P2", "P3")]

    assert turns == sorted(turns) and len(set(turns)) == 4
    assert rules.turn_at(NOW - timedelta(hours=5), "P3") < rules.turn_at(NOW, "P0")


@pytest.mark.parametrize(
    ("attempt", "least", "most"),
    [(1, 5, 10), (2, 10, 20), (3, 20, 40), (9, 1280, 2560), (10, 1800, 3600), (1000, 1800, 3600)],
)
def test_waits_double_up_to_an_hour_and_half_of_each_is_jitter(
    attempt: int, least: int, most: int
) -> None:
    assert rules.backoff(attempt, jitter=0.0) == timedelta(seconds=least)
    assert rules.backoff(attempt, jitter=1.0) == timedelta(seconds=most)
    assert timedelta(seconds=least) <= rules.backoff(attempt) <= timedelta(seconds=most)


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ({"trace_id": "a", "metadata": {"trace_id": "b"}}, "a"),
        ({"metadata": {"trace_id": "b"}}, "b"),
        ({"metadata": {}}, "4bf92f3577b34da6a3ce929d0e0e4736"),
    ],
)
def test_a_trace_is_named_by_the_field_then_the_metadata_then_the_header(
    new: dict[str, Any], expected: str
) -> None:
    header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    assert rules.trace_id_of(new, header) == expected


@pytest.mark.parametrize("trace_id", [7, "a" * 129, "a\n", ["a"], ""])
def test_a_trace_is_a_printable_string_of_at_most_128_characters(trace_id: object) -> None:
    with pytest.raises(Invalid):
        rules.trace_id_of({"metadata": {"trace_id": trace_id}}, "")
