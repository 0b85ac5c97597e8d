"""Time to inform: from the stamps of deliveries to who was told, and how long it took."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

# contract.md, "The night's report": expired and halted count as failed; later words of the provider as accepted.
_COUNTED_AS = {
    "accepted": "accepted",
    "delivered": "accepted",
    "bounced": "accepted",
    "acknowledged": "accepted",
    "refused": "refused",
    "failed": "failed",
    "expired": "failed",
    "halted": "failed",
    "unknown": "unknown",
    "suppressed": "suppressed",
    "superseded": "superseded",
    "pending": "pending",
    "prepared": "pending",
    "calling": "pending",
}
WORDS = ("accepted", "refused", "failed", "unknown", "suppressed", "superseded", "pending")


# So many people told after so many seconds. A curve is a list of these, each with all told by then.
Step = tuple[float, int]
SHARES = (0.5, 0.9, 0.95, 0.99, 1.0)
# A curve that is kept has at most so many steps: a line of a drawing 360 pixels wide has no more.
STEPS_MAX = 240


@dataclass(frozen=True, slots=True)
class Reach:
    """How one channel went: counts, and seconds from the start to the first and the last person told, and to shares of all."""

    counts: Mapping[str, int]
    first_s: float | None
    p50_s: float | None
    p95_s: float | None
    last_s: float | None
    p90_s: float | None = None
    p99_s: float | None = None
    p100_s: float | None = None

    @property
    def eligible(self) -> int:
        return sum(self.counts.values())

    def as_json(self) -> dict[str, float | int | None]:
        """Return it as the night's report has it (docs/reference.md)."""
        seconds = {
            "first_s": self.first_s,
            "p50_s": self.p50_s,
            "p95_s": self.p95_s,
            "last_s": self.last_s,
        }
        return {"eligible": self.eligible, **self.counts, **seconds}


def measure(states: Mapping[str, int], told_at: Iterable[datetime], *, since: datetime) -> Reach:
    """Return the reach of deliveries counted by state, with the instants at which those told were handed over.

    Percentiles are over everyone eligible: who was not told leaves the high ones empty (None), never flatters them.
    """
    steps = [(round((at - since).total_seconds(), 3), 1) for at in told_at]
    return measure_curve(counted(states), curve(steps))


def counted(states: Mapping[str, int]) -> dict[str, int]:
    """Return contract.md's words with their counts."""
    counts = dict.fromkeys(WORDS, 0)
    for state, count in states.items():
        counts[_COUNTED_AS[state]] += count
    return counts


def expected(counts: Mapping[str, int]) -> int:
    """Return how many were to be told: who is suppressed or superseded is not waiting for this message."""
    return sum(counts.values()) - counts["suppressed"] - counts["superseded"]


def curve(steps: Iterable[Step]) -> list[Step]:
    """Return steps of (seconds, told by then) from (seconds, told just then), in any order."""
    told = 0
    found: list[Step] = []
    for second, number in sorted(steps):
        told += number
        if found and found[-1][0] == second:
            found.pop()
        found.append((second, told))
    return found


def thinned(steps: Sequence[Step], people: int, *, steps_max: int = STEPS_MAX) -> list[Step]:
    """Return at most about `steps_max` steps; those at which a share of SHARES is reached stay, so no percentile moves."""
    if len(steps) <= steps_max:
        return list(steps)
    kept = {0, len(steps) - 1} | {round(n * (len(steps) - 1) / steps_max) for n in range(steps_max)}
    kept |= {index for share in SHARES if (index := _reaches(steps, people, share)) is not None}
    return [steps[index] for index in sorted(kept)]


def measure_curve(
    counts: Mapping[str, int], steps: Sequence[Step], *, shift_s: float = 0.0
) -> Reach:
    """Return the reach of a curve, its seconds moved on by `shift_s` (the curve's own zero, as seen from another one)."""
    people = expected(counts)

    def after(index: int | None) -> float | None:
        return None if index is None else round(steps[index][0] + shift_s, 3)

    half, most, nearly, almost, all_ = (after(_reaches(steps, people, share)) for share in SHARES)
    return Reach(
        counts=counts, first_s=after(0 if steps else None), p50_s=half, p90_s=most, p95_s=nearly, p99_s=almost,
        p100_s=all_, last_s=after(len(steps) - 1 if steps else None),
    )  # fmt: skip


def _reaches(steps: Sequence[Step], people: int, share: float) -> int | None:
    """Return the first step by which `share` of `people` were told, None when fewer were."""
    wanted = ceil(people * share)
    if wanted < 1:
        return None
    index = bisect_left(steps, wanted, key=lambda step: step[1])
    return index if index < len(steps) else None
