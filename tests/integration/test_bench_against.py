"""`make bench` beside another revision, short: that both start, take turns, and are gone again."""

import json
import shutil
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
    pytest.mark.skipif(
        not (ROOT / ".git").exists() or not shutil.which("git"), reason="this is no git checkout"
    ),
]


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run it for a moment, and wait for its end."""
    command = [sys.executable, "-m", "tests.bench", *arguments]
    own = environment() | settings
    return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True)


def test_this_tree_is_measured_beside_another_revision(tmp_path: Path) -> None:
    place, folder = tmp_path / "bench.json", tmp_path / "folder"
    folder.mkdir()
    short = ["--rounds", "2", "--seconds", "0.1", "--only", "cycle", "--json", str(place)]

    done = run("--against", "HEAD", *short, TMPDIR=str(folder))

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(place.read_text())
    assert report["here"].startswith(report["there"])
    assert [row["connections"] for row in report["measures"]] == [1, 8, 32]
    for row in report["measures"]:
        assert row["here"]["n"] and row["there"]["n"] and len(row["rate"]["rounds"]) == 2
    assert not list(folder.iterdir())


def test_a_revision_that_is_not_there_is_named() -> None:
    done = run("--against", "no-such-revision")

    assert done.returncode == 1 and "no-such-revision" in done.stderr
