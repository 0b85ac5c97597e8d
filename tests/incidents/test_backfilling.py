"""A past incident is laid over what is recorded: it adds trouble and takes none away."""

from datetime import datetime, timedelta

import pytest

from incidents import services, uptime
from incidents.backfilling import backfill
from incidents.lifecycle import ComponentStatus
from incidents.models import Component, Incident, StatusChange
from tests import world

pytestmark = pytest.mark.django_db

DAY = world.NOW - timedelta(days=1)
MAJOR, PARTIAL = ComponentStatus.MAJOR_OUTAGE, ComponentStatus.PARTIAL_OUTAGE


def hour(hours: float) -> datetime:
    return DAY + timedelta(hours=hours)


@pytest.fixture
def follow() -> Component:
    row = world.component()
    StatusChange.objects.filter(component=row).update(at=DAY - timedelta(days=1))
    return row


def recorded(row: Component, *changes: tuple[float, str]) -> None:
    """Write down what was seen: (hour of the day, status)."""
    for hours, status in changes:
        StatusChange.objects.create(component=row, status=status, at=hour(hours), actor="probes")


def write_down(row: Component, status: ComponentStatus, began: float, ended: float) -> Incident:
    return backfill(
        page=row.page,
        name="Of yesterday",
        body="It began earlier than we saw.",
        started_at=hour(began),
        ended_at=hour(ended),
        components={row: status},
        actor="ann",
        now=world.NOW,
    )


def history(row: Component) -> list[tuple[float, str]]:
    """Return since which hour it was what, one entry for each turn."""
    rows = StatusChange.objects.filter(component=row).order_by("at", "id")
    turns: list[tuple[float, str]] = []
    for span in uptime.spans(list(rows.values_list("at", "status")), until=world.NOW):
        if not turns or turns[-1][1] != span.status:
            turns.append(((span.start - DAY) / timedelta(hours=1), span.status))
    return turns[1:]


@pytest.mark.parametrize(
    ("before", "written", "after"),
    [
        pytest.param(
            [], (MAJOR, 1, 2), [(1, "major_outage"), (2, "operational")], id="nothing was recorded"
        ),
        pytest.param(
            [(2, "major_outage"), (4, "operational")],
            (MAJOR, 1, 2.2),
            [(1, "major_outage"), (4, "operational")],
            id="it began earlier",
        ),
        pytest.param(
            [(2, "major_outage"), (4, "operational")],
            (PARTIAL, 1, 5),
            [(1, "partial_outage"), (2, "major_outage"), (4, "partial_outage"), (5, "operational")],
            id="what was graver stays",
        ),
        pytest.param(
            [(2, "partial_outage"), (4, "operational")],
            (MAJOR, 3, 3.5),
            [
                (2, "partial_outage"),
                (3, "major_outage"),
                (3.5, "partial_outage"),
                (4, "operational"),
            ],
            id="worse than was seen for a while",
        ),
        pytest.param(
            [(2, "major_outage")],
            (MAJOR, 1, 3),
            [(1, "major_outage")],
            id="an outage that goes on",
        ),
        pytest.param(
            [(2, "major_outage"), (2, "operational"), (2, "partial_outage"), (4, "operational")],
            (ComponentStatus.DEGRADED_PERFORMANCE, 1, 3),
            [(1, "degraded_performance"), (2, "partial_outage"), (4, "operational")],
            id="of two at one moment the later counts",
        ),
        pytest.param(
            [(2, "unknown"), (4, "operational")],
            (MAJOR, 1, 3),
            [(1, "major_outage"), (3, "unknown"), (4, "operational")],
            id="who was there knows more than no check",
        ),
        pytest.param(
            [(2, "major_outage"), (4, "operational")],
            (MAJOR, 1, 4),
            [(1, "major_outage"), (4, "operational")],
            id="both end at one moment",
        ),
        pytest.param(
            [(2, "major_outage"), (4, "operational")],
            (ComponentStatus.OPERATIONAL, 1, 3),
            [(2, "major_outage"), (4, "operational")],
            id="a component that was well takes nothing away",
        ),
    ],
)
def test_a_past_incident_adds_trouble_and_takes_none_away(
    follow: Component,
    before: list[tuple[float, str]],
    written: tuple[ComponentStatus, float, float],
    after: list[tuple[float, str]],
) -> None:
    recorded(follow, *before)

    write_down(follow, *written)

    assert history(follow) == after


def test_two_that_are_written_down_one_over_the_other_add_up(follow: Component) -> None:
    write_down(follow, PARTIAL, 1, 4)
    write_down(follow, MAJOR, 2, 3)
    write_down(follow, PARTIAL, 2.5, 5)

    assert history(follow) == [
        (1, "partial_outage"),
        (2, "major_outage"),
        (3, "partial_outage"),
        (5, "operational"),
    ]


def test_its_updates_say_how_the_component_was_then(follow: Component) -> None:
    recorded(follow, (2, "major_outage"), (4, "operational"))

    incident = write_down(follow, PARTIAL, 1, 3)

    said = [
        (change["old_status"], change["new_status"])
        for update in incident.updates.order_by("number")
        for change in update.changes
    ]
    assert said == [("operational", "partial_outage"), ("major_outage", "major_outage")]
    follow.refresh_from_db()
    assert follow.status == ComponentStatus.OPERATIONAL


def test_an_outage_that_goes_on_stays_what_readers_see(follow: Component) -> None:
    services.set_status(follow, status=MAJOR, actor="ann", now=hour(2))

    write_down(follow, MAJOR, 1, 3)

    follow.refresh_from_db()
    assert follow.status == MAJOR
    assert history(follow) == [(1, "major_outage")]
