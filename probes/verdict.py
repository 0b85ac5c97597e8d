"""Results of all locations become a verdict on each component, with the reasoning in words."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from probes import reasoning
from probes.baseline import Latency, is_over
from probes.facts import GOOD
from probes.kinds import Outcome, Watch
from probes.policy import VETO_S, Night, Publish, deadline, is_proof
from probes.ratio import Burn
from probes.rule import BLIND_AFTER_S, Rule, blind_after_s, quorum, window_s
from probes.sight import (
    FAILING,
    TELLING,
    Mark,
    Result,
    Sight,
    blamed_components,
    mark_of,
)
from probes.suspicion import Suspicion, borne_out
from probes.words import BAD, GRAVE, GRAVITY, Word, gravity

__all__ = [
    "BAD",
    "BLIND_AFTER_S",
    "GRAVITY",
    "VETO_S",
    "Fault",
    "Night",
    "Publish",
    "Result",
    "Rule",
    "Standing",
    "Surroundings",
    "Verdict",
    "Word",
    "blind_after_s",
    "deadline",
    "faults",
    "follow",
    "gravity",
    "judge",
    "quorum",
    "window_s",
]

# Rejections of many locations are weighed against each other: no more of them than this.
SUSPICIONS_MAX: Final = 200


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
    # Good and bad runs take turns.
    flapping: bool = False
    # Our credentials were not taken: perhaps it is us.
    rejected: bool = False
    # When the runs began, at the earliest, by which a quorum says that it is up.
    seen_up_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is said of a component until now; the columns of CurrentVerdict that time changes."""

    # Empty: nothing was said yet.
    word: str = ""
    since: datetime | None = None
    began_at: datetime | None = None
    clean_since: datetime | None = None
    # When it was last up, and when it last left an outage, a stale or a partial one.
    up_at: datetime | None = None
    mended_at: datetime | None = None
    flapping: bool = False
    rejected: bool = False
    vetoed_word: str = ""
    called_for: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a judgement takes into account beside the newest results."""

    standing: Mapping[str, Standing] = field(default_factory=dict)
    burn: Burn = Burn()
    latency: Latency | None = None
    # Who got in during the last day, as (location, account).
    proven: Collection[tuple[str, str]] = ()
    # When the check was made or changed.
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A location that cannot tell, by its own fault or because it is turned away."""

    location: str
    # None: it is silent.
    outcome: Outcome | None
    reason: str
    since: datetime


def judge(
    results: Iterable[Result],
    rule: Rule,
    now: datetime,
    *,
    locations: Sequence[str],
    watches: Sequence[Watch],
    interval_s: float,
    watched_since: datetime,
    patience_s: float = 0,
    around: Surroundings | None = None,
) -> tuple[Verdict, ...]:
    """Return a verdict on each component that the check watches, in the order of its steps."""
    blind_s = blind_after_s(interval_s, patience_s)
    court = _Court(
        results, rule, now, locations, watches, blind_s, watched_since, around or Surroundings()
    )
    components = tuple(dict.fromkeys(watch.component for watch in watches))
    if len(court.healthy) < court.needed:
        return tuple(court.blind(component) for component in components)
    return tuple(court.on(component) for component in components)


def follow(standing: Standing, new: Verdict, now: datetime) -> Standing:
    """Return how it stands after a verdict."""
    fields = standing
    if new.word is not None and new.word != standing.word:
        has_begun = gravity(standing.word) == 0 or new.word is Word.UNKNOWN
        is_mended = standing.word in GRAVE and new.word not in GRAVE
        fields = replace(
            fields,
            word=new.word.value,
            since=now,
            began_at=new.since if has_begun else standing.began_at,
            mended_at=now if is_mended else standing.mended_at,
        )
    if new.seen_up_at is not None:
        fields = replace(fields, up_at=new.seen_up_at)
    if is_clean(standing, new):
        fields = replace(
            fields, clean_since=standing.clean_since or now, vetoed_word="", called_for=""
        )
    else:
        fields = replace(fields, clean_since=None)
    return replace(fields, flapping=new.flapping, rejected=new.rejected)


def is_clean(standing: Standing, new: Verdict) -> bool:
    """Say whether nothing is wrong; a slow burn is the operators' and holds up no all-clear."""
    return new.clean and (new.word or standing.word) in (Word.UP, Word.SLOW_BURN)


def differs(standing: Standing, new: Verdict, *, changed_at: datetime | None = None) -> bool:
    """Say whether a verdict changes how it stands; the first good one since a change does."""
    if is_proof(new.seen_up_at, changed_at) and not is_proof(standing.up_at, changed_at):
        return True
    word = new.word is not None and standing.word != new.word
    is_steady = standing.flapping == new.flapping and standing.rejected == new.rejected
    return word or not is_steady or (standing.clean_since is not None) != is_clean(standing, new)


def faults(
    results: Iterable[Result],
    rule: Rule,
    now: datetime,
    *,
    locations: Sequence[str],
    interval_s: float,
    watched_since: datetime,
    patience_s: float = 0,
) -> tuple[Fault, ...]:
    """Return the locations that cannot tell now, and why; one run is no reason to call anybody."""
    blind_s = blind_after_s(interval_s, patience_s)
    court = _Court(results, rule, now, locations, (), blind_s, watched_since, Surroundings())
    return tuple(court.faults())


class _Court:
    """One sitting: the results of all locations, and what they say of a component."""

    def __init__(
        self,
        results: Iterable[Result],
        rule: Rule,
        now: datetime,
        locations: Sequence[str],
        watches: Sequence[Watch],
        blind_s: float,
        watched_since: datetime,
        around: Surroundings,
    ) -> None:
        self.rule = rule
        self.now = now
        self.locations = locations
        self.watches = watches
        self.watched_since = watched_since
        self.around = around
        self.blind_after = timedelta(seconds=blind_s)
        self.needed = quorum(len(locations))
        self.runs = _newest_first(_with_suspicions(results, rule, around), locations)
        self.healthy = [name for name in locations if self._is_healthy(name)]
        self.blamed = blamed_components(self.runs, watches)
        self.hidden = {watch.step: watch.component for watch in watches}

    def blind(self, component: str) -> Verdict:
        """Too few locations are healthy to say anything."""
        unable = [each for each in self.locations if each not in self.healthy]
        own = [
            f"{each.location}: {each.reason}"
            for each in self.faults()
            if each.outcome and each.location in unable
        ]
        since = self._blind_since()
        if not own and self._is_young(since):
            return Verdict(component, None, "no probe has reported yet")
        heard = f"{len(self.healthy)} of {len(self.locations)} locations can tell"
        return Verdict(
            component=component,
            word=Word.UNKNOWN,
            reasoning=reasoning.sentence("; ".join([f"{heard}, {self.needed} needed", *own])),
            locations=tuple(unable),
            since=since,
            unknown_why=f"checks not running since {since.astimezone(UTC):%H:%M} UTC",
        )

    def _blind_since(self) -> datetime:
        """Return when a quorum of locations could last tell."""
        told = sorted((self._last_told(name) for name in self.runs), reverse=True)
        return told[self.needed - 1] if len(told) >= self.needed else self.watched_since

    def _last_told(self, name: str) -> datetime:
        runs = self.runs[name]
        return next((run.at for run in runs if run.outcome in TELLING), self.watched_since)

    def on(self, component: str) -> Verdict:
        """Weigh what the healthy locations saw of one component."""
        standing = self._standing(component)
        sights = [self._sight(name, component) for name in self.healthy]
        fresh = [sight for sight in sights if sight.marks and self._is_young(sight.newest.at)]
        if len(fresh) < self.needed:
            return self._unchecked(component)
        said = Word(standing.word) if standing.word else None
        words = {sight.location: sight.word(said) for sight in fresh}
        word = _said_by(self.needed, list(words.values()))
        if gravity(word) < gravity(Word.PARTIAL) and said not in FAILING:
            wide = [sight for sight in fresh if sight.failures >= self.rule.wide_failures]
            if len(wide) > self.needed:
                word, words = Word.PARTIAL, words | {s.location: Word.PARTIAL for s in wide}
        slow = self._slow(component, fresh) if gravity(word) < gravity(Word.DEGRADED) else None
        least = Word.DEGRADED if slow else word
        flapping = self._flapping(fresh, standing)
        if flapping and said in BAD and gravity(least) < gravity(said):
            return self._held(component, said, fresh, flapping)
        if slow is not None:
            return slow
        if word is not Word.UP:
            saying = [sight for sight in fresh if gravity(words[sight.location]) >= gravity(word)]
            return self._bad(component, word, fresh, saying, is_flapping=bool(flapping))
        if self._burns(component, said):
            return self._burning(component, fresh)
        return self._well(component, fresh)

    def _well(self, component: str, fresh: Sequence[Sight]) -> Verdict:
        seeing = [sight for sight in fresh if sight.newest.word is Word.UP]
        if len(seeing) < self.needed:
            # Too early: some fail, and not yet often enough.
            words = reasoning.of_rows(fresh, Word.SLOW_BURN, 1)
            return Verdict(component, None, words, clean=self._is_clean(fresh))
        count = len(self.locations)
        heard = f"{len(seeing)} of {count} {reasoning.plural(count, 'location')}"
        names = tuple(sight.location for sight in seeing)
        seen_at = sorted((sight.newest.at for sight in seeing), reverse=True)
        return Verdict(
            component=component,
            word=Word.UP,
            reasoning=f"{heard} saw nothing wrong.",
            locations=names,
            clean=self._is_clean(fresh),
            seen_up_at=seen_at[self.needed - 1],
        )

    def _bad(
        self,
        component: str,
        word: Word,
        fresh: Sequence[Sight],
        saying: Sequence[Sight],
        *,
        is_flapping: bool,
    ) -> Verdict:
        return Verdict(
            component=component,
            word=word,
            reasoning=reasoning.of_trouble(saying, word, self.rule),
            locations=tuple(sight.location for sight in saying),
            step=saying[0].blamed.step,
            clean=self._is_clean(fresh),
            since=min(sight.failing_since for sight in saying),
            flapping=is_flapping,
            rejected=all(sight.blamed.rejected for sight in saying),
        )

    def _held(
        self, component: str, said: Word, fresh: Sequence[Sight], flapping: Sequence[Sight]
    ) -> Verdict:
        """Good and bad take turns: it stays in trouble, and nobody is told of each turn."""
        return Verdict(
            component=component,
            word=said,
            reasoning=reasoning.of_flapping(flapping, said),
            locations=tuple(sight.location for sight in flapping),
            step=flapping[0].blamed.step,
            since=min(sight.failing_since for sight in flapping),
            flapping=True,
        )

    def _flapping(self, fresh: Sequence[Sight], standing: Standing) -> list[Sight]:
        """Return the locations where it flaps, when a quorum says so; it begins high, ends low."""
        if standing.word not in BAD:
            return []
        percent = self.rule.flap_percent / (2 if standing.flapping else 1)
        found = [sight for sight in fresh if sight.flap_percent > percent]
        return found if len(found) >= self.needed else []

    def _slow(self, component: str, fresh: Sequence[Sight]) -> Verdict | None:
        """Rule E against the baseline: p95 was above its limit for long enough."""
        latency = self.around.latency
        if latency is None or latency.over_since is None or component != self._slowest():
            return None
        if self.now - latency.over_since < timedelta(seconds=self.rule.slow_for_s):
            return None
        names = tuple(name for name, count in latency.counts.items() if is_over(count))
        return Verdict(
            component=component,
            word=Word.DEGRADED,
            reasoning=reasoning.of_latency(
                names, latency.limit_s, for_s=(self.now - latency.over_since).total_seconds()
            ),
            locations=names,
            clean=self._is_clean(fresh),
            since=latency.over_since,
        )

    def _slowest(self) -> str:
        """Return whose steps take most of the time of the newest runs."""
        took: dict[str, float] = {}
        for runs in self.runs.values():
            for step in runs[0].steps if runs else ():
                total = took.get(step.component, 0.0)
                took[step.component] = total + step.phases_ms.get("total", 0.0)
        last = self.watches[-1].component
        return max(took, key=lambda each: (took[each], each == last)) if took else last

    def _burns(self, component: str, said: Word | None) -> bool:
        rule = self.rule
        return component in self.blamed and self.around.burn.exceeds(
            rule.burn_ratio,
            failures_min=rule.burn_failures,
            is_burning=said is Word.SLOW_BURN,
        )

    def _burning(self, component: str, fresh: Sequence[Sight]) -> Verdict:
        return Verdict(
            component=component,
            word=Word.SLOW_BURN,
            reasoning=reasoning.of_burn(self.around.burn, self.rule),
            locations=tuple(sight.location for sight in fresh),
            clean=self._is_clean(fresh),
            since=self.now,
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
            reasoning=reasoning.sentence(words),
            step=step,
            since=since,
            unknown_why=words,
            skipped=bool(step),
        )

    def _is_clean(self, fresh: Sequence[Sight]) -> bool:
        failing = sum(1 for sight in fresh if sight.newest.word is not Word.UP)
        return failing < self.needed

    def _is_young(self, moment: datetime) -> bool:
        return self.now - moment < self.blind_after

    def _is_healthy(self, name: str) -> bool:
        """A location is healthy that reports, and not only its own faults."""
        fresh = [run for run in self.runs[name] if self._is_young(run.at)]
        return any(run.outcome in TELLING for run in fresh[: self.rule.consecutive])

    def faults(self) -> list[Fault]:
        """Say of each location whose newest run tells nothing, or that is silent, why."""
        return [self._fault(name) for name in self.locations if not self._tells(name)]

    def _tells(self, name: str) -> bool:
        runs = self.runs[name]
        return bool(runs) and runs[0].outcome in TELLING and self._is_young(runs[0].at)

    def _fault(self, name: str) -> Fault:
        runs = self.runs[name]
        since = self._last_told(name)
        if not runs or not self._is_young(runs[0].at):
            at = max(runs[0].at if runs else self.watched_since, since)
            return Fault(name, None, f"silent since {at.astimezone(UTC):%H:%M} UTC", at)
        return Fault(name, runs[0].outcome, _own_reason(runs[0]), since)

    def _standing(self, component: str) -> Standing:
        return self.around.standing.get(component, _NOTHING_SAID)

    def _sight(self, name: str, component: str) -> Sight:
        steps = sum(1 for watch in self.watches if watch.component == component)
        marks: list[Mark] = []
        for run in self.runs[name]:
            mark = mark_of(run, component, steps, hidden=self.hidden, blamed=self.blamed)
            if mark is not None:
                marks.append(mark)
        return Sight(name, marks, self.rule, since=self._standing(component).mended_at)

    def _blocking(self, name: str) -> str:
        failing = (each.name for each in self.runs[name][0].steps if each.outcome not in GOOD)
        return next(failing, "")


_NOTHING_SAID: Final = Standing()


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


def _with_suspicions(
    results: Iterable[Result], rule: Rule, around: Surroundings
) -> Sequence[Result]:
    """Count rejected log-ins as failures where several sound accounts see them."""
    runs = list(results)
    suspicions = {
        Suspicion(run.location, step.account, run.at): None
        for run in runs
        if run.outcome is Outcome.AUTH_SUSPECT
        for step in run.steps
        if step.outcome is Outcome.AUTH_SUSPECT and step.account
    }
    if not suspicions:
        return runs
    found = borne_out(
        list(suspicions)[:SUSPICIONS_MAX],
        accounts=rule.auth_accounts,
        within_s=rule.auth_within_s,
        proven=around.proven,
        changed_at=around.changed_at,
        guard_s=rule.shadow_s,
    )
    borne = {(each.location, each.at) for each in found}
    return [
        _as_failure(run)
        if run.outcome is Outcome.AUTH_SUSPECT and (run.location, run.at) in borne
        else run
        for run in runs
    ]


def _as_failure(run: Result) -> Result:
    steps = tuple(
        replace(step, outcome=Outcome.TARGET_FAIL) if step.outcome is Outcome.AUTH_SUSPECT else step
        for step in run.steps
    )
    return replace(run, outcome=Outcome.TARGET_FAIL, steps=steps)


def _said_by(needed: int, words: Sequence[Word]) -> Word:
    """Return the gravest word that `needed` locations say at least."""
    return sorted(words, key=gravity, reverse=True)[needed - 1]


def _own_reason(run: Result) -> str:
    return run.reason or next((each.reason for each in run.steps if each.reason), run.outcome)
