"""Whatever starts the service says in one sentence why it cannot."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.stores import environment
from tests.support.marks import brings_its_own_stores
from tests.support.processes import ROOT

pytestmark = brings_its_own_stores
ENTRIES = {
    "up": ["manage.py", "up", "--port", "0"],
    "worker": ["-m", "celery", "-A", "orchestrator_site", "worker"],
    "beat": ["-m", "celery", "-A", "orchestrator_site", "beat"],
    "asgi": ["-m", "uvicorn", "orchestrator_site.asgi:application", "--port", "0"],
    "wsgi": ["-c", "import orchestrator_site.wsgi"],
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_malformed_setting_is_one_sentence(entry: str, tmp_path: Path) -> None:
    status, output = start(entry, DATA_DIR=str(tmp_path), ORCHESTRATOR_SWEEP_SECONDS="often")

    assert output == "ORCHESTRATOR_SWEEP_SECONDS must be a whole number of at least 1.\n"
    assert status == 1


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_unusable_data_folder_is_one_sentence(entry: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "data"

    status, output = start(entry, DATA_DIR=str(folder))

    assert output == (
        f"{folder} cannot be used: Not a directory. "
        "Set DATA_DIR to a folder this account can write to.\n"
    )
    assert status == 1


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_setting_that_is_refused_shows_no_traceback(entry: str, tmp_path: Path) -> None:
    status, output = start(entry, DATA_DIR=str(tmp_path), ORCHESTRATOR_API_KEY_CI="no role")

    assert "ORCHESTRATOR_API_KEY_CI must end in :admin, :agent or :user.\n" in output
    assert "Traceback" not in output and status == 1


def start(entry: str, **settings: str) -> tuple[int, str]:
    """Return the exit status of a process, and all that it wrote."""
    ended = subprocess.run(
        [sys.executable, *ENTRIES[entry]],
        cwd=ROOT,
        env=environment() | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return ended.returncode, ended.stdout
