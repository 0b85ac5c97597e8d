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

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("weaken", detection.WEAKER)
def test_the_bench_sees_a_protection_that_was_taken_away(weaken: str) -> None:
    only = detection.WEAKER[weaken].seen_by

    weak = detection.sample(only, weaken=weaken, processes=1)

    assert {each.split()[0] for each in weak.failures} == set(only)


@pytest.mark.slow
def test_with_all_protections_the_same_scenarios_hold() -> None:
    """The twin of each weakened run: it differs by the rule alone."""
    # D28 is a year: the bench itself plays it.
    names = {name for weaker in detection.WEAKER.values() for name in weaker.seen_by} - {"D28"}

    assert detection.sample(sorted(names), processes=1).failures == []


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_year_judges_only_where_something_could_be_said() -> None:
    lived = simulate(random.Random("a year"), 1, Rule())

    assert lived.events == 0
    assert 0 < lived.stretches < 100


@pytest.mark.slow
def test_where_one_location_is_enough_a_year_is_full_of_false_outages() -> None:
    with detection._weakened("quorum"):
        lived = simulate(random.Random("some days"), 1.5 / 365, Rule(), needed=1)

    assert lived.events > 3


@pytest.mark.parametrize(("events", "bound"), [(0, 2.996), (1, 4.744), (4, 9.154)])
def test_no_event_seen_still_leaves_room_for_some(events: int, bound: float) -> None:
    """Source: the exact Poisson limits, e.g. Garwood 1936."""
    assert upper_bound(events) == pytest.approx(bound, abs=0.001)
