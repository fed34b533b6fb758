"""`manage.py up` as a process of its own, for tests that need a real server.

with up(tmp_path) as server:
    requests.get(server.url + "/health")
"""

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.stores import environment
from tests.support.runs import ROOT

READY_SECONDS = 60  # on a busy machine; a test of the time itself measures it


class Process:
    """A process in a session of its own, whose lines are read as they come."""

    def __init__(self, command: list[str], settings: dict[str, str], cwd: Path = ROOT) -> None:
        """settings: added to our environment, from which the service's own are taken out."""
        self.started = time.monotonic()
        self.output: list[str] = []
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.popen = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment() | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        """Take the lines as they come, to the end."""
        assert self.popen.stdout
        for line in self.popen.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first match in a line still to come.

        Fails when the output ends or nothing comes in time.
        """
        deadline = time.monotonic() + READY_SECONDS
        while (line := self.next_line(deadline)) is not None:
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"No {pattern!r} in:\n{''.join(self.output)}")

    def next_line(self, deadline: float) -> str | None:
        """Return the next line, or None at the end or the deadline."""
        try:
            line = self.lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None
        if line is not None:
            self.output.append(line)
        return line

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the process; return its exit status."""
        self.popen.send_signal(number)
        return self.finish()

    def finish(self) -> int:
        """Wait for the end; return the exit status."""
        status = self.popen.wait(READY_SECONDS)
        while self.next_line(time.monotonic() + READY_SECONDS) is not None:
            pass
        return status

    def close(self) -> None:
        """End whatever is left of the session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    @property
    def text(self) -> str:
        """Return all that was printed so far, as far as it was waited for."""
        return "".join(self.output)

    @property
    def leaves_something(self) -> bool:
        """Return whether any process of its session still runs."""
        try:
            os.killpg(self.popen.pid, 0)
        except ProcessLookupError:
            return False
        return True


class Server(Process):
    """A running service."""

    url = ""
    seconds_to_start = 0.0


@contextlib.contextmanager
def process(command: list[str], **settings: str) -> Iterator[Process]:
    """Give a started process, and end it whatever happens."""
    started = Process(command, settings)
    try:
        yield started
    finally:
        started.close()


@contextlib.contextmanager
def up(data_dir: Path, *options: str, **settings: str) -> Iterator[Server]:
    """Give a service that answers, on a free port and on stores of its own."""
    with served(["manage.py", "up", *options], data_dir, settings) as server:
        yield server


@contextlib.contextmanager
def served(program: list[str], data_dir: Path, settings: dict[str, str]) -> Iterator[Server]:
    """Give what a program of Python serves, as `up` does."""
    settings = {"DATA_DIR": str(data_dir), "PORT": "0", **settings}
    server = Server([sys.executable, *program], settings)
    try:
        server.url = server.wait_for(r"http://\S+?:\d+").group()
        server.seconds_to_start = time.monotonic() - server.started
        yield server
    finally:
        server.close()
