"""How far a message has come: kept counts as bars, the curve of time to inform, and who was not reached."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from incidents.models import Incident
from notifications import reports
from notifications.models import Broadcast
from notifications.reach import counted
from notifications.reports import Informing

BROADCASTS_MAX = 5  # on the console; the records behind hold the rest
SHOWN = timedelta(hours=6)
LEFT, TOP, WIDE, HIGH = 40, 8, 300, 96  # the curve's field in its viewBox of 360 × 132


@dataclass(frozen=True, slots=True)
class Bar:
    """How far one channel has come."""

    name: str
    channel: str
    accepted: int
    waiting: int
    failed: int
    quiet: int  # superseded or suppressed: not to be told
    parts: tuple[tuple[str, int], ...] = ()  # each outcome in the provider's or our words

    @property
    def everyone(self) -> int:
        return self.accepted + self.waiting + self.failed


@dataclass(frozen=True, slots=True)
class Line:
    """One channel's steps as an SVG path, and in words."""

    name: str
    style: int
    path: str
    said: str


@dataclass(frozen=True, slots=True)
class Curve:
    lines: tuple[Line, ...]
    seconds: float  # the right end of the scale, from publishing


@dataclass(frozen=True, slots=True)
class Progress:
    broadcast: Broadcast
    title: str
    bars: Sequence[Bar]
    is_running: bool

    @property
    def failed(self) -> int:
        return sum(bar.failed for bar in self.bars)


def newest(now: datetime) -> list[Progress]:
    """Return how far the newest messages have come, from the kept counts alone."""
    rows = (
        Broadcast.objects.filter(update_entry__isnull=False, created_at__gt=now - SHOWN)
        .select_related("update_entry", "incident")
        .order_by("-id")[:BROADCASTS_MAX]
    )
    return [of(row) for row in rows]


def of(row: Broadcast) -> Progress:
    """Return one message's bars, from the sums that the database keeps."""
    bars = [_bar(channel, states) for channel, states in reports.progress(row.pk).items()]
    waits = any(bar.waiting for bar in bars)
    running = row.halted_at is None and (row.fanned_out_at is None or waits)
    status = row.update_entry.status if row.update_entry else ""
    title = f"{row.incident.name if row.incident else ''}: {status}"
    return Progress(row, title, bars, running)


def _bar(channel: str, states: dict[str, int]) -> Bar:
    counts = counted(states)
    failed = counts["refused"] + counts["failed"] + counts["unknown"]
    quiet = counts["superseded"] + counts["suppressed"]
    return Bar(
        label(channel),
        channel,
        counts["accepted"],
        counts["pending"],
        failed,
        quiet,
        tuple(sorted(states.items())),
    )


def label(channel: str) -> str:
    return settings.CHANNELS.get(channel, (channel, ""))[0]


def curve(incident: Incident, *, all_clear: bool = False) -> Curve | None:
    """Return the step curve of each channel, 0 to 100 % of people over seconds since publishing."""
    found = [one for one in reports.curves(incident, all_clear=all_clear) if one.curve]
    if not found:
        return None
    seconds = max(5.0, *(one.curve[-1][0] for one in found))
    return Curve(
        tuple(_line(index, one, seconds) for index, one in enumerate(found)), round(seconds, 1)
    )


def _line(index: int, one: Informing, seconds: float) -> Line:
    everyone = max(1, one.expected)
    path = [f"M{LEFT} {TOP + HIGH}"]
    for second, told in one.curve:
        x = LEFT + WIDE * max(0.0, second) / seconds
        y = TOP + HIGH * (1 - min(1.0, told / everyone))
        path.append(f"H{x:.1f}V{y:.1f}")
    path.append(f"H{LEFT + WIDE}")
    said = ", ".join(
        f"{share:g} % after {at:g} s"
        for share in (50, 95, 100)
        if (at := _reached(one, everyone * share / 100)) is not None
    )
    told = one.curve[-1][1]
    return Line(
        label(one.channel),
        index % 4,
        "".join(path),
        f"{told:,} of {everyone:,} told" + (f": {said}" if said else ""),
    )


def _reached(one: Informing, people: float) -> float | None:
    return next((round(second, 1) for second, told in one.curve if told >= people), None)
