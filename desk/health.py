"""Is the line from probe to person alive: ages of its parts, in seconds."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict, cast

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Count, Max, QuerySet

from desk import ground
from incidents.lifecycle import ACTIVE
from incidents.models import Incident, Pulse
from notifications.models import Delivery, Pace
from probes.models import Check, Location
from probes.verdict import BLIND_AFTER_S, blind_after_s

# The clock passes every second; ten missed passes are no hiccup.
SWEEP_STALE_S = 10.0
# index, banner and status are rewritten every 10 s (contract.md, "URLs"); three times in a row missed is silence.
PUBLISHER_STALE_S = 30.0
SWEEP, PUBLISHER, PROBES = "clock", "publisher", "probes"


class Counted(TypedDict):
    """How many deliveries of one channel are in one state."""

    channel: str
    state: str
    number: int


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the line. `age_s` None = it has never been seen; `counts` False = it is not asked of here."""

    name: str
    age_s: float | None
    stale_after_s: float
    counts: bool = True
    why: str = ""  # said by the part itself, such as a failed write

    @property
    def is_fresh(self) -> bool:
        return not self.counts or (
            self.age_s is not None and self.age_s <= self.stale_after_s and not self.why
        )


@dataclass(frozen=True, slots=True)
class Health:
    parts: tuple[Part, ...]
    problem: str = ""

    @property
    def is_whole(self) -> bool:
        return not self.problem and all(part.is_fresh for part in self.parts)

    def as_json(self) -> dict[str, object]:
        """Return what /health answers."""
        return {
            "status": "ok" if self.is_whole else "failing",
            "problem": self.problem or None,
            **{part.name: _part_json(part) for part in self.parts},
        }


def _part_json(part: Part) -> dict[str, object]:
    return {
        "fresh": part.is_fresh,
        "age_s": None if part.age_s is None else round(part.age_s, 1),
        "stale_after_s": part.stale_after_s,
        "ignored": not part.counts,
        "why": part.why or None,
    }


def take(now: datetime) -> Health:
    """Return how the line is. A database that does not answer is a finding, not an exception."""
    try:
        names = (SWEEP, PUBLISHER, PROBES)
        pulses = {pulse.name: pulse for pulse in Pulse.objects.filter(name__in=names)}
        sweep = _pulse("sweep", pulses.get(SWEEP), SWEEP_STALE_S, now)
        parts = (_probes(now), sweep, _publisher(pulses, now))
        wrong = ground.problems(now, pulses, is_silent=not sweep.is_fresh)
        return Health(parts, problem="; ".join(wrong))
    except DatabaseError:
        return Health((), problem="the database does not answer")


def _publisher(pulses: dict[str, Pulse], now: datetime) -> Part:
    return _pulse("publisher", pulses.get(PUBLISHER), PUBLISHER_STALE_S, now)


def _pulse(name: str, pulse: Pulse | None, stale_after_s: float, now: datetime) -> Part:
    if pulse is None:
        return Part(name, None, stale_after_s)
    why = str(pulse.note.get("error", "")) if isinstance(pulse.note, dict) else ""
    return Part(name, max(0.0, (now - pulse.at).total_seconds()), stale_after_s, why=why)


def _probes(now: datetime) -> Part:
    """Probes are fresh while results of the most patient check still arrive; without checks nobody asks."""
    slowest = Check.objects.filter(enabled=True).aggregate(slowest=Max("interval_s"))["slowest"]
    if slowest is None:
        return Part("probes", None, BLIND_AFTER_S, counts=False)
    seen = Location.objects.filter(revoked_at__isnull=True).aggregate(seen=Max("last_seen_at"))[
        "seen"
    ]
    age = None if seen is None else max(0.0, (now - seen).total_seconds())
    return Part("probes", age, blind_after_s(slowest))


def open_incidents() -> QuerySet[Incident]:
    """Return what is published and not over, maintenances included."""
    return Incident.objects.filter(published_at__isnull=False, status__in=ACTIVE)


def delivery_counts(rows: QuerySet[Delivery]) -> Iterable[Counted]:
    """Count deliveries by channel and state."""
    return cast(
        Iterable[Counted], rows.order_by().values("channel", "state").annotate(number=Count("id"))
    )


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How one channel is, in words."""

    label: str
    is_well: bool
    said: str


def channels(now: datetime) -> list[ChannelState]:
    """Return each configured channel, with why it waits when its provider asked for that."""
    held = {row.channel: row for row in Pace.objects.filter(held_until__gt=now)}
    return [
        ChannelState(label, name not in held, _held(held[name], now) if name in held else "ready")
        for name, (label, _) in settings.CHANNELS.items()
    ]


def _held(row: Pace, now: datetime) -> str:
    assert row.held_until is not None, "filtered"
    return f"waits until {row.held_until:%H:%M:%S} UTC: {row.why or 'the provider asked us to'}"
