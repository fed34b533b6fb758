"""docs/events.md names every event type of the server's own, and no other."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from events_app.rules import SERVER_FAMILIES
from tests.support.documents import ROOT, tables

PACKAGES = ("orchestrator_site", "events_app", "approvals_app", "tasks_app")
PAGE = ROOT / "docs" / "events.md"
EVENT_TYPE = re.compile(rf"({'|'.join(('task', *SERVER_FAMILIES))})\.[a-z_]+")


def entries() -> Iterator[tuple[str, list[str], Any]]:
    """Yield type, payload fields, and the example of every entry of the catalogue."""
    for head, *rows in tables(PAGE):
        assert head == ["Type", "When", "Payload", "Example of a payload"]
        for kind, _, fields, example in rows:
            yield kind.strip("`"), re.findall(r"`(\w+\??)`", fields), json.loads(example.strip("`"))


CATALOGUE = {kind: (fields, example) for kind, fields, example in entries()}


def constants() -> Iterator[tuple[str, str]]:
    """Yield module and value of every constant of ours that names an event type."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                value = getattr(node.value, "value", None) if isinstance(node, ast.Assign) else None
                if isinstance(value, str) and EVENT_TYPE.fullmatch(value):
                    yield path.name, value


def test_every_event_type_is_in_the_catalogue_and_no_other() -> None:
    assert {value for _, value in constants()} == CATALOGUE.keys()


def test_the_catalogue_names_no_type_twice() -> None:
    kinds = [kind for kind, _, _ in entries()]

    assert sorted(set(kinds)) == sorted(kinds)


@pytest.mark.parametrize("kind", CATALOGUE)
def test_an_example_has_the_fields_of_its_entry(kind: str) -> None:
    fields, example = CATALOGUE[kind]

    assert (
        {name for name in fields if not name.endswith("?")}
        <= example.keys()
        <= {name.rstrip("?") for name in fields}
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_types_are_named_by_constants_where_events_are_made(package: str) -> None:
    literal = [
        f"{path.name}: {keyword.value.value!r}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "event_type" and isinstance(keyword.value, ast.Constant)
    ]

    assert literal == []
