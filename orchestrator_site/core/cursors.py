"""Opaque cursors: the place where the next page of a list begins."""

import base64
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from orchestrator_site.core.errors import Invalid

LARGEST = 2**62  # well below the end of a database's whole numbers

to_json: Callable[[object], str] = json.JSONEncoder(
    separators=(",", ":"), default=datetime.isoformat
).encode


class BadCursor(Invalid):
    """The cursor is not one this service gave out."""


def encode(kind: str, *values: str | int | datetime) -> str:
    """Return the cursor of a place: the values that a list is ordered by.

    kind: the list the cursor belongs to, so that no other list takes it.
    """
    text = f"{kind}:{to_json(values)[1:-1]}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, kind: str, *types: type, field: str = "cursor") -> list[Any]:
    """Return the values a cursor was made of; raise BadCursor unless kind and types are these.

    field: the name of the input the cursor came in.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
        prefix, _, values = text.partition(":")
        if prefix != kind:
            raise ValueError("The cursor is of another list.")
        return [to_type(*pair) for pair in zip(json.loads(f"[{values}]"), types, strict=True)]
    except (ValueError, RecursionError):
        raise BadCursor(field=field) from None


def to_type(value: Any, kind: type) -> Any:
    """Return one value of a cursor as this type; raise ValueError."""
    if kind is int and type(value) is int and 0 <= value <= LARGEST:
        return value
    if kind is str and isinstance(value, str) and value.isascii() and value.isprintable():
        return value
    if kind is datetime and isinstance(value, str):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return moment
    raise ValueError("The value is not of this type.")
