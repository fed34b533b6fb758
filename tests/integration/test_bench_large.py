"""The measurement among many rows, small: that it runs, and fills no database but its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stores import environment
from tests.support.marks import brings_its_own_stores
from tests.support.runs import ROOT

pytestmark = [
    pytest.mark.serial,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    brings_its_own_stores,
]


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the bench, and wait for its end."""
    command = [sys.executable, "-m", *arguments]
    own = environment() | {"ORCHESTRATOR_ENV": "development"} | settings
    return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True)


def test_calls_and_sweeps_are_measured_among_few_and_many_rows(tmp_path: Path) -> None:
    place = tmp_path / "rows.json"
    size = ["--tasks", "40000", "--rounds", "1", "--only", "trace_rare", "--json", str(place)]

    done = run("tests.bench.large", *size)

    assert done.returncode in (0, 1), done.stderr  # one round says nothing of the time
    names = {row["name"] for row in json.loads(place.read_text())}
    assert {"GET /tasks?trace_id=trace_rare", "sweep: route_pending"} <= names


def test_a_database_that_has_tasks_is_not_filled(tmp_path: Path) -> None:
    assert run("tests.bench.inside", "fill", "50", DATA_DIR=str(tmp_path)).returncode == 0

    again = run("tests.bench.inside", "fill", "50", DATA_DIR=str(tmp_path))

    assert again.returncode == 1 and "Only an empty one is filled." in again.stderr
