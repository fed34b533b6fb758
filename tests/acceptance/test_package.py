"""What `pip install` brings: built from the source package, installed beside nothing of the
checkout, and started.
"""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import orchestrator_site
from tests.support.marks import brings_its_own_stores
from tests.support.processes import ROOT, Process, environment

pytestmark = brings_its_own_stores


def run(*command: object, cwd: Path = ROOT, **settings: str) -> str:
    """Run a command; return what it printed."""
    asked = [str(part) for part in command]
    done = subprocess.run(
        asked, cwd=cwd, env=environment() | settings, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: Any) -> Path:
    """The wheel, built from the unpacked source package."""
    folder: Path = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder)
    [source] = folder.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / source.name.removesuffix(".tar.gz")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=unpacked)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: Any) -> Path:
    """An environment with the wheel in it, and beside it the packages it needs."""
    folder: Path = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "--python",
        python,
    ]
    run(*pip, "install", "--no-index", "--no-deps", "--no-compile", wheel)
    packages = packages_of(folder)
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return folder


def packages_of(environment_folder: Path) -> Path:
    """Return the site-packages of an environment."""
    return next(environment_folder.glob("lib/python*/site-packages"))


def files(folder: Path) -> set[Path]:
    """Return every file below a folder, compiled ones left out."""
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def service(installed: Path, tmp_path_factory: Any) -> Iterator[tuple[Any, Path]]:
    """The installed service, started in an empty folder with an empty home, signed in to.

    And that home.
    """
    home: Path = tmp_path_factory.mktemp("home")
    before = files(packages_of(installed))
    settings = {
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "share"),
        "PORT": "0",
        "DATA_DIR": "",
    }
    started = Process([str(installed / "bin" / "orchestrator-server"), "up"], settings, cwd=home)
    try:
        url = started.wait_for(r"http://\S+?:\d+").group()
        password = started.wait_for(r"Login +admin / (\S+)")[1]
        yield signed_in(url, password), home
        assert files(packages_of(installed)) == before
    finally:
        started.close()


def signed_in(url: str, password: str) -> Any:
    """Return a function that gets a page of the console."""
    session = requests.Session()
    session.get(f"{url}/admin/login/", timeout=30)
    form = {
        "username": "admin",
        "password": password,
        "csrfmiddlewaretoken": session.cookies["csrftoken"],
    }
    session.post(f"{url}/admin/login/", form, headers={"Referer": url}, timeout=30)
    return lambda path: session.get(url + path, timeout=30, allow_redirects=False)


def test_the_console_is_whole(service: tuple[Any, Path]) -> None:
    get, _ = service
    inbox = get("/admin/approvals_app/approval/")

    assert inbox.status_code == 200
    assert "console/console.css" in inbox.text
    styles = re.findall(r'href="(/static/[^"]+\.css)"', inbox.text)
    assert styles
    assert {path: get(path).status_code for path in styles} == dict.fromkeys(styles, 200)


@pytest.mark.parametrize("page", ["/redoc", "/docs"])
def test_the_pages_of_the_api_load_nothing_from_elsewhere(
    service: tuple[Any, Path], page: str
) -> None:
    get, _ = service
    answer = get(page)

    assert answer.status_code == 200
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", answer.text)
    assert loaded
    assert [link for link in loaded if "//" in link] == []
    assert all(get(link).status_code == 200 for link in loaded if link.startswith("/static/"))


def test_data_is_kept_in_the_users_own_folder(service: tuple[Any, Path]) -> None:
    _, home = service

    assert [path.name for path in home.iterdir()] == ["share"]
    assert (home / "share" / "orchestrator" / "orchestrator.sqlite3").is_file()


def test_the_command_knows_every_command_and_the_version(installed: Path, tmp_path: Path) -> None:
    command = installed / "bin" / "orchestrator-server"
    data = {"DATA_DIR": str(tmp_path / "data")}

    listed = run(command, "help", cwd=tmp_path, **data)
    python = installed / "bin" / "python"
    version = run(
        python,
        "-c",
        "from importlib.metadata import version; print(version('orchestrator'))",
        cwd=tmp_path,
    )

    assert {"up", "migrate", "approve", "prune_events"} <= set(listed.split())
    assert version.strip() == orchestrator_site.__version__


def test_a_checkout_keeps_its_data_beside_it(tmp_path: Path) -> None:
    asked = "from django.conf import settings; print(settings.CHECKOUT, settings.OWN_FOLDER)"
    shown = run(
        sys.executable,
        "manage.py",
        "shell",
        "-v",
        "0",
        "-c",
        asked,
        DATA_DIR=str(tmp_path),
        HOME=os.devnull,
    )

    assert shown.split() == [str(ROOT), str(ROOT / "data")]
