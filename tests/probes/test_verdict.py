"""The verdict as a table: who saw what when, what follows, and in which words."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from probes.kinds import Outcome, StepObservation, Watch
from probes.verdict import (
    Night,
    Publish,
    Result,
    Rule,
    Verdict,
    Word,
    blind_after_s,
    deadline,
    judge,
    quorum,
)

NOW = datetime(2019, 11, 30, 6, 0, 0, tzinfo=UTC)
INTERVAL_S = 30.0
BOTH = (Watch("log in", "login"), Watch("newest reading", "follow"))
STALE = ("max_age_s",)


def run(
    location: str = "local", age_s: float = 0, *, login: str = "ok", follow: str = "ok"
) -> Result:
    """One run: each step is ok, slow, stale, fail or -, which means that it did not run."""
    steps = [
        _step("log in", "login", login),
        _step("newest reading", "follow", follow if login in ("ok", "slow") else "-"),
    ]
    outcome = Outcome.TARGET_FAIL if {login, follow} & {"fail", "stale"} else Outcome.OK
    at = NOW - timedelta(seconds=age_s)
    return Result(location, at, outcome, tuple(step for step in steps if step is not None))


def fault(location: str = "local", age_s: float = 0) -> Result:
    at = NOW - timedelta(seconds=age_s)
    return Result(location, at, Outcome.PROBER_FAULT, (), "${PASSWORD} is not set")


def _step(name: str, component: str, word: str) -> StepObservation | None:
    match word:
        case "fail":
            return StepObservation(
                name, component, Outcome.TARGET_FAIL, "HTTP 503, expected 200", ("status",)
            )
        case "stale":
            return StepObservation(
                name, component, Outcome.TARGET_FAIL, "[0].time was 900 s old, allowed 660", STALE
            )
        case "slow":
            return StepObservation(
                name, component, Outcome.SLOW, "took 3 s, allowed 2", ("degraded_over_s",)
            )
        case "ok":
            return StepObservation(name, component, Outcome.OK)
        case _:
            return None


def verdicts(
    *results: Result,
    locations: tuple[str, ...] = ("local",),
    rule: Rule | None = None,
    old: bool = True,
) -> dict[str, Verdict]:
    found = judge(
        results,
        rule or Rule(),
        NOW,
        locations=locations,
        watches=BOTH,
        interval_s=INTERVAL_S,
        watched_since=NOW - timedelta(days=1 if old else 0),
    )
    return {each.component: each for each in found}


@pytest.mark.parametrize(
    ("results", "login", "follow"),
    [
        pytest.param([run()], Word.UP, Word.UP, id="one good run is up"),
        pytest.param([run(login="fail"), run(age_s=30)], None, Word.UP, id="one failure is none"),
        pytest.param(
            [run(login="fail"), run(age_s=30, login="fail"), run(age_s=60)],
            Word.OUTAGE,
            Word.UP,
            id="two in a row are an outage, and the later step keeps its verdict",
        ),
        pytest.param(
            [run(login="fail"), run(age_s=30), run(age_s=60, login="fail")],
            None,
            Word.UP,
            id="two apart are not in a row",
        ),
        pytest.param(
            [run(follow="stale"), run(age_s=30, follow="stale")],
            Word.UP,
            Word.STALE,
            id="only the age failed: stale",
        ),
        pytest.param(
            [run(follow="fail"), run(age_s=30, follow="stale")],
            Word.UP,
            Word.STALE,
            id="stale and then failed is at least stale",
        ),
        pytest.param(
            [run(follow="slow"), run(age_s=30, follow="slow")],
            Word.UP,
            Word.DEGRADED,
            id="only the time failed: degraded",
        ),
        pytest.param(
            [run(), run(age_s=30, login="fail"), run(age_s=60, login="fail")],
            Word.UP,
            Word.UP,
            id="one good run ends it",
        ),
        pytest.param(
            [run(age_s=age, login="fail") for age in (0, 30, 60, 90)] + [run(age_s=120)],
            Word.OUTAGE,
            Word.UNKNOWN,
            id="not checked for too long is unknown",
        ),
        pytest.param([run(age_s=91)], Word.UNKNOWN, Word.UNKNOWN, id="91 s of silence is unknown"),
        pytest.param([run(age_s=89)], Word.UP, Word.UP, id="89 s of silence is not"),
        pytest.param([], Word.UNKNOWN, Word.UNKNOWN, id="never a result is unknown"),
        pytest.param(
            [fault(), fault(age_s=30), run(age_s=60)],
            Word.UNKNOWN,
            Word.UNKNOWN,
            id="a prober at fault twice cannot tell",
        ),
        pytest.param([fault(), run(age_s=30)], Word.UP, Word.UP, id="a prober at fault once can"),
        pytest.param(
            [fault(), run(age_s=30, login="fail"), run(age_s=60, login="fail")],
            Word.OUTAGE,
            Word.UNKNOWN,
            id="a fault of the prober counts neither way",
        ),
    ],
)
def test_one_location_says(results: list[Result], login: Word | None, follow: Word | None) -> None:
    found = verdicts(*results)

    assert (found["login"].word, found["follow"].word) == (login, follow)


THREE = ("fra", "nyc", "syd")


def pair(location: str, login: str) -> list[Result]:
    return [run(location, 0, login=login), run(location, 30, login=login)]


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        pytest.param(["ok", "ok", "ok"], Word.UP, id="all well"),
        pytest.param(["fail", "ok", "ok"], Word.UP, id="one location is no quorum"),
        pytest.param(["fail", "fail", "ok"], Word.OUTAGE, id="two of three are"),
        pytest.param(
            ["fail", "slow", "ok"], Word.DEGRADED, id="two agree that it is at least slow"
        ),
        pytest.param(["fail", "fail", ""], Word.OUTAGE, id="one silent, two agree"),
        pytest.param(["fail", "ok", ""], None, id="one silent, two disagree: nothing is said"),
        pytest.param(["fail", "", ""], Word.UNKNOWN, id="one alone of three cannot tell"),
    ],
)
def test_three_locations_say(seen: list[str], word: Word | None) -> None:
    results = [
        each
        for location, login in zip(THREE, seen, strict=True)
        if login
        for each in pair(location, login)
    ]

    assert verdicts(*results, locations=THREE)["login"].word == word


def test_the_reasoning_says_who_saw_what_how_often() -> None:
    found = verdicts(run(login="fail"), run(age_s=30, login="fail"))["login"]

    assert found.reasoning == "2 of 2 probes from local failed: HTTP 503, expected 200."
    assert (found.step, found.locations) == ("log in", ("local",))
    assert found.since == NOW - timedelta(seconds=30)


def test_locations_with_one_reason_share_a_sentence() -> None:
    found = verdicts(
        *pair("fra", "fail"), *pair("nyc", "fail"), *pair("syd", "ok"), locations=THREE
    )

    assert found["login"].reasoning == (
        "2 of 2 probes from fra and nyc failed: HTTP 503, expected 200."
    )


def test_a_component_that_is_not_checked_names_the_failing_step() -> None:
    results = [run(age_s=age, login="fail") for age in (0, 30, 60, 90)]

    found = verdicts(*results)["follow"]

    assert found.unknown_why == 'not checked while "log in" fails'
    assert found.skipped


def test_silence_says_since_when() -> None:
    found = verdicts(run(age_s=120))["login"]

    assert found.unknown_why == "checks not running since 05:58 UTC"
    assert not found.skipped


def test_a_prober_at_fault_says_what_it_lacks() -> None:
    found = verdicts(fault(), fault(age_s=30))["login"]

    assert found.reasoning == (
        "0 of 1 locations can tell, 1 needed; local: ${PASSWORD} is not set."
    )


def test_a_new_check_is_not_unknown_before_its_first_run() -> None:
    assert verdicts(old=False)["login"].word is None


@pytest.mark.parametrize(
    ("results", "clean"),
    [
        pytest.param([run()], True, id="a good run is clean"),
        pytest.param([run(login="fail"), run(age_s=30)], False, id="one failure is not clean"),
    ],
)
def test_clean_needs_every_run(results: list[Result], clean: bool) -> None:
    assert verdicts(*results)["login"].clean is clean


def test_one_failure_is_enough_when_the_rule_says_so() -> None:
    found = verdicts(run(login="fail"), run(age_s=30), rule=Rule(consecutive=1))["login"]

    assert found.word is Word.OUTAGE
    assert found.reasoning.startswith("1 of 1 probe from local failed")


@pytest.mark.parametrize(("locations", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_the_quorum_is_more_than_half(locations: int, needed: int) -> None:
    assert quorum(locations) == needed


@pytest.mark.parametrize(("interval_s", "after_s"), [(1, 90), (30, 90), (60, 180)])
def test_blindness_comes_after_three_intervals_or_90_s(interval_s: float, after_s: float) -> None:
    assert blind_after_s(interval_s) == after_s


NIGHT = Night.parse({"from": "22:00", "to": "07:00", "time_zone": "America/New_York", "veto_s": 0})


@pytest.mark.parametrize(
    ("local", "holds"),
    [
        pytest.param("21:59", False, id="a minute before"),
        pytest.param("22:00", True, id="it begins"),
        pytest.param("00:30", True, id="past midnight"),
        pytest.param("06:59", True, id="the last minute"),
        pytest.param("07:00", False, id="it is over"),
    ],
)
def test_the_night_goes_by_the_clock_of_its_zone(local: str, holds: bool) -> None:
    zone = ZoneInfo("America/New_York")
    moment = datetime.fromisoformat(f"2019-11-30T{local}:00").replace(tzinfo=zone)

    assert NIGHT.holds(moment.astimezone(UTC)) is holds


@pytest.mark.parametrize(
    ("publish", "publish_after_s", "night", "wait_s"),
    [
        pytest.param(Publish.AUTO, None, None, 120, id="auto waits for a veto"),
        pytest.param(Publish.AUTO, None, NIGHT, 0, id="at night it does not"),
        pytest.param(Publish.DRAFT, None, NIGHT, None, id="a draft waits for a person"),
        pytest.param(Publish.DRAFT, 300, None, 300, id="or for its time"),
        pytest.param(Publish.NOTIFY, None, None, None, id="notify publishes nothing"),
    ],
)
def test_a_policy_sets_the_deadline(
    publish: Publish, publish_after_s: float | None, night: Night | None, wait_s: float | None
) -> None:
    due = deadline(publish, NOW, veto_s=120, publish_after_s=publish_after_s, night=night)

    assert due == (None if wait_s is None else NOW + timedelta(seconds=wait_s))


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param({"consecutive": 0}, id="none in a row"),
        pytest.param({"retry_after_s": -1}, id="a wait below zero"),
        pytest.param({"consecutiv": 2}, id="a misspelt key"),
        pytest.param({"recover_after_s": None}, id="null where a number is needed"),
    ],
)
def test_a_wrong_rule_is_refused_by_its_key(raw: dict[str, int | None]) -> None:
    with pytest.raises(ValueError, match=next(iter(raw))):
        Rule.parse(raw)


def test_only_an_operator_resolves_when_the_rule_has_null() -> None:
    assert Rule.parse({"resolve_after_s": None}).resolve_after_s is None
