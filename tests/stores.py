"""Run the tests on every store there is: `python -m tests.stores [--all] [--cov] [for pytest …]`.

First on the embedded stores (SQLite, memory), then on PostgreSQL and Redis: those that
TEST_DATABASE_URL and TEST_REDIS_URL name, else private ones where the server programs are
installed. Two tests run at a time, those marked `serial` not at all. With --all these follow: one
at a time, but those of both stores side by side, because they mostly wait. With --cov the first
run also measures what is covered, and fails below the floor.

Those marked `serial(timed=True)` compare with the clock on the wall: for each of them the other
store makes a pause.
"""

import contextlib
import dataclasses
import os
import signal
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
import redis

from tests.support.runs import Run, minutes, run_alone, run_together
from tests.support.servers import NotInstalled, private_postgres, private_redis

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
CHOICES = ("-n", "-m", "--dist", "no:xdist")  # arguments that choose processes or marks themselves
# In the order of the folders: slow files come first, so no process is left with one at the end.
TWO_AT_A_TIME = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
DEBUGS = {"--pdb", "--trace", "-s"}  # arguments with which a run needs the terminal


@dataclasses.dataclass
class Stores:
    """What the tests run on. missing: why there is nothing to run on."""

    name: str
    settings: dict[str, str]
    missing: str = ""
    runs: list[Run] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        if self.missing:
            return f"{self.name} not run: {self.missing}"
        outcome = "FAILED" if worst(self.runs) else "passed"
        return f"{self.name} {outcome} ({' + '.join(minutes(run.seconds) for run in self.runs)})"


def main(arguments: list[str]) -> int:
    """Run the tests on all stores; return 0 when every run passed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is ended
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
    coverage, everything = "--cov" in arguments, "--all" in arguments
    arguments = [argument for argument in arguments if argument not in ("--cov", "--all")]
    chosen = any(argument.startswith(CHOICES) for argument in arguments)
    most = [] if chosen else [*TWO_AT_A_TIME, "-m", "not serial"]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orchestrator-")))
        stores = [Stores("embedded (SQLite)", {}), servers(stack)]
        present = [one for one in stores if not one.missing]
        for one in present:
            measured = ["--cov"] if coverage and one is present[0] else []
            run_alone(new_run(one, [*most, *measured, *arguments], folder))
        if everything and not chosen:
            run_together([new_run(one, ["-m", "serial", *arguments], folder) for one in present])
    print("\nstores: " + " · ".join(map(str, stores)), flush=True)
    return verdict([run for one in stores for run in one.runs])


def new_run(stores: Stores, options: list[str], folder: Path) -> Run:
    """Return a run of pytest on the stores. folder: of all runs, in which it gets its own."""
    settings = stores.settings | {
        "ORCHESTRATOR_ENV": "development",
        "DATA_DIR": tempfile.mkdtemp(dir=folder),
        "TEST_LOCK": str(folder / "lock"),
    }
    run = Run(
        stores.name,
        [sys.executable, "-m", "pytest", *options],
        environment() | settings,
        terminal=not DEBUGS.isdisjoint(options),
    )
    stores.runs.append(run)
    return run


def verdict(runs: list[Run]) -> int:
    """Return the exit status of all: that no test was chosen counts only if none was anywhere."""
    if all(run.status == pytest.ExitCode.NO_TESTS_COLLECTED for run in runs):
        print("No test was chosen. Those marked `serial` run with --all (make check).")
        return int(pytest.ExitCode.NO_TESTS_COLLECTED)
    return worst(runs)


def worst(runs: list[Run]) -> int:
    """Return the highest exit status, 0 where no test was chosen."""
    return max({run.status for run in runs} - {pytest.ExitCode.NO_TESTS_COLLECTED}, default=0)


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
