"""Contenders by turns: how fast each is, and what one is to another.

A ratio is taken within a round, of two measurements that are seconds apart, and the median of all rounds counts: a
machine that others use as well is twice as fast in one minute as in the next, for both of them.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.load import Load

Measure = Callable[[float], Load]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of each contender, round by round."""

    loads: Mapping[str, list[Load]]

    def ratio(self, name: str, other: str) -> float:
        """How many times as many requests a second `name` answers as `other`."""
        pairs = zip(self.loads[name], self.loads[other], strict=True)
        return statistics.median(one.requests_per_second / two.requests_per_second for one, two in pairs)

    def figures(self, name: str) -> tuple[str, str, str, str]:
        """Requests a second, p50 and p99 in milliseconds (medians), and all failures, to be read."""
        loads = self.loads[name]
        return (
            f"{statistics.median(load.requests_per_second for load in loads):,.0f}",
            f"{statistics.median(load.p50_ms for load in loads):.1f}",
            f"{statistics.median(load.p99_ms for load in loads):.1f}",
            str(sum(load.failures for load in loads)),
        )


def by_turns(contenders: Mapping[str, Measure], *, seconds: float, rounds: int, say: Say) -> Measured:
    """Measures each for so long, one after the other, and that again for each round."""
    loads: dict[str, list[Load]] = {name: [] for name in contenders}
    for number in range(1, rounds + 1):
        for name, measure in contenders.items():
            say(f"round {number} of {rounds}: {name}")
            loads[name].append(measure(seconds))
    return Measured(loads)
