"""Answers are JSON: how it is chosen, and how it is written."""

import functools
from typing import Any

import orjson
from django.utils.http import parse_header_parameters
from rest_framework import renderers
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.utils.encoders import JSONEncoder

ENCODER = JSONEncoder()  # of what JSON has no type for


def as_json(data: Any) -> bytes:
    """Return JSON as REST framework writes it; raise TypeError for what orjson cannot write.

    Line ends that only JavaScript knows are escaped, as REST framework does.
    """
    if data is None:
        return b""
    text = orjson.dumps(data, default=ENCODER.default, option=orjson.OPT_UTC_Z)
    if b"\xe2\x80" in text:
        text = text.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return text


class JSONRenderer(renderers.JSONRenderer):
    """Writes an answer as JSON; one that is written already goes out as it is."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        if isinstance(data, bytes):
            return data
        try:
            return as_json(data)
        except TypeError:  # numbers over 64 bits, names that are no text, half surrogate pairs
            return bytes(super().render(data, accepted_media_type, renderer_context))


RENDERER = JSONRenderer()


class JSONOnly(BaseContentNegotiation):
    """Answers are JSON, whatever `?format=` says; only who takes nothing but XML is told so."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        """Return the parser for the body's type, or None, which becomes a 415."""
        kind = parse_header_parameters(request.content_type or "")[0].lower()
        return next((parser for parser in parsers if parser.media_type == kind), None)

    def select_renderer(
        self, request: Any, renderers: Any, format_suffix: str | None = None
    ) -> tuple[Any, str]:
        ensure_json_is_taken(request.META.get("HTTP_ACCEPT", ""))
        return renderers[0], renderers[0].media_type


@functools.lru_cache(256)
def ensure_json_is_taken(accept: str) -> None:
    """Raise NotAcceptable for an Accept header that names nothing but XML."""
    accepted = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if accepted <= {"application/xml", "text/xml"}:
        raise NotAcceptable("Answers are JSON.")
