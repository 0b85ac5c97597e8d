"""Intervals of component status, counted into percentages and daily bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from incidents.lifecycle import ComponentStatus

# Statuspage counts a partial outage as 30 % of a major one: its help page "Calculating uptime".
PARTIAL_WEIGHT = 0.3
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `end` (exclusive) the component was `status` (Statuspage's five words or "unknown")."""

    start: datetime
    end: datetime
    status: str


@dataclass(frozen=True, slots=True)
class Day:
    """Seconds of one day in each status; `worst` is the word for the bar's height."""

    day: date
    seconds: dict[str, float]

    @property
    def worst(self) -> str:
        present = [status for status in _BAR_ORDER if self.seconds.get(status, 0) > 0]
        return present[-1] if present else UNKNOWN


_BAR_ORDER = (
    ComponentStatus.OPERATIONAL,
    UNKNOWN,
    ComponentStatus.UNDER_MAINTENANCE,
    ComponentStatus.DEGRADED_PERFORMANCE,
    ComponentStatus.PARTIAL_OUTAGE,
    ComponentStatus.MAJOR_OUTAGE,
)


def spans(changes: Sequence[tuple[datetime, str]], *, until: datetime) -> list[Span]:
    """Turn changes in order of time into adjoining spans that end at `until`."""
    ends = [at for at, _ in changes[1:]] + [until] * bool(changes)
    return [
        Span(at, end, status) for (at, status), end in zip(changes, ends, strict=True) if at < end
    ]


def held(changes: Sequence[tuple[datetime, str]], at: datetime) -> str | None:
    """Return what changes in order of time say of a moment, None before the first."""
    return next((status for since, status in reversed(changes) if since <= at), None)


def overlaid(
    recorded: Sequence[tuple[datetime, str]], status: str, *, began: datetime, ended: datetime
) -> list[tuple[datetime, str]]:
    """Return the changes to add, so that it was at least as bad as `status` and then as recorded.

    `recorded` is in order of time; what is added counts after it where both say something of a moment.
    """
    well = ComponentStatus.OPERATIONAL
    # Of two at one moment the later stays.
    said = {began: held(recorded, began) or well}
    said |= {at: word for at, word in recorded if began < at < ended}
    graver = [at for at, word in said.items() if _is_graver(status, word)]
    added = [(at, status) for at in graver]
    if max(said) in graver:
        added.append((ended, held(recorded, ended) or well))
    return added


def _is_graver(one: str, other: str) -> bool:
    order = [str(each) for each in _BAR_ORDER]
    return order.index(one) > order.index(other)


def uptime_percent(history: Sequence[Span], *, since: datetime, until: datetime) -> float | None:
    """Return 0..100 for the known time between `since` and `until`; None when nothing is known of it.

    A major outage counts whole, a partial one 30 %; unknown time counts neither way.
    """
    known = lost = 0.0
    for span in history:
        seconds = (min(span.end, until) - max(span.start, since)).total_seconds()
        if seconds <= 0 or span.status == UNKNOWN:
            continue
        known += seconds
        lost += seconds * _weight(span.status)
    if known == 0:
        return None
    # No rounding makes less of what never failed.
    return 100.0 * (known - lost) / known if lost else 100.0


def outage_seconds(
    history: Sequence[Span], status: str, *, since: datetime, until: datetime
) -> float:
    """Return how many seconds between `since` and `until` were spent in `status`."""
    return sum(
        max(0.0, (min(span.end, until) - max(span.start, since)).total_seconds())
        for span in history
        if span.status == status
    )


def daily(history: Sequence[Span], *, days: int, until: datetime, zone: ZoneInfo) -> list[Day]:
    """Return the last `days` days in the page's zone, oldest first."""
    last = until.astimezone(zone).date()
    found: list[Day] = []
    first = 0  # spans adjoin and ascend: what ended before a day is over for all later ones
    for start, end, day in _bounds(last, days, zone):
        while first < len(history) and history[first].end <= start:
            first += 1
        found.append(Day(day, _seconds(history, first, start, min(end, until))))
    return found


@lru_cache(maxsize=16)
def _bounds(last: date, days: int, zone: ZoneInfo) -> tuple[tuple[datetime, datetime, date], ...]:
    """Return start, end (in UTC) and date of each day; a day of a change of clocks has 23 or 25 hours."""
    dates = [last - timedelta(days=back) for back in range(days - 1, -2, -1)]
    starts = [datetime.combine(day, time(), zone).astimezone(UTC) for day in dates]
    return tuple(zip(starts, starts[1:], dates, strict=False))


def _seconds(
    history: Sequence[Span], first: int, start: datetime, end: datetime
) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for number in range(first, len(history)):
        span = history[number]
        if span.start >= end:
            break
        length = (min(span.end, end) - max(span.start, start)).total_seconds()
        if length > 0:
            seconds[span.status] = seconds.get(span.status, 0.0) + length
    return seconds


def _weight(status: str) -> float:
    if status == ComponentStatus.MAJOR_OUTAGE:
        return 1.0
    return PARTIAL_WEIGHT if status == ComponentStatus.PARTIAL_OUTAGE else 0.0
