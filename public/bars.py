"""Ninety days of a component as a small drawing, a percentage and a table."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import groupby
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from incidents import uptime
from public import words
from public.times import Moments
from public.words import State

DAYS = 90
HEIGHT = 28
# Heights in the drawing's units: a worse day stands higher.
_HEIGHTS = {
    State.OPERATIONAL: 8,
    State.UNKNOWN: 12,
    State.MAINTENANCE: 12,
    State.DEGRADED: 16,
    State.PARTIAL: 22,
    State.OUTAGE: HEIGHT,
}
STEP, _WIDTH = 5, 4


def bars(changes: Sequence[tuple[datetime, str]], moments: Moments) -> dict[str, Any] | None:
    """Return the drawing, the percentage and a row for each run of days that was not all well."""
    if not changes:
        return None
    # Counted to the whole minute: a pass every 10 s then finds most of its work done.
    until = moments.now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return _drawn(tuple(changes), Moments(until, moments.zone, moments.language))


@lru_cache(maxsize=512)
def _drawn(changes: tuple[tuple[datetime, str], ...], moments: Moments) -> dict[str, Any]:
    until = moments.now
    spans = uptime.spans(changes, until=until)
    days = uptime.daily(spans, days=DAYS, until=until, zone=moments.zone)
    percent = uptime.uptime_percent(spans, since=until - timedelta(days=DAYS), until=until)
    runs = _runs(days)
    return {
        "drawing": _drawing(runs, moments),
        "percent": _percent(percent),
        "rows": [
            {"day": _name(run, moments), "words": _said(run, moments)}
            for _, run in reversed(runs)
            if _is_troubled(run[0])
        ],
        "last_day": days[-1].day.isoformat(),
    }


Run = tuple[int, list[uptime.Day]]  # number of the first day, and days of one kind


def _runs(days: Sequence[uptime.Day]) -> list[Run]:
    """Days that were one and the same from end to end stand together; every other stands alone."""
    runs: list[Run] = []
    numbered = list(enumerate(days))
    for _, run in groupby(numbered, key=_kind):
        members = list(run)
        runs.append((members[0][0], [day for _, day in members]))
    return runs


def _kind(numbered: tuple[int, uptime.Day]) -> object:
    number, day = numbered
    return next(iter(day.seconds), "") if len(day.seconds) < 2 else number


def _is_troubled(day: uptime.Day) -> bool:
    return bool(day.seconds) and day.worst != "operational"


def _drawing(runs: Sequence[Run], moments: Moments) -> SafeString:
    """Return SVG markup: quiet runs as dashed lines, each other run a bar that takes the focus and has words."""
    quiet, empty, loud = [], [], []
    for number, run in runs:
        state = words.bar_state(run[0].worst)
        height = _HEIGHTS[state]
        top, x = HEIGHT - height, number * STEP
        if not run[0].seconds:
            empty.append(f"M{x} {HEIGHT - 1.5}h{_across(run)}")
        elif state is State.OPERATIONAL:
            quiet.append(f"M{x} {HEIGHT - height / 2:g}h{_across(run)}")
        else:
            said = f"{_name(run, moments)}: {_said(run, moments)}"
            loud.append(
                format_html(
                    '<rect class="is-{}" data-day="{}" data-days="{}" x="{}" y="{}" width="{}" height="{}" '
                    'role="img" tabindex="0"><title>{}</title></rect>',
                    state.value,
                    str(number),
                    str(len(run)),
                    str(x),
                    str(top),
                    str(_across(run)),
                    str(height),
                    said,
                )  # fmt: skip
            )
    paths = f'<path class="is-empty" d="{"".join(empty)}"/>' if empty else ""
    paths += f'<path class="is-operational" d="{"".join(quiet)}"/>' if quiet else ""
    return mark_safe(paths + "".join(loud))  # noqa: S308  # numbers of ours and format_html's output


def _across(run: Sequence[uptime.Day]) -> int:
    return len(run) * STEP - (STEP - _WIDTH)


def _name(run: Sequence[uptime.Day], moments: Moments) -> str:
    first, last = run[0].day, run[-1].day
    if first == last:
        return moments.short_day(first)
    return f"{moments.short_day(first)} – {moments.short_day(last)}"


def _said(run: Sequence[uptime.Day], moments: Moments) -> str:
    """Return as "not working 9 h 58 min, slow 3 min", the worst first."""
    seconds: dict[str, float] = {}
    for day in run:
        for status, length in day.seconds.items():
            seconds[status] = seconds.get(status, 0.0) + length
    told = [
        (state, length)
        for status, length in seconds.items()
        if (state := words.bar_state(status)) is not State.OPERATIONAL
    ]
    told.sort(key=lambda pair: _HEIGHTS[pair[0]], reverse=True)
    say = words.COMPONENT_WORDS[moments.language]
    return ", ".join(f"{say[state]} {moments.span(timedelta(seconds=s))}" for state, s in told)


def _percent(percent: float | None) -> str:
    """Never rounded up: 100 % is said only when nothing was lost."""
    if percent is None:
        return ""
    if percent == 100:
        return "100 %"
    return f"{int(percent * 100) / 100:.2f} %"
