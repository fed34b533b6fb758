"""Bad requests of every kind: a 4xx in JSON with one sentence, and nothing stored."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from orchestrator_site.models import Principal

pytestmark = [pytest.mark.urls("tests.support.doors"), pytest.mark.django_db]
BODY = json.dumps({"name": "thing"})


@pytest.fixture
def agent(api: Callable[..., Any]) -> Any:
    return api("agent")


def check_refused(answer: Any, status: int) -> None:
    """Check the shape every refusal has, and that nothing was stored."""
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/json"
    assert isinstance(answer.json()["detail"], str) and answer.json()["detail"].endswith(".")
    assert "Traceback" not in answer.content.decode() and "\n" not in answer.json()["detail"]
    assert answer.headers["X-RateLimit-Limit"]
    assert not Principal.objects.exists()


def send(
    agent: Any, body: bytes | str, content_type: str = "application/json", **headers: str
) -> Any:
    extra = {"CONTENT_TYPE": content_type} if content_type else {"CONTENT_TYPE": ""}
    return agent.client.generic(
        "POST", "/things", body, headers={**agent.headers, **headers}, **extra
    )


ADDRESSES: dict[str, tuple[str, str, int]] = {
    "unknown": ("GET", "/nowhere", 404),
    "trailing slash": ("GET", "/things/", 404),
    "trailing slash of a POST": ("POST", "/things/", 404),
    "capitals": ("GET", "/THINGS", 404),
    "double slash": ("GET", "/things//x", 404),
    "dots": ("GET", "/things/..;/refuse/fault", 404),
    "encoded dots": ("GET", "/things/%2e%2e%2fx", 404),
    "NUL": ("GET", "/things/a%00b", 404),
    "not UTF-8": ("GET", "/things/%ff", 404),
    "a surrogate": ("GET", "/things/%ed%a0%80", 404),
    "a line break": ("GET", "/things/a%0d%0aSet-Cookie:x", 404),
    "65 characters": ("GET", "/things/" + "x" * 65, 404),
    "quotes": ("GET", "/things/'%20OR%20'1'='1", 404),
    "DELETE": ("DELETE", "/things/x", 405),
    "PUT": ("PUT", "/things/x", 405),
    "OPTIONS": ("OPTIONS", "/things/x", 405),
    "TRACE": ("TRACE", "/things/x", 405),
    "an invented method": ("BREW", "/things/x", 405),
    "POST to the front page": ("POST", "/", 405),
    "POST to the documentation": ("POST", "/docs", 405),
    "an empty query parameter": ("PATCH", "/things/x/status?status=", 400),
    "an unknown value": ("PATCH", "/things/x/status?status=DONE", 400),
    "a parameter twice": ("PATCH", "/things/x/status?status=done&status=open", 400),
    "NUL in a parameter": ("PATCH", "/things/x/status?status=done&error=%00", 400),
    "too many parameters": (
        "PATCH",
        "/things/x/status?" + "&".join(f"a{n}=1" for n in range(2000)),
        400,
    ),
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_bad_addresses_and_methods(agent: Any, name: str) -> None:
    method, path, status = ADDRESSES[name]

    answer = agent.send(method, path)

    check_refused(answer, status)
    assert status != 405 or answer.headers["Allow"]


@pytest.mark.parametrize(
    "host", ["evil.example", "a b", "localhost@evil.example", "localhost:x", ""]
)
def test_bad_hosts(agent: Any, host: str) -> None:
    check_refused(agent.get("/things/x", Host=host), 400)


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_method_is_not_overridden(agent: Any, name: str) -> None:
    assert agent.send("GET", "/things", {"name": "x"}, **{name: "POST"}).status_code == 200
    assert not Principal.objects.exists()


@pytest.mark.parametrize(
    "accept",
    [None, "*/*", "text/html", "text/event-stream", "application/json", "x", "image/*;q=0.1"],
)
def test_the_answer_is_json_whatever_is_asked_for(agent: Any, accept: str | None) -> None:
    headers = {} if accept is None else {"Accept": accept}

    answer = agent.get("/things/x?format=xml", **headers)

    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "accept", ["application/xml", "text/xml;q=0.9", "application/xml, text/xml"]
)
def test_who_takes_nothing_but_xml_is_told(agent: Any, accept: str) -> None:
    check_refused(agent.get("/things/x", Accept=accept), 406)


BODIES: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "null": (b"null", 400),
    "a list": (b"[]", 400),
    "cut off": (b'{"name":', 400),
    "not UTF-8": (b'{"name": "\xff"}', 400),
    "NaN": (b'{"name": "x", "payload": {"a": NaN}}', 400),
    "1e400": (b'{"name": "x", "payload": {"a": 1e400}}', 400),
    "a large integer": (b'{"name": "x", "payload": {"a": 9223372036854775808}}', 400),
    "deep": (b'{"name": "x", "payload": ' + b'{"a":' * 64 + b"1" + b"}" * 65, 400),
    "deeper": (b'{"name": "x", "payload": ' + b"[" * 100_000, 400),
    "NUL": (b'{"name": "x\\u0000"}', 400),
    "a surrogate": (b'{"name": "\\ud800"}', 400),
    "NUL in the payload": (b'{"name": "x", "payload": {"a": ["\\u0000"]}}', 400),
    "a field twice": (b'{"name": "x", "name": "y"}', 400),
    "a number for a text": (b'{"name": ["x"]}', 400),
    "too long a text": (b'{"name": "' + b"x" * 101 + b'"}', 400),
    "a list for an object": (b'{"name": "x", "payload": []}', 400),
    "null for an object": (b'{"name": "x", "payload": null}', 400),
    "over the limit": (b'{"name": "' + b"x" * 1_048_577 + b'"}', 413),
    "far over the limit": (b'{"name": "' + b"x" * 4_000_000 + b'"}', 413),
}


@pytest.mark.parametrize("name", BODIES)
def test_bad_bodies(agent: Any, name: str) -> None:
    body, status = BODIES[name]

    check_refused(send(agent, body), status)


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-7",
        "application/json; charset=idna",
        "application/jsonp",
        "a/b/c",
    ],
)
def test_a_body_of_another_kind(agent: Any, kind: str) -> None:
    check_refused(send(agent, BODY, kind), 415)


def test_a_compressed_body(agent: Any) -> None:
    check_refused(send(agent, BODY, **{"Content-Encoding": "gzip"}), 415)


def test_a_body_without_its_length(agent: Any) -> None:
    answer = agent.client.generic(
        "POST",
        "/things",
        headers={**agent.headers, "Transfer-Encoding": "chunked"},
        CONTENT_TYPE="application/json",
    )

    check_refused(answer, 411)


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "application/json", "text/plain", ""]
)
def test_an_empty_body_of_any_kind_is_fine_where_the_body_is_optional(
    agent: Any, kind: str
) -> None:
    """What axios sends for `patch(url, null)`."""
    answer = agent.client.generic(
        "PATCH", "/things/x/status?status=done", b"", headers=agent.headers, CONTENT_TYPE=kind
    )

    assert answer.status_code == 200 and answer.json() == {"status": "done"}


def test_a_body_serves_where_the_query_is_silent_and_the_query_wins(agent: Any) -> None:
    assert agent.patch("/things/x/status", {"status": "done", "error": "e"}).json() == {
        "status": "done",
        "error": "e",
    }
    assert agent.patch("/things/x/status?status=open", {"status": "done"}).json() == {
        "status": "open"
    }
    answer = agent.client.generic(
        "PATCH", "/things/x/status?status=done", b"null", "application/json", headers=agent.headers
    )
    assert answer.json() == {"status": "done"}


def test_every_wrong_field_is_named_and_the_first_is_the_sentence(agent: Any) -> None:
    answer = agent.post(
        "/things", {"name": "x" * 101, "inner": {"url": "no"}, "tags": ["ok", "long"]}
    )

    check_refused(answer, 400)
    assert list(answer.json()["errors"]) == ["name", "inner.url", "tags.1"]
    assert answer.json()["detail"] == "name: " + answer.json()["errors"]["name"][0]


def test_refusals_of_the_domain_have_their_codes(agent: Any) -> None:
    conflict, forbidden, missing, invalid = (
        agent.get(f"/refuse/{kind}") for kind in ("conflict", "forbidden", "missing", "invalid")
    )

    assert (conflict.status_code, conflict.json()) == (
        409,
        {"detail": "It is done.", "status": "done"},
    )
    assert (forbidden.status_code, forbidden.json()) == (403, {"detail": "Not yours."})
    assert (missing.status_code, missing.json()) == (404, {"detail": "There is no such thing."})
    assert (invalid.status_code, invalid.json()) == (
        400,
        {"detail": "Too long.", "errors": {"name": ["Too long."]}},
    )


@pytest.mark.parametrize("debug", [False, True])
def test_a_fault_is_a_500_without_a_trace_and_logged_once(
    agent: Any, settings: Any, caplog: pytest.LogCaptureFixture, debug: bool
) -> None:
    settings.DEBUG = debug

    answer = agent.get("/refuse/fault")

    check_refused(answer, 500)
    assert "bug" not in answer.content.decode()
    assert len(caplog.records) == 1 and caplog.records[0].exc_info
    assert agent.headers["Authorization"] not in caplog.text


def test_a_lost_database_is_a_503_that_says_when_to_come_again(
    agent: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = agent.get("/refuse/gone")

    check_refused(answer, 503)
    assert answer.headers["Retry-After"] == "5"
    assert len(caplog.records) == 1


def test_the_service_goes_on_after_all_that(agent: Any) -> None:
    assert send(agent, BODY).status_code == 200
    assert Client().get("/health").status_code == 200
