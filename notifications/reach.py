"""Time to inform: from the stamps of deliveries to who was told, and how long it took."""

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


@dataclass(frozen=True, slots=True)
class Reach:
    """How one channel went: counts, and seconds from the start to the first, 50 %, 95 % and last person told."""

    counts: Mapping[str, int]
    first_s: float | None
    p50_s: float | None
    p95_s: float | None
    last_s: float | None

    @property
    def eligible(self) -> int:
        return sum(self.counts.values())

    def as_json(self) -> dict[str, float | int | None]:
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
    counts = dict.fromkeys(WORDS, 0)
    for state, count in states.items():
        counts[_COUNTED_AS[state]] += count
    after = sorted(round((at - since).total_seconds(), 3) for at in told_at)
    # Who is suppressed or superseded is not waiting for this message.
    expected = sum(counts.values()) - counts["suppressed"] - counts["superseded"]
    return Reach(
        counts=counts,
        first_s=after[0] if after else None,
        p50_s=_quantile(after, expected, 0.5),
        p95_s=_quantile(after, expected, 0.95),
        last_s=after[-1] if after else None,
    )


def _quantile(after: Sequence[float], expected: int, share: float) -> float | None:
    """Return when `share` of `expected` people were told, None when fewer were."""
    index = ceil(expected * share) - 1
    return after[index] if 0 <= index < len(after) else None
