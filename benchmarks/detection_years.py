"""Years of a healthy service: how often the rules would tell people of an outage that is none.

Healthy as in the research: one attempt of a hundred fails by itself, a path of each location is bad
for two minutes once a day, and one run of a thousand is slow. 1,000,000 runs a year and location
cannot all be judged, and need not be: a verdict takes a quorum of locations, and each of them at
least two failures in its last ten runs (rules A and B) or two slow ones in its last twenty (rule E).
Only where that is so everything is judged, run by run; elsewhere no rule can say anything.
"""

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.detection_world import INTERVAL_S, LOCATIONS, NOISE, Attempt, Check, World
from probes.rule import Rule, quorum

DAY_S: Final = 86_400.0
YEAR_S: Final = 365.25 * DAY_S
BURST_MEAN_S: Final = 120.0
SLOW: Final = 0.001
SLOW_TOOK_S: Final = 8.0
RETRY_S: Final = 2.0
# What each rule needs at a location, at the least: two in so many runs.
FAILED_IN_RUNS: Final = 10
SLOW_IN_RUNS: Final = 20
# Everything that a rule may look back at lies before: 21 results, and p95 of ten minutes twice.
LEAD_S: Final = 1260.0
# After a stretch ends, no verdict begins; one that holds is left to end.
TAIL_S: Final = 120.0

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Years:
    """What was simulated and found."""

    years: float
    stretches: int
    judged_s: float
    events: int

    @property
    def upper_per_year(self) -> float:
        """Return the upper end of what the true rate may be, at 95 % confidence."""
        return upper_bound(self.events) / self.years


def upper_bound(events: int) -> float:
    """Return the highest mean of a Poisson law under which so few events still have 5 % chance."""
    low, high = 0.0, 10.0 + 3 * events
    for _ in range(60):
        mean = (low + high) / 2
        chance = sum(math.exp(-mean) * mean**k / math.factorial(k) for k in range(events + 1))
        low, high = (mean, high) if chance > 0.05 else (low, mean)
    return high


def simulate(rng: random.Random, years: float, rule: Rule, *, needed: int | None = None) -> Years:
    """Live through `years` at five locations; judge wherever something could be said."""
    quorum_needed = needed or quorum(len(LOCATIONS))
    histories = [_history(rng, years * YEAR_S) for _ in LOCATIONS]
    two = rule.consecutive > 1 and rule.min_failures > 1
    stretches = _merged(
        _shared([list(each.doubtful(two=two)) for each in histories], quorum_needed), LEAD_S
    )
    events = 0
    judged_s = 0.0
    for begins, ends in stretches:
        judged_s += ends - begins
        events += _judge(histories, begins, ends, rule)
    return Years(years, len(stretches), judged_s, events)


class _History:
    """All that went wrong at one location: which runs failed, in the end or at first, or were slow."""

    def __init__(self, phase: float) -> None:
        self.phase = phase
        # By the number of the run: the letters of its attempts.
        self.odd: dict[int, str] = {}

    def at(self, number: int) -> float:
        return self.phase + number * INTERVAL_S

    def number(self, at: float) -> int:
        return math.ceil((at - self.phase) / INTERVAL_S)

    def doubtful(self, *, two: bool) -> Iterator[Span]:
        """Yield when a rule could be met here: from the second odd run to the first one's end."""
        odd = sorted(self.odd)
        if not two:
            yield from ((self.at(one), self.at(one + SLOW_IN_RUNS)) for one in odd)
            return
        for one, other in zip(odd, odd[1:], strict=False):
            is_slow = "s" in self.odd[one] or "s" in self.odd[other]
            runs = SLOW_IN_RUNS if is_slow else FAILED_IN_RUNS
            if other - one < runs:
                yield self.at(other), self.at(one + runs) + INTERVAL_S


def _history(rng: random.Random, lasts_s: float) -> _History:
    history = _History(rng.random() * INTERVAL_S)
    runs = int(lasts_s / INTERVAL_S)
    for number in _hits(rng, SLOW, runs):
        history.odd[number] = "s"
    for number in _hits(rng, NOISE, runs):
        history.odd[number] = "ff" if rng.random() < NOISE else "fo"
    begin = 0.0
    while begin < lasts_s:
        begin += rng.expovariate(1 / DAY_S)
        ends = begin + rng.expovariate(1 / BURST_MEAN_S)
        for number in range(history.number(begin), history.number(ends)):
            mended = history.at(number) + RETRY_S >= ends and rng.random() >= NOISE
            history.odd[number] = "fo" if mended else "ff"
    return history


def _hits(rng: random.Random, chance: float, runs: int) -> Iterator[int]:
    """Yield which runs are hit, each by this chance: the gaps between them are geometric."""
    scale = math.log1p(-chance)
    number = -1
    while True:
        number += 1 + int(math.log(1.0 - rng.random()) / scale)
        if number >= runs:
            return
        yield number


def _shared(spans: Sequence[Sequence[Span]], needed: int) -> Iterator[Span]:
    """Yield when at least `needed` of the locations are in one of their spans."""
    edges: list[tuple[float, int]] = []
    for mine in spans:
        for begins, ends in _merged(mine, 0.0):
            edges += [(begins, 1), (ends, -1)]
    edges.sort()
    count, since = 0, 0.0
    for at, step in edges:
        before, count = count, count + step
        if before < needed <= count:
            since = at
        elif count < needed <= before:
            yield since, at


def _merged(spans: Iterable[Span], gap_s: float) -> list[Span]:
    """Return spans in order, those closer than `gap_s` as one."""
    found: list[Span] = []
    for begins, ends in sorted(spans):
        if found and begins - found[-1][1] <= gap_s:
            found[-1] = (found[-1][0], max(found[-1][1], ends))
        else:
            found.append((begins, ends))
    return found


def _judge(histories: Sequence[_History], begins: float, ends: float, rule: Rule) -> int:
    """Judge one stretch run by run; return 1 when anything bad was said."""
    by_name = dict(zip(LOCATIONS, histories, strict=True))
    start = math.floor(begins - LEAD_S)

    def look(at: float, location: str, attempt: int) -> Attempt:
        history = by_name[location]
        first = at + start if attempt == 1 else at + start - RETRY_S - 0.2
        letters = history.odd.get(round((first - history.phase) / INTERVAL_S), "o")
        letter = letters[attempt - 1]
        return letter, SLOW_TOOK_S if letter == "s" else 0.2

    phases = {
        name: (each.phase - start) % INTERVAL_S for name, each in zip(LOCATIONS, histories, strict=True)
    }  # fmt: skip
    check = Check(look, rule, phases=phases)
    seen = World(random.Random(0), [check]).run(ends - start + TAIL_S)
    bad = ("degraded", "partial", "stale", "outage")
    return int(any(word in bad for _, _, _, word in seen.verdicts))
