"""Answers as JSON: fast, and the same as REST framework writes them."""

import datetime
import decimal
import json
import uuid
from typing import Any

import pytest
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st
from rest_framework import renderers
from rest_framework.exceptions import ErrorDetail

from events_app.streams.sse import message
from orchestrator_site.api.negotiation import JSONRenderer
from orchestrator_site.core.priorities import Priority

NOON = datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.UTC)
EAST = datetime.timezone(datetime.timedelta(hours=14))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def by_rest_framework(data: Any) -> bytes:
    return bytes(renderers.JSONRenderer().render(data))


@given(JSON)
def test_an_answer_means_the_same_as_before(data: Any) -> None:
    written = json.loads(JSONRenderer().render(data) or b"null")

    assert repr(written) == repr(json.loads(by_rest_framework(data) or b"null"))


@pytest.mark.parametrize(
    "data",
    [
        {"at": NOON, "b": NOON.replace(microsecond=1), "a": NOON.replace(microsecond=120_000)},
        {"at": NOON.astimezone(EAST), "naive": NOON.replace(tzinfo=None)},
        {"day": NOON.date(), "time": datetime.time(12, 30), "took": datetime.timedelta(seconds=90)},
        {"large": 2**63, "larger": 2**64, "huge": 10**40, "small": -(2**63) - 1},
        {"umlaut": "Größe 💥", "script": "\u2028\u2029", "near": "\u2027\u2030–", "line": "\n\x7f"},
        {7: "seven", None: 2, True: 3},
        {Priority.P0: Priority.P1},
        {"lazy": gettext_lazy("word"), "decimal": decimal.Decimal("1.5"), "bytes": b"abc"},
        {"detail": ErrorDetail("No.", code="no"), "id": uuid.UUID(int=1), "pair": (1, 2)},
        {"b": 1, "a": {"d": 1, "c": 2}},
        [1.0, -0.0, 0.1, 12345.678],
        {"empty": "", "list": [], "object": {}},
        None,
    ],
)
def test_an_answer_is_written_to_the_byte_as_before(data: Any) -> None:
    assert JSONRenderer().render(data) == by_rest_framework(data)


def test_deep_answers_are_written() -> None:
    data: Any = 1
    for _ in range(300):
        data = {"a": data}

    assert JSONRenderer().render(data) == by_rest_framework(data)


def test_what_is_written_already_goes_out_as_it_is() -> None:
    assert JSONRenderer().render(b'{"a": 1}') == b'{"a": 1}'


@pytest.mark.parametrize("text", ["plain", "Größe", "\u2028", "\x85", "\n\r"])
def test_an_event_of_a_stream_is_ascii_on_one_line(text: str) -> None:
    written = message("pr.merged", {"a": text}, "c1")

    assert written.isascii() and len(written.splitlines()) == 4
    data = written.splitlines()[2].removeprefix(b"data: ")
    assert json.loads(data) == {"a": text}
    assert data == json.dumps({"a": text}, separators=(",", ":")).encode()
