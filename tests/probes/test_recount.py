"""The minutes of a replay: what the clock had counted at each moment, and not what came later."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from probes.ratio import Burn
from probes.recount import Counted, Recount
from probes.rule import Rule

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FIVE = ("ams", "fra", "nyc", "sfo", "syd")
HALF_A_MINUTE = timedelta(seconds=30)


def recount(
    failed: Sequence[int] = (), slow: Sequence[int] = (), at: Sequence[str] = FIVE
) -> Recount:
    """Two hours before noon, a run each 30 s at five places; by number which failed or took 8 s."""
    begin = NOON - timedelta(hours=2)
    runs = [
        Counted(
            location=name,
            at=begin + HALF_A_MINUTE * number,
            told=True,
            failed=number in failed and name in at,
            good=not (number in failed and name in at),
            took_s=8 if number in slow and name in at else 0.2,
        )
        for name in FIVE
        for number in range(240)
    ]
    return Recount(runs, Rule(), needed=3, limit_at=lambda _: 5)


def test_a_burn_is_counted_over_an_hour_and_ten_minutes() -> None:
    found = recount(failed=range(0, 240, 10)).burn(NOON + HALF_A_MINUTE, mended_at=None)

    assert found == Burn(600, 60, 100, 10)


def test_the_minute_that_runs_is_not_counted_yet() -> None:
    counts = recount(failed=[238, 239])

    before = counts.burn(NOON + timedelta(seconds=29), mended_at=None)
    after = counts.burn(NOON + timedelta(seconds=30), mended_at=None)

    assert (before.failures, after.failures) == (0, 10)


def test_what_was_told_as_trouble_is_no_burn() -> None:
    counts = recount(failed=range(200, 240))
    now = NOON + HALF_A_MINUTE

    assert counts.burn(now, mended_at=NOON - timedelta(minutes=5)).failures == 50
    assert counts.burn(now, mended_at=NOON) == Burn()


@pytest.mark.parametrize(
    ("at", "is_slow"),
    [
        pytest.param(FIVE, True, id="everywhere"),
        pytest.param(FIVE[:1], False, id="one bad path is no quorum"),
    ],
)
def test_slowness_counts_from_the_minute_in_which_it_was_seen(
    at: Sequence[str], is_slow: bool
) -> None:
    # Slow for the last ten minutes; one minute of it is a tenth of the runs.
    found = recount(slow=range(220, 240), at=at).latency(NOON + HALF_A_MINUTE)

    assert (found is not None) is is_slow
    if found is not None:
        assert found.over_since == NOON - timedelta(minutes=9)
        assert found.counts["ams"].over == 20


def test_slowness_that_is_over_is_over() -> None:
    counts = recount(slow=range(100, 120))

    assert counts.latency(NOON - timedelta(minutes=61) + HALF_A_MINUTE) is not None
    assert counts.latency(NOON - timedelta(minutes=30)) is None
