"""The schema given out is the one kept here and describes every door, and the client that checks by
it has teeth.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import connection
from django.http import JsonResponse
from django.urls import URLResolver, get_resolver

from orchestrator_site.api.viewsets import ApiViewSet
from orchestrator_site.views.docs import openapi_document
from tests.contract import client

KEPT = Path(__file__).parent / "openapi.yaml"
DOCUMENT = json.loads(openapi_document())
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
RATE_HEADERS = {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}


@pytest.mark.skipif(
    connection.vendor != "sqlite", reason="The kept schema gives the number ranges of SQLite."
)
def test_the_kept_schema_is_the_present_one() -> None:
    assert yaml.safe_load(KEPT.read_text()) == DOCUMENT, (
        "The schema changed. Renew the kept one: make schema"
    )


def test_the_schema_is_plain_json_schema_and_names_no_server() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    assert "servers" not in DOCUMENT


def doors(patterns: Any, prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield path, method and viewset of every door of the API."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from doors(pattern.url_patterns, prefix + str(pattern.pattern))
            continue
        view: Any = pattern.callback
        if issubclass(getattr(view, "cls", object), ApiViewSet):
            for method, action in view.actions.items():
                yield (
                    f"/{prefix}{pattern.pattern}".replace("<public_id:", "{").replace(">", "}"),
                    method,
                    (
                        view.cls,
                        action,
                    ),
                )


DOORS = list(doors(get_resolver().url_patterns))


def test_every_door_is_in_the_schema_and_nothing_else_is() -> None:
    assert {(path, method) for path, method, _ in DOORS} == set(OPERATIONS)


@pytest.mark.parametrize(
    ("path", "method", "door"), DOORS, ids=lambda part: str(part) if isinstance(part, str) else ""
)
def test_every_door_says_who_may_knock(path: str, method: str, door: Any) -> None:
    viewset, action = door

    described = DOCUMENT["paths"][path][method]

    public = action in viewset.roles and viewset.roles[action] is None
    assert described.get("security", []) == [] or not public or {} in described["security"]
    assert ("401" in described["responses"]) or public


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_described(path: str, method: str) -> None:
    operation = DOCUMENT["paths"][path][method]

    assert operation["description"].strip() and operation["operationId"]
    assert {"200", "400", "429", "default"} <= set(operation["responses"])
    for status, answer in operation["responses"].items():
        assert set(answer["headers"]) >= RATE_HEADERS
        if status == "default" or int(status) >= 400:
            assert answer["content"]["application/json"]["schema"]["$ref"].endswith(
                ("/Error", "/Health")
            )


GOOD = {
    "queue": {"pending_tasks": 1, "processing_tasks": 0, "total_tasks": 1},
    "by_status": {"assigned": 1},
    "sla": {"warnings": 0, "violations": 0},
    "timestamp": "2026-01-31T12:00:00Z",
}
BAD: dict[str, dict[str, Any]] = {
    "a field that is missing": {name: value for name, value in GOOD.items() if name != "queue"},
    "a field nobody described": {**GOOD, "more": 1},
    "a field nobody described, inside": {
        **GOOD,
        "sla": {"warnings": 0, "violations": 0, "more": 0},
    },
    "another type": {**GOOD, "by_status": {"assigned": "1"}},
    "no time": {**GOOD, "timestamp": "soon"},
}


def answer(body: dict[str, Any], status: int = 200, **headers: str) -> JsonResponse:
    return JsonResponse(body, status=status, headers=dict.fromkeys(RATE_HEADERS, "1") | headers)


def test_a_good_answer_passes() -> None:
    client.check("GET", "/stats", answer(GOOD))


@pytest.mark.parametrize("case", BAD)
def test_an_answer_that_is_not_as_described_is_caught(case: str) -> None:
    with pytest.raises(AssertionError):
        client.check("GET", "/stats", answer(BAD[case]))


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/stats", {"error": "x"}, 400),
        ("/stats", {"detail": ["x"]}, 400),
        ("/stats", {"detail": "x", "errors": ["x"]}, 400),
        ("/stats", GOOD, 201),
        ("/nowhere", {}, 200),
        ("/nowhere", {}, 404),
    ],
)
def test_a_refusal_or_a_status_that_is_not_as_described_is_caught(
    path: str, body: Any, status: int
) -> None:
    with pytest.raises(AssertionError):
        client.check("GET", path, answer(body, status))


def test_an_answer_without_its_headers_is_caught() -> None:
    with pytest.raises(AssertionError, match="X-RateLimit"):
        client.check("GET", "/stats", JsonResponse(GOOD))
    with pytest.raises(AssertionError, match="Retry-After"):
        client.check("GET", "/stats", answer({"detail": "x"}, 429))
