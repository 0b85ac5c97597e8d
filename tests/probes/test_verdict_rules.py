"""The rules beyond two failures in a row: shares, slowness, suspicion, flapping; as a table."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from probes.baseline import Count, Latency, is_slow, limit_s, percentile
from probes.kinds import Outcome, StepObservation, Watch
from probes.ratio import Burn, Minute, burn_of, flap_percent
from probes.verdict import (
    Result,
    Rule,
    Standing,
    Surroundings,
    Verdict,
    Word,
    faults,
    follow,
    judge,
)

NOW = datetime(2019, 11, 30, 6, 0, 0, tzinfo=UTC)
INTERVAL_S = 30.0
FIVE = ("ams", "fra", "nyc", "sfo", "syd")
WATCHES = (Watch("log in", "login"), Watch("read", "follow"))


def row(location: str, words: str, *, first_step: str = "read") -> list[Result]:
    """The runs of one location, newest first, a letter each.

    o ok, r ok after a retry, f failed, s slow, t stale, a rejected, b turned away, p at fault.
    """
    return [
        _run(location, NOW - timedelta(seconds=INTERVAL_S * number), letter, first_step)
        for number, letter in enumerate(words)
    ]


def _run(location: str, at: datetime, letter: str, first_step: str) -> Result:
    login, read = _STEPS["l"], _STEPS.get(letter, _STEPS["o"])
    if letter == "a":
        login = replace(login, outcome=Outcome.AUTH_SUSPECT, account=f"account of {location}")
    outcome = {"a": Outcome.AUTH_SUSPECT, "b": Outcome.BLOCKED_US, "p": Outcome.PROBER_FAULT}.get(
        letter, read.outcome
    )
    steps = {"a": (login,), "p": (), "b": ()}.get(letter, (login, read))
    first = Outcome.TARGET_FAIL if letter == "r" else outcome
    return Result(location, at, outcome, steps, "", first, first_step if letter == "r" else "")


_STEPS = {
    "l": StepObservation("log in", "login", Outcome.OK, phases_ms={"total": 100}),
    "o": StepObservation("read", "follow", Outcome.OK, phases_ms={"total": 200}),
    "s": StepObservation(
        "read", "follow", Outcome.SLOW, "took 8 s, allowed 5", ("degraded_over_s",)
    ),
    "f": StepObservation("read", "follow", Outcome.TARGET_FAIL, "HTTP 500", ("status",)),
    "t": StepObservation("read", "follow", Outcome.TARGET_FAIL, "900 s old", ("max_age_s",)),
}


def everywhere(words: str, *, first_step: str = "read", at: Sequence[str] = FIVE) -> list[Result]:
    """The same runs at some locations, good ones at the others."""
    return [
        each
        for name in FIVE
        for each in row(name, words if name in at else "o" * len(words), first_step=first_step)
    ]


def said(
    results: Sequence[Result],
    standing: Standing | None = None,
    *,
    rule: Rule | None = None,
    around: Surroundings | None = None,
    locations: Sequence[str] = FIVE,
    now: datetime = NOW,
) -> dict[str, Verdict]:
    around = around or Surroundings()
    if standing is not None:
        around = replace(around, standing={"follow": standing, "login": Standing(word="up")})
    found = judge(
        results,
        rule or Rule(),
        now,
        locations=locations,
        watches=WATCHES,
        interval_s=INTERVAL_S,
        watched_since=now - timedelta(days=1),
        around=around,
    )
    return {each.component: each for each in found}


# ---- B: partial ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "at", "word"),
    [
        pytest.param("rororooooo", FIVE[:3], Word.PARTIAL, id="3 of 10 at 3 of 5"),
        pytest.param("rororooooo", FIVE[:2], Word.UP, id="at 2 of 5 is no quorum"),
        pytest.param("roroooooooo", FIVE[:3], Word.UP, id="2 of 10 are too few at a quorum"),
        pytest.param("roroooooooo", FIVE[:4], Word.PARTIAL, id="and enough at one more"),
        pytest.param("rooooooooo", FIVE, Word.UP, id="1 of 10 everywhere is how things are"),
        pytest.param("roroooooooor", FIVE[:3], Word.UP, id="the eleventh does not count"),
        pytest.param("orrrrooooo", FIVE[:3], Word.PARTIAL, id="a burst that ended just now"),
        pytest.param("ooorrrrooo", FIVE[:3], Word.UP, id="a burst that is over"),
        pytest.param("fororooooo", FIVE, Word.PARTIAL, id="a failure in the end counts too"),
        pytest.param("ffrooooooo", FIVE, Word.OUTAGE, id="two in a row are worse"),
        pytest.param("ttrooooooo", FIVE, Word.STALE, id="so are two stale ones"),
    ],
)
def test_first_attempts_are_counted_although_the_retry_was_good(
    words: str, at: Sequence[str], word: Word
) -> None:
    assert said(everywhere(words, at=at))["follow"].word is word


def test_a_partial_outage_says_its_counts() -> None:
    found = said(everywhere("ofororoooo", at=FIVE[:3]))["follow"]

    assert found.reasoning == (
        "Of the last 10 first attempts of each location, 3 from ams, 3 from fra and 3 from nyc "
        "failed: HTTP 500."
    )
    assert (found.locations, found.step) == (FIVE[:3], "read")


@pytest.mark.parametrize(
    ("first_step", "login", "follow"),
    [
        pytest.param("log in", Word.PARTIAL, Word.UP, id="the prober says the step"),
        pytest.param("read", Word.UP, Word.PARTIAL, id="or the other"),
        pytest.param("", Word.UP, Word.PARTIAL, id="it does not: where the journey ends"),
    ],
)
def test_a_failure_that_a_retry_hid_is_the_steps_that_failed(
    first_step: str, login: Word, follow: Word
) -> None:
    found = said(everywhere("rororooooo", first_step=first_step))

    assert (found["login"].word, found["follow"].word) == (login, follow)


@pytest.mark.parametrize(
    ("words", "standing", "word"),
    [
        pytest.param("orooroooooo", "partial", Word.PARTIAL, id="partial at 2 of 10 stays"),
        pytest.param("orooroooooo", "up", Word.UP, id="and does not begin"),
        pytest.param("ooorroooooo", "partial", Word.PARTIAL, id="also when it seems to be over"),
        pytest.param("oroooooooo", "partial", Word.UP, id="with 1 of 10 it ends"),
    ],
)
def test_a_partial_outage_ends_later_than_it_begins(words: str, standing: str, word: Word) -> None:
    runs = everywhere(words, at=FIVE[:3])

    assert said(runs, Standing(word=standing))["follow"].word is word


@pytest.mark.parametrize("failures", range(2, 10))
def test_what_was_told_as_an_outage_is_not_told_again_as_a_partial_one(failures: int) -> None:
    """Whatever its length, an outage that ended is up until there are new failures."""
    standing = Standing(word="outage")
    for good in range(1, 12):
        words = ("o" * good + "f" * failures + "o" * 12)[:22]
        found = said(everywhere(words), standing)["follow"]
        standing = follow(standing, found, NOW)
        # The next run is 30 s later: what was noted moves back as far.
        standing = replace(
            standing,
            mended_at=standing.mended_at and NOW - timedelta(seconds=INTERVAL_S * (good - 0.5)),
        )
        assert standing.word == "up"


def test_new_failures_after_an_outage_are_partial_again() -> None:
    mended = Standing(word="up", mended_at=NOW - timedelta(seconds=200))

    assert said(everywhere("rororoofff"), mended)["follow"].word is Word.PARTIAL


# ---- C: slow burn -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("burn", "word"),
    [
        pytest.param(Burn(600, 30, 100, 5), Word.SLOW_BURN, id="5 % in both windows"),
        pytest.param(Burn(600, 29, 100, 5), Word.UP, id="less over the hour"),
        pytest.param(Burn(600, 60, 100, 4), Word.UP, id="less of late: it is over"),
        pytest.param(Burn(20, 9, 20, 9), Word.UP, id="a young check has too few failures"),
    ],
)
def test_five_percent_in_an_hour_and_of_late_is_a_slow_burn(burn: Burn, word: Word) -> None:
    found = said(everywhere("oooooooooo"), around=Surroundings(burn=burn))

    assert (found["follow"].word, found["login"].word) == (word, Word.UP)


def test_a_slow_burn_goes_on_at_half_its_share() -> None:
    around = Surroundings(burn=Burn(600, 30, 100, 3))

    assert (
        said(everywhere("oo"), Standing(word="slow_burn"), around=around)["follow"].word
        is Word.SLOW_BURN
    )
    assert said(everywhere("oo"), Standing(word="up"), around=around)["follow"].word is Word.UP


def test_a_burn_counts_from_the_end_of_the_last_trouble() -> None:
    minutes = [
        Minute(NOW - timedelta(minutes=age), 10, 10 if age > 5 else 1) for age in range(1, 90)
    ]

    whole = burn_of(minutes, NOW, over_s=3600, newest_s=600, since=None)
    rest = burn_of(minutes, NOW, over_s=3600, newest_s=600, since=NOW - timedelta(minutes=5))

    assert whole == Burn(600, 555, 100, 55)
    assert rest == Burn(50, 5, 50, 5)


# ---- E: slowness --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "standing", "word"),
    [
        pytest.param("ososo", "up", Word.UP, id="2 of 5 slow are few"),
        pytest.param("ososs", "up", Word.DEGRADED, id="3 of 5 slow"),
        pytest.param("oooos", "degraded", Word.DEGRADED, id="one of 5 keeps it slow"),
        pytest.param("ooooos", "degraded", Word.UP, id="5 of 5 clean end it"),
    ],
)
def test_three_of_five_slow_runs_are_degraded_until_five_are_clean(
    words: str, standing: str, word: Word
) -> None:
    assert said(everywhere(words), Standing(word=standing))["follow"].word is word


SLOW = dict.fromkeys(FIVE, Count(20, 4))


@pytest.mark.parametrize(
    ("over_for_s", "word"),
    [pytest.param(299, Word.UP, id="299 s"), pytest.param(300, Word.DEGRADED, id="300 s")],
)
def test_p95_above_its_limit_for_five_minutes_is_degraded(over_for_s: float, word: Word) -> None:
    latency = Latency(5, SLOW, NOW - timedelta(seconds=over_for_s))

    found = said(everywhere("ooo"), around=Surroundings(latency=latency))

    assert found["follow"].word is word
    # The read takes most of the time: the log-in is not slow.
    assert found["login"].word is Word.UP


@pytest.mark.parametrize(
    ("counts", "slow"),
    [
        pytest.param(SLOW, True, id="everywhere"),
        pytest.param({"ams": Count(20, 20)} | dict.fromkeys(FIVE[1:], Count(20, 0)), False,
                     id="one bad path lifts p95 of all, and is no quorum"),
        pytest.param(dict.fromkeys(FIVE, Count(20, 1)), False, id="5 of a hundred are p95 itself"),
        pytest.param(dict.fromkeys(FIVE, Count(4, 4)), False, id="4 runs are no percentile"),
    ],
)  # fmt: skip
def test_p95_is_weighed_together_and_at_a_quorum(counts: dict[str, Count], slow: bool) -> None:
    assert is_slow(Latency(5, counts), needed=3) is slow


@pytest.mark.parametrize(
    ("usual_ms", "limit"),
    [
        pytest.param([], 5, id="no past"),
        pytest.param([200.0] * 28, 5, id="a fast past: never under 5 s"),
        pytest.param([3000.0] * 28, 9, id="three times the usual"),
        pytest.param([3000.0] * 27 + [60_000.0], 9, id="one bad night is not the usual"),
    ],
)
def test_the_limit_is_three_times_the_usual_of_the_hour(
    usual_ms: list[float], limit: float
) -> None:
    assert limit_s(usual_ms, times=3, least_s=5) == limit


def test_p95_is_the_nearest_rank() -> None:
    assert percentile(sorted(float(number) for number in range(1, 101))) == 95
    assert percentile([7.0]) == 7


# ---- rejected log-ins ---------------------------------------------------------------------

ALL_PROVEN = frozenset((name, f"account of {name}") for name in FIVE)


@pytest.mark.parametrize(
    ("at", "proven", "changed_s_ago", "word"),
    [
        pytest.param(FIVE, ALL_PROVEN, None, Word.OUTAGE, id="all, sound until now"),
        pytest.param(FIVE[:1], ALL_PROVEN, None, Word.UP, id="one account alone is itself wrong"),
        pytest.param(FIVE, frozenset(), None, Word.UNKNOWN, id="accounts that never got in"),
        pytest.param(FIVE, ALL_PROVEN, 300, Word.UNKNOWN, id="the check was changed just now"),
        pytest.param(FIVE, ALL_PROVEN, 3600, Word.OUTAGE, id="the check was changed long ago"),
    ],
)
def test_rejected_log_ins_are_the_targets_fault_when_sound_accounts_say_so(
    at: Sequence[str],
    proven: frozenset[tuple[str, str]],
    changed_s_ago: float | None,
    word: Word,
) -> None:
    changed_at = None if changed_s_ago is None else NOW - timedelta(seconds=changed_s_ago)
    around = Surroundings(proven=proven, changed_at=changed_at)

    assert said(everywhere("aaooo", at=at), around=around)["login"].word is word


# ---- flapping -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "standing", "word"),
    [
        pytest.param("of" * 10, Standing(word="outage"), Word.OUTAGE, id="turns each run: stays"),
        pytest.param("of" * 10, Standing(word="up"), Word.PARTIAL, id="it hides no beginning"),
        pytest.param("o" * 21, Standing(word="outage", flapping=True), Word.UP, id="steady: over"),
        pytest.param("oooo" + "f" * 8, Standing(word="outage"), Word.UP, id="one end is no flap"),
    ],
)
def test_what_flaps_stays_in_trouble(words: str, standing: Standing, word: Word) -> None:
    found = said(everywhere(words), standing)["follow"]

    assert found.word is word
    assert found.flapping is (word is Word.OUTAGE)


def test_flapping_is_said_in_words_and_is_not_clean() -> None:
    found = said(everywhere("of" * 10), Standing(word="outage"))["follow"]

    assert found.reasoning.startswith("Intermittent: good and bad probes take turns at ams, fra")
    assert not found.clean


def test_newer_changes_weigh_more() -> None:
    newest, oldest = [True] + [False] * 20, [False] * 20 + [True]

    assert flap_percent(newest, runs=21) == pytest.approx(6)
    assert flap_percent(oldest, runs=21) == pytest.approx(4)


# ---- locations that cannot tell -----------------------------------------------------------


@pytest.mark.parametrize(
    ("letter", "outcome"),
    [
        pytest.param("p", Outcome.PROBER_FAULT, id="its own fault"),
        pytest.param("b", Outcome.BLOCKED_US, id="turned away"),
        pytest.param("a", Outcome.AUTH_SUSPECT, id="rejected"),
    ],
)
def test_a_location_that_cannot_tell_is_named_and_says_nothing_of_the_target(
    letter: str, outcome: Outcome
) -> None:
    results = everywhere(letter * 2 + "ooo", at=FIVE[:2])

    found = faults(
        results,
        Rule(),
        NOW,
        locations=FIVE,
        interval_s=INTERVAL_S,
        watched_since=NOW - timedelta(days=1),
    )

    assert [(each.location, each.outcome) for each in found] == [("ams", outcome), ("fra", outcome)]
    assert said(results)["follow"].word is Word.UP


def test_three_of_five_turned_away_is_unknown_and_no_outage() -> None:
    assert said(everywhere("bbooo", at=FIVE[:3]))["follow"].word is Word.UNKNOWN


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        pytest.param({"min_failures": 11}, "at most of_last", id="more than there are"),
        pytest.param({"of_last": 1000}, "from 1 to 100", id="more than a judgement reads"),
        pytest.param({"consecutive": 1.5}, "a whole one", id="half a run"),
        pytest.param({"burn_ratio": 5}, "from 0 to 1", id="a share of five"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_in_words(raw: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rule.parse(raw)
