"""Which requests the event loop answers, and what their paths name."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import URLResolver, get_resolver, resolve

from orchestrator_site.server.loop_adapter import action_of

HOST = [(b"host", b"localhost")]


def asked(method: str, path: str) -> Any:
    return action_of({"method": method, "path": path, "headers": HOST})


@pytest.mark.parametrize(
    "task_id", ["task_01JD2Z", "0", "00", "a-1", "1" * 64, "-0_", "task", "Claim", "zero"]
)
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("PATCH", "/status")])
def test_an_id_is_found_whatever_it_is(task_id: str, method: str, rest: str) -> None:
    path = f"/tasks/{task_id}{rest}"

    action, match = asked(method, path), resolve(path)

    assert action.view is match.func and action.kwargs == match.kwargs == {"task_id": task_id}


@pytest.mark.parametrize("name", ["1" * 65, "a.1", "a 1", "é1", "1/2", ""])
def test_what_is_no_id_is_not_taken_for_one(name: str) -> None:
    assert asked("GET", f"/tasks/{name}") is None


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/tasks/claim1/claim"), ("GET", "/0/tasks"), ("PUT", "/tasks"), ("POST", "/tasks/1")],
)
def test_what_answers_nowhere_is_left_to_django(method: str, path: str) -> None:
    assert asked(method, path) is None


def test_no_fixed_part_of_an_api_path_could_pass_for_an_id() -> None:
    ours = list(routes(get_resolver().url_patterns))

    assert "tasks/<public_id:task_id>" in ours
    assert not [route for route in ours if re.search(r"\d", re.sub("<[^>]*>", "", route))]


def routes(patterns: list[Any], before: str = "") -> Iterator[str]:
    """Give the routes of all viewsets."""
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        elif hasattr(pattern.callback, "actions"):
            yield route
