"""The measurement of the prober measures what it says."""

import json
from pathlib import Path

import pytest

from benchmarks import probes, probes_stage


def test_a_start_is_late_by_its_distance_from_the_most_punctual_one_and_the_first_is_not_counted() -> (
    None
):
    due = 1_000_004.0

    late = probes.delays_ms({"one": [due - 7, due + 0.04, due + 10, due + 20.25], "new": [5.0]}, 10)

    assert late == pytest.approx([40, 0, 250], abs=0.01)


def test_a_percentile_is_one_of_the_values() -> None:
    assert probes.percentile(range(1000), 99) == 990


def test_a_program_that_is_missing_is_named_with_its_package() -> None:
    with pytest.raises(probes_stage.NotHere, match="apt-get install prometheus-blackbox-exporter"):
        probes_stage.program("no-such-program", package="prometheus-blackbox-exporter")


@pytest.mark.slow
def test_agent_bare_client_and_peer_probe_the_same_server(tmp_path: Path) -> None:
    found = probes.run(minutes=0.25, rounds=1, round_s=1)

    figures = found["figures"]
    assert json.loads(json.dumps(found)) == found
    assert found["ratio_to_limit"] == pytest.approx(found["value"] / found["limit"])
    assert figures["failed"] == 0
    # The run is ended by hand, a moment after its time.
    assert 0 < figures["runs"] <= figures["runs_due"] + probes.MANY_CHECKS
    assert min(figures[f"{who}cpu_s_per_probe"] for who in ("", "bare_", "blackbox_")) > 0
