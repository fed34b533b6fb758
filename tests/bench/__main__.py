"""What the service does in a second, and how long things take to arrive.

    python -m tests.bench                 a server of its own, on the embedded stores
    python -m tests.bench --servers       a server of its own, on a private PostgreSQL and Redis
    python -m tests.bench --url http://127.0.0.1:8000
    python -m tests.bench --against REV   this tree beside another revision, measured in turn
    python -m tests.bench --servers --processes 2   with two web processes beside one, in turn

A running server must have its limits out of the way: start it with
ORCHESTRATOR_RATE_LIMIT_SCALE=100000. Server and clients share the machine, so compare figures of
one machine only.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import against
from tests.bench.client import EVENT, TASK, Client, bearer, spread
from tests.bench.load import CONNECTIONS, MEASURES, Caller, sample
from tests.faults.service import embedded, on_servers


def pickup(connect: Callable[[], Client], rounds: int, *, gated: bool = False) -> str:
    """Return how long it takes from handing in a task to a waiting claimer's answer.

    gated: from the approval of a task that was handed in before.
    """
    claimer, creator, times = connect(), connect(), []
    drain(connect())
    asked = {"agent": "faq_agent", "wait_seconds": 10}
    for _ in range(rounds):
        arrived: list[float] = []
        path, body = "/tasks", {**TASK, "type": "documentation"}
        if gated:
            task = creator.send("POST", path, {**body, "priority": "P0"})["task"]
            path, body = f"/approvals/{task['approval']['approval_id']}/approve", {}
        waiting = threading.Thread(target=take, args=(claimer, asked, arrived))
        waiting.start()
        time.sleep(0.05)  # until it waits
        start = time.monotonic()
        creator.send("POST", path, body)
        waiting.join()
        times.append(arrived[0] - start)
    return spread(times)


def take(claimer: Client, asked: dict[str, Any], arrived: list[float]) -> None:
    """Claim, note when the answer came, and complete."""
    tasks = claimer.send("POST", "/tasks/claim", asked)["tasks"]
    arrived.append(time.monotonic())
    for task in tasks:
        claimer.send(
            "PATCH", f"/tasks/{task['task_id']}/status?status=completed&attempt={task['attempt']}"
        )


def drain(client: Client) -> None:
    """Leave nothing in the queue the pickup is measured on."""
    while tasks := client.send("POST", "/tasks/claim", {"agent": "faq_agent", "limit": 50})[
        "tasks"
    ]:
        for task in tasks:
            client.send(
                "PATCH",
                f"/tasks/{task['task_id']}/status?status=completed&attempt={task['attempt']}",
            )


def arrival(connect: Callable[[], Client], readers: int, rounds: int) -> str:
    """Return how long it takes from publishing an event until stream readers have it."""
    times: list[float] = []
    sent: dict[int, float] = {}
    ready = threading.Barrier(readers + 1)
    threads = [
        threading.Thread(target=read_stream, args=(connect(), ready, sent, times, rounds))
        for _ in range(readers)
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    publisher = connect()
    for number in range(rounds):
        sent[number] = time.monotonic()
        publisher.send(
            "POST",
            "/events/publish",
            {**EVENT, "event_type": "bench.arrival", "payload": {"n": number}},
        )
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    return spread(times)


def read_stream(
    client: Client,
    ready: threading.Barrier,
    sent: dict[int, float],
    times: list[float],
    rounds: int,
) -> None:
    """Read a stream from now on until the last event, noting how long each was under way."""
    client.http.request(
        "GET", "/events/stream?after=now&types=bench.arrival", headers=client.headers
    )
    stream = client.http.getresponse()
    assert stream.status == 200, stream.read()
    stream.readline()
    ready.wait()
    while line := stream.readline():
        if line.startswith(b"data:"):
            now, number = time.monotonic(), json.loads(line[5:])["payload"]["n"]
            times.append(now - sent[number])
            if number == rounds - 1:
                return


@contextlib.contextmanager
def server(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Give the URL of the server to measure, and the secret that signs its tokens."""
    if options.url:
        secret = os.environ.get("ORCHESTRATOR_JWT_SECRET") or sys.exit(
            "Set ORCHESTRATOR_JWT_SECRET as the server's."
        )
        yield options.url, str(secret)
        return
    with (on_servers if options.servers else embedded)(
        ORCHESTRATOR_SWEEP_SECONDS="10", ORCHESTRATOR_MAX_STREAMS_PER_PRINCIPAL="50"
    ) as service:
        yield service.url, service.settings["ORCHESTRATOR_JWT_SECRET"]


def main() -> int:
    """Measure and print; return the exit status."""
    asked = argparse.ArgumentParser(
        prog="make bench", description="What the service does in a second."
    )
    which = asked.add_mutually_exclusive_group()
    which.add_argument("--url", help="a running server on this machine")
    which.add_argument("--against", metavar="REV", help="measure this tree and that one in turn")
    asked.add_argument(
        "--servers", action="store_true", help="start one on a private PostgreSQL and Redis"
    )
    asked.add_argument(
        "--processes", type=int, default=1, help="of the web here, beside one: needs --servers"
    )
    asked.add_argument("--seconds", type=float, default=4, help="for each rate")
    asked.add_argument("--rounds", type=int, default=3, help="of --against")
    asked.add_argument("--only", default="", help="measures of --against with this in their name")
    asked.add_argument(
        "--json", type=Path, default=Path("build/bench.json"), help="where --against writes figures"
    )
    options = asked.parse_args()
    if options.processes > 1 and not options.servers:
        asked.error("several web processes need --servers")
    if options.against or options.processes > 1:
        return against.main(options)
    with server(options) as (url, secret):
        rates(url, secret, options.seconds)
        arrivals(lambda: Client(url, bearer(secret)))
    return 0


def rates(url: str, secret: str, seconds: float) -> None:
    """Print what is done in a second."""
    for name, step in MEASURES.items():
        for connections in CONNECTIONS:
            connect = partial(Caller, url, bearer(secret))
            done = asyncio.run(sample(connect, step, connections, seconds))
            if done.errors:
                sys.exit(f"{len(done.errors)} of {name} failed: {done.errors[0]}")
            print(
                f"{name:28} {connections:3} connections {done.rate:8,.0f}/s   {spread(done.times)}",
                flush=True,
            )


def arrivals(connect: Callable[[], Client]) -> None:
    """Print how long news takes to arrive."""
    for news, gated in (("create", False), ("decision", True)):
        figures = pickup(connect, 100, gated=gated)
        print(f"{f'{news} → waiting claimer':28} {1:3} waiting     {'':11}   {figures}", flush=True)
    for readers in (1, 50):
        figures = arrival(connect, readers, 100)
        print(
            f"{'publish → stream readers':28} {readers:3} readers     {'':11}   {figures}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
