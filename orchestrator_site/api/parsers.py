"""Bodies: JSON objects only, and nothing in them that a database or a program cannot keep."""

import functools
import json
import re
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.utils.http import parse_header_parameters
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

MAX_DEPTH = 64
MAX_VALUES = 10_000
MAX_NAME = 20_000  # characters
LARGEST = 2**53 - 1  # beyond it JavaScript, and all doubles, read another number than was written
AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
LONG_NUMBER = b"0" * len(str(LARGEST))
SUSPICIOUS = re.compile(rb"\\u0000|\\u[dD][89a-fA-F]")  # NUL, or one half of a surrogate pair
SURROGATE_OR_NUL = re.compile("[\x00\ud800-\udfff]")


class BodyTooLarge(APIException):
    """The body is over the limit."""

    status_code = 413


class StrictJSONParser(BaseParser):
    """Reads a JSON object; an empty body and `null` are an empty one."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: Any = None, parser_context: Any = None) -> Any:
        """Return the object; raise ParseError, UnsupportedMediaType or BodyTooLarge."""
        check_coding(media_type or self.media_type, (parser_context or {}).get("request"))
        return read_bounded(stream)


class EmptyFormParser(BaseParser):
    """Reads the form without fields that some clients send for no body; any other is a 415."""

    media_type = "multipart/form-data"

    def parse(self, stream: IO[bytes], media_type: Any = None, parser_context: Any = None) -> Any:
        """Return an empty object; raise UnsupportedMediaType when the form holds anything."""
        kind, parts = parse_header_parameters(media_type or "")
        if stream.read(256).strip() not in (b"", f"--{parts.get('boundary')}--".encode()):
            raise UnsupportedMediaType(kind)
        return {}


def check_coding(media_type: str, request: Any) -> None:
    """Refuse other charsets, and compressed bodies, which grow when opened."""
    charset = parse_header_parameters(media_type)[1].get("charset", "utf-8").lower()
    if charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaType(media_type, "The body must be JSON in UTF-8.")
    coding = request.META.get("HTTP_CONTENT_ENCODING", "") if request is not None else ""
    if coding.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(media_type, "The body must not be compressed.")


def is_plain_json(meta: Mapping[str, Any]) -> bool:
    """Return whether a body is JSON by its plain name, with nothing more said of it."""
    plain = meta.get("CONTENT_TYPE") == StrictJSONParser.media_type
    return plain and "HTTP_CONTENT_ENCODING" not in meta


def read_bounded(stream: Any) -> dict[str, Any]:
    """Return the object in a stream; raise ParseError or BodyTooLarge."""
    limit = settings.MAX_BODY_BYTES
    body = stream.read(limit + 1)
    if len(body) > limit:
        raise BodyTooLarge(f"The body is larger than {limit} bytes.")
    return read_object(body)


def read_object(body: bytes) -> dict[str, Any]:
    """Return the object in a JSON text; raise ParseError with one sentence."""
    if not body.strip():
        return {}
    long_number = LONG_NUMBER in body.translate(AS_ZEROS)
    try:
        content = decoder(long_number, len(body) > MAX_NAME).decode(body.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ParseError(
            f"The body is not valid JSON: {error.msg} at character {error.pos}."
        ) from None
    except UnicodeDecodeError:
        raise ParseError("The body is not valid UTF-8.") from None
    except RecursionError:
        raise ParseError(f"The body is nested deeper than {MAX_DEPTH} levels.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ParseError("The body must be a JSON object.")
    depth = body.count(b"[") + body.count(b"{")  # at most, as the number of values is here
    suspicious = SUSPICIOUS.search(body) is not None
    if suspicious or depth > MAX_DEPTH or depth + body.count(b",") >= MAX_VALUES:
        walk(content, with_text=suspicious)
    return content


@functools.cache
def decoder(long_numbers: bool, long_names: bool) -> json.JSONDecoder:
    """Return what reads a JSON text; it is told whether long numbers and names may occur."""
    return json.JSONDecoder(
        parse_constant=refuse_constant,
        parse_float=finite,
        parse_int=within_doubles if long_numbers else None,
        object_pairs_hook=distinct_and_short if long_names else distinct,
    )


def walk(content: object, *, with_text: bool) -> None:
    """Refuse what is too deep and too many values. Without recursion.

    with_text: also NULs and lone surrogates, which only escapes can make.
    """
    kinds = (str, dict, list) if with_text else (dict, list)
    waiting, values = [(content, 1)], 1
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, str):
            if SURROGATE_OR_NUL.search(value):
                raise ParseError("Text must not hold NUL characters or lone surrogates.")
        elif isinstance(value, dict | list):
            values += len(value)
            if depth > MAX_DEPTH:
                raise ParseError(f"The body is nested deeper than {MAX_DEPTH} levels.")
            if values > MAX_VALUES:
                raise ParseError(f"The body holds more than {MAX_VALUES} values.")
            inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value
            waiting += [(each, depth + 1) for each in inner if isinstance(each, kinds)]


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs as a dict; of two equal names nobody knows which is meant."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ParseError("The body names a field twice in one object.")
    return fields


def distinct_and_short(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs as a dict; no name is longer than anybody needs."""
    fields = distinct(pairs)
    if max(map(len, fields), default=0) > MAX_NAME:
        raise ParseError(f"A field's name is longer than {MAX_NAME} characters.")
    return fields


def refuse_constant(word: str) -> None:
    """Refuse NaN and Infinity."""
    raise ParseError(f"The body is not valid JSON: {word} is not a number.")


def finite(digits: str) -> float:
    """Return a float that is one."""
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ParseError("A number in the body is out of range.")
    return value


def within_doubles(digits: str) -> int:
    """Return an integer that every program reads as the same number."""
    if len(digits) > 17 or not -LARGEST <= int(digits) <= LARGEST:
        raise ParseError("A number in the body is out of range: beyond 2^53 - 1, send it as text.")
    return int(digits)
