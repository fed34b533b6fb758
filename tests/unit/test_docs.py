"""What the pages say of the code is so: variables, defaults, statuses and arrows, links."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from orchestrator_site.auth.api_keys import VARIABLE
from tasks_app.models import NEXT, Status
from tests.support.documents import ROOT, table

PACKAGES = ["orchestrator_site", "events_app", "approvals_app", "tasks_app"]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
KEYS = f"{VARIABLE}<NAME>"
RATE = "ORCHESTRATOR_RATE_LIMIT_"
UPSTREAM = "orchestrator"  # as nginx knows the service
LOCAL = {
    UPSTREAM,
    "127.0.0.1",
    "localhost",
    "db.internal",
    "redis.internal",
    "orchestrator.example.com",
    "example.com",
}
SAMPLES = {"ORCHESTRATOR_API_KEY_CI_BOT"}  # an example of KEYS


def readings() -> Iterator[tuple[str, Any]]:
    """Yield every variable the code reads through `env`, with its default.

    ... where that is not a plain value.
    """
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            nodes: list[Any] = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
            for node in filter(is_reading, nodes):
                if isinstance(node.args[0], ast.Constant):
                    yield str(node.args[0].value), default_of(node)


def is_reading(node: Any) -> bool:
    """Return whether this is a call of `env.text`, `env.secret` and so on."""
    called = node.func if isinstance(node, ast.Call) else None
    if not isinstance(called, ast.Attribute) or not isinstance(called.value, ast.Name):
        return False
    return called.value.id == "env" and called.attr != "database"


def default_of(call: Any) -> Any:
    """Return the default a reader is given."""
    if len(call.args) < 2:
        return False if call.func.attr == "flag" else ""
    try:
        return ast.literal_eval(call.args[1])
    except ValueError:
        return ...


READ = dict(readings()) | {
    f"{RATE}{scope.upper()}": rate for scope, rate in settings.RATE_LIMITS.items()
}
PLAIN = {
    name: str(value).lower() if isinstance(value, bool) else str(value)
    for name, value in READ.items()
}


def examples() -> dict[str, str]:
    """Return the variables of .env.example, with the values they show."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8")
    return dict(re.findall(r"^# ([A-Z][A-Z_]*(?:<NAME>)?)=(.*)$", lines, re.MULTILINE))


def configuration() -> dict[str, str]:
    """Return the variables of the configuration page, with the defaults it shows."""
    rows: dict[str, str] = {}
    for names, defaults, _ in table(ROOT / "docs" / "configuration.md", "Variable"):
        values = [text.strip("` ") for text in re.split(r"`, `", defaults)]
        names_found = re.findall(r"`([^`]+)`", names)
        rows |= dict(
            zip(names_found, values if len(names_found) > 1 else [defaults.strip("`")], strict=True)
        )
    return rows


def test_the_code_reads_variables() -> None:
    assert {"DATA_DIR", "PORT", "DATABASE_URL", "ORCHESTRATOR_JWT_SECRET"} <= READ.keys()


def test_env_example_has_every_variable_the_code_reads_and_no_other() -> None:
    assert examples().keys() - SAMPLES == READ.keys() | {KEYS}


def test_the_configuration_page_has_every_variable_the_code_reads_and_no_other() -> None:
    rates = {name for name in READ if name.startswith(RATE) and name != f"{RATE}SCALE"}

    assert configuration().keys() == (READ.keys() - rates) | {KEYS, f"{RATE}<ENDPOINT>"}


@pytest.mark.parametrize("name", sorted(name for name in READ if READ[name] not in (..., "")))
def test_a_default_is_the_one_in_the_code(name: str) -> None:
    shown = [page[name] for page in (examples(), configuration()) if name in page]

    assert shown == [PLAIN[name]] * len(shown)


def test_the_lifecycle_page_has_every_arrow_and_no_other() -> None:
    rows = [
        [cell.strip("`–") for cell in row[:2]]
        for row in table(ROOT / "docs" / "lifecycle.md", "From")
    ]

    drawn = {(left, taken) for left, taken in rows if left}
    assert drawn == {(str(left), str(taken)) for left, follow in NEXT.items() for taken in follow}


def test_the_readme_has_every_status_and_what_may_follow() -> None:
    rows = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2]))
        for row in table(ROOT / "README.md", "Status")
    }

    assert rows == {
        status: {str(taken) for taken in NEXT.get(Status(status), ())} for status in Status.values
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = [link for link in links(page) if not leads_somewhere(page, link)]

    assert broken == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / ".env.example"], ids=lambda page: page.name)
def test_a_page_names_no_foreign_host(page: Path) -> None:
    hosts = re.findall(r"\w+://(?:[^/@\s]*@)?([\w.-]+)", page.read_text(encoding="utf-8"))

    assert [
        host for host in hosts if host not in LOCAL | {"host"} and not host.endswith(".example")
    ] == []


def links(page: Path) -> list[str]:
    """Return where the links and pictures of a page go, those outside excepted."""
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [link for link in found if not link.startswith(("http:", "https:"))]


def leads_somewhere(page: Path, link: str) -> bool:
    """Return whether the file is there, and in it the heading."""
    name, _, heading = link.partition("#")
    target = (page.parent / name) if name else page
    return target.exists() and (not heading or heading in headings(target))


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as hosting sites make them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


def test_the_operations_page_has_every_command_and_no_other() -> None:
    rows = table(ROOT / "docs" / "operations.md", "Command")
    files = [
        path
        for package in PACKAGES
        for path in (ROOT / package / "management" / "commands").glob("[a-z]*.py")
    ]

    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[0])} == {
        path.stem for path in files
    }
