"""Results counted in minutes, hours and days, for each check and location: for ratios and plots."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db.models import Q, QuerySet, Sum

from probes.facts import GOOD
from probes.kinds import Outcome
from probes.latency import Latencies, merged
from probes.models import Check, Result, Rollup, Span

# detection.md, rule E: against the same hour of the last 28 days.
BASELINE_DAYS: Final = 28
_HOUR: Final = timedelta(hours=1)
_COUNTED: Final[Mapping[str, str]] = {
    Outcome.OK: "ok",
    Outcome.SLOW: "slow",
    Outcome.TARGET_FAIL: "failed",
}
_NUMBERS: Final = ("runs", "ok", "slow", "failed", "faults", "first_told", "first_failed")


def begin(at: datetime, span: Span) -> datetime:
    """Return when the minute, hour or day (UTC) of an instant began."""
    at = at.astimezone(UTC).replace(second=0, microsecond=0)
    match span:
        case Span.MINUTE:
            return at
        case Span.HOUR:
            return at.replace(minute=0)
        case Span.DAY:
            return at.replace(minute=0, hour=0)


# ---- writing ------------------------------------------------------------------------------


@dataclass(slots=True)
class _More:
    """What a batch adds to one row."""

    numbers: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_NUMBERS, 0))
    total_ms: float = 0
    good_ms: list[float] = field(default_factory=list)

    def add(self, row: Result) -> None:
        first = _COUNTED.get(row.first_outcome)
        self.numbers["runs"] += 1
        self.numbers[_COUNTED.get(row.outcome, "faults")] += 1
        self.numbers["first_told"] += first is not None
        self.numbers["first_failed"] += first == "failed"
        self.total_ms += row.total_ms
        # Only an answer that was right says how fast the target is; a failure's time is the prober's.
        if row.outcome in GOOD:
            self.good_ms.append(row.total_ms)


# Location, check, span, begin.
_Key = tuple[int, int, str, datetime]


def add(results: Iterable[Result]) -> None:
    """Add new results to their minutes, hours and days: two queries, however many there are.

    The caller holds the locks on their locations, so that no two batches raise the same row.
    """
    more: dict[_Key, _More] = {}
    for result in results:
        for span in Span:
            at = begin(result.at, span)
            key = (result.location_id, result.of_check_id, span.value, at)
            more.setdefault(key, _More()).add(result)
    if not more:
        return
    there = _there(more)
    rows = [there.get(key) or _new(key) for key in more]
    for row, each in zip(rows, more.values(), strict=True):
        _raise(row, each)
    Rollup.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["of_check", "span", "at", "location"],
        update_fields=[*_NUMBERS, "total_ms_sum", "sketch"],
    )


def _there(keys: Iterable[_Key]) -> dict[_Key, Rollup]:
    """Return the rows that are there; asked by span, as an hour and its first minute share `at`."""
    locations: set[int] = set()
    checks: set[int] = set()
    begins: dict[str, set[datetime]] = {}
    for location_id, check_id, span, at in keys:
        locations.add(location_id)
        checks.add(check_id)
        begins.setdefault(span, set()).add(at)
    wanted = Q(pk__in=[])
    for span, instants in begins.items():
        wanted |= Q(span=span, at__in=instants)
    rows = Rollup.objects.filter(wanted, location__in=locations, of_check__in=checks)
    return {(row.location_id, row.of_check_id, row.span, row.at): row for row in rows}


def _new(key: _Key) -> Rollup:
    location_id, check_id, span, at = key
    return Rollup(location_id=location_id, of_check_id=check_id, span=span, at=at)


def _raise(row: Rollup, more: _More) -> None:
    # An upsert goes by the unique fields; with a key it would go by that.
    row.pk = None
    for name, number in more.numbers.items():
        setattr(row, name, getattr(row, name) + number)
    row.total_ms_sum += more.total_ms
    if more.good_ms:
        sketch = Latencies.unpack(row.sketch)
        for duration_ms in more.good_ms:
            sketch.add(duration_ms)
        row.sketch = sketch.pack()


# ---- reading ------------------------------------------------------------------------------


def counts(check: Check, since: datetime, until: datetime) -> tuple[int, int]:
    """Return (attempts, first_failures) of all locations together, from `since` up to `until`.

    Counted by whole minutes: the minute of `since` is in, and that of `until` too unless it
    begins there. Attempts are first attempts that could tell (ok, slow or failed); a prober's own
    fault is none. A failure that a retry mended is one of first_failures. One query.
    """
    found = _minutes(check, since, until).aggregate(
        attempts=Sum("first_told"), failures=Sum("first_failed")
    )
    return found["attempts"] or 0, found["failures"] or 0


def baseline_p95(check: Check, now: datetime) -> tuple[float, ...]:
    """Return p95 in ms of this hour of the day (UTC) on each of the 28 days before, newest first.

    Of good runs (ok or slow), all locations together; a day without any is left out, so there
    may be none. One query, and 28 rows for each location to read: ask it only where the p95 of
    now could matter, that is where it is above the rule's floor.
    """
    hour = begin(now, Span.HOUR)
    days = [hour - timedelta(days=number) for number in range(1, BASELINE_DAYS + 1)]
    rows = Rollup.objects.filter(of_check=check, span=Span.HOUR, at__in=days)
    packed: dict[datetime, list[bytes | memoryview]] = {}
    for at, sketch in rows.values_list("at", "sketch"):
        packed.setdefault(at, []).append(sketch)
    found = [merged(packed.get(day, ())).percentile_ms(95) for day in days]
    return tuple(each for each in found if each is not None)


def recent_p95(check: Check, since: datetime, until: datetime) -> float | None:
    """Return p95 in ms of good runs of all locations in these minutes; None without any."""
    rows = _minutes(check, since, until).values_list("sketch", flat=True)
    return merged(rows).percentile_ms(95)


def _minutes(check: Check, since: datetime, until: datetime) -> QuerySet[Rollup]:
    return Rollup.objects.filter(
        of_check=check, span=Span.MINUTE, at__gte=begin(since, Span.MINUTE), at__lt=until
    )


@dataclass(frozen=True, slots=True)
class Bucket:
    """What one location saw in a stretch of time; percentiles are None without a good run."""

    at: datetime
    runs: int = 0
    failed: int = 0
    faults: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


def series(
    check: Check, *, since: datetime, until: datetime, step: timedelta
) -> dict[str, tuple[Bucket, ...]]:
    """Return for each location, by name, the buckets of `step` from `since` on, oldest first.

    Both are whole minutes, or whole hours, which cost a sixtieth. A bucket in which nothing ran is
    not there: a gap, never a zero.
    """
    is_hourly = step % _HOUR == timedelta(0) and begin(since, Span.HOUR) == since
    rows = Rollup.objects.filter(
        of_check=check, span=Span.HOUR if is_hourly else Span.MINUTE, at__gte=since, at__lt=until
    )
    rows = rows.select_related("location").order_by("at")
    found: dict[str, dict[datetime, list[Rollup]]] = {}
    for row in rows:
        at = since + (row.at - since) // step * step
        found.setdefault(row.location.name, {}).setdefault(at, []).append(row)
    return {
        name: tuple(_bucket(at, minutes) for at, minutes in buckets.items())
        for name, buckets in sorted(found.items())
    }


def _bucket(at: datetime, minutes: Sequence[Rollup]) -> Bucket:
    sketch = merged(each.sketch for each in minutes)
    return Bucket(
        at,
        runs=sum(each.runs for each in minutes),
        failed=sum(each.failed for each in minutes),
        faults=sum(each.faults for each in minutes),
        p50_ms=sketch.percentile_ms(50),
        p95_ms=sketch.percentile_ms(95),
        p99_ms=sketch.percentile_ms(99),
    )
