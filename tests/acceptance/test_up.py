"""`manage.py up`, as a process: what a person who starts the service sees, and what is left when it
ends.
"""

import contextlib
import http.client
import json
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import jwt
import pytest
import requests

from orchestrator_site.server.runner import LIMIT_SECONDS
from tests.support.marks import brings_its_own_stores
from tests.support.processes import ROOT, process, up

pytestmark = brings_its_own_stores
UP = [sys.executable, "manage.py", "up"]
SECRET = secrets.token_hex(32)
END_OF_BANNER = "there is no TLS"


def console_accepts(url: str, password: str) -> bool:
    """Return whether `admin` gets into the console with this password."""
    session = requests.Session()
    session.get(f"{url}/admin/login/", timeout=30)
    form = {
        "username": "admin",
        "password": password,
        "csrfmiddlewaretoken": session.cookies["csrftoken"],
    }
    answer = session.post(
        f"{url}/admin/login/", form, headers={"Referer": url}, allow_redirects=False, timeout=30
    )
    return answer.status_code == 302


def test_the_first_start_serves_and_says_how_to_begin(tmp_path: Path) -> None:
    with up(tmp_path) as server:
        server.wait_for(END_OF_BANNER)

        for path in ("/docs", "/redoc", "/openapi.json", "/admin/login/", "/health"):
            assert requests.get(server.url + path, timeout=30).status_code == 200, path
        assert f"{server.url}/docs" in server.text
        assert f"{server.url}/admin/" in server.text
        assert str(tmp_path) in server.text
        assert "development server" in server.text
        assert f"{tmp_path}: ORCHESTRATOR_JWT_SECRET, DJANGO_SECRET_KEY." in server.text
        password = re.search(r"Login +admin / (\S+)", server.text)
        assert password and console_accepts(server.url, password[1])


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl on this machine")
def test_the_curl_of_the_banner_works_as_it_stands(tmp_path: Path) -> None:
    with up(tmp_path) as server:
        server.wait_for(END_OF_BANNER)
        command = re.search(r"curl -X POST(.+\\\n)+.+", server.text)
        assert command
        answer = subprocess.run(
            ["sh", "-c", command[0]], capture_output=True, text=True, timeout=30, check=True
        ).stdout

        assert '"access_token"' in answer


@pytest.mark.serial(timed=True)
def test_the_second_start_keeps_everything_and_shows_no_password(tmp_path: Path) -> None:
    with up(tmp_path) as server:
        password = server.wait_for(r"Login +admin / (\S+)")[1]
        server.end()

    with up(tmp_path) as server:
        server.wait_for(END_OF_BANNER)

        assert password not in server.text
        assert "Login      as before" in server.text
        assert console_accepts(server.url, password)
        assert server.seconds_to_start < 5 * patience()


def patience() -> float:
    """Return how busy this machine is, 1 when it is not: a plain start of Django takes about half a
    second.
    """
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "manage.py", "check"], check=True, capture_output=True, cwd=ROOT
    )
    return max(1.0, (time.monotonic() - began) / 0.5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with up(tmp_path) as server:
        status = server.end(number)

        assert status == 0
        assert not server.leaves_something
        assert server.output[-1] == "Stopped.\n"
        assert "Traceback" not in server.text


def test_a_signal_sent_twice_at_once_is_one(tmp_path: Path) -> None:
    with up(tmp_path) as server:
        server.popen.send_signal(signal.SIGTERM)

        assert server.end(signal.SIGTERM) == 0


@pytest.mark.serial(timed=True)
def test_a_request_without_end_does_not_hold_it_up(tmp_path: Path) -> None:
    with (
        up(tmp_path) as server,
        socket.create_connection(("127.0.0.1", urlsplit(server.url).port)) as caller,
    ):
        caller.sendall(
            b"POST /auth/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
        )
        began = time.monotonic()
        status = server.end()

        assert status == 0
        assert time.monotonic() - began < LIMIT_SECONDS + 3  # and what a busy machine adds


@pytest.mark.serial(timed=True)
def test_who_waits_for_a_held_up_database_when_it_ends_is_told_to_come_again(
    tmp_path: Path,
) -> None:
    claims = {"sub": "dev-agent-1", "role": "agent", "iat": time.time(), "exp": time.time() + 60}
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    with (
        up(tmp_path, ORCHESTRATOR_JWT_SECRET=SECRET) as server,
        sqlite3.connect(tmp_path / "orchestrator.sqlite3") as other,
        contextlib.closing(http.client.HTTPConnection(urlsplit(server.url).netloc)) as caller,
    ):
        other.execute("BEGIN IMMEDIATE")
        task = '{"type": "bugfix", "payload": {}}'
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        caller.request("POST", "/tasks", task, headers)
        server.popen.terminate()
        answer = caller.getresponse()

        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert json.load(answer)["detail"]
        assert server.finish() == 0
        assert "Traceback" not in server.text


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with process(UP, DATA_DIR=str(tmp_path), PORT=port) as second:
            status = second.finish()

    reason = "Address already in use. Set PORT to use another."
    assert status == 1
    assert second.output == [f"CommandError: Cannot listen on 127.0.0.1:{port}: {reason}\n"]


def test_an_unknown_host_is_one_sentence(tmp_path: Path) -> None:
    with process([*UP, "--host", "no-such-host.invalid"], DATA_DIR=str(tmp_path)) as server:
        assert server.finish() == 1
        assert len(server.output) == 1
        assert server.text.startswith("CommandError: Cannot listen on no-such-host.invalid:8000: ")


@pytest.mark.parametrize(
    ("port", "sentence"),
    [
        ("abc", "PORT must be a whole number of at least 0."),
        ("-1", "PORT must be a whole number of at least 0."),
        ("65536", "65536 is not a port: ports go from 0, for a free one, to 65535."),
    ],
)
def test_a_port_that_is_none_is_one_sentence(tmp_path: Path, port: str, sentence: str) -> None:
    with process(UP, DATA_DIR=str(tmp_path), PORT=port) as server:
        assert server.finish() == 1
        assert server.output == [f"CommandError: {sentence}\n"]


@pytest.mark.parametrize("command", [UP, [*UP[:2], "migrate"]], ids=["up", "migrate"])
def test_a_data_folder_that_is_none_is_one_sentence(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "file").touch()

    with process(command, DATA_DIR=str(tmp_path / "file")) as server:
        assert server.finish() == 1
        assert len(server.output) == 1
        assert "Set DATA_DIR to a folder this account can write to." in server.text


def test_a_database_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.sqlite3").mkdir()

    with process([*UP[:2], "migrate"], DATA_DIR=str(tmp_path)) as command:
        assert command.finish() == 1
        assert len(command.output) == 1 and "cannot be opened. Let this account" in command.text


def test_a_loose_folder_is_tightened_and_not_shared_with_a_second_server(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    given = {
        "ORCHESTRATOR_JWT_SECRET": secrets.token_hex(),
        "DJANGO_SECRET_KEY": secrets.token_hex(),
    }

    with up(tmp_path, **given) as server:
        server.wait_for(END_OF_BANNER)

        assert f"{tmp_path} could be read by other accounts" in server.text
        assert "Made up" not in server.text, "they were given"
        modes = {path.name: path.stat().st_mode & 0o777 for path in [tmp_path, *tmp_path.iterdir()]}
        assert modes.pop(tmp_path.name) == 0o700 and set(modes.values()) == {0o600}
        with process(UP, DATA_DIR=str(tmp_path), PORT="0", **given) as second:
            assert second.finish() == 1
            sentence = (
                f"Process {server.popen.pid} serves {tmp_path} already. End it, or set DATA_DIR."
            )
            assert second.output == [f"CommandError: {sentence}\n"]


def test_with_stores_of_its_own_only_the_web_server_starts(tmp_path: Path) -> None:
    nowhere = "127.0.0.1:1"
    settings = {
        "DATABASE_URL": f"postgres://u:hidden@{nowhere}/orchestrator",
        "REDIS_URL": f"redis://{nowhere}/0",
        "DJANGO_SECRET_KEY": secrets.token_hex(),
        "ORCHESTRATOR_JWT_SECRET": secrets.token_hex(),
        "ALLOWED_HOSTS": "127.0.0.1",
    }
    with up(tmp_path, **settings) as server:
        server.wait_for("beat: a process of its own")

        assert "worker: a process of its own" in server.text
        assert "hidden" not in server.text
        assert requests.get(f"{server.url}/health", timeout=30).status_code == 503
        assert server.end() == 0
