"""Percentiles out of a sketch, against exact ones; its size; and that nothing is lost on the way."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.latency import ACCURACY, BINS_MAX, LEAST_MS, PACKED_BYTES_MAX, Latencies, merged

# What a run can take by the rules of probes.views: 0 to 10^9 ms.
DURATIONS = st.lists(st.floats(0, 1e9), min_size=1, max_size=300)
# From a millisecond to an hour: fewer bins than are kept.
USUAL = st.lists(st.floats(1, 3_600_000), min_size=1, max_size=300)


def sketch_of(durations_ms: list[float]) -> Latencies:
    sketch = Latencies()
    for each in durations_ms:
        sketch.add(each)
    return sketch


def exact(durations_ms: list[float], percent: float) -> float:
    """The value at rank percent/100 of (n - 1), rounded down: the definition DDSketch promises."""
    return sorted(durations_ms)[int(percent / 100 * (len(durations_ms) - 1))]


@pytest.mark.parametrize(
    "durations_ms",
    [
        pytest.param([120.0], id="one run"),
        pytest.param([10.0, 10_000.0], id="two runs far apart"),
        pytest.param([float(each) for each in range(1, 1001)], id="evenly from 1 ms to 1 s"),
        pytest.param(
            [random.Random(7).lognormvariate(5, 0.8) for _ in range(86_400)],
            id="a day of a run each second, around 150 ms",
        ),
        pytest.param(
            [random.Random(7).choice((80.0, 9_000.0)) for _ in range(500)], id="fast or timing out"
        ),
    ],
)
@pytest.mark.parametrize("percent", [50, 95, 99])
def test_a_percentile_is_as_true_as_promised(durations_ms: list[float], percent: float) -> None:
    told = Latencies.unpack(sketch_of(durations_ms).pack()).percentile_ms(percent)

    assert told == pytest.approx(exact(durations_ms, percent), rel=ACCURACY * 1.001)


@given(parts=st.lists(USUAL, min_size=1, max_size=4), percent=st.sampled_from([50, 95, 99]))
def test_merged_parts_tell_the_same_as_the_whole(parts: list[list[float]], percent: float) -> None:
    told = merged(sketch_of(part).pack() for part in parts)
    whole = [each for part in parts for each in part]

    assert told.count == len(whole)
    assert told.percentile_ms(percent) == pytest.approx(exact(whole, percent), rel=ACCURACY * 1.001)


@settings(max_examples=200)
@given(batches=st.lists(DURATIONS, min_size=1, max_size=4))
def test_packed_and_read_again_after_every_batch_no_run_is_lost(
    batches: list[list[float]],
) -> None:
    packed = b""
    for batch in batches:
        sketch = Latencies.unpack(packed)
        for each in batch:
            sketch.add(each)
        packed = sketch.pack()

    told = Latencies.unpack(packed)
    whole = [max(each, LEAST_MS) for batch in batches for each in batch]
    assert told.count == len(whole)
    assert len(packed) <= PACKED_BYTES_MAX
    assert told.percentile_ms(100) == pytest.approx(max(whole), rel=ACCURACY * 1.001)


def test_the_widest_sketch_keeps_its_bound_and_its_slow_end() -> None:
    chance = random.Random(7)
    durations_ms = [10 ** chance.uniform(-3, 9) for _ in range(200_000)]
    sketch = sketch_of(durations_ms)

    packed = sketch.pack()

    assert BINS_MAX < len(packed) <= PACKED_BYTES_MAX
    for percent in (50, 95, 99):
        told = Latencies.unpack(packed).percentile_ms(percent)
        assert told == pytest.approx(exact(durations_ms, percent), rel=ACCURACY * 1.001)


def test_nothing_packs_to_nothing_and_has_no_percentile() -> None:
    assert Latencies().pack() == b""
    assert Latencies.unpack(b"").percentile_ms(95) is None
