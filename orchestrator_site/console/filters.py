"""Filters of lists, which subclasses narrow to a column."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest

from orchestrator_site.core import times
from orchestrator_site.core.priorities import Priority

SPANS = {
    "1h": ("hour", timedelta(hours=1)),
    "24h": ("day", timedelta(days=1)),
    "7d": ("week", timedelta(days=7)),
    "30d": ("30 days", timedelta(days=30)),
}


class Filter(SimpleListFilter):
    """A filter, which a list looks up by itself when it is used with others."""

    def parts(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[QuerySet[Any]]:
        """Return the alternatives that the filter leaves, each of which has an index."""
        rows: Any = self.queryset(request, queryset)
        return [rows]


class Choice(Filter):
    """A filter over choices. Subclasses name `column`, and `values` or `options`."""

    column = ""
    values: Iterable[str] = ()

    def options(self) -> Iterable[str]:
        return self.values

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        known = list(dict.fromkeys(self.options()))
        asked = request.GET.get(self.parameter_name or "")
        return [
            (value, value)
            for value in known + ([asked] if asked and asked not in known else [])
            if value
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.column: self.value()}) if self.value() else queryset


class Within(Filter):
    """A filter by how long ago something was, at most. Subclasses say `since`."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, f"in the last {words}") for name, (words, _) in SPANS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        span = SPANS.get(self.value() or "")
        return self.since(queryset, times.now() - span[1]) if span else queryset

    def since(self, queryset: Any, moment: datetime) -> Any:
        raise NotImplementedError


class OfPriority(Choice):
    title, parameter_name, column = "priority", "priority", "priority"
    values = Priority.values
