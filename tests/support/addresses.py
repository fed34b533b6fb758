"""Every address that lists or shows something: of the API, and of the console."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from django.contrib import admin
from django.test import RequestFactory

PLACES = {"after", "cursor", "limit"}


def reads(document: dict[str, Any], rare: dict[str, str]) -> Iterator[str]:
    """Yield an address for each GET of the API but the stream, and one for each of its filters.

    document: the OpenAPI schema. rare: by name of a parameter, a value that hardly any row has.
    """
    for path, methods in document["paths"].items():
        if "get" in methods and "stream" not in path:
            yield path
            for parameter in methods["get"].get("parameters", ()):
                name = parameter["name"]
                if parameter["in"] == "query" and name not in PLACES:
                    yield f"{path}?{name}={rare[name]}"


def lists(searches: list[str], rare: dict[str, str]) -> Iterator[str]:
    """Yield the console's lists: as they open, by every choice of their filters, and searched.

    searches: what is searched for. rare: by name of a filter, one more value.
    """
    for model, shown in admin.site._registry.items():
        page = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        yield page
        filters: Any = shown.list_filter
        for choice in filters:
            name = choice.parameter_name
            options = choice(RequestFactory().get("/"), {}, model, shown).lookup_choices
            values = {value for value, _ in options} | ({rare[name]} if name in rare else set())
            yield from (f"{page}?{name}={quote(value)}" for value in sorted(values))
        if shown.search_fields or getattr(shown, "exact_search", ()):
            yield from (f"{page}?q={term}" for term in searches)
