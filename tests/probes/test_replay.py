"""A rule replayed over stored results: what it would have said, when, and what bears it out."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from probes import replay
from probes.kinds import Outcome, StepObservation, Watch
from probes.replay import Course, Did, Happened, Hearing, Run, Story
from probes.verdict import (
    Publish,
    Result,
    Rule,
    Standing,
    Surroundings,
    Verdict,
    blind_after_s,
    follow,
    judge,
    window_s,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
INTERVAL = timedelta(seconds=30)
WATCHES = (Watch("newest reading", "follow"),)
RULE = Rule(recover_after_s=300, resolve_after_s=600)
AUTO = Course(Publish.AUTO, veto_s=120)
AT_ONCE = Course(Publish.AUTO, veto_s=0)


def runs(words: str, *, location: str = "local", since: datetime = NOON) -> list[Run]:
    """One run each 30 s: "." as expected, "x" failed, "o" mended by the retry, " " none."""
    told = []
    for number, word in enumerate(words):
        if word == " ":
            continue
        outcome = Outcome.TARGET_FAIL if word == "x" else Outcome.OK
        failed = ("status",) if word == "x" else ()
        reason = "HTTP 503, expected 200" if word == "x" else ""
        step = StepObservation("newest reading", "follow", outcome, reason, failed)
        result = Result(location, since + number * INTERVAL, outcome, (step,))
        told.append(Run(result, calm=word == "."))
    return told


class Judge:
    """The real judge, which counts how often it was asked."""

    def __init__(self, locations: Sequence[str]) -> None:
        self.locations = locations
        self.asked: list[datetime] = []
        self.standing: dict[str, Standing] = {}

    def __call__(self, results: Sequence[Result], now: datetime) -> tuple[Verdict, ...]:
        self.asked.append(now)
        said = judge(
            results, RULE, now, locations=self.locations, watches=WATCHES,
            interval_s=INTERVAL.total_seconds(), watched_since=NOON,
            around=Surroundings(standing=dict(self.standing)),
        )  # fmt: skip
        for each in said:
            before = self.standing.get(each.component, Standing())
            self.standing[each.component] = follow(before, each, now)
        return said


def hear(told: Iterable[Run], *, until: datetime, locations: Sequence[str] = ("local",)) -> Hearing:
    return heard_by(Judge(locations), told, until=until)


def heard_by(judge: Judge, told: Iterable[Run], *, until: datetime) -> Hearing:
    return replay.hear(
        sorted(told, key=lambda run: run.result.at),
        judge,
        locations=judge.locations,
        window_s=window_s(RULE, INTERVAL.total_seconds()),
        blind_after_s=blind_after_s(INTERVAL.total_seconds()),
        since=NOON,
        until=until,
    )


def told(words: str, course: Course | None) -> list[tuple[str, int]]:
    """Return what would have been done, and in which 30 s after noon."""
    until = NOON + len(words) * INTERVAL
    story = replay.tell(hear(runs(words), until=until), RULE, lambda *_: course, until=until)
    return [(deed.did.value, (deed.at - NOON) // INTERVAL) for deed in story.deeds]


PUBLISHED, DRAFTED, CALLED = Did.PUBLISHED.value, Did.DRAFTED.value, Did.CALLED.value
WITHDRAWN, RECOVERED = Did.WITHDRAWN.value, Did.RECOVERED.value


@pytest.mark.parametrize(
    ("words", "course", "deeds"),
    [
        pytest.param("." * 40, AT_ONCE, [], id="nothing was wrong: nothing is said"),
        pytest.param("....x...", AT_ONCE, [], id="one failure alone is nothing"),
        pytest.param("....ooo.", AT_ONCE, [], id="what the retry mended is nothing"),
        pytest.param("....xx..", AT_ONCE, [(PUBLISHED, 5)], id="two in a row, at once by night"),
        pytest.param(
            "....xxxxxxxx", AUTO, [(DRAFTED, 5), (PUBLISHED, 9)], id="by day after the veto's time"
        ),
        pytest.param(
            "....xx" + "." * 20,
            AT_ONCE,
            [(PUBLISHED, 5), (RECOVERED, 16)],
            id="300 s clean after it is said that it works",
        ),
        pytest.param(
            "....xx" + "." * 20,
            Course(Publish.DRAFT),
            [(DRAFTED, 5), (WITHDRAWN, 16)],
            id="a draft that waits for a person is withdrawn",
        ),
        pytest.param(
            "....xx" + "." * 20,
            Course(Publish.DRAFT, publish_after_s=3600),
            [(DRAFTED, 5), (WITHDRAWN, 16)],
            id="clean before its time: withdrawn, not published",
        ),
        pytest.param(
            "....xx" + "." * 12 + "xx..",
            Course(Publish.AUTO, veto_s=60),
            [(DRAFTED, 5), (PUBLISHED, 7), (RECOVERED, 16), (PUBLISHED, 19)],
            id="a relapse while it is still watched has no wait",
        ),
        pytest.param("....xxxx", Course(Publish.NOTIFY), [(CALLED, 5)], id="notify calls once"),
        pytest.param("....xx....xx..", None, [], id="without a policy the desk alone knows"),
    ],
)
def test_what_is_done(words: str, course: Course | None, deeds: list[tuple[str, int]]) -> None:
    assert told(words, course) == deeds


def test_without_a_policy_the_verdicts_are_told_all_the_same() -> None:
    until = NOON + 14 * INTERVAL
    hearing = hear(runs("....xx....xx.."), until=until)
    story = replay.tell(hearing, RULE, lambda *_: None, until=until)

    words = [change.word for change in story.changes]
    assert words == ["up", "outage", "up", "outage", "up"]
    assert story.changes[1].reasoning == (
        "2 of 2 probes from local failed: HTTP 503, expected 200."
    )


def test_let_loose_a_notifying_policy_would_have_published() -> None:
    until = NOON + 16 * INTERVAL
    hearing = hear(runs("....xx" + "x" * 10), until=until)
    loose = replay.loosened(lambda *_: Course(Publish.NOTIFY))

    story = replay.tell(hearing, RULE, loose, until=until)

    assert (story.count(Did.DRAFTED), story.count(Did.PUBLISHED)) == (1, 1)


def test_a_silence_is_unknown_and_calls_operators_once() -> None:
    until = NOON + 18 * INTERVAL
    story = replay.tell(
        hear(runs("...." + " " * 10 + "...."), until=until), RULE, lambda *_: None, until=until
    )

    assert [(change.word, (change.at - NOON) // INTERVAL) for change in story.changes] == [
        ("up", 0),
        ("unknown", 6),
        ("up", 14),
    ]
    assert story.count(Did.CALLED) == 1


def test_a_place_that_falls_silent_alone_is_judged_too() -> None:
    both = [*runs("." * 20, location="fra"), *runs("....", location="nyc")]
    until = NOON + 20 * INTERVAL

    story = replay.tell(
        hear(both, until=until, locations=("fra", "nyc")), RULE, lambda *_: None, until=until
    )

    assert story.changes[-1].word == "unknown"


def test_what_was_calm_is_not_judged_again() -> None:
    judge = Judge(["local"])
    heard_by(judge, runs("." * 500 + "xx" + "." * 500), until=NOON + 1002 * INTERVAL)

    # A window of eleven runs either side of the trouble, of a thousand.
    assert len(judge.asked) < 40


def test_of_too_many_moments_the_newest_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "JUDGED_MAX", 10)
    judge = Judge(["local"])

    hearing = heard_by(judge, runs("x" * 100), until=NOON + 100 * INTERVAL)

    assert hearing.is_cut
    assert judge.asked == [NOON + number * INTERVAL for number in range(90, 100)]
    assert hearing.since == NOON + 90 * INTERVAL


@pytest.mark.parametrize(
    ("incidents", "false", "missed"),
    [
        pytest.param([], 1, 0, id="no incident: a false alarm"),
        pytest.param([("follow", 0, 30)], 0, 0, id="an incident bears it out"),
        pytest.param([("login", 0, 30)], 1, 1, id="an incident of something else does not"),
        pytest.param([("follow", 600, 700)], 1, 1, id="nor one of another time"),
    ],
)
def test_alarms_against_incidents(
    incidents: list[tuple[str, int, int]], false: int, missed: int
) -> None:
    until = NOON + 16 * INTERVAL
    hearing = hear(runs("....xx" + "." * 10), until=until)
    story: Story = replay.tell(hearing, RULE, lambda *_: AT_ONCE, until=until)
    stood_by = [
        Happened(frozenset([slug]), NOON + begin * INTERVAL, NOON + end * INTERVAL)
        for slug, begin, end in incidents
    ]

    assert len(replay.false_alarms(story, stood_by)) == false
    assert len(replay.missed(story, stood_by)) == missed
