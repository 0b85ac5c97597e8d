"""From the database to files: what the clock publishes, and what it then knows as shown."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries, Settings

from incidents import services
from incidents.lifecycle import ComponentStatus, Status
from incidents.models import Group, Incident, Page, Pulse, Update
from public import clock, snapshot
from tests import world
from tests.world import NOW

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


def read(folder: Path, path: str) -> str:
    return (folder / path).read_text(encoding="utf-8")


def test_an_update_is_on_the_index_before_it_counts_as_shown(folder: Path) -> None:
    incident = world.incident(world.component())
    assert not Update.objects.filter(shown_at__isnull=False).exists()
    clock.tick(NOW)
    assert incident.name in read(folder, "index.html")
    assert Update.objects.get().shown_at is not None


def test_nothing_counts_as_shown_when_the_folder_cannot_be_written(folder: Path) -> None:
    world.incident(world.component())
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where the folder should be")
    clock.tick(NOW)
    assert not Update.objects.filter(shown_at__isnull=False).exists()
    assert not Pulse.objects.filter(name="publisher").exists()


def test_the_publisher_recovers_when_the_folder_can_be_written_again(folder: Path) -> None:
    world.incident(world.component())
    folder.write_text("a file where the folder should be")
    clock.tick(NOW)
    folder.unlink()
    clock.tick(NOW + SECOND)
    assert Update.objects.get().shown_at is not None
    assert Pulse.objects.filter(name="publisher").exists()


def test_a_draft_is_nowhere(folder: Path) -> None:
    world.incident(world.component(), name="Only a draft", body="Secret so far", published=False)
    clock.tick(NOW)
    files = [
        path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".gz", ".br")
    ]
    assert len(files) > 20
    for path in files:
        assert "Only a draft" not in path.read_text(), path
        assert "Secret so far" not in path.read_text(), path


def test_a_quiet_second_costs_three_queries_and_no_file(
    folder: Path, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    world.component()
    clock.tick(NOW)
    before = (folder / "index.html").stat().st_mtime_ns
    with django_assert_num_queries(3):
        clock.tick(NOW + SECOND)
    assert (folder / "index.html").stat().st_mtime_ns == before


def test_every_ten_seconds_the_index_tells_a_new_age(folder: Path) -> None:
    clock.tick(NOW)
    before = {path: (folder / path).stat().st_mtime_ns for path in
              ("index.html", "banner.json", "api/v2/status.json", "api/v2/summary.json", "history.rss")}  # fmt: skip
    clock.tick(NOW + 10 * SECOND)
    rewritten = {path for path, at in before.items() if (folder / path).stat().st_mtime_ns != at}
    assert rewritten == set(before) - {"history.rss"}
    age = json.loads(read(folder, "banner.json"))["generated_at"]
    assert age == (NOW + 10 * SECOND).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def test_a_change_shows_in_the_next_second_everywhere(folder: Path) -> None:
    hurt = world.component()
    clock.tick(NOW)
    incident = world.incident(hurt, now=NOW)
    clock.tick(NOW + SECOND)
    assert json.loads(read(folder, "api/v2/summary.json"))["incidents"][0]["id"] == incident.uid
    assert json.loads(read(folder, "banner.json"))["state"] == "outage"
    assert incident.name in read(folder, f"incidents/{incident.uid}")
    assert incident.name in read(folder, "history.atom")
    assert "not working" in read(folder, "badge/follow.svg")


def test_an_unknown_component_shows_in_the_next_second(folder: Path) -> None:
    hurt = world.component()
    clock.tick(NOW)
    services.set_unknown(hurt, why="checks are not running", since=NOW, now=NOW + SECOND)
    clock.tick(NOW + SECOND)
    assert "checks are not running" in read(folder, "index.html")
    assert json.loads(read(folder, "api/v2/status.json"))["status"]["indicator"] == "minor"


def test_an_edit_shows_in_the_next_second(folder: Path) -> None:
    incident = world.incident(world.component())
    clock.tick(NOW)
    services.edit(incident.updates.get(), body="Corrected words", actor="ann", now=NOW + SECOND)
    clock.tick(NOW + SECOND)
    page = read(folder, f"incidents/{incident.uid}")
    assert "Corrected words" in page
    assert ", edited" in page


def test_a_backfilled_incident_of_long_ago_gets_its_page(folder: Path) -> None:
    long_ago = NOW - timedelta(days=400)
    old = services.declare(
        page=world.page(), name="Of long ago", body="Over.", status=Status.RESOLVED, backfilled=True,
        started_at=long_ago, actor="ann", now=NOW,
    )  # fmt: skip
    Incident.objects.update(updated_at=long_ago)
    clock.tick(NOW)
    assert old.name in read(folder, f"incidents/{old.uid}")


def test_a_deleted_incident_loses_its_page_and_others_keep_theirs(folder: Path) -> None:
    gone, kept = world.incident(name="Gone"), world.incident(name="Kept")
    clock.tick(NOW)
    Incident.objects.filter(pk=gone.pk).delete()
    Page.objects.update(updated_at=NOW + SECOND)
    clock.tick(NOW + SECOND)
    assert not (folder / "incidents" / gone.uid).exists()
    assert not (folder / "incidents" / f"{gone.uid}.gz").exists()
    assert (folder / "incidents" / kept.uid).exists()


@pytest.mark.slow
def test_a_new_folder_gets_old_incidents_back(
    folder: Path, settings: Settings, tmp_path: Path
) -> None:
    old = [_old_incident(number) for number in range(60)]
    clock.tick(NOW)
    Update.objects.update(shown_at=NOW)
    settings.PUBLISH_DIR = tmp_path / "second"
    for number in range(3):
        clock.tick(NOW + number * 10 * SECOND)
    for incident in old:
        assert (tmp_path / "second" / "incidents" / incident.uid).exists()


def _old_incident(number: int) -> Incident:
    at = NOW - timedelta(days=100 + number)
    made = services.declare(
        page=world.page(), name=f"Old {number}", body="Over.", actor="ann", now=at
    )
    services.publish_update(made, status=Status.RESOLVED, body="Over.", actor="ann", now=at)
    return made


@pytest.mark.parametrize("incidents", [1, 12])
def test_a_snapshot_costs_the_same_number_of_queries(incidents: int) -> None:
    group = Group.objects.create(page=world.page(), name="App")
    parts = [world.component(f"part-{number}") for number in range(incidents)]
    for part in parts:
        part.group = group
        part.save()
        world.incident(part)
    with CaptureQueriesContext(connection) as counted:
        taken = snapshot.take(NOW)
    assert len(taken.incidents) == incidents
    assert len(counted) == 12  # two of them once an hour: what checks took


def test_a_snapshot_knows_where_and_when_was_last_checked() -> None:
    seen = {"a": NOW - 9 * SECOND, "b": NOW - 30 * SECOND, "gone": NOW - timedelta(hours=1)}
    note = {"locations": {name: at.isoformat() for name, at in seen.items()}}
    Pulse.objects.create(name="probes", at=NOW, note=note)
    assert snapshot.take(NOW).checked == snapshot.Checked(seen["a"], 2)


@pytest.mark.parametrize(
    "note", [{}, {"locations": {}}, {"locations": []}, {"locations": {"a": "soon", "b": 4}}]
)
def test_a_pulse_that_says_nothing_is_no_check(note: dict[str, object]) -> None:
    Pulse.objects.create(name="probes", at=NOW, note=note)
    assert snapshot.take(NOW).checked is None


def test_the_bars_begin_with_what_was_before_the_window() -> None:
    hurt = world.component()
    services.set_status(hurt, status=ComponentStatus.MAJOR_OUTAGE, actor="ann", now=NOW)
    later = NOW + timedelta(days=120)
    ((uid, changes),) = snapshot.take(later).history
    assert uid == hurt.uid
    hour = later.replace(minute=0, second=0, microsecond=0)
    assert changes == ((hour - snapshot.BARS, "major_outage"),)
