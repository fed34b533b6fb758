"""Work through many rows in short transactions that leave room for others."""

import contextlib
import time
from collections.abc import Callable, Iterator

from django.db import transaction

HELD = 0.04  # seconds that the statements of a step should take
FEW = 25  # rows in the first step, and in the smallest
REST = 2.0  # times as long as the last step took
LONGEST_REST = 1.0  # seconds


class Pace:
    """Call it between two steps: it rests for twice as long as the last one took.

    So the write lock of SQLite is free for at least two thirds of the time.
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


class StepSize:
    """How many rows the next transaction takes, so that its statements take about 40 ms.

    Each step is measured, and the next one takes more rows or fewer in that proportion: between
    half as many and twice as many, and never less than a few, whose time is not in the rows.
    """

    def __init__(self, *, most: int) -> None:
        """most: rows in a step, however fast it is."""
        self._few, self._most = min(FEW, most), most
        self.rows = self._few

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Run one step, measured from its beginning, where it gets SQLite's lock, to its commit."""
        with transaction.atomic():
            started = time.monotonic()
            yield
            held = time.monotonic() - started
        rows = round(self.rows * min(2.0, max(0.5, HELD / max(held, 0.001))))
        self.rows = max(self._few, min(self._most, rows))


def no_rest(done: int = 0) -> None:
    """Go on at once: for callers that do little."""
