"""An agent that may be killed or frozen at any moment: claims, works, reports, and keeps a journal.

python -m tests.faults.agent URL SECRET NAME JOURNAL SEED [HOLD]

With HOLD it takes that many tasks, says so, waits for a line on its standard input, and reports
them all.
"""

import json
import os
import random
import sys
import time
from typing import Any

import requests

from tests.faults.service import LEASE, Caller


class Journal:
    """What the agent saw, line by line, on the disk before it goes on."""

    def __init__(self, path: str) -> None:
        """path: of a file, which is made longer."""
        self.file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - held until the process is killed

    def write(self, **line: Any) -> None:
        """Write one line."""
        self.file.write(json.dumps({"at": time.monotonic(), **line}) + "\n")
        self.file.flush()
        os.fsync(self.file.fileno())


def work(caller: Caller, journal: Journal, chance: random.Random) -> None:
    """Work for ever: most tasks are short, some outlast a lease and live by heartbeats."""
    while True:
        for task in caller.claim(wait_seconds=2):
            journal.write(
                claimed=task["task_id"], attempt=task["attempt"], until=task["lease_expires_at"]
            )
            last(caller, task, seconds=LEASE + 1 if chance.random() < 0.02 else 0.05)
            journal.write(
                reported=task["task_id"], attempt=task["attempt"], status=caller.complete(task)
            )


def last(caller: Caller, task: dict[str, Any], seconds: float) -> None:
    """Take a while over a task, with a heartbeat every second."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(1, left))
        if left > 1:
            caller.send(
                "POST",
                f"/tasks/{task['task_id']}/heartbeat",
                {"attempt": task["attempt"], "progress": 50},
            )


def hold(caller: Caller, number: int) -> None:
    """Take tasks, say so, and report them all when told."""
    tasks = caller.claim(limit=number)
    print(len(tasks), flush=True)
    sys.stdin.readline()
    print(json.dumps([caller.complete(task) for task in tasks]), flush=True)


def main() -> None:
    """Run as the command line says."""
    url, secret, name, path, seed, *number = sys.argv[1:]
    caller = Caller(url, secret, name)
    if number:
        return hold(caller, int(number[0]))
    while True:
        try:
            work(caller, Journal(path), random.Random(seed))
        except requests.RequestException:
            time.sleep(0.1)


if __name__ == "__main__":
    main()
