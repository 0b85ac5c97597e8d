"""Moving in from Statuspage: what is kept, what is not done twice, what is said."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from incidents import clock, reads, services
from incidents.lifecycle import Audience, Status
from incidents.models import Component, Group, Incident, StatusChange, Update
from notifications import outbox
from notifications.models import Broadcast
from tests import world
from tests.desk import oldpage
from tests.desk.oldpage import OldPage

pytestmark = pytest.mark.django_db


@pytest.fixture
def old() -> Iterator[OldPage]:
    rows = [oldpage.incident(number, updates=3) for number in range(1, 120)]
    rows += [oldpage.incident(number, updates=3, planned=True) for number in range(120, 131)]
    page = OldPage(rows[::-1])
    yield page
    page.stop()


def bring(old: OldPage, *words: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("import_statuspage", old.url, "--api", old.url, *words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.mark.parametrize("words", [[], ["--key", OldPage.key]], ids=["in public", "with a key"])
def test_history_components_and_groups_come_with_their_ids_and_dates(
    old: OldPage, words: list[str]
) -> None:
    world.person()
    said, progress = bring(old, *words)
    assert "130 incidents with 390 updates taken" in said
    assert "100 incidents read" in progress
    page = reads.the_page()
    assert (page.uid, page.name, page.time_zone) == ("abcdefghij12", "Old page", "America/New_York")
    assert Group.objects.get().uid == oldpage.uid("g", 1)
    assert sorted(Component.objects.values_list("uid", "slug")) == [
        (oldpage.uid("c", 1), "part-1"),
        (oldpage.uid("c", 2), "part-1-2"),
    ]
    row = Incident.objects.get(uid=oldpage.uid("i", 7))
    assert (row.name, row.status, row.impact) == ("Trouble 7", Status.RESOLVED, "major")
    assert oldpage.stamp(row.created_at) == "2024-01-01T07:00:00.000Z"
    assert [update.number for update in row.updates.order_by("display_at")] == [1, 2, 3]
    planned = Incident.objects.get(uid=oldpage.uid("i", 125))
    assert (planned.status, planned.scheduled_for) == (Status.COMPLETED, planned.started_at)
    outbox.open_entries(timezone.now())
    assert not Broadcast.objects.exists()
    assert set(Update.objects.values_list("audience", flat=True)) == {Audience.NOBODY}


def test_the_past_of_components_counts(old: OldPage) -> None:
    bring(old)
    statuses = StatusChange.objects.filter(component__uid=oldpage.uid("c", 1), at__year=2024)
    assert statuses.filter(status="major_outage").count() == 260


def test_a_second_run_changes_nothing_and_asks_little(old: OldPage) -> None:
    bring(old)
    before = list(Update.objects.order_by("pk").values())
    old.asked.clear()
    said, _ = bring(old)
    assert "0 incidents with 0 updates taken; 0 brought up to date; 61 here already" in said
    assert list(Update.objects.order_by("pk").values()) == before
    assert not [path for path in old.asked if path.startswith("/incidents/")]


def test_an_interrupted_import_goes_on_where_it_stopped(old: OldPage) -> None:
    old.breaks_after = 60
    with pytest.raises(CommandError, match="run this again to go on"):
        bring(old)
    taken = Incident.objects.count()
    assert 0 < taken < 130
    old.breaks_after = None
    said, _ = bring(old)
    assert Incident.objects.count() == 130
    assert f"{130 - taken} incidents" in said


def test_what_was_resolved_over_there_leaves_its_components_well(old: OldPage) -> None:
    row = oldpage.incident(200, updates=3)
    last = row["incident_updates"].pop(0) | {"affected_components": None}
    old.incidents = [row | {"status": "identified", "resolved_at": None}]
    old.components = [oldpage.component(1, status="major_outage", group_id=None)]
    bring(old)
    assert Component.objects.get().status == "major_outage"
    over = {"status": "resolved", "resolved_at": last["display_at"]}
    old.incidents = [row | over | {"incident_updates": [last, *row["incident_updates"]]}]
    bring(old)
    component = Component.objects.get()
    assert component.status == "operational"
    assert component.affected.get().status == "operational"
    assert StatusChange.objects.order_by("at", "id").last().status == "operational"  # type: ignore[union-attr]  # it is there


def test_what_got_worse_over_there_is_worse_here(old: OldPage) -> None:
    row = oldpage.incident(200, updates=3)
    said = row["incident_updates"][1:]
    row |= {"status": "identified", "resolved_at": None}
    said[1]["affected_components"][0]["new_status"] = "partial_outage"
    old.components = [oldpage.component(1, status="partial_outage", group_id=None)]
    old.incidents = [row | {"incident_updates": said[1:]}]
    bring(old)
    old.incidents = [row | {"incident_updates": said}]
    bring(old)
    assert Component.objects.get().status == "major_outage"


def test_what_went_on_over_there_is_added_and_what_went_on_here_is_left_alone(
    old: OldPage,
) -> None:
    open_there, spoken_here = oldpage.incident(200, updates=3), oldpage.incident(201, updates=3)
    for row in (open_there, spoken_here):
        last = row["incident_updates"].pop(0)
        row |= {"status": "identified", "resolved_at": None, "last": last}
    old.incidents = [spoken_here, open_there]
    bring(old)
    here = Incident.objects.get(uid=spoken_here["id"])
    services.publish_update(
        here, status=Status.MONITORING, body="We say it here now.", actor="ann", now=timezone.now()
    )
    for row in (open_there, spoken_here):
        row["incident_updates"].insert(0, row["last"])
        row |= {"status": "resolved", "resolved_at": row["last"]["display_at"]}
    said, _ = bring(old)
    assert "0 incidents with 1 updates taken; 1 brought up to date; 1 here already" in said
    assert Incident.objects.get(uid=open_there["id"]).status == Status.RESOLVED
    here.refresh_from_db()
    assert here.status == Status.MONITORING


@pytest.mark.parametrize(
    ("begins_in", "said"),
    [
        pytest.param(timedelta(days=-700), ["scheduled"], id="left planned two years ago"),
        pytest.param(timedelta(minutes=-1), ["scheduled"], id="begun a minute ago"),
        pytest.param(
            timedelta(days=1), ["scheduled", "in_progress", "completed"], id="ahead still"
        ),
    ],
)
def test_a_window_that_came_from_elsewhere_opens_here_only_when_it_is_ahead_and_to_nobody(
    old: OldPage, begins_in: timedelta, said: list[str]
) -> None:
    begins = timezone.now() + begins_in
    row = oldpage.incident(200, updates=3, planned=True)
    row |= {
        "status": "scheduled",
        "resolved_at": None,
        "incident_updates": row["incident_updates"][-1:],
        "scheduled_for": oldpage.stamp(begins),
        "scheduled_until": oldpage.stamp(begins + timedelta(hours=2)),
    }
    old.incidents = [row]
    bring(old)
    for hours in (1, 25, 27):
        clock.tick(timezone.now() + timedelta(hours=hours))
    there = Update.objects.order_by("number").values_list("status", "audience")
    assert list(there) == [(status, Audience.NOBODY) for status in said]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param(
            "ftp://x", "expected an address as https://status.example.com", id="no address"
        ),
        pytest.param("{url}/nothing", "answers 404; expected 200 and JSON", id="no Statuspage"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(old: OldPage, url: str, words: str) -> None:
    with pytest.raises(CommandError) as caught:
        call_command("import_statuspage", url.format(url=old.url))
    assert words in str(caught.value)
    assert not Incident.objects.exists()


def test_a_wrong_row_names_field_and_incident(old: OldPage) -> None:
    old.incidents[0] |= {"created_at": "yesterday"}
    with pytest.raises(CommandError, match=r"incident i0+130 cannot be read: created_at"):
        bring(old)
