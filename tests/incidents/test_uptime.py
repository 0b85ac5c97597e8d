"""Percentages and bars from changes of status."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from incidents import uptime

START = datetime(2019, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
END = START + 100 * HOUR
NEW_YORK = ZoneInfo("America/New_York")


def at(hours: float) -> datetime:
    return START + hours * HOUR


def test_changes_become_adjoining_spans() -> None:
    spans = uptime.spans([(at(0), "operational"), (at(10), "major_outage")], until=at(12))
    assert [(span.start, span.end, span.status) for span in spans] == [
        (at(0), at(10), "operational"),
        (at(10), at(12), "major_outage"),
    ]


def test_two_changes_at_one_instant_leave_the_later() -> None:
    spans = uptime.spans([(at(0), "operational"), (at(0), "major_outage")], until=at(1))
    assert [span.status for span in spans] == ["major_outage"]


def test_no_changes_are_no_spans() -> None:
    assert uptime.spans([], until=END) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param([(0, "operational")], 100.0, id="all well"),
        pytest.param([(0, "major_outage")], 0.0, id="all down"),
        pytest.param(
            [(0, "operational"), (90, "major_outage")], 90.0, id="a major outage counts whole"
        ),
        pytest.param([(0, "operational"), (90, "partial_outage")], 97.0, id="a partial one 30 %"),
        pytest.param(
            [(0, "operational"), (90, "degraded_performance")], 100.0, id="slowness is not downtime"
        ),
        pytest.param(
            [(0, "operational"), (90, "under_maintenance")], 100.0, id="nor is maintenance"
        ),
        pytest.param(
            [(0, "unknown"), (50, "operational"), (75, "major_outage")],
            50.0,
            id="unknown counts neither way",
        ),
        pytest.param([(0, "unknown")], None, id="nothing known is no percentage"),
        pytest.param([], None, id="no history is no percentage"),
        pytest.param([(50, "operational")], 100.0, id="a component counts from its first day"),
    ],
)
def test_uptime_in_percent(changes: list[tuple[float, str]], expected: float | None) -> None:
    spans = uptime.spans([(at(hours), status) for hours, status in changes], until=END)
    percent = uptime.uptime_percent(spans, since=START, until=END)
    assert percent == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("fraction", [0.1, 0.7, 3.3, 12345.678901])
def test_what_never_failed_is_a_hundred_whatever_the_fractions(fraction: float) -> None:
    since = START + timedelta(seconds=fraction)
    spans = uptime.spans([(since, "operational")], until=END - timedelta(seconds=fraction / 3))
    assert uptime.uptime_percent(spans, since=START, until=END) == 100.0


def test_what_lies_outside_the_window_does_not_count() -> None:
    spans = uptime.spans([(at(0), "major_outage"), (at(50), "operational")], until=END)
    assert uptime.uptime_percent(spans, since=at(50), until=END) == 100.0
    assert uptime.outage_seconds(spans, "major_outage", since=at(40), until=END) == 36_000


def test_a_bar_shows_the_worst_of_its_day() -> None:
    changes = [
        (at(0), "operational"),
        (at(30), "degraded_performance"),
        (at(31), "partial_outage"),
        (at(32), "operational"),
    ]
    days = uptime.daily(
        uptime.spans(changes, until=at(72)), days=3, until=at(72) - HOUR, zone=ZoneInfo("UTC")
    )
    assert [day.worst for day in days] == ["operational", "partial_outage", "operational"]
    assert days[1].seconds == {
        "operational": 79_200,
        "degraded_performance": 3600,
        "partial_outage": 3600,
    }


def test_a_day_is_a_day_of_the_page_s_zone() -> None:
    # 03:00 UTC on the 2nd is still the 1st in New York.
    spans = uptime.spans(
        [(at(0), "operational"), (at(26.5), "major_outage"), (at(27), "operational")], until=at(48)
    )
    days = uptime.daily(spans, days=2, until=at(48), zone=NEW_YORK)
    assert [(day.day, day.worst) for day in days] == [
        (date(2019, 11, 1), "major_outage"),
        (date(2019, 11, 2), "operational"),
    ]


def test_the_day_the_clocks_go_back_has_twenty_five_hours() -> None:
    spans = uptime.spans([(START, "operational")], until=at(96))
    days = uptime.daily(spans, days=3, until=at(96), zone=NEW_YORK)
    assert {day.day: sum(day.seconds.values()) for day in days}[date(2019, 11, 3)] == 25 * 3600


def test_a_day_before_the_history_is_empty_and_not_well() -> None:
    days = uptime.daily(
        uptime.spans([(at(24), "operational")], until=at(47)),
        days=3,
        until=at(47),
        zone=ZoneInfo("UTC"),
    )
    assert [bool(day.seconds) for day in days] == [False, False, True]
    assert days[0].worst == "unknown"
