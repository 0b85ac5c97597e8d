"""What a rule and its policies would have said and done over stored results: nothing is sent."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from probes.verdict import VETO_S, Night, Publish, Result, Rule, Verdict, Word, deadline, gravity

# A judgement takes up to a millisecond: so many are a few seconds of one page.
JUDGED_MAX: Final = 4000
BAD: Final = frozenset({Word.DEGRADED, Word.PARTIAL, Word.STALE, Word.OUTAGE})


class Did(StrEnum):
    """What would have been done about a verdict."""

    CALLED = "called operators"
    DRAFTED = "drafted"
    PUBLISHED = "published"
    WITHDRAWN = "withdrew the draft"
    RECOVERED = "said that it works again"


@dataclass(frozen=True, slots=True)
class Run:
    """A stored result; `calm` when no attempt in it saw anything wrong."""

    result: Result
    calm: bool


@dataclass(frozen=True, slots=True)
class Course:
    """What a policy does with a verdict."""

    publish: Publish
    veto_s: float = VETO_S
    publish_after_s: float | None = None
    night: Night | None = None


# What would go out if a policy that only notifies were let loose.
LOOSE: Final = Course(Publish.AUTO)


@dataclass(frozen=True, slots=True)
class Sitting:
    """One judgement, and what it said of each component."""

    at: datetime
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Hearing:
    """All judgements from `since` on, oldest first; later than asked for when there were too many."""

    since: datetime
    sittings: tuple[Sitting, ...]
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Deed:
    """What the machine would have done, when, and why."""

    at: datetime
    component: str
    word: str
    did: Did
    reasoning: str = ""
    # The first that is said of a trouble: its draft, or its publication where there was none.
    is_alarm: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """From `at` on the check would have said `word` of a component."""

    at: datetime
    component: str
    old: str
    word: str
    reasoning: str


@dataclass(slots=True)
class Story:
    """What would have been said, and what done about it, oldest first."""

    changes: list[Change] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)

    def count(self, did: Did) -> int:
        return sum(1 for deed in self.deeds if deed.did is did)


Judge = Callable[[Sequence[Result], datetime], tuple[Verdict, ...]]


# ---- judging again ------------------------------------------------------------------------


def hear(
    runs: Sequence[Run],
    judge: Judge,
    *,
    locations: Sequence[str],
    window_s: float,
    blind_after_s: float,
    since: datetime,
    until: datetime,
) -> Hearing:
    """Judge at each result of `runs` (oldest first), and where a silence grew too long.

    Where every location of late saw nothing wrong there is nothing to judge, but once after
    trouble. Of more than JUDGED_MAX judgements the newest are made.
    """
    window = timedelta(seconds=window_s)
    blind_after = timedelta(seconds=blind_after_s)
    moments = list(_moments(runs, set(locations), window, blind_after, since, until))
    kept = moments[-JUDGED_MAX:]
    is_cut = len(kept) < len(moments)
    sittings = tuple(
        Sitting(at, judge([run.result for run in runs[first:last]], at)) for at, first, last in kept
    )
    begin = kept[0][0] if is_cut else since
    return Hearing(begin, sittings, is_cut)


def _moments(
    runs: Sequence[Run],
    locations: set[str],
    window: timedelta,
    blind_after: timedelta,
    since: datetime,
    until: datetime,
) -> Iterator[tuple[datetime, int, int]]:
    """Yield when to judge, and which runs[first:last] lie in the window then."""
    first = troubled = 0
    newest: dict[str, datetime] = {}
    was_calm = False
    for last, run in enumerate(runs, start=1):
        at = run.result.at
        troubled += not run.calm
        newest[run.result.location] = at
        while runs[first].result.at < at - window:
            troubled -= not runs[first].calm
            first += 1
        told = {name for name, seen in newest.items() if at - seen < blind_after}
        is_calm = not troubled and locations <= told
        if at >= since and not (is_calm and was_calm):
            yield at, first, last
        was_calm = is_calm
        following = runs[last].result.at if last < len(runs) else until
        if following - at >= blind_after and at + blind_after >= since:
            yield at + blind_after, first, last
            was_calm = False


# ---- acting again -------------------------------------------------------------------------

CourseOf = Callable[[str, str], Course | None]


def tell(hearing: Hearing, rule: Rule, course_of: CourseOf, *, until: datetime) -> Story:
    """Return what would have been said and done with these policies up to `until`.

    Each component stands alone here, while in earnest all verdicts of a page share one incident.
    """
    story = Story()
    lines: dict[str, _Line] = {}
    for sitting in hearing.sittings:
        for verdict in sitting.verdicts:
            line = lines.setdefault(verdict.component, _Line(verdict.component, rule, story))
            line.pass_time(sitting.at)
            line.hear(verdict, sitting.at, course_of)
    for line in lines.values():
        line.pass_time(until)
    story.changes.sort(key=lambda each: each.at)
    story.deeds.sort(key=lambda each: each.at)
    return story


def loosened(course_of: CourseOf) -> CourseOf:
    """Return the same policies, but where nothing is said in public, all is said by itself."""

    def loose(component: str, word: str) -> Course | None:
        course = course_of(component, word)
        is_silent = course is None or course.publish is Publish.NOTIFY
        return LOOSE if is_silent and word in BAD else course

    return loose


class _Line:
    """One component through time: what is said of it, drafted, and public."""

    def __init__(self, component: str, rule: Rule, story: Story) -> None:
        self.component, self.rule, self.story = component, rule, story
        self.word: str = ""
        self.clean_since: datetime | None = None
        self.reasoning = ""
        # What was drafted or published of it, and by when the draft goes out.
        self.said: str = ""
        self.is_drafted = self.is_public = False
        self.due: datetime | None = None
        self.recovered_at: datetime | None = None
        self.called_for: str = ""

    def pass_time(self, now: datetime) -> None:
        """Do what has fallen due: a deadline, or the way back, whichever is first."""
        back_at = self._back_at(now)
        if self.due is not None and self.due <= now and (back_at is None or self.due < back_at):
            self._publish(self.due)
        if back_at is None or not self.said:
            return
        self._do(Did.RECOVERED if self.is_public else Did.WITHDRAWN, back_at)
        self.recovered_at = back_at if self.is_public else self.recovered_at
        self.said, self.is_drafted, self.is_public, self.due = "", False, False, None

    def _back_at(self, now: datetime) -> datetime | None:
        """Return when it had been clean for long enough, None when it was not yet."""
        if self.clean_since is None:
            return None
        back_at = self.clean_since + timedelta(seconds=self.rule.recover_after_s)
        return back_at if back_at <= now else None

    def hear(self, verdict: Verdict, now: datetime, course_of: CourseOf) -> None:
        """Take in a verdict, and do what its policy wants."""
        if verdict.word is not None and verdict.word != self.word:
            change = Change(now, self.component, self.word, verdict.word, verdict.reasoning)
            self.story.changes.append(change)
            self.word, self.reasoning = verdict.word.value, verdict.reasoning
            if verdict.word is Word.UNKNOWN and not verdict.skipped:
                self._do(Did.CALLED, now)
        if verdict.clean and (verdict.word or self.word) == Word.UP:
            self.clean_since = self.clean_since or now
            self.called_for = ""
            return
        self.clean_since = None
        course = course_of(self.component, self.word)
        if course is not None and (self.word in BAD or self.word == Word.SLOW_BURN):
            self._say(course, now)

    def _say(self, course: Course, now: datetime) -> None:
        if self.word == Word.SLOW_BURN or course.publish is Publish.NOTIFY:
            if self.called_for != self.word:
                self._do(Did.CALLED, now)
                self.called_for = self.word
            return
        if gravity(self.word) <= gravity(self.said):
            return
        due = deadline(
            course.publish, now, veto_s=course.veto_s, publish_after_s=course.publish_after_s,
            night=course.night,
        )  # fmt: skip
        self.said = self.word
        if self._is_relapse(now) or (due is not None and due <= now):
            self._publish(now)
            return
        if not self.is_drafted:
            self._do(Did.DRAFTED, now, is_alarm=True)
        waiting = [each for each in (self.due, due) if each is not None]
        self.is_drafted, self.due = True, min(waiting, default=None)

    def _is_relapse(self, now: datetime) -> bool:
        """Say whether it comes back while it is still watched: then there is no wait."""
        if self.recovered_at is None:
            return False
        wait_s = self.rule.resolve_after_s
        return wait_s is None or now < self.recovered_at + timedelta(seconds=wait_s)

    def _publish(self, at: datetime) -> None:
        self._do(Did.PUBLISHED, at, is_alarm=not self.is_drafted)
        self.is_drafted, self.is_public, self.due = False, True, None

    def _do(self, did: Did, at: datetime, *, is_alarm: bool = False) -> None:
        word = self.word if did is Did.CALLED else self.said
        self.story.deeds.append(Deed(at, self.component, word, did, self.reasoning, is_alarm))


# ---- against what happened ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Happened:
    """An incident that people stood by: what it named, and how long it lasted."""

    components: frozenset[str]
    began_at: datetime
    ended_at: datetime

    def bears_out(self, deed: Deed, margin: timedelta) -> bool:
        return (
            deed.component in self.components
            and self.began_at - margin <= deed.at <= self.ended_at + margin
        )


# An alarm shortly before people declared, or on the way out, belongs to their incident.
MARGIN: Final = timedelta(minutes=15)


def false_alarms(story: Story, incidents: Sequence[Happened]) -> list[Deed]:
    """Return what would have been drafted or published and no incident bears out."""
    return [
        deed
        for deed in story.deeds
        if deed.is_alarm and not any(each.bears_out(deed, MARGIN) for each in incidents)
    ]


def missed(story: Story, incidents: Sequence[Happened]) -> list[Happened]:
    """Return the incidents of which the rule would have said nothing."""
    alarms = [deed for deed in story.deeds if deed.is_alarm or deed.did is Did.CALLED]
    return [each for each in incidents if not any(each.bears_out(deed, MARGIN) for deed in alarms)]
