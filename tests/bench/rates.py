"""How many operations a second a service does among many rows, beside one among few."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import product
from statistics import median
from typing import Any, NamedTuple

from tests.bench.load import MEASURES, Caller, Sample, sample
from tests.bench.ratios import Figures, Ratio, turns

RATED = ("create", "read", "publish", "cycle")
CONNECTIONS = (1, 8)
LEAST = 0.9  # of the rate among few
SECONDS = 2.0


class Side(NamedTuple):
    """A service as `sample` calls it."""

    connect: Callable[[], Caller]
    cpu: Callable[[], float | None]  # seconds that its processes have used


def compared(few: Side, many: Side, rounds: int, only: str) -> Iterator[dict[str, Any]]:
    """Yield and print a row for each operation and number of connections whose name has `only`.

    Who is first in one round is second in the next.
    """
    for cell in product(RATED, CONNECTIONS):
        measure, connections = cell
        name = f"a second, {connections} at once: {measure}"
        if only not in name:
            continue
        samples: dict[Side, list[Sample]] = {few: [], many: []}
        for _, pair in turns([cell], rounds, (few, many)):
            for side in pair:
                one = sample(side.connect, MEASURES[measure], connections, SECONDS, side.cpu)
                samples[side].append(asyncio.run(one))
        yield show(name, Figures.of(samples[few]), Figures.of(samples[many]))


def show(name: str, few: Figures, many: Figures) -> dict[str, Any]:
    """Print a row; return it. It is slow where both the rate and the CPU say so."""
    rate, cpu = Ratio.of(many.rate, few.rate), Ratio.of(few.cpu_us, many.cpu_us)
    said = [ratio.median for ratio in (rate, cpu) if ratio]
    slow = not said or max(said) < LEAST or bool(few.errors + many.errors)
    print(
        f"{name:30} {median(few.rate):6,.0f} {median(many.rate):6,.0f}   rate {rate}   CPU {cpu}"
        f"   p99 {few.p99_ms:.1f} {many.p99_ms:.1f} ms   N={few.n:,} and {many.n:,}"
        f"{'  SLOW' if slow else ''}",
        flush=True,
    )
    rest = {"p50_ms": [few.p50_ms, many.p50_ms], "p99_ms": [few.p99_ms, many.p99_ms]}
    figures = {"rate": [few.rate, many.rate], "cpu_us": [few.cpu_us, many.cpu_us]}
    return {"name": name, **rest, **figures, "n": [few.n, many.n], "slow": slow}
