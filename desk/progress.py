"""How far a message has come: kept counts as bars, the curve of time to inform, and who was not reached."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from desk.models import Tally
from notifications.models import Broadcast
from notifications.reach import Reach, measure

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
    seconds: int  # the right end of the scale


@dataclass(frozen=True, slots=True)
class Progress:
    broadcast: Broadcast
    title: str
    bars: Sequence[Bar]
    is_running: bool
    counted_at: datetime | None

    @property
    def failed(self) -> int:
        return sum(bar.failed for bar in self.bars)


def newest(now: datetime) -> list[Progress]:
    """Return how far the newest messages have come, from the kept counts alone."""
    rows = (
        Broadcast.objects.filter(update_entry__isnull=False, created_at__gt=now - SHOWN)
        .select_related("update_entry", "incident", "tally")
        .order_by("-id")[:BROADCASTS_MAX]
    )
    return [of(row) for row in rows]


def of(row: Broadcast) -> Progress:
    tally: Tally | None = getattr(row, "tally", None)
    counts = tally.counts if tally else {}
    bars = [_bar(channel, states) for channel, states in sorted(counts.items())]
    waits = tally is None or any(bar.waiting for bar in bars)
    running = row.halted_at is None and (row.fanned_out_at is None or waits)
    status = row.update_entry.status if row.update_entry else ""
    title = f"{row.incident.name if row.incident else ''}: {status}"
    return Progress(row, title, bars, running, tally.counted_at if tally else None)


def _bar(channel: str, states: dict[str, int]) -> Bar:
    counts = _reach(states).counts
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


def _reach(states: dict[str, int]) -> Reach:
    return measure(states, [], since=datetime.min)


def label(channel: str) -> str:
    return settings.CHANNELS.get(channel, (channel, ""))[0]


def curve(tally: Tally | None) -> Curve | None:
    """Return the step curve of each channel, 0 to 100 % of people over seconds since the message was queued."""
    if tally is None or not any(tally.curve.values()):
        return None
    seconds = max(5, *(steps[-1][0] for steps in tally.curve.values() if steps))
    lines = [
        _line(index, channel, steps, tally.counts.get(channel, {}), seconds)
        for index, (channel, steps) in enumerate(sorted(tally.curve.items()))
        if steps
    ]
    return Curve(tuple(lines), seconds)


def _line(
    index: int, channel: str, steps: list[list[int]], states: dict[str, int], seconds: int
) -> Line:
    bar = _bar(channel, states)
    everyone = max(1, bar.everyone)
    path = [f"M{LEFT} {TOP + HIGH}"]
    for second, told in steps:
        x = LEFT + WIDE * second / seconds
        y = TOP + HIGH * (1 - min(1.0, told / everyone))
        path.append(f"H{x:.1f}V{y:.1f}")
    path.append(f"H{LEFT + WIDE}")
    said = ", ".join(
        f"{share:g} % after {at} s"
        for share in (50, 95, 100)
        if (at := _reached(steps, everyone * share / 100)) is not None
    )
    told = steps[-1][1]
    return Line(
        label(channel),
        index % 4,
        "".join(path),
        f"{told:,} of {everyone:,} told" + (f": {said}" if said else ""),
    )


def _reached(steps: list[list[int]], people: float) -> int | None:
    return next((second for second, told in steps if told >= people), None)
