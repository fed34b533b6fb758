"""Work through much in small steps that leave room for others."""

import time
from collections.abc import Callable

REST = 2.0  # times as long as the last step took
LONGEST_REST = 1.0  # seconds


class Pace:
    """Call it between two steps: it rests in proportion to the last one, so that others are served.

    A step is one short transaction; on SQLite the write lock is free for two thirds of the time.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._rest = clock, rest
        self._started = clock()

    def __call__(self, done: int = 0) -> None:
        """Rest. done: how much was done so far; subclasses may tell of it."""
        self._rest(min(REST * (self._clock() - self._started), LONGEST_REST))
        self._started = self._clock()


def no_rest(done: int = 0) -> None:
    """Go on at once: for callers that do little."""
