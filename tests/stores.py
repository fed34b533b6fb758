"""Run the tests on every store there is: `python -m tests.stores [--cov] [arguments for pytest]`.

First on the embedded stores (SQLite, memory), then on PostgreSQL and Redis: those that
TEST_DATABASE_URL and TEST_REDIS_URL name, else private ones where the server programs are
installed. With --cov the embedded run also measures what is covered, and fails below the floor.
"""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from tests.support.servers import NotInstalled, private_postgres, private_redis

ROOT = Path(__file__).parent.parent
OWN_SETTINGS = (
    "DATABASE_URL",
    "REDIS_URL",
    "DJANGO_SECRET_KEY",
    "DEBUG",
    "ALLOWED_HOSTS",
    "LOG_LEVEL",
    "HOST",
    "PORT",
)


@dataclasses.dataclass
class Stores:
    """What one run of the tests stands on."""

    name: str
    settings: dict[str, str]
    measured: bool = False  # whether what is covered is measured
    missing: str = ""  # why there is nothing to run on
    status: int = 0  # pytest's exit status

    def __str__(self) -> str:
        if self.missing:
            return f"{self.name} not run: {self.missing}"
        return f"{self.name} {'FAILED' if self.status else 'passed'}"


def main(arguments: list[str]) -> int:
    """Run the tests on all stores; return 0 when every run passed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is ended
    measured = "--cov" in arguments
    arguments = [argument for argument in arguments if argument != "--cov"]
    runs = [Stores("embedded (SQLite)", {}, measured)]
    runs[0].status = run_tests(runs[0], arguments)
    with contextlib.ExitStack() as stack:
        runs.append(servers(stack))
        if not runs[1].missing:
            runs[1].status = run_tests(runs[1], arguments)
    print("\nstores: " + " · ".join(map(str, runs)), flush=True)
    return max(run.status for run in runs)


def servers(stack: contextlib.ExitStack) -> Stores:
    """Return PostgreSQL and Redis, or the one of them there is.

    Private ones run until the stack closes.
    """
    names, settings, missing = [], {}, []
    for setting, private, version in (
        ("DATABASE_URL", private_postgres, postgres_version),
        ("REDIS_URL", private_redis, redis_version),
    ):
        try:
            settings[setting] = (
                os.environ.get(f"TEST_{setting}") or stack.enter_context(private()).url
            )
            names.append(version(settings[setting]))
        except NotInstalled as absence:
            missing.append(str(absence))
    if not names:
        return Stores("PostgreSQL + Redis", {}, missing="; ".join(missing))
    return Stores(" + ".join(names) + "".join(f" ({absence})" for absence in missing), settings)


def run_tests(stores: Stores, arguments: list[str]) -> int:
    """Run pytest on the stores; return the worst exit status."""
    print(f"\n=== {stores.name} ===", flush=True)
    data_dir = tempfile.mkdtemp(prefix="orchestrator-")
    settings = stores.settings | {"ORCHESTRATOR_ENV": "development", "DATA_DIR": data_dir}
    try:
        command = [sys.executable, "-m", "pytest"]
        statuses = {
            run([*command, *part, *arguments], cwd=ROOT, env=environment() | settings)
            for part in parts(arguments, measured=stores.measured)
        }
    finally:
        shutil.rmtree(data_dir, ignore_errors=True)
    return max(statuses - {pytest.ExitCode.NO_TESTS_COLLECTED} or statuses)


def parts(arguments: list[str], *, measured: bool) -> list[list[str]]:
    """Return the options of each run of pytest: most tests two at a time, the `serial` ones alone.

    Arguments that choose processes or marks themselves (-n, -m, -p no:xdist) make it one run.
    """
    coverage = ["--cov"] if measured else []
    if any(argument.startswith(("-n", "-m", "--dist", "no:xdist")) for argument in arguments):
        return [coverage]
    return [["-n", "2", "--dist", "loadfile", "-m", "not serial", *coverage], ["-m", "serial"]]


def run(command: list[str], **options: Any) -> int:
    """Run a command.

    Return its exit status. When we are stopped it gets the chance to end what it started.
    """
    process = subprocess.Popen(command, **options)
    try:
        return process.wait()
    except BaseException:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        raise


def environment() -> dict[str, str]:
    """Return our environment without the service's own settings: tests see the defaults."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ORCHESTRATOR_") and name.removesuffix("_FILE") not in OWN_SETTINGS
    }


def postgres_version(url: str) -> str:
    """Return such as `PostgreSQL 15.8`."""
    with psycopg.connect(url, connect_timeout=5) as connection:
        number = connection.info.server_version
        return f"PostgreSQL {number // 10_000}.{number % 10_000}"


def redis_version(url: str) -> str:
    """Return such as `Redis 7.0.15`."""
    info = redis.Redis.from_url(url, socket_connect_timeout=5).info("server")
    return (
        f"Valkey {info['valkey_version']}"
        if "valkey_version" in info
        else f"Redis {info['redis_version']}"
    )


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
