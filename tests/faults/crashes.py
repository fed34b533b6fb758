"""The service itself dies of kill -9 while tasks are handed in: what was answered is there, with
its event, once.
"""

import contextlib
import random
import threading
import time
import uuid
from collections.abc import Iterator

import requests

from tests.faults.service import Report, Service

WRITERS = 4


class Journal:
    """What the writers tried and what they were answered."""

    def __init__(self) -> None:
        self.answered: dict[str, str] = {}  # idempotency key: task id
        self.tried: set[str] = set()
        self.refused: list[str] = []  # what was said instead, or that nothing was
        self.last = 0.0  # when a task was answered
        self.stop = threading.Event()


def crashes(service: Service, *, kills: int, seed: int) -> Report:
    """Hand in tasks without pause while the service is killed and started again."""
    chance, journal, run = random.Random(seed), Journal(), new_run(seed)
    with writing(service, journal, run):
        for _ in range(kills):
            time.sleep(chance.uniform(0.5, 1.0))
            service.kill()
            service.start()
        time.sleep(0.5)
    return Report(
        "crashes", len(journal.answered), seed, judge(service, journal, run), {"kills": kills}
    )


def new_run(seed: int) -> str:
    """Return a trace id for all tasks of a run."""
    return f"run-{seed}-{uuid.uuid4().hex}"


@contextlib.contextmanager
def writing(service: Service, journal: Journal, run: str) -> Iterator[None]:
    """Have tasks handed in meanwhile."""
    writers = [
        threading.Thread(target=write, args=(service, journal, run, number))
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    try:
        yield
    finally:
        journal.stop.set()
        for writer in writers:
            writer.join()


def write(service: Service, journal: Journal, run: str, number: int) -> None:
    """Hand in tasks, each under a key of its own, until told to stop.

    What got no answer is tried again.
    """
    key = ""
    while key or not journal.stop.is_set():
        key = key or uuid.uuid4().hex
        journal.tried.add(key)
        try:
            caller = service.caller(f"writer-{number}")
            caller.http.headers["Idempotency-Key"] = key
            answer = caller.send(
                "POST", "/tasks", {"type": "bugfix", "payload": {}, "trace_id": run}, timeout=10
            )
        except requests.RequestException as fault:
            journal.refused.append(type(fault).__name__)
            time.sleep(0.05)
            continue
        if answer.status_code == 200:
            journal.answered[key], journal.last = answer.json()["task_id"], time.monotonic()
            key = ""
        else:
            journal.refused.append(str(answer.status_code))
            time.sleep(0.05)


def judge(service: Service, journal: Journal, run: str) -> list[str]:
    """Return what was lost, made twice, or stored without its event."""
    admin = service.caller("judge", "admin")
    stored: set[str] = set()
    page = admin.get(f"/tasks?trace_id={run}&limit=200")
    while page["tasks"]:
        stored |= {task["task_id"] for task in page["tasks"]}
        page = (
            admin.get(f"/tasks?trace_id={run}&limit=200&cursor={page['next']}")
            if page["next"]
            else {"tasks": []}
        )
    told = {event["task_id"] for event in created_events(service, run)}
    broken = [
        f"{task_id} was answered and is lost"
        for task_id in journal.answered.values()
        if task_id not in stored
    ]
    broken += [f"{task_id} has no event" for task_id in stored - told]
    broken += [f"{task_id} has an event and is not there" for task_id in told - stored]
    if len(stored) != len(journal.tried):
        broken.append(f"{len(journal.tried)} keys made {len(stored)} tasks")
    return broken


def created_events(service: Service, run: str) -> list[dict[str, str]]:
    """Return the events that say a task of this run was created."""
    admin, found, after = service.caller("judge", "admin"), [], ""
    read = f"/events?trace_id={run}&types=task.created&limit=500&after="
    while (page := admin.get(read + (after or "beginning")))["next"] != after:
        found += page["events"]
        after = page["next"]
    return found
