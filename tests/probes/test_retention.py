"""What is forgotten when, and what an incident keeps until its post-mortem."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from incidents import services as core
from incidents.models import Incident, PostMortem
from probes import retention
from probes.models import Check, CurrentVerdict, Location, Result, Rollup, Span, VerdictChange
from tests.probes.test_rollups import NOON, a_check

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def check() -> Check:
    check = a_check("journey")
    follow = core.add_component(
        page=check.page, slug="follow", name="Readings", actor="test", now=NOON
    )
    CurrentVerdict.objects.create(of_check=check, component=follow, word="up")
    return check


def keep(check: Check, *instants: datetime, **more: Any) -> None:
    """Let results be there, as if recorded then."""
    local = Location.objects.get(name="local")
    Result.objects.bulk_create(
        Result(
            of_check=check, location=local, sequence=int(at.timestamp() * 1000), at=at,
            received_at=at, outcome="ok", first_outcome="ok", **more,
        )
        for at in instants
    )  # fmt: skip


def incident(check: Check, *, begins: datetime, ends: datetime | None, **more: Any) -> Incident:
    """An incident of what the check watches."""
    row = Incident.objects.create(
        page=check.page, name="Follow is down", started_at=begins, published_at=begins,
        resolved_at=ends, status="resolved" if ends else "investigating", **more,
    )  # fmt: skip
    for current in check.current.all():
        row.affected.create(component=current.component, status="major_outage")
    return row


def left() -> list[datetime]:
    return list(Result.objects.order_by("at").values_list("at", flat=True))


def forget(now: datetime, *, passes: int = 1) -> None:
    for _ in range(passes):
        retention.forget(now)


def test_a_result_is_forgotten_after_48_hours_and_not_before(check: Check) -> None:
    keep(check, NOON - 48 * HOUR - timedelta(seconds=1), NOON - 48 * HOUR + timedelta(seconds=1))

    forget(NOON)

    assert left() == [NOON - 48 * HOUR + timedelta(seconds=1)]


@pytest.mark.parametrize(
    ("span", "days"),
    [
        pytest.param(span, days, id=span)
        for span, days in (("minute", 8), ("hour", 100), ("day", 800))
    ],
)
def test_counts_are_forgotten_by_their_span(check: Check, span: str, days: int) -> None:
    local = Location.objects.get(name="local")
    for at in (NOON - days * DAY - HOUR, NOON - days * DAY + HOUR):
        Rollup.objects.create(of_check=check, location=local, span=Span(span), at=at)

    forget(NOON)

    assert Rollup.objects.get().at == NOON - days * DAY + HOUR


def test_an_incident_keeps_its_window_of_the_checks_that_watch_its_components(
    check: Check,
) -> None:
    other = a_check("other")
    begins, ends = NOON - 5 * DAY, NOON - 5 * DAY + 2 * HOUR
    window = [begins - HOUR, begins, ends + HOUR]
    outside = [begins - HOUR - timedelta(seconds=1), ends + HOUR + timedelta(seconds=1)]
    keep(check, *window, *outside)
    keep(other, begins)
    incident(check, begins=begins, ends=ends)

    forget(NOON)

    assert left() == window
    assert set(Result.objects.values_list("of_check__slug", flat=True)) == {"journey"}


def test_an_open_incident_keeps_all_since_it_began(check: Check) -> None:
    begins = NOON - 10 * DAY
    keep(check, begins - DAY, begins, NOON - 3 * DAY)
    incident(check, begins=begins, ends=None)

    forget(NOON)

    assert left() == [begins, NOON - 3 * DAY]


def test_nothing_is_kept_for_longer_than_30_days(check: Check) -> None:
    begins = NOON - 40 * DAY
    keep(check, begins, NOON - 31 * DAY, NOON - 29 * DAY)
    incident(check, begins=begins, ends=None)

    forget(NOON)
    assert left() == [NOON - 29 * DAY]
    forget(NOON + 2 * DAY)
    assert left() == []


def test_the_post_mortem_lets_go(check: Check) -> None:
    at = NOON - 5 * DAY
    keep(check, at)
    row = incident(check, begins=at, ends=at + HOUR)
    forget(NOON)
    written = PostMortem.objects.create(incident=row, body_draft="We fell asleep.")
    forget(NOON)
    assert left() == [at]

    written.published_at = NOON
    written.save()
    forget(NOON + timedelta(seconds=1))

    assert left() == []


def test_what_another_incident_still_needs_stays_after_the_post_mortem_of_the_first(
    check: Check,
) -> None:
    at = NOON - 5 * DAY
    keep(check, at, at + 4 * HOUR)
    told = incident(check, begins=at, ends=at + 4 * HOUR)
    incident(check, begins=at + 4 * HOUR, ends=at + 5 * HOUR)
    forget(NOON)
    PostMortem.objects.create(incident=told, body="…", published_at=NOON)

    forget(NOON + timedelta(seconds=1), passes=3)

    assert left() == [at + 4 * HOUR]


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"vetoed_at": NOON}, id="a vetoed draft"),
        pytest.param({"status": "completed", "scheduled_for": NOON - 5 * DAY}, id="a maintenance"),
    ],
)
def test_keeps_nothing(check: Check, more: dict[str, Any]) -> None:
    at = NOON - 5 * DAY
    keep(check, at)
    row = incident(check, begins=at, ends=at + HOUR)
    Incident.objects.filter(pk=row.pk).update(**more)

    forget(NOON)

    assert left() == []


def test_the_check_that_raised_the_alarm_is_kept_even_when_it_watches_nothing_now(
    check: Check,
) -> None:
    at = NOON - 5 * DAY
    keep(check, at)
    CurrentVerdict.objects.all().delete()
    incident(check, begins=at, ends=at + HOUR, source={"check": "journey"})

    forget(NOON)

    assert left() == [at]


def test_a_check_that_was_switched_off_since_keeps_its_results(check: Check) -> None:
    at = NOON - 5 * DAY
    keep(check, at)
    row = incident(check, begins=at, ends=at + HOUR)
    VerdictChange.objects.create(
        of_check=check, component=row.components.get(), new="outage", at=at
    )
    CurrentVerdict.objects.all().delete()

    forget(NOON)

    assert left() == [at]


def test_each_pass_is_bounded_and_pinned_rows_do_not_stand_in_the_way(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "DELETED_MAX", 10)
    begins = NOON - 5 * DAY
    kept = [begins + timedelta(seconds=each) for each in range(25)]
    gone = [begins + 3 * HOUR + timedelta(seconds=each) for each in range(25)]
    keep(check, *kept, *gone)
    incident(check, begins=begins, ends=begins + HOUR)

    forget(NOON)
    assert len(left()) == 50
    forget(NOON, passes=5)

    assert left() == kept


def test_a_pass_with_nothing_to_do_asks_little(check: Check) -> None:
    keep(check, *(NOON - each * HOUR for each in range(1, 40)))
    incident(check, begins=NOON - HOUR, ends=None)

    with CaptureQueriesContext(connection) as asked:
        forget(NOON)

    # Too old to be pinned, post-mortems of late, results, and the roll-ups of three spans.
    assert len(asked) == 6
    assert all(query["sql"].startswith("SELECT") for query in asked)
