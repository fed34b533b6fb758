"""How many operations a second a service does among many rows, beside one among few."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import product
from statistics import median
from typing import Any

from tests.bench.load import MEASURES, Caller, Sample, sample
from tests.bench.ratios import Cell, Figures, Ratio, turns

RATED = ("create", "read", "publish", "cycle")
CONNECTIONS = (1, 8)
LEAST = 0.9  # of the rate among few
SECONDS = 2.0
Connect = Callable[[], Caller]


def compared(few: Connect, many: Connect, rounds: int, only: str) -> Iterator[dict[str, Any]]:
    """Yield and print a row for each operation and number of connections whose name has `only`."""
    for measure, connections in product(RATED, CONNECTIONS):
        name = f"a second, {connections} at once: {measure}"
        if only in name:
            yield show(name, *taken((measure, connections), few, many, rounds))


def taken(cell: Cell, few: Connect, many: Connect, rounds: int) -> tuple[Figures, Figures]:
    """Return what both do, one after the other; who is first in one round is second in the next."""
    samples: dict[Connect, list[Sample]] = {few: [], many: []}
    for (measure, connections), pair in turns([cell], rounds, (few, many)):
        for side in pair:
            one = sample(side, MEASURES[measure], connections, SECONDS)
            samples[side].append(asyncio.run(one))
    return Figures.of(samples[few]), Figures.of(samples[many])


def show(name: str, few: Figures, many: Figures) -> dict[str, Any]:
    """Print a row; return it."""
    ratio = Ratio.of(many.rate, few.rate)
    slow = ratio is None or ratio.median < LEAST or bool(few.errors or many.errors)
    print(
        f"{name:40} {median(few.rate):8,.0f} {median(many.rate):8,.0f}   rate {ratio}"
        f"   p99 {few.p99_ms:.1f} {many.p99_ms:.1f} ms   N={few.n:,} and {many.n:,}"
        f"{'  SLOW' if slow else ''}",
        flush=True,
    )
    rest = {"p50_ms": [few.p50_ms, many.p50_ms], "p99_ms": [few.p99_ms, many.p99_ms]}
    rates = {"rate": [few.rate, many.rate], "n": [few.n, many.n], "slow": slow}
    return {"name": name, **rest, **rates}
