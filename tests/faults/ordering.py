"""Many write at once, transactions commit out of order, and those who read forward miss nothing.

How it was seen that this run has teeth: against a service that numbers events too early
(`number_taken_early` in `planted.py`) it counts the events that were passed over.
"""

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.faults.service import Caller, Report, Service
from tests.stores import environment
from tests.support.processes import ROOT
from tests.support.sse import Stream

Seen = list[tuple[str, int]]  # writer's event type and number
END = "order.end"


def ordering(service: Service, *, writers: int, events: int, seed: int, readers: int = 4) -> Report:
    """Have `readers` read by cursor, and as many by stream, while writers write `events` each."""
    start = service.caller("reader").get("/events?after=now")["next"]
    with ThreadPoolExecutor(2 * readers) as pool:
        reading = {
            f"cursor {n}": pool.submit(by_cursor, service.caller(f"cursor-{n}"), start)
            for n in range(readers)
        }
        reading |= {
            f"stream {n}": pool.submit(by_stream, service, f"stream-{n}", start)
            for n in range(readers)
        }
        written = write(service, writers, events, seed)
        say_end(service.caller("writer"))
        seen = {name: future.result() for name, future in reading.items()}
    broken = [fault for name, found in seen.items() for fault in faults(name, found, written)]
    figures = {"written": sum(map(len, written.values())), "readers": len(seen)}
    return Report("order of the log", writers * events, seed, broken, figures)


def write(service: Service, writers: int, events: int, seed: int) -> dict[str, list[int]]:
    """Run the writer processes to their end; return what each committed."""

    def run(writer: int) -> list[int]:
        command = [sys.executable, "-m", "tests.faults.writer", str(writer), str(events), str(seed)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment() | service.settings, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return list(json.loads(done.stdout.splitlines()[-1]))

    with ThreadPoolExecutor(writers) as pool:
        return {
            f"order.w{writer}": numbers
            for writer, numbers in enumerate(pool.map(run, range(writers)))
        }


def say_end(caller: Caller) -> None:
    """Publish what ends the reading."""
    said = {"event_type": END, "source_agent": "writer"}
    while caller.send("POST", "/events/publish", said).status_code == 503:
        pass


def by_cursor(caller: Caller, after: str) -> Seen:
    """Read page by page until the end is seen."""
    seen: Seen = []
    while True:
        answer = caller.send("GET", f"/events?types=order.*&limit=500&after={after}")
        if answer.status_code == 503:  # SQLite under more writers than it can bear: come again
            continue
        answer.raise_for_status()
        page = answer.json()
        after = page["next"]
        for event in page["events"]:
            if event["event_type"] == END:
                return seen
            seen.append((event["event_type"], event["payload"]["n"]))
        if not page["events"]:
            threading.Event().wait(0.02)  # a reader that polls


def by_stream(service: Service, name: str, after: str) -> Seen:
    """Listen until the end is heard."""
    token = str(service.caller(name).http.headers["Authorization"]).removeprefix("Bearer ")
    stream = Stream(service.url, token, f"types=order.*&after={after}")
    seen: Seen = []
    while (message := stream.next()) is not None and message.event != END:
        seen.append((message.event, message.data["payload"]["n"]))
    stream.close()
    return seen


def faults(name: str, seen: Seen, written: dict[str, list[int]]) -> list[str]:
    """Return what is wrong with what a reader saw: each writer's commits, all of them, once, in
    their order.
    """
    found: dict[str, list[int]] = {writer: [] for writer in written}
    for writer, number in seen:
        found[writer].append(number)
    checks: dict[str, Callable[[list[int], list[int]], int]] = {
        "skipped": lambda mine, all_: len(set(all_) - set(mine)),
        "never committed": lambda mine, all_: len(set(mine) - set(all_)),
        "twice": lambda mine, all_: len(mine) - len(set(mine)),
        "out of order": lambda mine, all_: sum(a > b for a, b in itertools.pairwise(mine)),
    }
    counts = {
        what: sum(check(found[writer], written[writer]) for writer in written)
        for what, check in checks.items()
    }
    return [f"{name}: {count} {what}" for what, count in counts.items() if count]
