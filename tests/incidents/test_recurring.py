"""Maintenance that comes again, and two incidents that are one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from incidents import clock, joining, recurring, services
from incidents.lifecycle import Audience, ComponentStatus, Refused, Status
from incidents.models import Incident, Series
from tests import world

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
NOW = datetime(2031, 3, 1, 12, tzinfo=UTC)


def series(rule: str = "FREQ=WEEKLY", **words: Any) -> Series:  # Any: begin()'s words
    page = world.page()
    page.time_zone = "America/New_York"
    page.save()
    told: dict[str, Any] = {
        "page": page, "name": "Weekly work", "body": "We move servers.", "rule": rule, "actor": "ann", "now": NOW,
        "starts_at": datetime(2031, 3, 4, 7, tzinfo=UTC), "duration": timedelta(hours=1),
    }  # fmt: skip
    return recurring.begin(**(told | words))


def test_windows_are_announced_once_each_when_they_come_near() -> None:
    series(components=[world.component()])
    for day in range(10):
        clock.tick(NOW + day * DAY)
        clock.tick(NOW + day * DAY)
    windows = Incident.objects.order_by("scheduled_for").values_list("scheduled_for", flat=True)
    assert [f"{at:%m-%d %H:%M}" for at in windows if at] == ["03-04 07:00", "03-11 06:00"]


def test_a_window_keeps_its_hour_on_the_wall_when_the_clocks_change() -> None:
    """New York springs forward on 9 March 2031: two in the night stays two in the night."""
    starts = [at for at, _ in zip(recurring.windows(series(), after=NOW), range(2), strict=False)]
    assert [f"{at:%m-%d %H}" for at in starts] == ["03-04 07", "03-11 06"]


def test_those_who_follow_are_reminded_once_and_the_window_opens_and_closes_by_itself() -> None:
    row = series(remind_before=DAY)
    recurring.announce(row, now=NOW)
    for hours in (0, 43, 44, 67.5, 68.5, 90):
        clock.tick(NOW + timedelta(hours=hours))
    incident = Incident.objects.order_by("scheduled_for")[0]
    said = [update.body for update in incident.updates.order_by("number")]
    assert [text.split(".")[0] for text in said] == [
        "We move servers", "A reminder: this maintenance comes near", "The maintenance has begun",
        "The maintenance is over",
    ]  # fmt: skip


@pytest.mark.parametrize("audience", [Audience.EVERYONE, Audience.NOBODY])
def test_what_the_clock_says_of_a_maintenance_goes_to_those_who_heard_of_it_first(
    audience: Audience,
) -> None:
    incident = services.schedule(
        page=world.page(), name="Works", body="We move servers.", scheduled_for=NOW + DAY, audience=audience,
        scheduled_until=NOW + DAY + timedelta(hours=1), remind_at=NOW + DAY / 2, actor="ann", now=NOW,
    )  # fmt: skip
    for hours in (13, 24, 25):
        clock.tick(NOW + timedelta(hours=hours))
    said = incident.updates.order_by("number")
    assert [update.status for update in said][1:] == ["scheduled", "in_progress", "completed"]
    assert {update.audience for update in said} == {audience}


def test_a_maintenance_told_later_to_everyone_begins_and_ends_for_everyone() -> None:
    incident = services.schedule(
        page=world.page(), name="Works", body="We move servers.", scheduled_for=NOW + DAY, audience=Audience.NOBODY,
        scheduled_until=NOW + DAY + timedelta(hours=1), actor="ann", now=NOW,
    )  # fmt: skip
    services.publish_update(
        incident, status=Status.SCHEDULED, body="Tonight.", actor="ann", now=NOW + DAY / 2
    )
    for hours in (24, 25):
        clock.tick(NOW + timedelta(hours=hours))
    said = incident.updates.order_by("number").values_list("audience", flat=True)
    assert list(said) == ["nobody", "everyone", "everyone", "everyone"]


def test_an_ended_series_announces_nothing_more() -> None:
    row = series()
    recurring.end(row, actor="ann", now=NOW)
    assert recurring.announce(row, now=NOW + 30 * DAY) == []


def test_a_series_that_slept_for_months_announces_no_window_of_the_past() -> None:
    made = recurring.announce(series(), now=NOW + 100 * DAY)
    assert made
    assert all(row.scheduled_for and row.scheduled_for > NOW + 100 * DAY for row in made)


@pytest.mark.parametrize(
    ("rule", "words"),
    [pytest.param("every week", "is not an RRULE", id="no rule"),
     pytest.param("FREQ=SECONDLY", "FREQ=DAILY or rarer", id="too often"),
     pytest.param("FREQ=WEEKLY;UNTIL=20300101T000000Z", "no window after now", id="over already"),
     pytest.param("FREQ=WEEKLY;" + "X" * 300, "allowed are 255", id="too long")],
)  # fmt: skip
def test_a_wrong_rule_is_refused_in_words(rule: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        series(rule)
    assert not Series.objects.exists()


# --- two incidents that are one ---------------------------------------------------------------------------------------


def test_a_merged_incident_goes_on_in_the_other_one() -> None:
    login, follow = world.component("login"), world.component()
    one, other = (
        world.incident(login, name="Log-in fails"),
        world.incident(follow, name="Follow is down"),
    )
    said = joining.merge(one, into=other, actor="ann", now=world.NOW)
    one.refresh_from_db()
    assert (one.status, one.merged_into) == (Status.RESOLVED, other)
    assert one.updates.order_by("-number")[0].audience == Audience.NOBODY
    assert said
    assert said.changes[0]["new_status"] == ComponentStatus.MAJOR_OUTAGE
    login.refresh_from_db()
    assert login.status == ComponentStatus.MAJOR_OUTAGE


def test_a_merged_draft_does_not_go_out() -> None:
    draft = world.incident(world.component(), published=False)
    joining.merge(draft, into=world.incident(world.component("login")), actor="ann", now=world.NOW)
    draft.refresh_from_db()
    assert draft.vetoed_at
    assert draft.published_at is None


def test_an_incident_is_not_merged_into_itself_nor_into_one_that_is_over() -> None:
    one = world.incident(world.component())
    over = world.incident(world.component("login"), status=Status.RESOLVED)
    for into, words in ((one, "into itself"), (over, "is not open")):
        with pytest.raises(Refused, match=words):
            joining.merge(one, into=into, actor="ann", now=world.NOW)
