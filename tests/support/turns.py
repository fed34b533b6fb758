"""Turns among runs side by side: the tests that are timed want the machine for themselves."""

import contextlib
import fcntl
from collections.abc import Iterator


@contextlib.contextmanager
def turn(lock: str, *, alone: bool) -> Iterator[None]:
    """Hold a place among those who share a lock file, or alone among them.

    lock: its path, empty where nobody runs beside us.
    """
    if not lock:
        yield
        return
    with open(lock, "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
