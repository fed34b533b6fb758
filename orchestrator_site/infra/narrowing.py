"""Lists narrowed by several filters at once, of which any may be the one that matches little.

A planner knows averages: it may walk a million rows of one filter where another matches none, or
all rows for a page of what hardly any row is.
"""

from typing import Any, TypeVar

from django.db.models import QuerySet

R = TypeVar("R", bound="QuerySet[Any]")
PROBED = 500  # rows looked up of what one filter matches


def by_fewest(rows: R, filters: list[list[R]], *, most: int = 0) -> R:
    """Return the rows, found by the filter that matches fewest, if one has few.

    rows: what all filters together leave. filters: for each, its alternatives by themselves, every
    one with an index in that order. most: how many rows are wanted, where one filter has
    alternatives.
    """
    if len(filters) < 2 and all(len(parts) == 1 for parts in filters):
        return rows
    keys = [few for parts in filters if (few := keys_of(parts)) is not None]
    if keys:
        return rows.filter(pk__in=min(keys, key=len))
    if len(filters) > 1:
        return rows
    first = [
        part.order_by(*rows.query.order_by).values_list("pk", flat=True) for part in filters[0]
    ]
    return rows.filter(pk__in=[key for part in first for key in part[:most]])


def keys_of(parts: list[R]) -> set[Any] | None:
    """Return the keys of what is in any of the parts, or None for more than PROBED."""
    keys: set[Any] = set()
    for part in parts:
        keys.update(part.order_by().values_list("pk", flat=True)[: PROBED + 1])
        if len(keys) > PROBED:
            return None
    return keys
