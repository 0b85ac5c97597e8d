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
    """How fast one channel told its people: counts, and seconds since the fault; None: so many were not told.

    `steps` are (seconds, share of people told by then), ascending.
    """

    channel: str
    eligible: int
    accepted: int
    p50_s: float | None
    p95_s: float | None
    last_s: float | None
    steps: tuple[tuple[float, float], ...]
