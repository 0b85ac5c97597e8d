"""Small pictures as inline SVG: how long checks took, and how fast people were told."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from math import log10
from statistics import median
from typing import Any

from django.utils.safestring import SafeString, mark_safe

from public.measures import Series, Told
from public.phrases import PHRASES
from public.times import Moments

DAYS = 7
HOURS = DAYS * 24
WIDTH, HEIGHT = 336, 48
_STEP = WIDTH / HOURS
HOUR = timedelta(hours=1)
_BAD = ("major_outage", "partial_outage")


def latency(
    series: Iterable[Series], changes: Sequence[tuple[datetime, str]], moments: Moments
) -> list[dict[str, Any]]:
    """Return a picture for each check and place, all on one scale; nothing is drawn where nothing was measured."""
    until = moments.now.replace(minute=0, second=0, microsecond=0) + HOUR
    since = until - HOURS * HOUR
    kept = [(one, [(at, ms) for at, ms in one.hours if since <= at < until]) for one in series]
    kept = [(one, hours) for one, hours in kept if hours]
    top = max((ms for _, hours in kept for _, ms in hours), default=0.0) or 1.0
    shade = _shade(changes, since, until)
    say = PHRASES[moments.language]
    return [
        {
            "label": say["latency_of"].format(
                check=one.check, place=one.place,
                typical=_ms(median(ms for _, ms in hours)), most=_ms(max(ms for _, ms in hours)),
            ),
            "drawing": mark_safe(shade + _line(hours, since, top)),  # noqa: S308  # only numbers of ours
        }
        for one, hours in kept
    ]  # fmt: skip


def _line(hours: Sequence[tuple[datetime, float]], since: datetime, top: float) -> str:
    parts: list[str] = []
    before: datetime | None = None
    for at, ms in hours:
        x = (at - since) / HOUR * _STEP
        y = HEIGHT - 2 - ms / top * (HEIGHT - 6)
        joins = before is not None and at - before == HOUR
        # A lonely hour is still a mark: a line of its own width.
        parts.append(f"L{x + _STEP:.4g} {y:.3g}" if joins else f"M{x:.4g} {y:.3g}h{_STEP:.3g}")
        before = at
    return f'<path class="line" d="{"".join(parts)}"/>'


def _shade(changes: Sequence[tuple[datetime, str]], since: datetime, until: datetime) -> str:
    ends = [at for at, _ in changes[1:]] + [until]
    parts = []
    for (start, status), end in zip(changes, ends, strict=False):
        start, end = max(start, since), min(end, until)
        if status in _BAD and start < end:
            x, width = (start - since) / HOUR * _STEP, max(1.0, (end - start) / HOUR * _STEP)
            parts.append(f"M{x:.4g} 0h{width:.3g}v{HEIGHT}h-{width:.3g}z")
    return f'<path class="shade" d="{"".join(parts)}"/>' if parts else ""


def _ms(value: float) -> str:
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def told(channels: Sequence[Told], moments: Moments) -> list[dict[str, Any]]:
    """Return a row for each channel: when half, 95 % and all were told, and the curve of it."""
    longest = max((one.last_s or 0.0 for one in channels), default=0.0)
    return [
        {
            "channel": _channel(one, moments),
            "told": f"{one.accepted} / {one.eligible}",
            "half": _seconds(one.p50_s, moments),
            "most": _seconds(one.p95_s, moments),
            "everyone": _seconds(one.last_s if one.accepted == one.eligible else None, moments),
            "label": PHRASES[moments.language]["told_curve"].format(channel=_channel(one, moments)),
            "drawing": _steps(one, longest),
        }
        for one in channels
    ]


def _channel(one: Told, moments: Moments) -> str:
    return PHRASES[moments.language].get(f"channel_{one.channel}", one.channel.capitalize())


def _seconds(seconds: float | None, moments: Moments) -> str:
    if seconds is None:
        return PHRASES[moments.language]["not_reached"]
    return moments.span(timedelta(seconds=max(seconds, 0.0)))


def _steps(one: Told, longest: float) -> SafeString:
    """Return a step curve, 0 to 100 % upwards, seconds to the right on a scale of powers of ten."""
    across = log10(max(longest, 1.0) + 1.0)
    path = f"M0 {HEIGHT}"
    for at, share in one.steps:
        x = log10(max(at, 0.0) + 1.0) / across * WIDTH
        path += f"H{x:.4g}V{HEIGHT - share * (HEIGHT - 2):.3g}"
    return mark_safe(f'<path class="line" d="{path}H{WIDTH}"/>')  # noqa: S308  # only numbers of ours
