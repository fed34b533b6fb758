"""This tree beside another revision: `make bench ARGS="--against REV"`.

Or with several web processes beside one: `make bench ARGS="--servers --processes 2"`.

The files of the other one are in a folder for the time of the run. Both services stand side by side
on stores of their own, and take turns: who is first in one is second in the next.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import cycle, product
from pathlib import Path

from tests.bench.client import bearer
from tests.bench.cpu import cpu_seconds
from tests.bench.load import CONNECTIONS, MEASURES, Caller, Sample, sample
from tests.bench.ratios import Cell, Figures, Row, turns
from tests.faults.service import Service, common
from tests.support.runs import ROOT
from tests.support.servers import private_postgres, private_redis


@dataclass
class Side:
    """One of the two services, and its samples: one for each round of a cell."""

    revision: str
    services: list[Service]  # its web processes; the callers are spread over them
    stores: list[int]  # process ids
    samples: dict[Cell, list[Sample]] = field(default_factory=dict)

    def measure(self, cell: Cell, seconds: float) -> None:
        """Take one more sample; end the program where nothing at all succeeded."""
        measure, connections = cell
        headers = bearer(self.services[0].settings["ORCHESTRATOR_JWT_SECRET"])
        urls = cycle([service.url for service in self.services])
        connect = lambda: Caller(next(urls), headers)  # noqa: E731 - it is passed on
        web = [service.process.popen.pid for service in self.services if service.process]
        cpu = partial(cpu_seconds, web + self.stores)
        one = asyncio.run(sample(connect, MEASURES[measure], connections, seconds, cpu))
        if not one.times:
            sys.exit(f"{self.revision}: no {measure} succeeded: {one.errors[:1]}")
        self.samples.setdefault(cell, []).append(one)


def main(options: argparse.Namespace) -> int:
    """Measure, print the table, write the JSON; return 1 where anything was refused or failed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is ended
    load = os.getloadavg()[0]
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(files_of(options.against)) if options.against else ROOT
        changes = " with changes" if git("status", "--porcelain") else ""
        here, there = (
            stack.enter_context(side(revision, tree, options.servers, number))
            for revision, tree, number in (
                (short("HEAD") + changes, ROOT, options.processes),
                (short(options.against or "HEAD"), other, 1),
            )
        )
        rows = measured(options, here, there)
    report = {
        "here": here.revision,
        "there": there.revision,
        "stores": "PostgreSQL and Redis" if options.servers else "SQLite",
        "processes": [len(one.services) for one in (here, there)],
        "machine": f"{os.cpu_count()} cores {platform.machine()}, {platform.python_version()}",
        "load": [load, os.getloadavg()[0]],
        "rounds": options.rounds,
        "seconds": options.seconds,
        "measures": [asdict(row) for row in rows],
    }
    print("\n".join(f"{name}: {value}" for name, value in report.items() if name != "measures"))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=1))
    return 1 if any(row.here.errors or row.there.errors for row in rows) else 0


def measured(options: argparse.Namespace, here: Side, there: Side) -> list[Row]:
    """Let both take their turns; print and return a row for each cell."""
    cells = [cell for cell in product(MEASURES, CONNECTIONS) if options.only in cell[0]]
    for number, (cell, pair) in enumerate(turns(cells, options.rounds, (here, there)), 1):
        measure, connections = cell
        total = len(cells) * options.rounds
        print(f"{number}/{total}: {measure} at {connections}", file=sys.stderr, flush=True)
        for one in pair:
            one.measure(cell, options.seconds)
    rows = [
        Row(*cell, Figures.of(here.samples[cell]), Figures.of(there.samples[cell]))
        for cell in cells
    ]
    print("\n".join(map(str, rows)))
    return rows


@contextlib.contextmanager
def files_of(revision: str) -> Iterator[Path]:
    """Give a folder with the files of a revision, of which git keeps no note."""
    with tempfile.TemporaryDirectory(prefix="orchestrator-") as folder:
        packed = Path(folder) / "packed.tar"
        git("archive", "--format=tar", f"--output={packed}", short(revision))
        with tarfile.open(packed) as files:
            files.extractall(Path(folder) / "tree", filter="data")
        yield Path(folder) / "tree"


@contextlib.contextmanager
def side(revision: str, tree: Path, servers: bool, processes: int = 1) -> Iterator[Side]:
    """Give the service of a tree, on new stores that nobody else uses; all end afterwards.

    processes: of the web.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="orchestrator-"))
        settings = common() | {"DATA_DIR": folder, "ORCHESTRATOR_SWEEP_SECONDS": "10"}
        command = [sys.executable, "manage.py", "up"]
        stores = []
        if servers:
            postgres = stack.enter_context(private_postgres())
            redis = stack.enter_context(private_redis())
            settings |= {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url}
            settings["ORCHESTRATOR_ENV"] = "development"
            command += ["--migrate", "--with-worker", "--with-beat"]
            stores = [postgres.pid, redis.pid]
        services = [Service(settings, command, tree=tree)]
        services += [Service(settings, command[:3], tree=tree) for _ in range(1, processes)]
        for service in services:
            stack.callback(service.kill)
            service.start()
        yield Side(revision, services, stores)


def short(revision: str) -> str:
    """Return the short name of a revision's commit."""
    return git("rev-parse", "--verify", "--short", f"{revision}^{{commit}}")


def git(*arguments: str) -> str:
    """Return what git says; end the program with its sentence where it refuses."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()
