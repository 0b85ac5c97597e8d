"""Minutes counted again from stored results: what slow burns and slowness were judged by, then."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from probes import baseline, ratio
from probes.rule import LATENCY_OVER_S, Rule

MINUTE: Final = timedelta(minutes=1)
# A run of two attempts of 10 s begun in a minute has arrived half a minute after its end.
LATE: Final = timedelta(seconds=30)

LimitAt = Callable[[datetime], float]


@dataclass(frozen=True, slots=True)
class Counted:
    """What one run adds to its minute."""

    location: str
    at: datetime
    # Its first attempt could tell, and failed.
    told: bool
    failed: bool
    # It was good at the first attempt, and took so long.
    good: bool
    took_s: float


class Recount:
    """The counts of a check as its clock made them, minute by minute."""

    def __init__(
        self, runs: Iterable[Counted], rule: Rule, *, needed: int, limit_at: LimitAt
    ) -> None:
        self._rule = rule
        self._limit_at = limit_at
        self._minutes: dict[datetime, dict[str, _Minute]] = {}
        for run in runs:
            self._add(run)
        self._over = dict(self._slow_minutes(needed))

    def burn(self, now: datetime, *, mended_at: datetime | None) -> ratio.Burn:
        """Return the shares as they were counted; none when trouble ended after that."""
        until = _counted_to(now)
        if mended_at is not None and mended_at >= until:
            return ratio.Burn()
        return ratio.burn_of(
            self._first_attempts(until),
            until,
            over_s=self._rule.burn_over_s,
            newest_s=self._rule.burn_newest_s,
            since=mended_at,
        )

    def latency(self, now: datetime) -> baseline.Latency | None:
        """Return since when p95 was over its limit, None when it was not."""
        until = _counted_to(now)
        since = self._over.get(until)
        if since is None:
            return None
        return baseline.Latency(self._limit_at(until), self._counts(until), since)

    def _add(self, run: Counted) -> None:
        begin = run.at.astimezone(UTC).replace(second=0, microsecond=0)
        minute = self._minutes.setdefault(begin, {}).setdefault(run.location, _Minute())
        minute.told += run.told
        minute.failed += run.failed
        minute.good += run.good
        minute.over += run.good and run.took_s > self._limit_at(run.at)

    def _first_attempts(self, until: datetime) -> list[ratio.Minute]:
        count = int(self._rule.burn_over_s // 60)
        found = []
        for number in range(count, 0, -1):
            places = self._minutes.get(until - MINUTE * number)
            if places is not None:
                told = sum(each.told for each in places.values())
                failed = sum(each.failed for each in places.values())
                found.append(ratio.Minute(until - MINUTE * number, told, failed))
        return found

    def _slow_minutes(self, needed: int) -> Iterable[tuple[datetime, datetime]]:
        """Yield each minute's end at which p95 was over its limit, and since when it was."""
        over = [at for at, places in self._minutes.items() if any(m.over for m in places.values())]
        if not over:
            return
        last = max(self._minutes) + MINUTE
        until = min(over) + MINUTE
        since: datetime | None = None
        while until <= last:
            is_slow = baseline.is_slow(baseline.Latency(0, self._counts(until)), needed=needed)
            since = (since or until) if is_slow else None
            if since is not None:
                yield until, since
            until += MINUTE

    def _counts(self, until: datetime) -> Mapping[str, baseline.Count]:
        counts: dict[str, baseline.Count] = {}
        for number in range(int(LATENCY_OVER_S // 60), 0, -1):
            for name, minute in self._minutes.get(until - MINUTE * number, {}).items():
                before = counts.get(name, baseline.Count(0, 0))
                counts[name] = baseline.Count(before.runs + minute.good, before.over + minute.over)
        return counts


@dataclass(slots=True)
class _Minute:
    told: int = 0
    failed: int = 0
    good: int = 0
    over: int = 0


def _counted_to(now: datetime) -> datetime:
    """Return the end of the newest minute that the clock had counted by then."""
    return (now - LATE).astimezone(UTC).replace(second=0, microsecond=0)
