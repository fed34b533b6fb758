"""A webhook receiver that misbehaves, and workers killed while they send to it."""

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from tests.faults.service import Caller, Report, Service
from tests.stores import environment
from tests.support.processes import ROOT
from tests.support.receivers import Receiver, Request

SETTINGS = {  # the schedule of days in seconds
    "ORCHESTRATOR_WEBHOOK_ALLOW_NETS": "127.0.0.0/8",
    "ORCHESTRATOR_WEBHOOK_RETRY_SECONDS": "1,1,1,2,2,2,3,3,3",
    "ORCHESTRATOR_WEBHOOK_TIMEOUT_SECONDS": "1",
}
WAYS = (
    ["200"] * 15
    + ["slow"] * 15
    + [
        "500",
        "503 1",
        "429 2",
        "404",
        "302",
        "redirect",
        "reset",
        "half",
        "short",
        "garbage",
        "hang",
    ]
)
WORKERS = 2


class Judge:
    """What the receiver saw: which events it took, and every signature the official library
    refused.
    """

    def __init__(self, seed: int) -> None:
        self.chance, self.secret = random.Random(seed), ""
        self.taken: Counter[str] = Counter()
        self.ways: Counter[str] = Counter()
        self.forged: list[str] = []

    def behave(self, request: Request) -> str:
        """Check a request and choose what to do with it."""
        try:
            Webhook(self.secret).verify(request.body, request.headers)
        except WebhookVerificationError as refusal:
            self.forged.append(f"{request.event_id}: {refusal}")
        how = self.chance.choice(WAYS)
        self.ways[how] += 1
        if how in ("200", "slow"):
            self.taken[request.event_id] += 1
        return how


def mad_receiver(
    service: Service, *, events: int, kills: int, seed: int, seconds: float = 300
) -> Report:
    """Send to a receiver that refuses, hangs, errs and resets, with workers that are killed:
    nothing is lost.

    Each event arrives, or is listed as given up with all its attempts; every signature is good.
    """
    admin, judge, chance = service.caller("judge", "admin"), Judge(seed), random.Random(seed)
    stop = threading.Event()
    with Receiver() as receiver:
        receiver.behave = judge.behave
        made = admin.post("/events/subscriptions", {"url": receiver.url, "types": ["fault.*"]})
        judge.secret, path = made["secret"], f"/events/subscriptions/{made['subscription_id']}"
        killed: list[int] = []
        threads = [
            threading.Thread(target=close_at_times, args=[receiver, stop, seed]),
            threading.Thread(target=kill_workers, args=[service, kills, killed, stop, chance]),
        ]
        for thread in threads:
            thread.start()
        published = publish(service, events)
        deadline = time.monotonic() + seconds
        while open_deliveries(admin, path, events) and time.monotonic() < deadline:
            time.sleep(0.5)
        stop.set()
        for thread in threads:
            thread.join()
        rows = listed(admin, path)
    return judged(published, rows, judge, kills=len(killed), seed=seed)


def publish(service: Service, number: int) -> list[str]:
    """Publish events through a few callers at once; return their ids."""
    callers = [service.caller(f"publisher-{place}") for place in range(4)]

    def one(place: int) -> str:
        said = {
            "event_type": "fault.seen",
            "source_agent": "publisher",
            "payload": {"number": place},
        }
        return str(callers[place % 4].post("/events/publish", said)["event_id"])

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, range(number)))


def close_at_times(receiver: Receiver, stop: threading.Event, seed: int) -> None:
    """Refuse every connection for a moment, again and again."""
    chance = random.Random(seed + 1)
    while not stop.wait(chance.uniform(1, 3)):
        receiver.refuse()
        stop.wait(0.3)
        receiver.listen()


def kill_workers(
    service: Service, kills: int, killed: list[int], stop: threading.Event, chance: random.Random
) -> None:
    """Run workers beside the service's own, and kill one after the other with SIGKILL while they
    send.

    killed: their process ids are added to it.
    """
    workers = [start_worker(service) for _ in range(WORKERS)]
    while len(killed) < kills and not stop.is_set():
        worker = workers[len(killed) % WORKERS]
        assert worker.stdout and worker.stdout.readline()
        stop.wait(chance.uniform(0.2, 1.0))
        end(worker)
        workers[len(killed) % WORKERS] = start_worker(service)
        killed.append(worker.pid)
    stop.wait()
    for worker in workers:
        end(worker)


def end(worker: "subprocess.Popen[bytes]") -> None:
    """Kill a worker of ours."""
    worker.kill()
    worker.communicate()


def start_worker(service: Service) -> "subprocess.Popen[bytes]":
    """Start a worker on the service's stores; it writes a line once it sends."""
    command = [sys.executable, "-m", "tests.faults.deliverer"]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment() | service.settings, stdout=subprocess.PIPE
    )


def open_deliveries(admin: Caller, path: str, expected: int) -> bool:
    """Return whether something is still on its way, or not even written down."""
    if admin.get(f"{path}/deliveries?status=pending&limit=1")["count"]:
        return True
    return len(listed(admin, path)) < expected


def listed(admin: Caller, path: str) -> list[dict[str, Any]]:
    """Return every delivery the API shows, page by page."""
    rows, following = list[dict[str, Any]](), ""
    while following is not None:
        page = admin.get(
            f"{path}/deliveries?limit=200" + (f"&cursor={following}" if following else "")
        )
        rows, following = rows + page["deliveries"], page["next"]
    return rows


def judged(
    published: list[str], rows: list[dict[str, Any]], judge: Judge, *, kills: int, seed: int
) -> Report:
    """Compare what was published, what the service says became of it, and what the receiver saw."""
    state = {row["event_id"]: row["status"] for row in rows}
    broken = [f"forged: {one}" for one in judge.forged]
    broken += [
        f"{event_id} is {state.get(event_id, 'lost')}"
        for event_id in published
        if not settled(state, event_id)
    ]
    arrived = [event_id for event_id, status in state.items() if status == "delivered"]
    broken += [f"{event_id} never came" for event_id in arrived if not judge.taken[event_id]]
    broken += [
        f"{row['event_id']} dead, {len(row['log'])} tries" for row in rows if is_unclear(row)
    ]
    figures = {
        "kills": kills,
        "delivered": len(arrived),
        "given up": sum(status == "dead" for status in state.values()),
        "requests": sum(judge.ways.values()),
        "taken twice": sum(count > 1 for count in judge.taken.values()),
    }
    return Report("mad receiver", len(published), seed, broken, figures)


def settled(state: dict[str, str], event_id: str) -> bool:
    """Return whether an event arrived or was given up in the open."""
    return state.get(event_id) in ("delivered", "dead")


def is_unclear(row: dict[str, Any]) -> bool:
    """Return whether a delivery was given up without all its attempts, or without saying why."""
    return row["status"] == "dead" and (
        len(row["log"]) < 10 or not all(attempt["error"] for attempt in row["log"])
    )
