"""A small piece of the real-time stage: three agents in network namespaces, one loses its network."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import accept_eyes

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent.parent
NOBODY = 65534


def namespaces() -> set[str]:
    """Return the names of network namespaces that the machine knows."""
    done = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_an_agent_that_loses_its_network_blames_itself_and_nothing_goes_public() -> None:
    before = namespaces()

    points = list(accept_eyes.real_time(only=("D16",), agents=3))

    assert [point.passed for point in points] == [True, True], [point.line() for point in points]
    world, everything = points
    assert world.promise.startswith("D16 1 of 3 loses the world, not its server")
    assert world.figure.startswith("prober_fault: syd ")
    assert everything.figure == "nothing was said"
    assert namespaces() == before


def test_two_of_three_without_network_leave_nobody_who_can_tell() -> None:
    (world, everything) = accept_eyes.real_time(only=("D17",), agents=3)

    for point in (world, everything):
        assert point.passed, point.line()
        assert "unknown and a call" in point.promise


def test_without_root_it_is_a_failure_in_words() -> None:
    code = (
        "import os\n"
        "from benchmarks import accept_eyes\n"
        f"os.setuid({NOBODY})\n"
        "print(*[point.line() for point in accept_eyes.real_time(only=('D16',))])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.stdout.startswith("fail     the scenarios in real time: "), done.stderr
    assert "by root only" in done.stdout
