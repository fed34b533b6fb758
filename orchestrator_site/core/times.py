"""The time, for everything that is stored, leased, due or scheduled: one clock that never jumps.

It goes on with the monotonic clock of the machine, whatever is done to the machine's date. What
counts is the database's time (PostgreSQL), so that several machines agree, or the system's
(SQLite): it is measured at the start and every minute, in a thread of its own, and a difference is
made up slowly. Reading the clock costs one read of the monotonic clock.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from django.db import DatabaseError, connection

RATE = 0.01  # seconds made up in a second: 36 in an hour
WORTH_SAYING = 2.0  # seconds of difference
MEASURED_EVERY = 60.0  # seconds
SLOWEST = 1.0  # seconds a measurement may take and still say something
logger = logging.getLogger(__name__)


def elapsed() -> float:
    """Return seconds since some moment; they go on while a machine sleeps where it can tell."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Clock:
    """Seconds since 1970 that only go forward, and steadily."""

    def __init__(
        self,
        *,
        elapsed: Callable[[], float] = elapsed,
        system: Callable[[], float] = time.time,  # noqa: TID251 - the clock begins with it
    ) -> None:
        """elapsed: monotonic seconds. system: what it begins with, until the first correction."""
        self._elapsed = elapsed
        self._corrected = False
        # When it was set, to what, and what is still to be made up.
        self._stand = (elapsed(), system(), 0.0)

    def seconds(self) -> float:
        """Return the time."""
        since, then, rest = self._stand
        gone = self._elapsed() - since
        return then + gone + max(-RATE * gone, min(RATE * gone, rest))

    def goal(self) -> float:
        """Return the time as it was last measured: what the clock moves towards."""
        since, then, rest = self._stand
        return then + rest + self._elapsed() - since

    def bounds(self) -> tuple[float, float]:
        """Return the time and what it moves towards, the earlier first."""
        if not self._stand[2]:
            return (now := self.seconds()), now
        seconds, goal = self.seconds(), self.goal()
        return min(seconds, goal), max(seconds, goal)

    def correct(self, measured: float) -> float:
        """Take a measured time: the first at once, a later one is moved towards slowly.

        Return how far it is from what was known before.
        """
        step, now, at = measured - self.goal(), self.seconds(), self._elapsed()
        self._stand = (at, now, measured - now) if self._corrected else (at, measured, 0.0)
        if abs(step) > WORTH_SAYING:
            logger.warning(AFTERWARDS if self._corrected else AT_FIRST, f"{step:+.1f}")
        self._corrected = True
        return step


AT_FIRST = "The time that counts is %s s from this machine's clock. Have NTP set both."
AFTERWARDS = (
    "The time that counts has moved by %s s against the clock of this process, which follows by "
    "36 s an hour. "
    "Restart every process to take it over at once."
)
clock = Clock()


def now() -> datetime:
    """Return the time: aware, UTC."""
    return datetime.fromtimestamp(clock.seconds(), UTC)


def bounds() -> tuple[float, float]:
    """Return the earliest and the latest it can be, in seconds since 1970.

    What others date is judged by them. They differ only while the clock makes something up.
    """
    return clock.bounds()


def measured() -> float | None:
    """Return the time of what counts, or None where that could not be learnt."""
    if connection.vendor != "postgresql":
        return time.time()  # noqa: TID251 - the measure of this clock
    began = elapsed()
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        seconds = float(cursor.fetchone()[0])
    took = elapsed() - began
    return seconds + took / 2 if took < SLOWEST else None


def measure() -> None:
    """Correct the clock by one measurement; a database that is away leaves it as it is."""
    with contextlib.suppress(DatabaseError):
        if (seconds := measured()) is not None:
            clock.correct(seconds)


class Keeper:
    """The thread that measures, one in each process."""

    def __init__(self) -> None:
        self._pid = 0
        self._measured = threading.Event()

    def start(self, wait: float = 2.0) -> None:
        """Measure from now on; wait a moment for the first time. Called again it does nothing."""
        if self._pid != os.getpid():  # first use, or first use after a fork
            self._pid, self._measured = os.getpid(), threading.Event()
            threading.Thread(target=self._run, name="clock", daemon=True).start()
            self._measured.wait(wait)

    def _run(self) -> None:
        while True:
            try:
                measure()
            except Exception:  # the clock goes on as it is
                logger.exception("The time could not be measured.")
            finally:
                connection.close()
                self._measured.set()
            time.sleep(MEASURED_EVERY)


keeper = Keeper()


def rfc3339(moment: datetime) -> str:
    """Return an aware time as the API writes it: in UTC, with `Z`."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return f"{moment.isoformat()[:-6]}Z"
