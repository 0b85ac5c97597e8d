"""The supervisor's children: what keeps one from starting is said, tried again, and ends no other."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from statuspage import supervisor
from statuspage.supervisor import Supervisor

pytestmark = pytest.mark.slow
WAIT_S = 20.0
STEADY = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Supervisor]:
    """Return a supervisor with one steady child."""
    house = Supervisor(tmp_path)
    house.start("steady", STEADY, {})
    yield house
    house.stop()


@contextlib.contextmanager
def watched(house: Supervisor) -> Iterator[None]:
    """Let the supervisor watch; it must not have ended by itself when the block does."""
    failed: list[BaseException] = []

    def watch() -> None:
        try:
            house.watch()
        except BaseException as error:
            failed.append(error)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
        assert failed == []
    finally:
        house.stopping = True
        watching.join(WAIT_S)


def until(look: Callable[[], bool]) -> bool:
    ends = time.monotonic() + WAIT_S
    while not look() and time.monotonic() < ends:
        time.sleep(0.02)
    return look()


def runs(process: subprocess.Popen[bytes] | None) -> bool:
    return process is not None and process.poll() is None


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[str], int]:
    """Count how often a sentence was said."""
    heard: list[str] = []

    def count(words: str) -> int:
        heard.append(capsys.readouterr().err)
        return "".join(heard).count(words)

    return count


def test_a_child_that_cannot_be_started_again_is_tried_until_it_can(
    house: Supervisor, tmp_path: Path, said: Callable[[str], int]
) -> None:
    program, away = tmp_path / "program", tmp_path / "away"
    program.symlink_to("/bin/sleep")
    child, steady = house.start("frail", [str(program), "600"], {}), house.children[0].process
    program.rename(away)
    with watched(house):
        assert child.process
        child.process.kill()
        assert until(lambda: said("frail cannot be started (") >= 2)
        away.rename(program)
        assert until(lambda: runs(child.process))
        assert runs(steady)
        assert house.children[0].process is steady


def test_a_log_that_cannot_be_opened_ends_no_other_child(
    house: Supervisor, tmp_path: Path, said: Callable[[str], int]
) -> None:
    child, steady = house.start("frail", STEADY, {}), house.children[0].process
    (tmp_path / "logs").rename(tmp_path / "kept")
    (tmp_path / "logs").write_text("no folder")
    with watched(house):
        assert child.process
        child.process.kill()
        assert until(lambda: said("frail cannot be started (") >= 1)
        assert runs(steady)


def test_a_log_that_cannot_be_cut_is_said_once(
    house: Supervisor, tmp_path: Path, said: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LOG_BYTES_MAX", 1)
    (tmp_path / "logs" / "steady.log").unlink()
    (tmp_path / "logs" / "steady.log").mkdir()
    house.start("next", STEADY, {})
    other = tmp_path / "logs" / "next.log"
    other.write_text("too much")
    with watched(house):
        assert until(lambda: said("steady.log cannot be cut (") >= 1)
        assert until(lambda: other.stat().st_size == 0)
        time.sleep(0.5)
    assert said("steady.log cannot be cut (") == 1


def test_nobody_to_read_what_is_said_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w")  # noqa: SIM115  # it cannot be closed in peace
    monkeypatch.setattr(sys, "stderr", full)
    supervisor.say("the disk is full")
    monkeypatch.undo()
    with contextlib.suppress(OSError):
        full.close()
