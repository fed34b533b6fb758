"""What surrounds the code: the workflow, the hooks of pre-commit, the strictness of types."""

import re
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.documents import ROOT

HOOKS = ROOT / ".pre-commit-config.yaml"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEMPLATES = sorted((ROOT / ".github").rglob("*.md"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PACKAGES = ["orchestrator_site", "approvals_app", "events_app", "tasks_app"]
DOMAIN = sorted(
    path
    for package in PACKAGES
    for pattern in ("core/*.py", "**/rules.py", "**/services.py", "**/services/*.py")
    for path in (ROOT / package).glob(pattern)
)
MOST_ANY = 100
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_calls_make_targets_and_nothing_else(path: Path) -> None:
    jobs = loaded(path)["jobs"].values()
    commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]

    assert commands
    for command in commands:
        program, target, *_ = command.split()
        assert program == "make"
        assert target in TARGETS


def test_the_workflow_tries_every_python_from_the_oldest_that_is_promised() -> None:
    [job] = loaded(WORKFLOWS[0])["jobs"].values()
    required = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())

    assert required
    assert job["strategy"]["matrix"]["python"][0] == required[1]


def test_the_hooks_of_pre_commit_are_our_own_tools() -> None:
    [repository] = loaded(HOOKS)["repos"]

    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        program, first, *rest = hook["entry"].split()
        if program == "make":
            assert first in TARGETS
        else:
            assert (program, first) == (".venv/bin/python", "-m")
            assert f"\n{rest[0]}==" in (ROOT / "requirements-dev.lock").read_text()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_is_six_lines(path: Path) -> None:
    text = re.sub(r"\A---\n.*?\n---\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)

    assert len(text.splitlines()) == 6


def test_every_target_that_is_listed_is_one_that_make_knows() -> None:
    listed = re.findall(r"^  make ([a-z-]+)", subprocess.getoutput("make help"), re.MULTILINE)

    assert {"up", "quick", "test", "check"} <= set(listed) <= TARGETS


def test_core_rules_and_services_say_any_a_hundred_times_at_most() -> None:
    texts = [path.read_text(encoding="utf-8") for path in DOMAIN]

    assert sum(len(re.findall(r"\bAny\b", text)) for text in texts) <= MOST_ANY


def test_the_types_of_core_rules_and_services_are_checked_strictly() -> None:
    mypy = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    [strict] = [each for each in mypy["overrides"] if each.get("disallow_any_generics")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in DOMAIN]

    assert [
        name for name in names if not any(fnmatch(name, pattern) for pattern in strict["module"])
    ] == []
