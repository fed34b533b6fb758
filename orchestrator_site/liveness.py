"""Whether the database answers, asked in a thread of its own: a frozen one must not freeze the service.

A server that is stopped refuses at once. One that is frozen, or behind a broken network, says nothing at all, and
every thread that waits for it would wait for ever.
"""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection, connections

PATIENCE = 2.0  # seconds to wait for an answer
ABANDONED_AFTER = 10.0  # seconds until a question that hangs is asked anew
STUCK_AFTER = 5.0  # seconds until a request may be freed
SWEEP_EVERY = 1.0  # seconds

log = logging.getLogger(__name__)


class Question(threading.Thread):
    """One question to a store; `good` once it was answered without an error."""

    def __init__(self, ask: Callable[[], None]) -> None:
        super().__init__(name="liveness", daemon=True)
        self._ask, self.good, self.asked_at = ask, False, time.monotonic()

    @property
    def age(self) -> float:
        """Return the seconds since it was asked."""
        return time.monotonic() - self.asked_at

    @property
    def counts(self) -> bool:
        """Return whether it is open, and not for too long: who asks now shares its answer."""
        return self.is_alive() and self.age < ABANDONED_AFTER

    def run(self) -> None:
        """Ask."""
        with contextlib.suppress(Exception):
            self._ask()
            self.good = True


class Liveness:
    """Answers "does it answer?" within two seconds; however many want to know, one asks."""

    def __init__(self, ask: Callable[[], None]) -> None:
        """ask: raises when the store does not answer, and may hang."""
        self._ask, self._lock = ask, threading.Lock()
        self._question: Question | None = None

    def __call__(self) -> bool:
        """Return whether the store answers."""
        with self._lock:
            if self._question is None or not self._question.counts:
                self._question = Question(self._ask)
                self._question.start()
            question = self._question
        question.join(max(0.0, PATIENCE - question.age))
        return question.good


def ask_database() -> None:
    """Open a connection of its own and read one value."""
    connection = connections.create_connection("default")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()


database_answers = Liveness(ask_database)


class Guard:
    """Frees requests that hang on a frozen database: their connection is cut, so that they end with a 503."""

    def __init__(self, alive: Callable[[], bool], *, stuck_after: float = STUCK_AFTER) -> None:
        """alive: whether the database answers somebody else. stuck_after: seconds."""
        self._alive, self._stuck_after = alive, stuck_after
        self._lock, self._watching = threading.Lock(), False
        self._busy: dict[int, tuple[float, Any]] = {}  # thread -> since when, its connection

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Watch over what this thread does now. A file needs no watching."""
        if connection.vendor != "postgresql":
            yield
            return
        self._start()
        self._busy[threading.get_ident()] = time.monotonic(), connections["default"]
        try:
            yield
        finally:
            self._busy.pop(threading.get_ident(), None)

    def sweep(self) -> int:
        """Cut the connections of requests that hang, if the database is to blame; return how many."""
        limit = time.monotonic() - self._stuck_after
        stuck = [wrapper for since, wrapper in list(self._busy.values()) if since < limit]
        if not stuck or self._alive():
            return 0
        freed = sum(cut(wrapper) for wrapper in stuck)
        if freed:
            log.error("The database does not answer: %d waiting request(s) cut off.", freed)
        return freed

    def _start(self) -> None:
        if not self._watching:  # looked at without the lock first: this is on the road of every request
            with self._lock:
                if not self._watching:
                    self._watching = True
                    threading.Thread(target=self._run, name="database-guard", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(SWEEP_EVERY)
            with contextlib.suppress(Exception):
                self.sweep()


def cut(wrapper: Any) -> bool:
    """End the connection of another thread, which gets an error where it waits; return whether there was one.

    Closing it here would leave that thread waiting: the socket is shut under it.
    """
    opened = wrapper.connection
    if opened is None or opened.closed:
        return False
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(opened.pgconn.socket)) as line:
        line.shutdown(socket.SHUT_RDWR)
    return True


guard = Guard(database_answers)
