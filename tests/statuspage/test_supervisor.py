"""The processes of `./run demo`: restarted when they die, all gone at the end, whatever ends it."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import accept_night, stage
from benchmarks.stage import Stage
from statuspage import embedded

pytestmark = pytest.mark.slow


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Stage]:
    with stage.running(data_dir=tmp_path) as running:
        yield running


def test_a_child_that_dies_is_restarted_and_said_so(demo: Stage) -> None:
    point = accept_night._restart(demo)
    assert point.passed, point.figure


def test_sigterm_ends_all_of_them(demo: Stage, tmp_path: Path) -> None:
    assert demo.stop() <= accept_night.STOP_S
    assert demo.process.returncode == 0
    assert accept_night._left_over(tmp_path) == []


def test_kill_of_the_supervisor_leaves_no_orphan(demo: Stage, tmp_path: Path) -> None:
    demo.process.kill()
    demo.process.wait()
    assert accept_night._await_none_left(tmp_path) == []


def test_a_taken_port_is_said_in_one_sentence(demo: Stage) -> None:
    port = demo.house.facts["page"].rstrip("/").rsplit(":", 1)[1]
    command = ["./run", "serve", "--port", port]
    with pytest.raises(stage.NotStarted) as refused, stage.running(command=command):
        pass
    assert str(refused.value) == (
        f"run: port {port} on 127.0.0.1 cannot be used (Address already in use); choose one with --port"
    )


def test_a_second_one_in_its_folder_is_refused_and_harms_nothing(
    demo: Stage, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "statuspage", "serve", "--port", "0"]
    with (
        pytest.raises(stage.NotStarted) as refused,
        stage.running(command=command, data_dir=tmp_path),
    ):
        pass
    assert str(refused.value) == (
        f"run: DATA_DIR {tmp_path} is in use by process {demo.process.pid}; stop it, or name another folder"
    )
    with socket.socket(socket.AF_UNIX) as client:
        assert client.connect_ex(str(embedded.socket_path(tmp_path))) == 0


def test_a_demo_starts_again_where_one_was_killed(demo: Stage, tmp_path: Path) -> None:
    demo.process.kill()
    demo.process.wait()
    with stage.running(data_dir=tmp_path) as again:
        house = again.house
        assert (
            house.get(f"{house.facts['page']}api/v2/status.json")["page"]["name"] == "Follow status"
        )
