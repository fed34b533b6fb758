"""The columns of lists, each declared in a line where one expression makes its cell."""

from collections.abc import Callable
from typing import Any

from unfold.decorators import display

from orchestrator_site.console import rendering
from orchestrator_site.core import times


def column(label: str, show: Callable[[Any], str], ordering: str | None = None) -> Any:
    """Return a column for an admin class. show: makes the cell of a row."""
    return staticmethod(display(show, description=label, ordering=ordering))


def moment(label: str, field: str = "created_at", ordering: str | None = None) -> Any:
    """Return a column that shows how long ago, or ahead, the time in a field is."""
    return column(label, lambda row: rendering.when(getattr(row, field), times.now()), ordering)


def priority() -> Any:
    """Return the column of the priority, by which lists can be sorted."""
    return column("Priority", lambda row: rendering.chip(row.priority), "priority")
