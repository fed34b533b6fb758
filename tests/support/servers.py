"""Private PostgreSQL and Redis servers for tests: on free ports, in a temporary folder, and always
ended.

with private_redis() as server:
    client = redis.Redis.from_url(server.url)
    server.kill()
    server.start()
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

START_SECONDS = 30
# Ends the server and removes its folder when its standard input closes: when we die, even of
# SIGKILL.
WATCH = (
    'cat >/dev/null; kill -s "$1" "$2" && while kill -0 "$2"; do sleep 0.1; done 2>/dev/null; '
    'rm -rf "$3"'
)


class NotInstalled(pytest.skip.Exception):  # type: ignore[name-defined]
    """The server programs are not on this machine: tests that need them are skipped with this."""


class Server:
    """A server process of our own. Its URL stays the same when it is stopped and started."""

    def __init__(
        self,
        command: list[str],
        *,
        url: str,
        folder: Path,
        end: signal.Signals,
        ping: Callable[[], object],
    ):
        """end: the signal that ends it in an orderly way. ping: raises while it does not answer."""
        self.command = command
        self.url = url
        self.folder = folder
        self.end = end
        self.ping = ping

    @property
    def pid(self) -> int:
        """Return the process id of the present run."""
        return self.process.pid

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.spawn()
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.command[0]} did not start: {self.log()}")
            if (
                self.process.poll() is not None
            ):  # after a kill, the leftovers of the last run may be in the way
                self.forget()
                self.spawn()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in an orderly way, and return when it is gone."""
        self.process.send_signal(self.end)
        self.process.wait(START_SECONDS)
        self.forget()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()
        self.process.wait()
        self.forget()

    def close(self) -> None:
        """End it, if it runs."""
        if self.process.poll() is not None:
            return self.forget()
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.kill()

    def spawn(self) -> None:
        """Start the process, and the one that watches over it."""
        with open(self.folder / "log", "ab") as log:
            self.process = popen(self.command, cwd=self.folder, stdout=log, stderr=log)
        watch = [
            "sh",
            "-c",
            WATCH,
            "sh",
            self.end.name.removeprefix("SIG"),
            str(self.pid),
            str(self.folder),
        ]
        self.watcher = subprocess.Popen(
            watch,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def forget(self) -> None:
        """End the watcher of a process that is gone."""
        self.watcher.kill()
        self.watcher.communicate()

    def answers(self) -> bool:
        """Return whether it serves."""
        try:
            self.ping()
        except (psycopg.OperationalError, redis.RedisError):
            return False
        return True

    def log(self) -> str:
        """Return the end of what it logged."""
        return (self.folder / "log").read_text(errors="replace")[-2000:]


@contextlib.contextmanager
def private_postgres() -> Iterator[Server]:
    """Give a running PostgreSQL with the empty database `orchestrator`; raises NotInstalled."""
    initdb, postgres = program("initdb"), program("postgres")
    if not (initdb and postgres):
        raise NotInstalled("no PostgreSQL server programs found")
    password, port = secrets.token_hex(16), free_port()
    with private_folder() as folder:
        initialise(initdb, folder, password)
        server = f"postgres://orchestrator:{password}@127.0.0.1:{port}"
        options = [
            f"port={port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
        ]
        command = [
            postgres,
            "-D",
            str(folder / "data"),
            *(part for option in options for part in ("-c", option)),
        ]
        with running(
            Server(
                command,
                url=f"{server}/orchestrator",
                folder=folder,
                end=signal.SIGINT,
                ping=lambda: psycopg.connect(f"{server}/postgres", connect_timeout=2).close(),
            )
        ) as running_server:
            with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
                connection.execute("CREATE DATABASE orchestrator")
            yield running_server


@contextlib.contextmanager
def private_redis() -> Iterator[Server]:
    """Give a running Redis (or Valkey) that keeps nothing on disk; raises NotInstalled."""
    executable = program("redis-server") or program("valkey-server")
    if not executable:
        raise NotInstalled("no Redis server program found")
    password, port = secrets.token_hex(16), free_port()
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    with private_folder() as folder:
        lines = [
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {password}",
            'save ""',
            f"dir {folder}",
        ]
        write(folder / "conf", "\n".join(lines))
        ping = redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1).ping
        command = [executable, str(folder / "conf")]
        with running(
            Server(command, url=url, folder=folder, end=signal.SIGTERM, ping=ping)
        ) as server:
            yield server


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Start the server, and end it whatever happens."""
    try:
        server.start()
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """Give an empty folder that the servers' user owns."""
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-"))
    try:
        os.chown(folder, identity().get("user", -1), identity().get("group", -1))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def initialise(initdb: str, folder: Path, password: str) -> None:
    """Make an empty cluster whose superuser is `orchestrator`."""
    write(folder / "password", password)
    command = [initdb, "-D", str(folder / "data"), "-U", "orchestrator", "--auth=scram-sha-256"]
    command += [f"--pwfile={folder / 'password'}", "--encoding=UTF8", "--locale=C"]
    process = popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"initdb failed: {output.decode(errors='replace')[-2000:]}")


def write(path: Path, text: str) -> None:
    """Write a file only the servers' user can read."""
    path.touch(0o600)
    path.write_text(text)
    os.chown(path, identity().get("user", -1), identity().get("group", -1))


def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that Ctrl-C reaches us alone; never as root."""
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, **identity(), **options
    )


def identity() -> dict[str, Any]:
    """Return as whom the servers run: ourselves, or `postgres` or `nobody` when we are root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            account = pwd.getpwnam(name)
            return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise RuntimeError(
        "Running as root, and there is neither a user `postgres` nor `nobody` to run a server as."
    )


def program(name: str) -> str | None:
    """Return the path of a server program, the newest of Debian's when it is not in PATH."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda path: float(path.parent.name),
        reverse=True,
    )
    return next(
        (found for path in (None, *versions) if (found := shutil.which(name, path=path))), None
    )


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]
