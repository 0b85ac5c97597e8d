"""What was measured, as plain values: how long checks took, and how fast people were told."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Series:
    """How long one check took from one place: the mean in ms of each hour that was measured, oldest first."""

    check: str
    place: str
    hours: tuple[tuple[datetime, float], ...]


@dataclass(frozen=True, slots=True)
class Told:
    """How fast one channel told its people: counts, and seconds since the fault; None: so many were not told."""

    channel: str
    eligible: int
    accepted: int
    first_s: float | None
    p50_s: float | None
    p95_s: float | None
    last_s: float | None

    @property
    def steps(self) -> tuple[tuple[float, float], ...]:
        """Return (seconds, share of people told by then), ascending."""
        share = self.accepted / self.eligible if self.eligible else 0.0
        known = ((self.first_s, 1 / max(self.eligible, 1)), (self.p50_s, 0.5), (self.p95_s, 0.95))
        steps = [(at, min(part, share)) for at, part in known if at is not None]
        return (*steps, (self.last_s, share)) if self.last_s is not None else tuple(steps)
