"""Whether anything is slower among many rows than among few: `make bench-large`.

    python -m tests.bench.large              on SQLite: 1,000,000 tasks, 3,000,000 events
    python -m tests.bench.large --servers    on a private PostgreSQL and Redis

Two servers stand side by side, one with many rows, one with so few that every page is just as
full, on databases made for this and removed afterwards. Each call goes to both in turn. The exit
status is 1 when the median of one is more than 1.5 times as long and 5 ms longer, seen twice, or
when less than 0.9 is done in a second, and with the same work of the processor.
Where an answer is not as large as the other's, the row says so: its times are no comparison.
"""

import argparse
import contextlib
import json
import math
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import rates
from tests.bench.client import EVENT, TASK, Client, bearer, percentile
from tests.bench.cpu import cpu_seconds
from tests.bench.load import Caller
from tests.faults.service import Service, common
from tests.stores import environment
from tests.support.runs import ROOT
from tests.support.servers import private_postgres, private_redis

FEW = 20_000  # tasks of the small one: a week of decisions fills a page of the console
RATIO, LEAST_MS = 1.5, 5.0
TURNS = 4  # of rates and sweeps: what else the machine does weighs on both sides
ALIKE = 0.8  # of the larger answer: a page of fewer rows is smaller
COMMON = ("status=completed", "source=ci", "type=bugfix", "assigned_agent=dev_agent")


@dataclass
class Site:
    """A server, what there is to ask it for, and its callers."""

    service: Service
    names: dict[str, Any]
    stores: list[int]  # process ids
    agent: Client = field(init=False)
    admin: Client = field(init=False)
    console: Client = field(init=False)
    answered: int = 0  # bytes of the last answer to a GET

    def __post_init__(self) -> None:
        url, secret = self.service.url, self.service.settings["ORCHESTRATOR_JWT_SECRET"]
        self.agent = Client(url, bearer(secret))
        self.admin = Client(url, bearer(secret, "boss", "admin"))
        self.console = Client(url, {"Cookie": f"sessionid={self.names['session']}"})

    @property
    def side(self) -> rates.Side:
        """Return what its rates are measured with."""
        assert self.service.process
        processes = [self.service.process.popen.pid, *self.stores]
        connect = partial(Caller, self.service.url, self.agent.headers)
        return rates.Side(connect, partial(cpu_seconds, processes))


Step = Callable[[Site], float]  # returns seconds


def main() -> int:
    """Measure, print the table, write the JSON; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="make bench-large", description="Calls among many rows and among few."
    )
    parser.add_argument("--servers", action="store_true", help="on a private PostgreSQL and Redis")
    parser.add_argument("--tasks", type=int, default=1_000_000, help="three times as many events")
    parser.add_argument("--rounds", type=int, default=20, help="of each call, on each server")
    parser.add_argument("--only", default="", help="calls whose name has this in it")
    parser.add_argument("--json", type=Path, default=Path("build/bench-large.json"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is ended
    with site(FEW, options.servers) as small, site(options.tasks, options.servers) as large:
        rows = measure(small, large, options.rounds, options.only)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(rows, indent=1))
    slow = [row["name"] for row in rows if row["slow"]]
    print(f"\n{len(rows)} calls, {len(slow)} slower among many rows: {', '.join(slow) or 'none'}")
    return 1 if slow else 0


@contextlib.contextmanager
def site(tasks: int, servers: bool) -> Iterator[Site]:
    """Give a server on a new database with so many tasks; both are gone afterwards."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="orchestrator-"))
        settings = common() | {
            "DATA_DIR": folder,
            "ORCHESTRATOR_ENV": "development",
            "ORCHESTRATOR_SWEEP_SECONDS": "3600",
        }
        stores = []
        if servers:
            postgres = stack.enter_context(private_postgres())
            redis = stack.enter_context(private_redis())
            settings |= {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url}
            stores = [postgres.pid, redis.pid]
        names = inside(settings, "fill", tasks)
        service = Service(settings, [sys.executable, "manage.py", "up"])
        stack.callback(service.kill)
        service.start()
        yield Site(service, names, stores)


def inside(settings: dict[str, str], module: str, *arguments: Any) -> Any:
    """Call a module of this folder as a server is set up; return what its last line says."""
    command = [sys.executable, "-m", "tests.bench.inside", module, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment() | settings, check=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(small: Site, large: Site, rounds: int, only: str) -> list[dict[str, Any]]:
    """Return and print a row for every call; one that looks slow is measured again."""
    rows = []
    for name, step in steps(small, large):
        if only in name:
            small.answered = large.answered = 0
            row = compared(name, *taken(step, small, large, rounds))
            if row["slow"]:
                row = compared(name, *taken(step, small, large, rounds))
            rows.append(show(row | {"bytes": [small.answered, large.answered]}))
    each = sweeps(small, large, rounds)  # before the rates leave more to do on one side
    rows += [show(compared(f"sweep: {name}", *(run[name] for run in each))) for name in each[0]]
    return rows + list(rates.compared(small.side, large.side, TURNS, only))


def sweeps(small: Site, large: Site, rounds: int) -> list[dict[str, list[float]]]:
    """Return the seconds of each sweep on both sites, which take turns, first and second."""
    taken: list[dict[str, list[float]]] = [{}, {}]
    sites = list(zip((small, large), taken, strict=True))
    runs = min(TURNS, rounds)
    for turn in range(runs):
        for one, times in sites[:: -1 if turn % 2 else 1]:
            each = inside(one.service.settings, "sweeps", math.ceil(rounds / runs))
            for name, seconds in each.items():
                times.setdefault(name, []).extend(seconds)
    return taken


def taken(step: Step, small: Site, large: Site, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of a step on both sites, in turn, after one round to warm up."""
    pairs = [(step(small), step(large)) for _ in range(rounds + 1)][1:]
    return [few for few, _ in pairs], [many for _, many in pairs]


def compared(name: str, few: list[float], many: list[float]) -> dict[str, Any]:
    """Return what is said of a call. few, many: seconds among few and among many rows."""
    p50, p99 = ([percentile(each, share) for each in (few, many)] for share in (0.5, 0.99))
    ratio = p50[1] / p50[0]
    slow = ratio > RATIO and p50[1] - p50[0] > LEAST_MS
    rest = {"n": len(many), "p50_ms": p50, "p99_ms": p99, "ratio": ratio, "slow": slow}
    return {"name": name, **rest}


def show(row: dict[str, Any]) -> dict[str, Any]:
    """Print a row of the table; return it."""
    (few, many), (few99, many99) = row["p50_ms"], row["p99_ms"]
    mark = "  SLOW" if row["slow"] else ""
    least, most = sorted(row.get("bytes", (0, 0)))
    mark += "" if least >= most * ALIKE else f"  {least:,} AGAINST {most:,} BYTES"
    print(
        f"{row['name'][:78]:78} {few:8.1f} {many:8.1f} ms   p99 {few99:8.1f} {many99:8.1f} ms"
        f"   × {row['ratio']:.2f}   N={row['n']}{mark}",
        flush=True,
    )
    return row


def steps(small: Site, large: Site) -> Iterator[tuple[str, Step]]:
    """Yield every call by its name."""
    yield from WRITES.items()
    for path in small.names["reads"] + more_reads():
        yield f"GET {path}", partial(get, "admin", path)
    for path in small.names["pages"]:
        yield f"console: {path}", partial(get, "console", path)


def more_reads() -> list[str]:
    """Return addresses with two filters, of which one matches little, and other worst cases."""
    rare = {
        "source": "rare",
        "created_by": "rare-maker",
        "type": "documentation",
        "priority": "P3",
        "failure_reason": "dependency",
        "assigned_agent": "faq_agent",
        "trace_id": "trace_rare",
        "parent_task_id": "{parent}",
        "overdue": "true",
    }
    pairs = [
        f"/tasks?{one}={value}&{often}"
        for one, value in rare.items()
        for often in COMMON
        if not often.startswith(one)
    ]
    types = ("rare.tick", "task.*", "rare.*,rare.tick", "none.such", "task.created,rare.tick")
    return [
        *pairs,
        *(f"/events?types={kind}&after={{middle}}" for kind in types),
        "/events?source_agent=rare-source&after={middle}",
        "/events?source_agent=rare-source&types=rare.tick&after={middle}",
        "/events?after={middle}",
        "/tasks?limit=100",
        "/tasks?overdue=false",
    ]


def get(caller: str, path: str, site: Site) -> float:
    """GET an address with the names of the site put in. caller: an attribute of it."""
    filled = path.format_map(site.names)
    began = time.perf_counter()
    answer = getattr(site, caller).read("GET", filled)
    taken = time.perf_counter() - began
    site.answered = len(answer)
    return taken


def timed(act: Callable[..., Any], *arguments: Any) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    act(*arguments)
    return time.perf_counter() - began


def post(path: str, body: Any) -> Step:
    """Return a step that sends the same body each time."""
    return lambda site: timed(site.agent.send, "POST", path, body)


def on_new(verb: str, body: Any, new: dict[str, Any] | None = None) -> Step:
    """Return a step that does something to a task that was just handed in, as an administrator."""

    def step(site: Site) -> float:
        task = site.agent.send("POST", "/tasks", TASK | (new or {}))["task_id"]
        return timed(site.admin.send, "POST", f"/tasks/{task}/{verb}", body)

    return step


def on_claimed(method: str, verb: str, body: dict[str, Any]) -> Step:
    """Return a step that its holder does to a task."""

    def step(site: Site) -> float:
        site.agent.send("POST", "/tasks", TASK)
        [task] = site.agent.send("POST", "/tasks/claim", {"agent": "dev_agent"})["tasks"]
        report = {"attempt": task["attempt"], **body}
        return timed(site.agent.send, method, f"/tasks/{task['task_id']}/{verb}", report)

    return step


def requeue(site: Site) -> float:
    """Requeue a task that failed."""
    task = site.agent.send("POST", "/tasks", TASK)["task_id"]
    site.agent.send("PATCH", f"/tasks/{task}/status", {"status": "failed", "error": "no"})
    return timed(site.admin.send, "POST", f"/tasks/{task}/requeue")


def decide(verb: str) -> Step:
    """Return a step that decides a request."""

    def step(site: Site) -> float:
        task = site.agent.send("POST", "/tasks", TASK | {"priority": "P0"})["task_id"]
        gate = site.agent.send("GET", f"/tasks/{task}")["task"]["approval"]
        path = f"/approvals/{gate['approval_id']}/{verb}"
        return timed(site.admin.send, "POST", path, {"reason": "bench"})

    return step


WRITES: dict[str, Step] = {
    "POST /tasks": post("/tasks", TASK),
    "POST /tasks/batch (10)": post("/tasks/batch", {"tasks": [TASK] * 10}),
    "POST /tasks/claim": post("/tasks/claim", {"agent": "dev_agent"}),
    "POST /tasks/claim (types)": post("/tasks/claim", {"agent": "dev_agent", "types": ["bugfix"]}),
    "POST /tasks/{task_id}/heartbeat": on_claimed("POST", "heartbeat", {}),
    "POST /tasks/{task_id}/release": on_claimed("POST", "release", {}),
    "PATCH /tasks/{task_id}/status": on_claimed("PATCH", "status", {"status": "completed"}),
    "POST /tasks/{task_id}/cancel": on_new("cancel", {"reason": "bench"}),
    "POST /tasks/{task_id}/reassign": on_new("reassign", {"agent": "ops_agent", "reason": "bench"}),
    "POST /tasks/{task_id}/requeue": requeue,
    "POST /tasks/dead-letters/requeue": lambda site: timed(
        site.admin.send,
        "POST",
        "/tasks/dead-letters/requeue",
        {"type": "knowledge_sync", "limit": 1},
    ),
    "POST /approvals/{approval_id}/approve": decide("approve"),
    "POST /approvals/{approval_id}/reject": decide("reject"),
    "POST /events/publish": post("/events/publish", EVENT),
    "POST /events/consumers/late/fetch": post("/events/consumers/late/fetch", {"limit": 1}),
    "POST /events/consumers/current/fetch": post("/events/consumers/current/fetch", {"limit": 1}),
}


if __name__ == "__main__":
    sys.exit(main())
