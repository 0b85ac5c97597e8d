"""What one location says of one component: its runs as marks, and what each rule makes of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from probes import ratio
from probes.facts import GOOD
from probes.kinds import Outcome, StepObservation, Watch
from probes.rule import FLAP_RUNS, Rule
from probes.words import Word, gravity

TELLING: Final = (*GOOD, Outcome.TARGET_FAIL)
FAILING: Final = (Word.OUTAGE, Word.STALE)
# What an answer says that does not take our credentials.
REJECTIONS: Final = (401, 403)
REJECTION_SHAPES: Final = ("F4", "F5")


@dataclass(frozen=True, slots=True)
class Result:
    """What one run from one location said in the end, after its retry."""

    location: str
    at: datetime
    outcome: Outcome
    steps: tuple[StepObservation, ...]
    reason: str = ""
    # What the first attempt said; None where there was no other. And the step that failed in it.
    first: Outcome | None = None
    first_step: str = ""

    @property
    def was_mended(self) -> bool:
        """Say whether the retry hid a failure."""
        return self.first is Outcome.TARGET_FAIL and self.outcome in GOOD


@dataclass(frozen=True, slots=True)
class Mark:
    """What one run says of one component."""

    word: Word
    at: datetime
    # Whether its first attempt failed, before any retry.
    failed: bool = False
    reason: str = ""
    step: str = ""
    # It failed because our credentials were not taken.
    rejected: bool = False


class Sight:
    """What one location says of one component; marks are newest first."""

    def __init__(
        self, location: str, marks: Sequence[Mark], rule: Rule, *, since: datetime | None
    ) -> None:
        self.location = location
        self.marks = marks
        self.rule = rule
        # Failures up to then are told and over.
        self._since = since

    @property
    def newest(self) -> Mark:
        return self.marks[0]

    @property
    def blamed(self) -> Mark:
        """Return the newest run that saw something wrong, else the newest one."""
        return next((mark for mark in self.marks if mark.word is not Word.UP), self.newest)

    @property
    def in_a_row(self) -> Word:
        """Rules A and D: what all of the last `consecutive` runs say at least."""
        count = self.rule.consecutive
        if len(self.marks) < count:
            return Word.UP
        return min((mark.word for mark in self.marks[:count]), key=gravity)

    @cached_property
    def failures(self) -> int:
        """Return how many of the last first attempts failed, of those that were not told yet."""
        return self._failed_of(self.rule.of_last)

    @cached_property
    def is_failing_still(self) -> bool:
        """Say whether one of the newest few first attempts failed: a burst that is over is over."""
        return self._failed_of(self.rule.of_newest) > 0

    def _failed_of(self, runs: int) -> int:
        return sum(
            1
            for mark in self.marks[:runs]
            if mark.failed and (self._since is None or mark.at > self._since)
        )

    @cached_property
    def slow(self) -> int:
        """Return how many of the last runs were slow."""
        newest = self.marks[: self.rule.slow_of_last]
        return sum(1 for mark in newest if mark.word is Word.DEGRADED)

    @property
    def flap_percent(self) -> float:
        """Return how often good and bad runs take turns."""
        return ratio.flap_percent(
            [mark.word is not Word.UP for mark in self.marks[:FLAP_RUNS]], runs=FLAP_RUNS
        )

    @property
    def failing_since(self) -> datetime:
        """Return when the newest row of failures began; without one, the oldest that counts."""
        row = self.newest.at
        if self.newest.word is Word.UP:
            counted = [mark.at for mark in self.marks if mark.failed or mark.word is not Word.UP]
            return counted[-1] if counted else row
        for mark in self.marks:
            if mark.word is Word.UP:
                break
            row = mark.at
        return row

    def word(self, standing: Word | None) -> Word:
        """Return the gravest that any rule finds; what stands already is left more slowly.

        B, partial: `min_failures` of the last attempts make it while it goes on, and one fewer
        keeps it. After an outage it starts anew: what was told as an outage is not told again as a
        partial one.
        E, degraded: `min_slow` of the last runs make it, and a single one keeps it.
        """
        found = self.in_a_row
        if standing not in FAILING and gravity(found) < gravity(Word.PARTIAL):
            stands = standing is Word.PARTIAL
            spare = 1 if stands and self.rule.min_failures > 1 else 0
            is_enough = self.failures >= self.rule.min_failures - spare
            if is_enough and (stands or self.is_failing_still):
                return Word.PARTIAL
        if found is Word.UP:
            least = 1 if standing is Word.DEGRADED else self.rule.min_slow
            if self.slow >= least:
                return Word.DEGRADED
        return found


def mark_of(
    run: Result, component: str, steps: int, *, hidden: Mapping[str, str], blamed: Collection[str]
) -> Mark | None:
    """Return what a run says of a component that `steps` watch, None when it says nothing.

    `hidden` names the component of each step, for failures that a retry hid; where the prober
    did not say the step, they are those of `blamed`.
    """
    count = 0
    slow: StepObservation | None = None
    is_doubted = False
    for step in run.steps:
        if step.component != component:
            continue
        count += 1
        outcome = step.outcome
        if outcome is Outcome.TARGET_FAIL:
            return _failed(run, step)
        if outcome is Outcome.SLOW:
            slow = slow or step
        elif outcome is not Outcome.OK:
            is_doubted = True
    if count < steps or is_doubted:
        return None
    failed = run.was_mended and (
        hidden.get(run.first_step) == component if run.first_step else component in blamed
    )
    if slow is not None:
        return Mark(Word.DEGRADED, run.at, failed, slow.reason, slow.name)
    return Mark(Word.UP, run.at, failed)


def _failed(run: Result, step: StepObservation) -> Mark:
    word = Word.STALE if set(step.failed) == {"max_age_s"} else Word.OUTAGE
    rejected = step.status in REJECTIONS or step.shape in REJECTION_SHAPES
    return Mark(word, run.at, True, step.reason, step.name, rejected)


def blamed_components(runs: Mapping[str, Sequence[Result]], watches: Sequence[Watch]) -> set[str]:
    """Return whose failure a retry hid when nobody says: those seen failing, else the last one."""
    found = {
        step.component
        for each in runs.values()
        for run in each
        if run.outcome is Outcome.TARGET_FAIL
        for step in run.steps
        if step.outcome is Outcome.TARGET_FAIL
    }
    return found or ({watches[-1].component} if watches else set())
