"""Counts of minutes and hours, made once: what slow burns and slowness are judged by."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db.models import Count, F, Q, Sum

from incidents.models import Pulse
from probes import baseline, judging, ratio
from probes.alone import alone
from probes.facts import GOOD
from probes.kinds import Outcome
from probes.models import Check, CurrentVerdict, Minute, Result, Tally, UsualHour
from probes.rule import BASELINE_DAYS, BURN_OVER_S_MAX, LATENCY_OVER_S, Rule, quorum
from probes.sight import TELLING
from probes.words import BAD, Word

PULSE: Final = "minutes"
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
# A run of two attempts of 10 s begun in a minute has arrived half a minute after its end.
LATE: Final = timedelta(seconds=30)
# After a stop of the clock: what is older matters to no window that begins now.
MINUTES_BACK_MAX: Final = 60
KEEP_MINUTES: Final = timedelta(seconds=BURN_OVER_S_MAX) + timedelta(minutes=5)
# One pass of the clock counts an hour for so many checks; 1,000 checks take 100 s of it.
HOURS_AT_ONCE_MAX: Final = 10
# A percentile of fewer runs says little about the hour.
HOUR_RUNS_MIN: Final = 20

TOLD: Final = Q(first_outcome__in=TELLING)
FAILED: Final = Q(first_outcome=Outcome.TARGET_FAIL)
# A run that was tried twice took its first attempt and a wait besides.
AT_ONCE: Final = Q(outcome__in=GOOD, attempts=1)


def count(now: datetime) -> None:
    """Count the minutes that are over, and the hours; each once."""
    minutes = _due(now)
    if minutes:
        _make_tallies()
        for minute in minutes:
            _count_minute(minute)
        _weigh(minutes[-1] + MINUTE, now)
        Minute.objects.filter(at__lt=now - KEEP_MINUTES).delete()
        Pulse.objects.update_or_create(name=PULSE, defaults={"at": minutes[-1]})
    _count_hours(now)


def _due(now: datetime) -> list[datetime]:
    """Return the minutes that are complete and not counted yet, oldest first."""
    newest = (now - LATE).astimezone(UTC).replace(second=0, microsecond=0) - MINUTE
    last = Pulse.objects.filter(name=PULSE).values_list("at", flat=True).first()
    oldest = newest - MINUTE * (MINUTES_BACK_MAX - 1)
    begin = oldest if last is None else max(oldest, last + MINUTE)
    missing = int((newest - begin) / MINUTE) + 1
    return [begin + MINUTE * number for number in range(missing)]


def _make_tallies() -> None:
    lacking = Check.objects.filter(enabled=True, tally__isnull=True)
    Tally.objects.bulk_create(
        [
            Tally(of_check=check, limit_ms=Rule.parse(check.rule).slow_over_s * 1000)
            for check in lacking
        ],
        ignore_conflicts=True,
    )


def _count_minute(minute: datetime) -> None:
    """Count what began in a minute, all checks in one query."""
    over = AT_ONCE & Q(total_ms__gt=F("of_check__tally__limit_ms"))
    counts = (
        Result.objects.filter(at__gte=minute, at__lt=minute + MINUTE)
        .order_by()
        .values("of_check_id", "location_id")
        .annotate(
            tried=Count("pk", filter=TOLD),
            failures=Count("pk", filter=FAILED),
            good=Count("pk", filter=AT_ONCE),
            over=Count("pk", filter=over),
        )
    )
    Minute.objects.bulk_create(
        [
            Minute(
                at=minute,
                of_check_id=each["of_check_id"],
                location_id=each["location_id"],
                attempts=each["tried"],
                failures=each["failures"],
                good=each["good"],
                over=each["over"],
            )
            for each in counts
        ],
        batch_size=1000,
        ignore_conflicts=True,
    )


def _weigh(until: datetime, now: datetime) -> None:
    """Bring the tallies of the checks up to date that saw a failure or were slow of late."""
    troubled = Minute.objects.filter(at__gte=until - KEEP_MINUTES).filter(
        Q(failures__gt=0) | Q(over__gt=0)
    )
    marked = Q(tally__failures__gt=0) | Q(tally__over_since__isnull=False)
    checks = Check.objects.filter(enabled=True, tally__isnull=False).filter(
        Q(pk__in=troubled.values("of_check")) | marked
    )
    for check in checks.select_related("tally", "page"):
        with alone(f"the counts of {check.slug}"):
            if _weigh_check(check, until):
                judging.judge_check(check, now=now)


def _weigh_check(check: Check, until: datetime) -> bool:
    """Write the tally of a check; say whether it may change a verdict."""
    rule = Rule.parse(check.rule)
    tally = check.tally
    burn = ratio.burn_of(
        _minutes(check, until),
        until,
        over_s=rule.burn_over_s,
        newest_s=rule.burn_newest_s,
        since=_last_trouble(check),
    )
    counts = _good_runs(check, until)
    latency = baseline.Latency(tally.limit_ms / 1000, counts)
    is_slow = baseline.is_slow(latency, needed=quorum(len(check.locations)))
    Tally.objects.filter(pk=tally.pk).update(
        counted_to=until,
        attempts=burn.attempts,
        failures=burn.failures,
        newest_attempts=burn.newest_attempts,
        newest_failures=burn.newest_failures,
        latency={name: [each.runs, each.over] for name, each in counts.items()},
        over_since=(tally.over_since or until) if is_slow else None,
    )
    was_slow = tally.over_since is not None
    burns = burn.exceeds(rule.burn_ratio, failures_min=rule.burn_failures, is_burning=True)
    return is_slow or was_slow or burns or tally.failures > 0


def _minutes(check: Check, until: datetime) -> Iterable[ratio.Minute]:
    rows = (
        Minute.objects.filter(of_check=check, at__gte=until - KEEP_MINUTES)
        .order_by("at")
        .values_list("at")
        .annotate(Sum("attempts"), Sum("failures"))
    )
    return [ratio.Minute(*row) for row in rows]


def _last_trouble(check: Check) -> datetime | None:
    """Return until when trouble was told: failures of then are no slow burn."""
    rows = CurrentVerdict.objects.filter(of_check=check).values_list("mended_at", flat=True)
    return max((each for each in rows if each is not None), default=None)


def _good_runs(check: Check, until: datetime) -> Mapping[str, baseline.Count]:
    rows = (
        Minute.objects.filter(of_check=check, at__gte=until - timedelta(seconds=LATENCY_OVER_S))
        .order_by()
        .values_list("location__name")
        .annotate(Sum("good"), Sum("over"))
    )
    return {name: baseline.Count(good, over) for name, good, over in rows}


# ---- what is usual ------------------------------------------------------------------------


def _count_hours(now: datetime) -> None:
    """Keep p95 of the hour that is over; set what p95 may be in the hour that runs."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    due = Tally.objects.filter(of_check__enabled=True).exclude(hour=hour)
    for tally in due.select_related("of_check").order_by("pk")[:HOURS_AT_ONCE_MAX]:
        with alone(f"the hour of {tally.of_check.slug}"):
            _count_hour(tally.of_check, hour - HOUR)
            limit_ms = _limit_ms(tally.of_check, hour)
            Tally.objects.filter(pk=tally.pk).update(hour=hour, limit_ms=limit_ms)


def _count_hour(check: Check, hour: datetime) -> None:
    # While it is slow or failing, nothing is usual: the rule would get used to the trouble.
    troubled = CurrentVerdict.objects.filter(of_check=check, word__in=[*BAD, Word.UNKNOWN])
    if troubled.exists():
        return
    good = Result.objects.filter(AT_ONCE, of_check=check, at__gte=hour, at__lt=hour + HOUR)
    runs = good.count()
    if runs < HOUR_RUNS_MIN:
        return
    spare = runs * (100 - baseline.PERCENTILE) // 100
    p95_ms = good.order_by("-total_ms").values_list("total_ms", flat=True)[spare]
    UsualHour.objects.update_or_create(
        of_check=check, at=hour, defaults={"p95_ms": p95_ms, "runs": runs}
    )
    UsualHour.objects.filter(of_check=check, at__lt=hour - _BASELINE).delete()


_BASELINE: Final = timedelta(days=BASELINE_DAYS)


def _limit_ms(check: Check, hour: datetime) -> float:
    """Return 3 times (or as the rule says) the median p95 of this hour on the days before."""
    rule = Rule.parse(check.rule)
    days = [hour - timedelta(days=day) for day in range(1, BASELINE_DAYS + 1)]
    rows: Any = UsualHour.objects.filter(of_check=check, at__in=days)  # Any: a list of floats
    usual = list(rows.values_list("p95_ms", flat=True))
    return 1000 * baseline.limit_s(usual, times=rule.slow_times, least_s=rule.slow_over_s)
