"""What is said of two services that were measured in turn."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.bench.client import percentile
from tests.bench.load import ITEMS, Sample

Cell = tuple[str, int]  # a measure, and its number of connections
Side = TypeVar("Side")


def turns(
    cells: Sequence[Cell], rounds: int, sides: tuple[Side, Side]
) -> Iterator[tuple[Cell, tuple[Side, Side]]]:
    """Yield every cell once a round, and who is first: another side each time and each round."""
    for number in range(rounds):
        for place, cell in enumerate(cells):
            yield cell, sides if (number + place) % 2 == 0 else sides[::-1]


@dataclass
class Figures:
    """One side of a cell: lists have a figure for each round, the rest is over all rounds."""

    rate: list[float]
    cpu_us: list[float | None]
    p50_ms: float
    p99_ms: float
    n: int
    errors: int
    first_error: str

    @classmethod
    def of(cls, samples: list[Sample]) -> "Figures":
        """Take the figures from the samples, of which each has at least one time."""
        times = [seconds for one in samples for seconds in one.times]
        errors = [error for one in samples for error in one.errors]
        return cls(
            rate=[one.rate for one in samples],
            cpu_us=[one.cpu_us for one in samples],
            p50_ms=percentile(times, 0.5),
            p99_ms=percentile(times, 0.99),
            n=len(times),
            errors=len(errors),
            first_error=errors[0] if errors else "",
        )

    def __str__(self) -> str:
        used = [each for each in self.cpu_us if each is not None]
        cpu = f"{statistics.median(used):7,.0f}" if used else f"{'?':>7}"
        return (
            f"{statistics.median(self.rate):7,.0f}/s  {cpu} µs CPU   p50 {self.p50_ms:6.1f}  "
            f"p99 {self.p99_ms:6.1f} ms  N={self.n:,}, {self.errors} errors {self.first_error}"
        ).rstrip()


@dataclass
class Ratio:
    """How many times the one is the other: in each round, in the middle, least and most."""

    rounds: list[float]
    median: float
    spread: tuple[float, float]

    @classmethod
    def of(cls, ones: Sequence[Any], others: Sequence[Any]) -> "Ratio | None":
        """Divide round by round; return None where a figure is missing or zero."""
        if not (all(ones) and all(others)):
            return None
        rounds = [one / other for one, other in zip(ones, others, strict=True)]
        return cls(rounds, statistics.median(rounds), (min(rounds), max(rounds)))

    def __str__(self) -> str:
        least, most = self.spread
        each = " ".join(f"{ratio:.2f}" for ratio in self.rounds)
        return f"× {self.median:.2f} ({least:.2f}–{most:.2f}: {each})"


@dataclass
class Row:
    """A cell of both sides. Ratios above 1 say that this tree does better."""

    measure: str
    connections: int
    here: Figures
    there: Figures
    rate: Ratio | None = None
    cpu: Ratio | None = None  # how many times less

    def __post_init__(self) -> None:
        self.rate = Ratio.of(self.here.rate, self.there.rate)
        self.cpu = Ratio.of(self.there.cpu_us, self.here.cpu_us)

    def __str__(self) -> str:
        items = ITEMS.get(self.measure, 1)
        each = f"   {statistics.median(self.here.rate) * items:,.0f} items/s" if items > 1 else ""
        return (
            f"{self.measure:8}{self.connections:3}  here   {self.here}\n"
            f"{'':13}there  {self.there}\n"
            f"{'':13}rate {self.rate}   CPU {self.cpu or 'not known'} less{each}"
        )
