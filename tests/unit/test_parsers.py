"""Bodies: JSON objects only, and nothing in them that a database would choke on."""

import io
import json
from typing import Any

import pytest
from django.test import RequestFactory
from rest_framework.exceptions import APIException, UnsupportedMediaType

from orchestrator_site.api.parsers import EmptyFormParser, StrictJSONParser, read_object


def nested(depth: int) -> bytes:
    """Return objects in each other, `depth` of them."""
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


GOOD: dict[str, tuple[bytes, dict[str, Any]]] = {
    "empty": (b"", {}),
    "blank": (b" \n", {}),
    "null": (b"null", {}),
    "an object": (b'{"a": [1, 2.5, null, true, "x"]}', {"a": [1, 2.5, None, True, "x"]}),
    "a byte order mark": (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
    "64 levels": (nested(64), json.loads(nested(64))),
    "many objects side by side": (json.dumps({"a": [{}] * 100}).encode(), {"a": [{}] * 100}),
    "largest integer": (b'{"a": 9007199254740991}', {"a": 2**53 - 1}),
    "smallest integer": (b'{"a": -9007199254740991}', {"a": -(2**53) + 1}),
    "10,000 values": (json.dumps({"a": [1.25] * 9_998}).encode(), {"a": [1.25] * 9_998}),
    "a name of 20,000 characters": (b'{"' + b"n" * 20_000 + b'": 1}', {"n" * 20_000: 1}),
    "a surrogate pair": (b'{"a": "\\ud83d\\ude42"}', {"a": "🙂"}),
    "an escaped backslash before u0000": (b'{"a": "\\\\u0000"}', {"a": "\\u0000"}),
    "names a program might stumble on": (b'{"__proto__": {"x": 1}, "constructor": 1}', None),  # type: ignore[dict-item]
}
BAD: dict[str, bytes] = {
    "a list": b"[]",
    "a string": b'"x"',
    "a number": b"1",
    "true": b"true",
    "cut off": b'{"a": 1',
    "trailing": b'{"a": 1}}',
    "two objects": b"{}{}",
    "single quotes": b"{'a': 1}",
    "a comment": b'{"a": 1 /* x */}',
    "invalid UTF-8": b'{"a": "\xff"}',
    "overlong UTF-8": b'{"a": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "1e400": b'{"a": 1e400}',
    "an integer of 5000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "2**53": b'{"a": 9007199254740992}',
    "-2**53": b'{"a": -9007199254740992}',
    "10,001 values": json.dumps({"a": [1.25] * 9_999}).encode(),
    "10,001 values in small heaps": json.dumps({"a": [[1.25] * 99] * 100}).encode(),
    "a name of 20,001 characters": b'{"' + b"n" * 20_001 + b'": 1}',
    "65 levels": nested(65),
    "900 levels": nested(900),
    "100,000 brackets": b'{"a": ' + b"[" * 100_000,
    "closed 100,000 brackets": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "NUL in a value": b'{"a": "x\\u0000"}',
    "NUL in a name": b'{"x\\u0000": 1}',
    "NUL raw": b'{"a": "x\x00"}',
    "NUL deep in a list": b'{"a": [[["\\u0000"]]]}',
    "a lone surrogate": b'{"a": "\\ud800"}',
    "a lone low surrogate": b'{"a": "\\uDC00"}',
    "a lone surrogate in a name": b'{"\\uDfff": 1}',
    "a name twice": b'{"a": 1, "a": 2}',
    "a name twice within": b'{"x": [{"a": 1, "a": 2}]}',
}


@pytest.mark.parametrize("name", GOOD)
def test_good_bodies_are_read(name: str) -> None:
    body, expected = GOOD[name]

    assert read_object(body) == (json.loads(body) if expected is None else expected)


@pytest.mark.parametrize("name", BAD)
def test_bad_bodies_are_refused_with_one_sentence(name: str) -> None:
    with pytest.raises(APIException) as refusal:
        read_object(BAD[name])

    assert refusal.value.status_code == 400
    assert str(refusal.value.detail).endswith(".") and "\n" not in str(refusal.value.detail)


def parse(body: bytes, media_type: str = "application/json", **headers: str) -> dict[str, Any]:
    request = RequestFactory().post("/", headers=headers)
    return StrictJSONParser().parse(io.BytesIO(body), media_type, {"request": request})


@pytest.mark.parametrize(("size", "status"), [(2048, None), (2049, 413)])
def test_a_body_over_the_limit_is_refused(settings: Any, size: int, status: int | None) -> None:
    settings.MAX_BODY_BYTES = 2048
    body = b'{"a": "' + b"x" * (size - 9) + b'"}'
    assert len(body) == size

    if status is None:
        assert parse(body)
    else:
        with pytest.raises(APIException) as refusal:
            parse(body)
        assert refusal.value.status_code == status


@pytest.mark.parametrize("charset", ["utf-7", "utf-16", "latin-1", "idna", "unicode_escape", "x"])
def test_other_charsets_are_refused(charset: str) -> None:
    with pytest.raises(APIException) as refusal:
        parse(b"{}", f"application/json; charset={charset}")

    assert refusal.value.status_code == 415


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "utf8"])
def test_utf_8_may_be_named(charset: str) -> None:
    assert parse(b'{"a": 1}', f"application/json; charset={charset}") == {"a": 1}


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "x"])
def test_compressed_bodies_are_refused(coding: str) -> None:
    with pytest.raises(APIException) as refusal:
        parse(b"{}", **{"Content-Encoding": coding})

    assert refusal.value.status_code == 415


@pytest.mark.parametrize(
    ("body", "taken"), [(b"--b--\r\n", True), (b"", True), (b"--b\r\n\r\nx\r\n--b--", False)]
)
def test_a_form_is_taken_only_when_it_holds_nothing(body: bytes, taken: bool) -> None:
    form = "multipart/form-data; boundary=b"

    if taken:
        assert EmptyFormParser().parse(io.BytesIO(body), form) == {}
    else:
        with pytest.raises(UnsupportedMediaType):
            EmptyFormParser().parse(io.BytesIO(body), form)
