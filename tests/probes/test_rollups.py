"""Minutes, hours and days: what is counted, by how many queries, and what can be asked of them."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from incidents.models import Page
from probes import rollups, services
from probes.kinds import Outcome
from probes.latency import ACCURACY, merged
from probes.models import Check, Location, Rollup
from probes.services import NewResult

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def check() -> Check:
    return a_check("journey")


def a_check(slug: str, *locations: str) -> Check:
    page = Page.objects.first() or Page.objects.create(name="Follow status")
    names = locations or ("local",)
    for name in names:
        if not Location.objects.filter(name=name).exists():
            services.create_location(name=name, now=NOON)
    return Check.objects.create(
        page=page, slug=slug, kind="http", locations=list(names), changed_at=NOON
    )


def result(at: datetime, *, check: str = "journey", **more: Any) -> NewResult:
    """A run that was good at once and took 100 ms, but for what is said."""
    outcome = more.pop("outcome", Outcome.OK)
    told: dict[str, Any] = {
        "check": check,
        "sequence": int(at.timestamp() * 1000),
        "at": at,
        "outcome": outcome,
        "first_outcome": outcome,
        "attempts": 1,
        "reason": "",
        "steps": (),
        "total_ms": 100.0,
    }
    return NewResult(**told | more)


def record(results: Sequence[NewResult], *, now: datetime = NOON, location: str = "local") -> int:
    return services.record(Location.objects.get(name=location), results, now=now)


def test_each_result_is_counted_in_its_minute_hour_and_day(check: Check) -> None:
    at = NOON - timedelta(hours=1)
    record(
        [
            result(at),
            result(at + timedelta(seconds=59), outcome=Outcome.SLOW),
            result(at + timedelta(seconds=60), outcome=Outcome.TARGET_FAIL),
            result(at + timedelta(minutes=59), outcome=Outcome.PROBER_FAULT),
            result(at + timedelta(minutes=60), first_outcome=Outcome.TARGET_FAIL),
        ]
    )

    seen = {
        (row.span, f"{row.at:%H:%M}"): (
            row.runs, row.ok, row.slow, row.failed, row.faults, row.first_told, row.first_failed,
        )
        for row in Rollup.objects.all()
    }  # fmt: skip
    assert seen == {
        ("minute", "11:00"): (2, 1, 1, 0, 0, 2, 0),
        ("minute", "11:01"): (1, 0, 0, 1, 0, 1, 1),
        ("minute", "11:59"): (1, 0, 0, 0, 1, 0, 0),
        ("minute", "12:00"): (1, 1, 0, 0, 0, 1, 1),
        ("hour", "11:00"): (4, 1, 1, 1, 1, 3, 1),
        ("hour", "12:00"): (1, 1, 0, 0, 0, 1, 1),
        ("day", "00:00"): (5, 2, 1, 1, 1, 4, 2),
    }


@pytest.mark.slow
def test_batches_add_up_and_the_sketch_tells_the_percentiles_of_all(check: Check) -> None:
    at = NOON - timedelta(minutes=30)
    durations = [float(each) for each in range(1, 101)]
    for number, duration in enumerate(durations):
        when = at + timedelta(milliseconds=number)
        record([result(when, total_ms=duration)], now=when)

    for row in Rollup.objects.all():
        assert row.runs == 100
        told = merged([row.sketch])
        for percent in (50, 95, 99):
            assert told.percentile_ms(percent) == pytest.approx(percent, rel=ACCURACY * 1.001)


def test_only_good_runs_say_how_fast_it_is(check: Check) -> None:
    at = NOON - timedelta(minutes=5)
    record(
        [
            result(at, total_ms=80),
            result(at + timedelta(seconds=1), outcome=Outcome.TARGET_FAIL, total_ms=10_000),
            result(at + timedelta(seconds=2), outcome=Outcome.PROBER_FAULT, total_ms=0),
        ]
    )

    assert rollups.recent_p95(check, at, NOON) == pytest.approx(80, rel=ACCURACY)


def test_midnight_is_the_first_minute_the_first_hour_and_the_day(check: Check) -> None:
    midnight = datetime(2026, 11, 20, tzinfo=UTC)
    record([result(midnight)], now=midnight)
    record([result(midnight + timedelta(seconds=1))], now=midnight + timedelta(seconds=1))

    assert sorted(Rollup.objects.values_list("span", "runs")) == [
        ("day", 2),
        ("hour", 2),
        ("minute", 2),
    ]


def test_a_large_batch_of_many_checks_takes_no_more_queries_than_one_result() -> None:
    checks = {f"check-{number}": a_check(f"check-{number}") for number in range(20)}
    location = Location.objects.get(name="local")
    at = NOON - timedelta(minutes=30)

    def queries(results: list[NewResult]) -> tuple[int, int]:
        rows = services._new_rows(location, checks, results, skew_s=0, now=NOON)
        with CaptureQueriesContext(connection) as captured:
            rollups.add(rows)
        asked = sum(1 for query in captured if query["sql"].startswith("SELECT"))
        return asked, len(captured) - asked

    assert queries([result(at, check="check-0")]) == (1, 1)
    minutes = [at + timedelta(minutes=number) for number in range(25)]
    asked, written = queries([result(each, check=slug) for each in minutes for slug in checks])
    # Each row has 14 values, and SQLite takes 999 in a query.
    most = connection.features.max_query_params or 10**6
    assert (asked, written) == (1, math.ceil(Rollup.objects.count() / (most // 14)))


def test_the_second_batch_of_a_location_reads_what_the_first_wrote(check: Check) -> None:
    at = NOON - timedelta(minutes=2)
    record([result(at)])
    record([result(at + timedelta(seconds=1), outcome=Outcome.TARGET_FAIL)])

    row = Rollup.objects.get(span="minute")
    assert (row.runs, row.ok, row.failed) == (2, 1, 1)


def test_counts_are_of_all_locations_by_whole_minutes(check: Check) -> None:
    check = a_check("both", "local", "fra")
    for location in ("local", "fra"):
        record(
            [
                result(NOON - timedelta(minutes=3), check="both", outcome=Outcome.TARGET_FAIL),
                result(
                    NOON - timedelta(minutes=2), check="both", first_outcome=Outcome.TARGET_FAIL
                ),
                result(NOON - timedelta(minutes=1), check="both"),
                result(NOON - timedelta(seconds=59), check="both", outcome=Outcome.PROBER_FAULT),
            ],
            location=location,
        )

    since = NOON - timedelta(minutes=2)
    assert rollups.counts(check, since + timedelta(seconds=59), NOON) == (4, 2)
    assert rollups.counts(check, since, NOON - timedelta(minutes=1)) == (2, 2)
    assert rollups.counts(check, NOON, NOON + timedelta(hours=1)) == (0, 0)


def test_the_usual_of_an_hour_is_that_hour_of_28_days_and_no_other(check: Check) -> None:
    for days, duration_ms in ((1, 100.0), (2, 200.0), (28, 2800.0), (29, 2900.0)):
        at = NOON - timedelta(days=days)
        record([result(at, total_ms=duration_ms)], now=at)
        record([result(at - timedelta(hours=1), total_ms=7)], now=at)
    record([result(NOON, total_ms=9)], now=NOON)

    told = rollups.baseline_p95(check, NOON + timedelta(minutes=59))

    assert told == pytest.approx((100, 200, 2800), rel=ACCURACY)


def test_a_day_is_one_percentile_of_all_locations() -> None:
    check = a_check("both", "local", "fra")
    at = NOON - timedelta(days=1)
    record([result(at, check="both", total_ms=10)], now=at)
    record([result(at, check="both", total_ms=1000)], now=at, location="fra")

    # Of two runs, rank 0.95 of (2 - 1) is the lower one.
    assert rollups.baseline_p95(check, NOON) == pytest.approx((10,), rel=ACCURACY)


def test_a_plot_has_a_gap_where_nothing_ran(check: Check) -> None:
    since = NOON - timedelta(minutes=40)
    for minutes in (0, 9, 31):
        record([result(since + timedelta(minutes=minutes), total_ms=50)])

    found = rollups.series(check, since=since, until=NOON, step=timedelta(minutes=10))

    assert {name: [f"{each.at:%H:%M}" for each in told] for name, told in found.items()} == {
        "local": ["11:20", "11:50"]
    }
    first = found["local"][0]
    assert (first.runs, first.failed) == (2, 0)
    assert first.p50_ms == pytest.approx(50, rel=ACCURACY)
