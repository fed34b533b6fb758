"""Which actions of the API are answered in threads: the architecture page names them all."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from tests.support.runs import ROOT

SECTION = re.compile(r"^## What stays on threads$(.*?)^## ", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`([A-Z]+ /[^`]*)`")


def actions(resolver: URLResolver, prefix: str = "/") -> Iterator[tuple[str, Any]]:
    """Yield the actions of the viewsets, by method and path."""
    for entry in resolver.url_patterns:
        path = prefix + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(entry.pattern))
        if isinstance(entry, URLResolver):
            yield from actions(entry, path)
        elif isinstance(entry, URLPattern):
            view: Any = entry.callback
            for method, name in (getattr(view, "actions", None) or {}).items():
                if method != "head":  # REST framework adds it at the first request
                    yield f"{method.upper()} {path}", getattr(view.cls, name)


def test_the_architecture_page_names_every_action_that_is_answered_in_a_thread() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    [section] = SECTION.findall(page)

    found = dict(actions(get_resolver()))

    on_threads = {name for name, action in found.items() if not inspect.iscoroutinefunction(action)}
    assert set(NAMED.findall(section)) == on_threads
    assert len(found) > len(on_threads) > 0
