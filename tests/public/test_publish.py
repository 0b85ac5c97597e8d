"""Files: written when they change, whole, compressed, the index last; and to mirrors."""

import gzip
import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import brotli
import pytest

from public import files as files_of
from public import watchdog
from public.publish import Publisher
from public.snapshot import Snapshot
from tests.public.breaking import put_folder_in_place_of
from tests.public.cast import NOW, PAGE, component, incident, maintenance, row, snapshot

LATER = NOW + timedelta(seconds=10)


def files(folder: Path) -> dict[str, int]:
    """Return when each file was written."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_url_s_file_has_the_url_s_own_path(tmp_path: Path) -> None:
    Publisher(tmp_path).publish(snapshot(incident(), maintenance()))
    for path in (
        "index.html", "history", "incidents/incident0001", "maintenance/maintenance1", "incidents/maintenance1",
        "components/follow", "history.rss", "history.atom", "banner.json", "banner.es.json", "banner.js",
        "badge.svg", "badge/follow.svg", "api/v2/incidents.json", "api/v2/incidents/unresolved.json",
        "api/v2/scheduled-maintenances/active.json", "page.css", "page.js", "favicon.svg",
    ):  # fmt: skip
        assert (tmp_path / path).is_file(), path


def test_every_file_has_a_compressed_twin_of_the_same_content(tmp_path: Path) -> None:
    Publisher(tmp_path).publish(snapshot(incident()))
    plain = [
        path
        for path in files(tmp_path)
        if files_of.has_twins(path) and not files_of.is_twin(path) and not path.startswith(".")
    ]
    assert len(plain) > 20
    for path in plain:
        body = (tmp_path / path).read_bytes()
        assert gzip.decompress((tmp_path / f"{path}.gz").read_bytes()) == body
        assert brotli.decompress((tmp_path / f"{path}.br").read_bytes()) == body


def test_no_half_written_file_is_left(tmp_path: Path) -> None:
    Publisher(tmp_path).publish(snapshot(incident()))
    assert not [path for path in files(tmp_path) if path.endswith(".tmp")]


def test_the_index_is_written_after_all_else(tmp_path: Path) -> None:
    Publisher(tmp_path).publish(snapshot(incident()))
    written = files(tmp_path)
    newest = max(
        at
        for path, at in written.items()
        if not path.startswith(("index.html", "now.json", ".published"))
    )
    assert written["index.html"] >= newest
    # What an open page asks before it fetches the index again.
    assert written["now.json"] >= written["index.html"]
    assert written[".published"] >= written["now.json"]


def test_what_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    publisher.publish(snapshot(incident(), now=NOW))
    before = files(tmp_path)
    publisher.publish(snapshot(incident(), now=NOW, page=replace(PAGE, updated_at=LATER)))
    changed = {path for path, at in files(tmp_path).items() if before[path] != at}
    assert {"api/v2/status.json", "api/v2/incidents.json"} <= changed
    assert (
        not {"page.css", "incidents/incident0001", "badge.svg", "components/follow", "history.rss"}
        & changed
    )


@pytest.mark.parametrize("path", ["page.css", "components/follow", "history.rss", "badge.svg", ".unknown/index.html",
                                  ".unknown/components/follow"])  # fmt: skip
def test_what_was_deleted_by_hand_is_written_again(tmp_path: Path, path: str) -> None:
    publisher = Publisher(tmp_path)
    publisher.publish(snapshot(incident()))
    body = (tmp_path / path).read_bytes()
    (tmp_path / path).unlink()
    publisher.publish(snapshot(incident()))
    assert (tmp_path / path).read_bytes() == body


def test_files_can_be_read_by_a_web_server_of_another_user(tmp_path: Path) -> None:
    Publisher(tmp_path).publish(snapshot())
    assert os.stat(tmp_path / "index.html").st_mode & 0o777 == 0o644


def test_a_component_that_is_gone_loses_its_files(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    publisher.publish(snapshot(components=(component(), component("web"))))
    publisher.publish(snapshot(components=(component(),)))
    assert (tmp_path / "components/follow").exists()
    assert not (tmp_path / "components/web").exists()
    assert not (tmp_path / "badge/web.svg").exists()


def test_a_mirror_gets_the_same_files_and_loses_the_same(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "here", [str(tmp_path / "there")])
    publisher.publish(snapshot(components=(component(), component("web"))))
    publisher.publish(snapshot(components=(component(),)))
    publisher.finish_mirrors(10)
    for path in ("index.html", "index.html.gz", "api/v2/summary.json", "badge/follow.svg"):
        assert (tmp_path / "there" / path).read_bytes() == (tmp_path / "here" / path).read_bytes()
    assert not (tmp_path / "there/components/web").exists()


def test_a_watchdog_at_a_mirror_tells_there_that_nobody_publishes(tmp_path: Path) -> None:
    there = tmp_path / "there"
    publisher = Publisher(tmp_path / "here", [str(there)])
    publisher.publish(snapshot())
    publisher.finish_mirrors(10)
    silent = (there / watchdog.STAMP).stat().st_mtime + watchdog.SILENT_S + 1
    assert watchdog.watch(there, silent)
    assert json.loads((there / "banner.json").read_bytes())["state"] == "unknown"
    publisher.publish(snapshot(now=LATER), everything=False)
    publisher.finish_mirrors(10)
    for path in ("index.html", "banner.json", "badge.svg", "components/follow"):
        assert (there / path).read_bytes() == (tmp_path / "here" / path).read_bytes()


def test_a_new_mirror_gets_the_pages_of_long_ago(tmp_path: Path) -> None:
    old = incident(uid="incident0009")
    Publisher(tmp_path / "here").publish(snapshot(old))
    taken = snapshot(incident(), archive=(row(incident()), row(old)))
    publisher = Publisher(tmp_path / "here", [str(tmp_path / "there")])
    publisher.publish(taken)
    publisher.finish_mirrors(10)
    assert (tmp_path / "there/incidents/incident0009").exists()
    assert (tmp_path / "there/incidents/incident0009.br").exists()


def test_a_broken_mirror_holds_nobody_up_and_catches_up(tmp_path: Path) -> None:
    mirror = tmp_path / "there"
    mirror.write_text("a file where the folder should be")
    publisher = Publisher(tmp_path / "here", [str(mirror)])
    publisher.publish(snapshot())
    publisher.finish_mirrors(10)
    assert (tmp_path / "here/index.html").exists()
    mirror.unlink()
    publisher.publish(snapshot(now=LATER), everything=False)
    publisher.finish_mirrors(10)
    assert (mirror / "page.css").exists()
    assert (mirror / "index.html").read_bytes() == (tmp_path / "here/index.html").read_bytes()


def test_a_mirror_loses_what_was_deleted_while_it_was_away_and_the_clock_restarted(
    tmp_path: Path,
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    in_spanish = replace(PAGE, languages=("en", "es"))
    past = (row(incident(uid="incident0009")),)
    before = snapshot(incident(), components=(component(), component("web")), page=in_spanish)
    published_to(here, there, before)
    theirs = ["own.txt", "es/team.html", "incidents/2019.html", "components/button.css"]
    for name in theirs:
        (there / name).write_text("not ours")
    after = replace(snapshot(), archive=past)
    Publisher(here).publish(after)  # the mirror is away
    published_to(here, there, after)
    gone = ["badge/web.svg", "components/web", "components/web.rss", "incidents/incident0001", "es/index.html",
            "badge/web.svg.gz", ".unknown/components/web"]  # fmt: skip
    assert [path for path in gone if (there / path).exists()] == []
    assert (there / "components/follow").exists()
    assert [name for name in theirs if not (there / name).exists()] == []


def test_a_wrong_database_takes_nothing_from_a_mirror(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    published_to(here, there, snapshot(incident()))
    published_to(tmp_path / "new", there, snapshot(components=()))
    assert (there / "incidents/incident0001").exists()
    assert (there / "components/follow").exists()


def test_a_notice_by_hand_takes_nothing_from_a_mirror(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    published_to(here, there, snapshot(incident(), components=(component(), component("web"))))
    anew = Publisher(tmp_path / "anew", [str(there)])
    anew.publish_notice(snapshot())
    anew.finish_mirrors(10)
    assert (there / "badge/web.svg").exists()
    assert (there / "incidents/incident0001").exists()


def published_to(folder: Path, mirror: Path, taken: Snapshot) -> None:
    """Publish as a process that has just begun."""
    publisher = Publisher(folder, [str(mirror)])
    publisher.publish(taken)
    publisher.finish_mirrors(10)


def test_an_open_incident_s_page_turns_overdue_without_news(tmp_path: Path) -> None:
    promised = incident(next_update_by=NOW + timedelta(seconds=5))
    publisher = Publisher(tmp_path)
    publisher.publish(snapshot(promised))
    assert "Next update by" in (tmp_path / "incidents/incident0001").read_text()
    publisher.publish(snapshot(promised, now=LATER), everything=False)
    assert "overdue since" in (tmp_path / "incidents/incident0001").read_text()


def test_after_the_watchdog_everything_is_written_again(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    publisher.publish(snapshot())
    stamp = (tmp_path / watchdog.STAMP).stat().st_mtime
    assert watchdog.watch(tmp_path, stamp + 91)
    assert b"unknown" in (tmp_path / "badge.svg").read_bytes()
    publisher.publish(snapshot(now=LATER), everything=False)
    assert b"unknown" not in (tmp_path / "badge.svg").read_bytes()
    assert b"Everything is working" in (tmp_path / "index.html").read_bytes()


def test_after_the_watchdog_all_is_written_again_until_all_of_it_is_there(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    publisher.publish(snapshot())
    assert watchdog.watch(tmp_path, (tmp_path / watchdog.STAMP).stat().st_mtime + 91)
    put_folder_in_place_of(tmp_path / "badge/follow.svg")
    with pytest.raises(OSError):
        publisher.publish(snapshot(now=LATER), everything=False)
    (tmp_path / "badge/follow.svg").rmdir()
    publisher.publish(snapshot(now=LATER), everything=False)
    assert b"unknown" not in (tmp_path / "badge/follow.svg").read_bytes()


def test_a_mirror_that_breaks_after_its_watchdog_gets_all_again(tmp_path: Path) -> None:
    there = tmp_path / "there"
    publisher = Publisher(tmp_path / "here", [str(there)])
    publisher.publish(snapshot())
    publisher.finish_mirrors(10)
    assert watchdog.watch(there, (there / watchdog.STAMP).stat().st_mtime + 91)
    put_folder_in_place_of(there / "badge.svg")
    publisher.publish(snapshot(now=LATER), everything=False)
    publisher.finish_mirrors(10)
    (there / "badge.svg").rmdir()
    publisher.publish(snapshot(now=LATER), everything=False)
    publisher.finish_mirrors(10)
    for path in ("badge.svg", "components/follow", "index.html"):
        assert (there / path).read_bytes() == (tmp_path / "here" / path).read_bytes(), path
