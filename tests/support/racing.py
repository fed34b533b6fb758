"""Threads and processes that count at the same time."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable

from django_ratelimit.core import _get_window

from orchestrator_site.api.throttling import PERIOD
from tests.stores import environment
from tests.support.runs import ROOT
from tests.support.servers import Server


def run_in_threads(work: Callable[[], None], number: int) -> None:
    """Run it in threads that begin together, each once the one before it stands ready.

    Threads that come to life at once cannot all be measured for coverage.
    """
    go = threading.Event()

    def wait_and_work(ready: threading.Event) -> None:
        ready.set()
        go.wait()
        work()

    threads = []
    for _ in range(number):
        ready = threading.Event()
        threads.append(threading.Thread(target=wait_and_work, args=[ready]))
        threads[-1].start()
        ready.wait()
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that they come between each other's steps
    try:
        go.set()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(usual)


def race(server: Server, *, limit: int, hits: int, roads: list[str], pause: float = 0) -> list[int]:
    """Let a process on each road hit one counter; return how many each was let through."""
    names = [f"jwt:{number}|" for number in range(100)]
    who = max(names, key=lambda name: _get_window(name, PERIOD))  # whose minute has just begun
    command = [sys.executable, "-m", "tests.support.counting", who]
    own = environment() | {
        "REDIS_URL": server.url,
        "ORCHESTRATOR_ENV": "development",
        "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings",
    }
    racers = [
        subprocess.Popen(
            [*command, str(limit), str(hits), str(pause), road],
            cwd=ROOT,
            env=own,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for road in roads
    ]
    try:
        for racer in racers:
            assert racer.stdout and racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin
            racer.stdin.write("go\n")
            racer.stdin.flush()
        return [int(racer.communicate(timeout=60)[0]) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()


def until(true: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    return true()
