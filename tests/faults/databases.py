"""PostgreSQL dies of kill -9 or freezes while tasks are handed in: what was answered is there, with
its event, once; meanwhile callers are told to come again, and soon all goes on by itself.
"""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter

from tests.faults.crashes import Journal, judge, new_run, writing
from tests.faults.service import Report, Service
from tests.support.servers import Server

LONGEST_FREEZE = 6.0  # seconds
PATIENCE = 30.0  # seconds until a task must be answered again
FIT = {"503"}  # what may be said meanwhile


def databases(service: Service, *, faults: int, seed: int) -> Report:
    """Kill the database and freeze it, in turn."""
    assert service.database
    chance, journal, run = random.Random(seed), Journal(), new_run(seed)
    broken, longest = [], 0.0
    with writing(service, journal, run):
        for number in range(faults):
            time.sleep(chance.uniform(0.5, 1.0))
            if number % 2:
                freeze(service.database, chance.uniform(0.5, LONGEST_FREEZE))
            else:
                service.database.kill()
                service.database.start()
            seconds = seconds_to_an_answer(journal)
            longest = max(longest, seconds)
            if seconds >= PATIENCE:
                broken.append(f"nothing is answered {PATIENCE:.0f} s after fault {number}")
    told = Counter(journal.refused)
    broken += [f"{number} times {one}" for one, number in told.items() if one not in FIT]
    broken += judge(service, journal, run)
    figures = {"faults": faults, "503": told["503"], "longest return": f"{longest:.1f} s"}
    return Report("databases", len(journal.answered), seed, broken, figures)


def seconds_to_an_answer(journal: Journal) -> float:
    """Wait until a task is answered; return how long that took."""
    began = time.monotonic()
    while journal.last < began and time.monotonic() < began + PATIENCE:
        time.sleep(0.01)
    return time.monotonic() - began


def freeze(database: Server, seconds: float) -> None:
    """Let none of its processes run for some time."""
    frozen = [database.pid]
    os.kill(database.pid, signal.SIGSTOP)  # first, so that it makes no more
    listed = subprocess.run(
        ["ps", "--ppid", str(database.pid), "-o", "pid="], capture_output=True, text=True
    )
    for pid in map(int, listed.stdout.split()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            frozen.append(pid)
    time.sleep(seconds)
    for pid in frozen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
