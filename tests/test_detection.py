"""`./run bench detection`: it holds with the rules as they are, and sees each rule that is taken away."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import detection
from benchmarks.detection_years import simulate, upper_bound
from probes.rule import Rule

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("weaken", "scenarios"),
    [
        pytest.param("quorum", ("D16", "D20", "D24", "D27"), id="one location is a quorum"),
        pytest.param("retry", ("D27",), id="no retry and no second run"),
        pytest.param("consecutive", ("D1", "D3"), id="six failures in a row"),
        pytest.param("ratio", ("D12", "D13"), id="no share of first attempts"),
        pytest.param("burn", ("D14",), id="no slow burn"),
        pytest.param("auth", ("D21",), id="no suspicion is borne out"),
        pytest.param("recover", ("D26",), id="clean at once"),
        pytest.param("shadow", ("D22",), id="a changed check speaks at once"),
        pytest.param("maintenance", ("D33",), id="no grace after a maintenance"),
    ],
)
def test_the_bench_sees_a_rule_that_was_taken_away(weaken: str, scenarios: tuple[str, ...]) -> None:
    """The twin of each run differs by the rule alone, and holds."""
    seeds = 4 * max(detection.BY_NAME[name].cost for name in scenarios)

    whole = detection.measure(seeds=seeds, years=0, only=scenarios, processes=1)
    weak = detection.measure(seeds=seeds, years=0, only=scenarios, weaken=weaken, processes=1)

    assert whole.failures == []
    assert weak.failures


def test_a_weakened_bench_ends_with_1_and_says_what_was_not_held() -> None:
    command = [sys.executable, "-m", "benchmarks", "detection", "--json", "--years", "0"]
    options = ["--seeds", "4", "--only", "D12", "--weaken", "ratio"]

    done = subprocess.run(
        command + options, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )

    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert "not held: D12 (50 % errors)" in done.stderr
    assert {"value", "unit", "limit", "ratio_to_limit", "figures", "run"} <= found.keys()
    assert found["ratio_to_limit"] is None


def test_a_year_judges_only_where_something_could_be_said() -> None:
    lived = simulate(random.Random("a year"), 1, Rule())

    assert lived.events == 0
    assert 0 < lived.stretches < 100


def test_where_one_location_is_enough_a_year_is_full_of_false_outages() -> None:
    with detection._weakened("quorum"):
        lived = simulate(random.Random("a month"), 1 / 12, Rule(), needed=1)

    assert lived.events > 10


@pytest.mark.parametrize(("events", "bound"), [(0, 2.996), (1, 4.744), (4, 9.154)])
def test_no_event_seen_still_leaves_room_for_some(events: int, bound: float) -> None:
    """Source: the exact Poisson limits, e.g. Garwood 1936."""
    assert upper_bound(events) == pytest.approx(bound, abs=0.001)
