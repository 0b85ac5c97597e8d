"""Results of all locations become a verdict on each component, with the reasoning in words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Any, Final
from zoneinfo import ZoneInfo

from probes.kinds import Outcome, StepObservation, Watch

# contract.md, "Detection": no accepted result for max(90 s, 3 x interval_s) is unknown.
BLIND_AFTER_S: Final = 90.0
BLIND_AFTER_INTERVALS: Final = 3
# Policies: contract.md, "Detection".
VETO_S: Final = 120


class Word(StrEnum):
    """What all results of a check say of a component."""

    UP = "up"
    SLOW_BURN = "slow_burn"
    DEGRADED = "degraded"
    PARTIAL = "partial"
    STALE = "stale"
    OUTAGE = "outage"
    UNKNOWN = "unknown"


# From harmless to grave; unknown stands apart, it says nothing of the target.
GRAVITY: Final = (
    Word.UP,
    Word.SLOW_BURN,
    Word.DEGRADED,
    Word.PARTIAL,
    Word.STALE,
    Word.OUTAGE,
)


def gravity(word: Word | str) -> int:
    """Return how grave a verdict is; unknown and none count as up."""
    return GRAVITY.index(Word(word)) if word in GRAVITY else 0


@dataclass(frozen=True, slots=True)
class Rule:
    """When results become a verdict, and how long the way back is; `verdict:` of site.yaml."""

    consecutive: int = 2
    retry_after_s: float = 2
    recover_after_s: float = 300
    # None: only an operator resolves.
    resolve_after_s: float | None = 1800
    reopen_within_s: float = 21_600
    min_failures: int = 3
    of_last: int = 10

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> "Rule":  # Any: numbers or null, as JSON has them.
        """Read a rule; keys that are missing keep their defaults, unknown ones raise ValueError."""
        for key, value in raw.items():
            if key not in cls.__slots__:
                expected = ", ".join(cls.__slots__)
                raise ValueError(f"verdict.{key}: expected one of {expected}")
            least = 0 if key.endswith("_s") else 1
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is None and key == "resolve_after_s":
                continue
            if not is_number or value < least:
                raise ValueError(f"verdict.{key}: expected a number from {least} up, not {value!r}")
        return cls(**raw)


@dataclass(frozen=True, slots=True)
class Result:
    """What one run from one location said in the end, after its retry."""

    location: str
    at: datetime
    outcome: Outcome
    steps: tuple[StepObservation, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one component; `word` None keeps what was said before."""

    component: str
    word: Word | None
    reasoning: str
    # The locations that say it, and the step they blame.
    locations: tuple[str, ...] = ()
    step: str = ""
    # No quorum of locations sees a failure in its newest run.
    clean: bool = False
    # When the trouble, or the silence, began.
    since: datetime | None = None
    # The short form of an unknown, for the public page.
    unknown_why: str = ""
    # An unknown because an earlier step fails, not because nobody looks.
    skipped: bool = False


def blind_after_s(interval_s: float) -> float:
    """Return after how long without a result nobody can tell."""
    return max(BLIND_AFTER_S, BLIND_AFTER_INTERVALS * interval_s)


def window_s(rule: Rule, interval_s: float) -> float:
    """Return how far back the results that judge() needs reach."""
    runs = max(rule.consecutive, BLIND_AFTER_INTERVALS) + 1
    return max(blind_after_s(interval_s), runs * interval_s)


def quorum(locations: int) -> int:
    """Return how many of the configured locations have to agree."""
    return locations // 2 + 1


def judge(
    results: Iterable[Result],
    rule: Rule,
    now: datetime,
    *,
    locations: Sequence[str],
    watches: Sequence[Watch],
    interval_s: float,
    watched_since: datetime,
) -> tuple[Verdict, ...]:
    """Return a verdict on each component that the check watches, in the order of its steps."""
    court = _Court(results, rule, now, locations, watches, interval_s, watched_since)
    components = tuple(dict.fromkeys(watch.component for watch in watches))
    if len(court.healthy) < court.needed:
        return tuple(court.blind(component) for component in components)
    return tuple(court.on(component) for component in components)


@dataclass(frozen=True, slots=True)
class _Mark:
    """What one run says of one component."""

    word: Word
    at: datetime
    reason: str = ""
    step: str = ""


@dataclass(frozen=True, slots=True)
class _Sight:
    """What one location says of one component; marks are newest first."""

    location: str
    marks: tuple[_Mark, ...]
    consecutive: int

    @property
    def newest(self) -> _Mark:
        return self.marks[0]

    @property
    def word(self) -> Word:
        """Return what all of the last `consecutive` runs say at least."""
        if len(self.marks) < self.consecutive:
            return Word.UP
        return min((mark.word for mark in self.marks[: self.consecutive]), key=gravity)

    @property
    def failing_since(self) -> datetime:
        """Return when the newest row of failures began."""
        failing = [mark.at for mark in _until_clean(self.marks)]
        return failing[-1] if failing else self.newest.at


class _Court:
    """One sitting: the results of all locations, and what they say of a component."""

    def __init__(
        self,
        results: Iterable[Result],
        rule: Rule,
        now: datetime,
        locations: Sequence[str],
        watches: Sequence[Watch],
        interval_s: float,
        watched_since: datetime,
    ) -> None:
        self.rule = rule
        self.now = now
        self.locations = locations
        self.watches = watches
        self.watched_since = watched_since
        self.blind_after = timedelta(seconds=blind_after_s(interval_s))
        self.needed = quorum(len(locations))
        self.runs = _newest_first(results, locations)
        self.healthy = [name for name in locations if self._is_healthy(name)]

    def blind(self, component: str) -> Verdict:
        """Too few locations are healthy to say anything."""
        faults = self._faults()
        since = self._blind_since()
        if not faults and self._is_young(since):
            return Verdict(component, None, "no probe has reported yet")
        heard = f"{len(self.healthy)} of {len(self.locations)} locations can tell"
        words = [f"{heard}, {self.needed} needed", *faults]
        return Verdict(
            component=component,
            word=Word.UNKNOWN,
            reasoning=_sentence("; ".join(words)),
            locations=tuple(name for name in self.locations if name not in self.healthy),
            since=since,
            unknown_why=f"checks not running since {since.astimezone(UTC):%H:%M} UTC",
        )

    def _blind_since(self) -> datetime:
        """Return when a quorum of locations could last tell."""
        told = sorted(
            (
                next((run.at for run in runs if run.outcome in _TELLING), self.watched_since)
                for runs in self.runs.values()
            ),
            reverse=True,
        )
        return told[self.needed - 1] if len(told) >= self.needed else self.watched_since

    def on(self, component: str) -> Verdict:
        """Weigh what the healthy locations saw of one component."""
        sights = [self._sight(name, component) for name in self.healthy]
        fresh = [sight for sight in sights if sight.marks and self._is_young(sight.newest.at)]
        if len(fresh) < self.needed:
            return self._unchecked(component)
        word = _said_by(self.needed, [sight.word for sight in fresh])
        if word is not Word.UP:
            return self._bad(component, word, fresh)
        seeing = [sight for sight in fresh if sight.newest.word is Word.UP]
        clean = len(fresh) - len(seeing) < self.needed
        if len(seeing) < self.needed:
            # Too early: some fail, and not yet often enough.
            return Verdict(component, None, _evidence(fresh, Word.SLOW_BURN, 1), clean=clean)
        heard = f"{len(seeing)} of {len(self.locations)} {_plural(len(self.locations), 'location')}"
        names = tuple(sight.location for sight in seeing)
        words = f"{heard} saw nothing wrong."
        return Verdict(component, Word.UP, words, names, clean=clean)

    def _bad(self, component: str, word: Word, fresh: Sequence[_Sight]) -> Verdict:
        saying = [sight for sight in fresh if gravity(sight.word) >= gravity(word)]
        failing = sum(1 for sight in fresh if sight.newest.word is not Word.UP)
        return Verdict(
            component=component,
            word=word,
            reasoning=_evidence(saying, word, self.rule.consecutive),
            locations=tuple(sight.location for sight in saying),
            step=saying[0].newest.step,
            clean=failing < self.needed,
            since=min(sight.failing_since for sight in saying),
        )

    def _unchecked(self, component: str) -> Verdict:
        """Its steps did not run of late: an earlier one fails, or nothing could be told."""
        steps = [self._blocking(name) for name in self.healthy]
        step = next((each for each in steps if each), "")
        words = f'not checked while "{step}" fails' if step else "no probe could tell"
        if self._is_young(self.watched_since):
            return Verdict(component, None, words, skipped=bool(step))
        marks = [self._sight(name, component).marks for name in self.healthy]
        since = max((each[0].at for each in marks if each), default=self.watched_since)
        return Verdict(
            component=component,
            word=Word.UNKNOWN,
            reasoning=_sentence(words),
            step=step,
            since=since,
            unknown_why=words,
            skipped=bool(step),
        )

    def _is_young(self, moment: datetime) -> bool:
        return self.now - moment < self.blind_after

    def _is_healthy(self, name: str) -> bool:
        """A location is healthy that reports, and not only its own faults."""
        fresh = [run for run in self.runs[name] if self._is_young(run.at)]
        return any(run.outcome in _TELLING for run in fresh[: self.rule.consecutive])

    def _faults(self) -> list[str]:
        """Say of each unhealthy location what its newest run said of itself."""
        return [
            f"{name}: {_own_reason(self.runs[name][0])}"
            for name in self.locations
            if name not in self.healthy
            and self.runs[name]
            and self._is_young(self.runs[name][0].at)
            and self.runs[name][0].outcome not in _TELLING
        ]

    def _sight(self, name: str, component: str) -> _Sight:
        steps = sum(1 for watch in self.watches if watch.component == component)
        marks = (_mark(run, component, steps) for run in self.runs[name])
        said = tuple(mark for mark in marks if mark is not None)
        return _Sight(name, said, self.rule.consecutive)

    def _blocking(self, name: str) -> str:
        failing = (each.name for each in self.runs[name][0].steps if each.outcome not in _GOOD)
        return next(failing, "")


_GOOD: Final = (Outcome.OK, Outcome.SLOW)
_TELLING: Final = (*_GOOD, Outcome.TARGET_FAIL)


def _newest_first(
    results: Iterable[Result], locations: Sequence[str]
) -> dict[str, tuple[Result, ...]]:
    runs: dict[str, list[Result]] = {name: [] for name in locations}
    for result in results:
        if result.location in runs:
            runs[result.location].append(result)
    return {
        name: tuple(sorted(each, key=lambda run: run.at, reverse=True))
        for name, each in runs.items()
    }


def _mark(run: Result, component: str, steps: int) -> _Mark | None:
    """Return what a run says of a component, None when it says nothing."""
    seen = [step for step in run.steps if step.component == component]
    for step in seen:
        if step.outcome is Outcome.TARGET_FAIL:
            word = Word.STALE if set(step.failed) == {"max_age_s"} else Word.OUTAGE
            return _Mark(word, run.at, step.reason, step.name)
    if len(seen) < steps or any(step.outcome not in _GOOD for step in seen):
        return None
    for step in seen:
        if step.outcome is Outcome.SLOW:
            return _Mark(Word.DEGRADED, run.at, step.reason, step.name)
    return _Mark(Word.UP, run.at)


def _until_clean(marks: Sequence[_Mark]) -> list[_Mark]:
    failing: list[_Mark] = []
    for mark in marks:
        if mark.word is Word.UP:
            break
        failing.append(mark)
    return failing


def _said_by(needed: int, words: Sequence[Word]) -> Word:
    """Return the gravest word that `needed` locations say at least."""
    return sorted(words, key=gravity, reverse=True)[needed - 1]


def _evidence(sights: Sequence[_Sight], word: Word, runs: int) -> str:
    """Say who saw what how often; locations with the same reason share a sentence."""
    failing = [sight for sight in sights if sight.newest.word is not Word.UP]
    by_reason = sorted(failing, key=lambda sight: sight.newest.reason)
    sentences: list[str] = []
    for reason, group in groupby(by_reason, key=lambda sight: sight.newest.reason):
        names = _listed([sight.location for sight in group])
        did = "were slow" if word is Word.DEGRADED else "failed"
        sentences.append(f"{runs} of {runs} {_plural(runs, 'probe')} from {names} {did}: {reason}.")
    return " ".join(sentences)


def _own_reason(run: Result) -> str:
    return run.reason or next((each.reason for each in run.steps if each.reason), run.outcome)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


# ---- what follows from a verdict ----------------------------------------------------------


class Publish(StrEnum):
    """What a policy does with a verdict."""

    AUTO = "auto"
    DRAFT = "draft"
    NOTIFY = "notify"


@dataclass(frozen=True, slots=True)
class Night:
    """A window by the clock of a time zone in which another veto_s holds; it may cross midnight."""

    begins: time
    ends: time
    zone: ZoneInfo
    veto_s: float

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> "Night":  # Any: as JSON has it.
        """Read `night:` of a policy; raise ValueError in words."""
        return cls(
            begins=time.fromisoformat(str(raw["from"])),
            ends=time.fromisoformat(str(raw["to"])),
            zone=ZoneInfo(str(raw["time_zone"])),
            veto_s=float(raw["veto_s"]),
        )

    def holds(self, now: datetime) -> bool:
        """Say whether it is night there."""
        local = now.astimezone(self.zone).time().replace(tzinfo=None)
        if self.begins <= self.ends:
            return self.begins <= local < self.ends
        return local >= self.begins or local < self.ends


def deadline(
    publish: Publish,
    now: datetime,
    *,
    veto_s: float,
    publish_after_s: float | None,
    night: Night | None,
) -> datetime | None:
    """Return when a verdict goes public by itself, None when it waits for a person."""
    match publish:
        case Publish.AUTO:
            wait_s = night.veto_s if night is not None and night.holds(now) else veto_s
            return now + timedelta(seconds=wait_s)
        case Publish.DRAFT:
            return None if publish_after_s is None else now + timedelta(seconds=publish_after_s)
        case Publish.NOTIFY:
            return None
