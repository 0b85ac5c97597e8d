"""Slowness against the check's own past: p95 of ten minutes, and what is usual at this hour."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median

PERCENTILE = 95
# A percentile of fewer runs is chance.
RUNS_MIN = 5


@dataclass(frozen=True, slots=True)
class Count:
    """Good runs of one location in ten minutes, and how many of them took over the limit."""

    runs: int
    over: int


@dataclass(frozen=True, slots=True)
class Latency:
    """How long good runs took of late, each location counted against one limit."""

    limit_s: float
    counts: Mapping[str, Count] = field(default_factory=dict)
    # Since when it is above the limit without a break.
    over_since: datetime | None = None


def is_over(count: Count) -> bool:
    """Say whether p95 is above the limit: more runs are than five of a hundred.

    By nearest rank the 95th percentile is above a limit exactly if more than floor(5 % of n)
    runs are, so that nothing needs sorting.
    """
    spare = count.runs * (100 - PERCENTILE) // 100
    return count.runs >= RUNS_MIN and count.over > spare


def is_slow(latency: Latency, *, needed: int) -> bool:
    """Say whether p95 is above the limit for all locations together and for `needed` of them.

    One bad path of five is a fifth of all runs: alone it would lift p95 of them together.
    """
    together = Count(
        sum(each.runs for each in latency.counts.values()),
        sum(each.over for each in latency.counts.values()),
    )
    return is_over(together) and sum(map(is_over, latency.counts.values())) >= needed


def limit_s(hours_ms: Sequence[float], *, times: float, least_s: float) -> float:
    """Return what p95 may be: so many times the usual of this hour, but never under `least_s`.

    `hours_ms` are the p95 of the same hour on the days before; the median of them is the usual,
    so that one bad night does not make the next one usual.
    """
    return max(times * median(hours_ms) / 1000, least_s) if hours_ms else least_s


def percentile(sorted_ms: Sequence[float]) -> float:
    """Return p95 by nearest rank; of nothing, 0."""
    count = len(sorted_ms)
    return sorted_ms[-(count * (100 - PERCENTILE) // 100) - 1] if count else 0.0
