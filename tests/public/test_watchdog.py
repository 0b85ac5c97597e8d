"""What the world reads when the publisher is silent."""

import ast
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from public import watchdog
from public.publish import Publisher
from tests.public.breaking import put_folder_in_place_of
from tests.public.cast import MAJOR, component, incident, snapshot, update

ROOT = Path(watchdog.__file__).parent.parent
HURT = component(status=MAJOR)
START_S = 15.0  # how long a process may take on a busy machine


@pytest.fixture
def published(tmp_path: Path) -> Path:
    Publisher(tmp_path).publish(
        snapshot(
            incident(HURT, updates=(update(what_to_do="Check the wearer."),)), components=(HURT,)
        )
    )
    return tmp_path


def silent_for(folder: Path, seconds: float) -> bool:
    return watchdog.watch(folder, (folder / watchdog.STAMP).stat().st_mtime + seconds)


def test_a_publisher_that_was_heard_lately_is_left_alone(published: Path) -> None:
    before = (published / "index.html").read_bytes()
    assert not silent_for(published, 89)
    assert (published / "index.html").read_bytes() == before


def test_after_ninety_seconds_every_answer_is_unknown_since_when(published: Path) -> None:
    at = datetime.fromtimestamp((published / watchdog.STAMP).stat().st_mtime, UTC)
    assert silent_for(published, 91)
    banner = json.loads((published / "banner.json").read_bytes())
    assert (banner["state"], banner["what_to_do"]) == ("unknown", "Check the wearer.")
    assert abs((datetime.fromisoformat(banner["since"]) - at).total_seconds()) < 1
    status = json.loads((published / "api/v2/status.json").read_bytes())["status"]
    assert status["description"] == f"Status unknown: checks not running since {at:%H:%M} UTC"
    assert status["indicator"] == "major" or status["indicator"] == "critical"
    page = (published / "index.html").read_text()
    assert f"no news since {at:%H:%M} UTC" in page
    assert "Check the wearer." in page
    assert "@@" not in page


def test_the_compressed_twin_is_swapped_too(published: Path) -> None:
    silent_for(published, 91)
    for path in ("index.html", "banner.json", "badge.svg", "badge/follow.svg"):
        assert (
            gzip.decompress((published / f"{path}.gz").read_bytes())
            == (published / path).read_bytes()
        )


def test_it_swaps_once(published: Path) -> None:
    assert silent_for(published, 91)
    assert not silent_for(published, 120)


def test_what_could_not_be_swapped_is_swapped_later_and_all_else_at_once(published: Path) -> None:
    put_folder_in_place_of(published / "banner.json")
    with pytest.raises(OSError):
        silent_for(published, 91)
    assert "no news since" in (published / "index.html").read_text()
    assert not list(published.rglob("*.tmp"))
    (published / "banner.json").rmdir()
    assert silent_for(published, 93)
    assert json.loads((published / "banner.json").read_bytes())["state"] == "unknown"
    assert not silent_for(published, 95)


def test_a_swap_that_was_killed_begins_again(published: Path) -> None:
    (published / watchdog.SWAPPED).touch()  # the mark comes before the files
    assert silent_for(published, 93)
    assert "no news since" in (published / "index.html").read_text()


def test_without_a_prepared_page_it_says_so_and_does_not_call_it_done(published: Path) -> None:
    prepared = published / watchdog.PREPARED / "index.html"
    body = prepared.read_bytes()
    prepared.unlink()
    with pytest.raises(watchdog.NothingPrepared, match="the page goes on saying what was last"):
        silent_for(published, 91)
    assert not (published / watchdog.SWAPPED).exists()
    prepared.write_bytes(body)
    assert silent_for(published, 93)


def test_a_folder_that_was_never_published_to_is_left_alone(tmp_path: Path) -> None:
    assert not watchdog.watch(tmp_path, time.time())
    assert not list(tmp_path.iterdir())


def test_a_page_published_by_hand_stays_for_a_day(published: Path) -> None:
    watchdog.hold(published)
    held_at = (published / watchdog.HELD).stat().st_mtime
    assert not watchdog.watch(published, held_at + 3600)
    assert watchdog.watch(published, held_at + watchdog.HELD_MAX_S + 1)


def test_what_was_published_by_hand_is_marked_until_the_publisher_replaces_it(
    published: Path,
) -> None:
    watchdog.hold(published)
    (published / watchdog.PREPARED / "index.html").unlink()
    with pytest.raises(watchdog.NothingPrepared):
        silent_for(published, watchdog.HELD_MAX_S + 91)
    assert watchdog.take_back(published)


def test_it_needs_no_django() -> None:
    code = "import sys, public.watchdog; print([name for name in sys.modules if name.startswith('django')])"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ast.literal_eval(told.stdout) == []


@pytest.mark.slow
def test_as_a_process_it_swaps_and_stops_when_told(published: Path) -> None:
    with running(published) as process:
        deadline = time.monotonic() + START_S
        while b"cannot tell" not in (published / "index.html").read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        _, said = process.communicate(timeout=START_S)
    assert process.returncode == 0
    assert b"the publisher is silent" in said


@pytest.mark.slow
def test_as_a_process_it_says_once_what_is_wrong_and_goes_on(published: Path) -> None:
    prepared = published / watchdog.PREPARED / "index.html"
    body = prepared.read_bytes()
    prepared.unlink()
    put_folder_in_place_of(published / "banner.json")
    with running(published) as process:
        assert process.stderr
        missing = process.stderr.readline()
        time.sleep(2 * watchdog.POLL_S)
        prepared.write_bytes(body)
        unwritten = process.stderr.readline()
        (published / "banner.json").rmdir()
        swapped = process.stderr.readline()
    assert b"the page goes on saying what was last known" in missing
    assert b"banner.json cannot be written" in unwritten
    assert b"the page says unknown" in swapped


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "public.watchdog", "--dir", str(folder), "--silent-s", "0.1"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=START_S)
