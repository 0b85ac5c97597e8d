"""A page published by hand, with the database gone."""

import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from incidents.models import Component, Page
from public import clock, notice, watchdog
from tests import world
from tests.world import NOW

NOTICE = """
name: Followers may not receive readings
body: We are looking.
what_to_do: Check the wearer.
next_update_by: 2026-11-23T02:30:00Z
components: {follow: major_outage}
"""


def publish(*arguments: str) -> str:
    out = io.StringIO()
    call_command("publish", *arguments, stdout=out)
    return out.getvalue()


def by_hand(tmp_path: Path, text: str = NOTICE) -> str:
    file = tmp_path / "notice.yaml"
    file.write_text(text)
    return publish("--break-glass", str(file))


def test_without_any_database_a_notice_is_published(folder: Path, tmp_path: Path) -> None:
    # No django_db mark: a query would fail this test.
    assert "files written" in by_hand(tmp_path)
    page = (folder / "index.html").read_text()
    assert "Followers may not receive readings" in page
    assert "Check the wearer." in page
    banner = json.loads((folder / "banner.json").read_bytes())
    assert banner["state"] == "outage"
    assert banner["next_update_by"] == "2026-11-23T02:30:00.000Z"
    assert banner["valid_for_s"] > 3600
    summary = json.loads((folder / "api/v2/summary.json").read_bytes())
    assert summary["incidents"][0]["incident_updates"][0]["body"] == "We are looking."


@pytest.mark.django_db
def test_a_notice_keeps_the_page_s_id_its_parts_and_all_other_files(
    folder: Path, tmp_path: Path
) -> None:
    world.component("follow")
    world.component("login")
    old = world.incident(name="Earlier")
    clock.tick(NOW)
    before = json.loads((folder / "api/v2/status.json").read_bytes())["page"]["id"]
    by_hand(tmp_path)
    assert json.loads((folder / "api/v2/status.json").read_bytes())["page"]["id"] == before
    statuses = {
        row["slug"]: row["status"]
        for row in json.loads((folder / "banner.json").read_bytes())["components"]
    }
    assert statuses == {"follow": "major_outage", "login": "operational"}
    assert "Earlier" in (folder / "incidents" / old.uid).read_text()
    assert "Earlier" in (folder / "history.atom").read_text()


@pytest.mark.django_db
@pytest.mark.parametrize("languages", [["en", "es"], ["es", "en"]])
def test_a_notice_is_on_the_page_of_every_language(
    folder: Path, tmp_path: Path, languages: list[str]
) -> None:
    world.component("follow")
    Page.objects.update(languages=languages)
    clock.tick(NOW)
    by_hand(tmp_path)
    root, further = languages
    for path in ("index.html", "widget", "components/follow", f"incidents/{notice.UID}"):
        for code, shown in ((root, folder / path), (further, folder / further / path)):
            page = shown.read_text()
            assert f'<html lang="{code}"' in page, shown
            assert "Followers may not receive readings" in page, shown
    assert not (folder / root).exists()


@pytest.mark.django_db
def test_a_notice_makes_no_pages_of_a_language_that_there_was_not(
    folder: Path, tmp_path: Path
) -> None:
    world.component("follow")
    clock.tick(NOW)
    by_hand(tmp_path)
    assert not (folder / "es").exists()


def state_of(folder: Path) -> tuple[str, dict[str, str]]:
    banner = json.loads((folder / "banner.json").read_bytes())
    return banner["state"], {row["slug"]: row["status"] for row in banner["components"]}


@pytest.mark.django_db
def test_what_was_broken_or_unknown_does_not_become_well_by_a_notice_about_something_else(
    folder: Path, tmp_path: Path
) -> None:
    world.component("follow")
    world.component("login")
    world.component("alerts")
    Component.objects.filter(slug="login").update(status="major_outage")
    Component.objects.filter(slug="alerts").update(unknown_since=NOW, unknown_why="no prober")
    clock.tick(NOW)
    by_hand(tmp_path)
    assert state_of(folder) == (
        "outage",
        {"follow": "major_outage", "login": "major_outage", "alerts": "unknown"},
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("more", "state"),
    [
        pytest.param("", "outage", id="it names no component"),
        pytest.param("impact: minor", "degraded", id="it says how bad it is"),
        pytest.param("status: resolved", "operational", id="it is over"),
    ],
)
def test_a_notice_of_two_lines_does_not_turn_the_page_green(
    folder: Path, tmp_path: Path, more: str, state: str
) -> None:
    world.component("follow")
    clock.tick(NOW)
    by_hand(tmp_path, f"name: It is down\nbody: We are looking.\n{more}")
    assert state_of(folder) == (state, {"follow": "operational"})


@pytest.mark.django_db
def test_the_clock_leaves_a_notice_alone_until_the_database_is_to_speak_again(
    folder: Path, tmp_path: Path
) -> None:
    world.component("follow")
    clock.tick(NOW)
    by_hand(tmp_path)
    world.incident(name="From the database")
    clock.tick(NOW)
    assert "From the database" not in (folder / "index.html").read_text()
    publish()
    assert "From the database" in (folder / "index.html").read_text()
    assert not (folder / watchdog.HELD).exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("name: Down", "needs body", id="no text"),
        pytest.param("body: Down", "needs name", id="no name"),
        pytest.param("[1, 2]", "must hold keys", id="a list"),
        pytest.param("name: {", "neither YAML nor JSON", id="no YAML"),
        pytest.param(NOTICE + "colour: red", '"colour"', id="an unknown key"),
        pytest.param(NOTICE.replace("major_outage", "broken"), "components.follow", id="no status"),
        pytest.param(
            NOTICE.replace("2026-11-23T02:30:00Z", "soon"), "next_update_by", id="no time"
        ),
    ],
)
def test_a_wrong_notice_changes_nothing_and_says_why(
    folder: Path, tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        by_hand(tmp_path, text)
    assert not folder.exists()


def test_a_notice_that_is_not_there_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        publish("--break-glass", str(tmp_path / "nothing.yaml"))
