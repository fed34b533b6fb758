"""Cut database connections on which requests hang, so that they end with a 503."""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection

from orchestrator_site.infra.changes import here
from orchestrator_site.infra.database_probe import database_answers

STUCK_AFTER = 5.0  # seconds until a request may be freed
SWEEP_EVERY = 1.0  # seconds
log = logging.getLogger(__name__)


class ConnectionWatchdog:
    """Cuts the connections of requests that hang on a frozen database: they end with a 503."""

    def __init__(self, alive: Callable[[], bool], *, stuck_after: float = STUCK_AFTER) -> None:
        """alive: whether the database answers somebody else. stuck_after: seconds."""
        self._alive, self._stuck_after = alive, stuck_after
        self._lock, self._watching = threading.Lock(), False
        self._busy: dict[int, tuple[float, Any]] = {}  # thread -> since when, its connection

    def guard(self, serve: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a function that is watched while it serves a request. A file needs no watching."""
        if connection.vendor != "postgresql":
            return serve

        def watched(request: Any) -> Any:
            with self.watch():
                return serve(request)

        return watched

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Watch over what this thread does now."""
        self._start()
        self._busy[threading.get_ident()] = time.monotonic(), here.database
        try:
            yield
        finally:
            self._busy.pop(threading.get_ident(), None)

    def sweep(self) -> int:
        """Cut the connections of requests that hang, if the database does; return how many."""
        limit = time.monotonic() - self._stuck_after
        stuck = [wrapper for since, wrapper in list(self._busy.values()) if since < limit]
        if not stuck or self._alive():
            return 0
        freed = sum(shut_down_socket(wrapper) for wrapper in stuck)
        if freed:
            log.error("The database does not answer: %d waiting request(s) cut off.", freed)
        return freed

    def _start(self) -> None:
        if not self._watching:  # looked at without the lock first, for every request does it
            with self._lock:
                if not self._watching:
                    self._watching = True
                    threading.Thread(target=self._run, name="database-guard", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(SWEEP_EVERY)
            with contextlib.suppress(Exception):
                self.sweep()


def shut_down_socket(wrapper: Any) -> bool:
    """End the connection of another thread, which gets an error where it waits.

    Return whether there was one. Closing it here would leave that thread waiting: the socket is
    shut under it.
    """
    opened = wrapper.connection
    if opened is None or opened.closed:
        return False
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(opened.pgconn.socket)) as wire:
        wire.shutdown(socket.SHUT_RDWR)
    return True


watchdog = ConnectionWatchdog(database_answers)
