"""Latency as a drawing: the lines, gaps, shades and words of one small SVG. Touches no database."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from probes.rollups import Bucket

# The drawing's own units: as wide as the smallest phone, so that its letters are as large there.
WIDTH: Final = 360
HEIGHT: Final = 132
LEFT: Final = 56
RIGHT: Final = 340
TOP: Final = 8
BOTTOM: Final = 110
TICK_EVERY: Final = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Shade:
    """A stretch in which something did not work."""

    begins: datetime
    ends: datetime
    word: str


@dataclass(frozen=True, slots=True)
class Rect:
    x: float
    width: float
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A number or an hour beside an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """One location's drawing; paths are SVG's `d`, empty when there is nothing to draw."""

    location: str
    p50: str
    p95: str
    shades: tuple[Rect, ...]
    hours: tuple[Mark, ...]
    scale: tuple[Mark, ...]
    in_words: str


def draw(
    location: str,
    buckets: Sequence[Bucket],
    *,
    since: datetime,
    until: datetime,
    step: timedelta,
    top_ms: float,
    shades: Sequence[Shade],
    zone: ZoneInfo,
) -> Plot:
    """Draw the buckets of one location; where nothing was measured there is a gap."""
    frame = _Frame(since, until, top_ms)
    return Plot(
        location=location,
        p50=_path(frame, [(each.at, each.p50_ms) for each in buckets], step),
        p95=_path(frame, [(each.at, each.p95_ms) for each in buckets], step),
        shades=tuple(_rects(frame, shades, zone)),
        hours=tuple(_hours(frame, zone)),
        scale=tuple(Mark(frame.y(each), span_ms(each)) for each in (0, top_ms / 2, top_ms)),
        in_words=in_words(buckets, since=since, until=until, step=step, zone=zone),
    )


def top_ms(series: Sequence[Sequence[Bucket]]) -> float:
    """Return the one scale for all locations: 1, 2 or 5 times a power of ten, in ms."""
    highest = max((each.p95_ms or 0 for buckets in series for each in buckets), default=0)
    power = 1.0
    while power * 10 <= highest:
        power *= 10
    return next((power * each for each in (1, 2, 5) if power * each >= highest), power * 10)


def in_words(
    buckets: Sequence[Bucket],
    *,
    since: datetime,
    until: datetime,
    step: timedelta,
    zone: ZoneInfo,
) -> str:
    """Say what the drawing shows, for those who cannot see it."""
    told = [(each.at, each.p95_ms) for each in buckets if each.p95_ms is not None]
    if not told:
        return "No run was good: nothing to draw."
    worst_at, worst_ms = max(told, key=lambda each: each[1])
    medians = sorted(each.p50_ms for each in buckets if each.p50_ms is not None)
    gaps = (until - since) // step - len(told)
    without = f" Without a good run: {gaps} of {(until - since) // step} stretches of {step.seconds // 60} min."
    return (
        f"The median is {span_ms(medians[len(medians) // 2])}; the slowest 5 % took longest at "
        f"{worst_at.astimezone(zone):%H:%M}, over {span_ms(worst_ms)}.{without if gaps > 0 else ''}"
    )


def span_ms(duration_ms: float) -> str:
    """Return a duration as people say it: "0", "85 ms", "1.2 s"."""
    if duration_ms == 0:
        return "0"
    if duration_ms < 1:
        return f"{duration_ms:.1f} ms"
    if duration_ms < 1000:
        return f"{duration_ms:.0f} ms"
    return f"{duration_ms / 1000:.3g} s"


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where an instant and a duration are in the drawing."""

    since: datetime
    until: datetime
    top_ms: float

    def x(self, at: datetime) -> float:
        share = (at - self.since) / (self.until - self.since)
        return round(LEFT + (RIGHT - LEFT) * min(1.0, max(0.0, share)), 1)

    def y(self, duration_ms: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * min(1.0, duration_ms / self.top_ms), 1)


def _path(frame: _Frame, points: Sequence[tuple[datetime, float | None]], step: timedelta) -> str:
    """Return stairs: a bucket is as wide as it lasted, and the pen is lifted where one is missing."""
    drawn: list[str] = []
    end: datetime | None = None
    for at, duration_ms in points:
        if duration_ms is None:
            end = None
            continue
        y = frame.y(duration_ms)
        drawn.append(f"V{y}" if at == end else f"M{frame.x(at)} {y}")
        end = at + step
        drawn.append(f"H{frame.x(end)}")
    return "".join(drawn)


def _rects(frame: _Frame, shades: Sequence[Shade], zone: ZoneInfo) -> Iterator[Rect]:
    for shade in shades:
        begin, end = frame.x(shade.begins), frame.x(shade.ends)
        times = f"{shade.begins.astimezone(zone):%H:%M} to {shade.ends.astimezone(zone):%H:%M}"
        # A short one must be seen, too.
        yield Rect(begin, max(1.0, round(end - begin, 1)), f"{shade.word}, {times}")


def _hours(frame: _Frame, zone: ZoneInfo) -> Iterator[Mark]:
    """Yield the hours that the local clock divides the day by."""
    hour = TICK_EVERY // timedelta(hours=1)
    at = frame.since.astimezone(zone).replace(minute=0, second=0, microsecond=0)
    while at <= frame.until:
        if at >= frame.since and at.hour % hour == 0:
            yield Mark(frame.x(at), f"{at:%H:%M}")
        at = (at.astimezone(UTC) + timedelta(hours=1)).astimezone(zone)
