"""A simulated clock for detection: probes, judgements and the public, through the rules as they are.

What a location sees is a letter. Everything that decides is the product's own pure code: judge(),
follow() and faults() of probes.verdict, claim(), respond(), speak() and way_back() of probes.policy,
burn_of() of probes.ratio, is_slow() of probes.baseline. Only the database and the network are left out.
"""

import random
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from probes import baseline, policy, ratio, verdict
from probes.kinds import Outcome, StepObservation, Watch
from probes.policy import Back, Case, Move, Publish, Window
from probes.rule import LATENCY_OVER_S, Rule
from probes.verdict import Result, Standing, Surroundings
from probes.words import BAD, Word, gravity

ZERO: Final = datetime(2019, 11, 30, tzinfo=UTC)
LOCATIONS: Final = ("ams", "fra", "nyc", "sfo", "syd")
INTERVAL_S: Final = 30.0
# From the end of a run until the server has judged it.
ARRIVES_AFTER_S: Final = 0.1
# Of a healthy service, as in the research: one attempt of a hundred fails.
NOISE: Final = 0.01
MINUTE_S: Final = 60.0
# The clock counts a minute half a minute after its end (probes/tally.py).
COUNTED_AFTER_S: Final = 30.0
VETO_S: Final = 120.0
# No rule with the usual parameters looks back further.
RUNS_KEPT: Final = 26

# What one attempt sees: a letter, and how long it took in seconds.
Attempt = tuple[str, float]
Sees = Callable[[float, str, int], Attempt]
WELL: Final[Attempt] = ("o", 0.2)


def instant(seconds: float) -> datetime:
    """Return the simulated moment as the rules take it."""
    return ZERO + timedelta(seconds=seconds)


def _step(name: str, outcome: Outcome, **more: object) -> StepObservation:
    component = "login" if name == "log in" else "follow"
    return StepObservation(name, component, outcome, **more)  # type: ignore[arg-type]  # as named


_LOGIN: Final = _step("log in", Outcome.OK)
_READ: Final = _step("read", Outcome.OK)
_FAILED: Final = _step("read", Outcome.TARGET_FAIL, reason="HTTP 503", failed=("status",))
_NOT_IN: Final = _step("log in", Outcome.TARGET_FAIL, reason="HTTP 500", failed=("status",))
_STALE: Final = _step("read", Outcome.TARGET_FAIL, reason="900 s old", failed=("max_age_s",))
_SLOW: Final = _step("read", Outcome.SLOW, reason="took 8 s", failed=("degraded_over_s",))
_KEYS: Final = _step(
    "log in", Outcome.TARGET_FAIL, reason="HTTP 401", failed=("status",), status=401
)

# By letter: what the run says in the end.
SEEN: Final[Mapping[str, tuple[Outcome, tuple[StepObservation, ...]]]] = {
    "o": (Outcome.OK, (_LOGIN, _READ)),
    # Good, only slow by the clock: the check has no limit of its own.
    "w": (Outcome.OK, (_LOGIN, _READ)),
    "s": (Outcome.SLOW, (_LOGIN, _SLOW)),
    "f": (Outcome.TARGET_FAIL, (_LOGIN, _FAILED)),
    "t": (Outcome.TARGET_FAIL, (_LOGIN, _STALE)),
    # The log-in fails, the session of before still reads; and only that, when none was due.
    "l": (Outcome.TARGET_FAIL, (_NOT_IN, _READ)),
    "r": (Outcome.OK, (_READ,)),
    # The log-in fails, and nothing can be read.
    "n": (Outcome.TARGET_FAIL, (_NOT_IN,)),
    "k": (Outcome.TARGET_FAIL, (_KEYS,)),
    "p": (Outcome.PROBER_FAULT, ()),
    "b": (Outcome.BLOCKED_US, ()),
}
_FIRST: Final = {"f": "read", "t": "read", "l": "log in", "n": "log in", "k": "log in"}
_REJECTED: Final = {
    (name, account): _step(
        "log in", Outcome.AUTH_SUSPECT, reason="rejected", account=f"{account} of {name}"
    )
    for name in LOCATIONS
    for account in ("old", "new")
}


def heard(at: float, location: str, letters: str) -> Result:
    """Return the result of a run whose attempts saw these letters."""
    last = letters[-1]
    if last in "aA":
        step = _REJECTED[location, "old" if last == "a" else "new"]
        return Result(
            location, instant(at), Outcome.AUTH_SUSPECT, (step,), "", Outcome.AUTH_SUSPECT
        )
    outcome, steps = SEEN[last]
    first = SEEN[letters[0]][0]
    named = _FIRST.get(letters[0], "") if len(letters) > 1 else ""
    return Result(location, instant(at), outcome, steps, "", first, named)


@dataclass(slots=True)
class Check:
    """One check: how it looks, and what was counted and said of it so far."""

    sees: Sees
    rule: Rule = Rule()
    interval_s: float = INTERVAL_S
    cohort: str = ""
    locations: Sequence[str] = LOCATIONS
    watches: Sequence[Watch] = (Watch("log in", "login"), Watch("read", "follow"))
    changed_at: datetime | None = None
    # When each location begins; without, by chance.
    phases: Mapping[str, float] | None = None
    # Results wait on the agent's disk in [from, to): our database is away.
    away: tuple[float, float] | None = None
    runs: dict[str, list[Result]] = field(default_factory=dict)
    standing: dict[str, Standing] = field(default_factory=dict)
    reasoning: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, bool] = field(default_factory=dict)
    burn: ratio.Burn = ratio.Burn()
    counted_to: float = 0.0
    over_since: datetime | None = None
    counts: dict[str, baseline.Count] = field(default_factory=dict)
    newest_at: float = 0.0
    last_at: dict[str, float] = field(default_factory=dict)
    minutes: dict[float, list[int]] = field(default_factory=dict)
    # Good runs as (at, took over the limit), by location.
    good: dict[str, list[tuple[float, bool]]] = field(default_factory=dict)
    faulty: dict[str, float] = field(default_factory=dict)
    troubled_until: float = 0.0
    latency_limit_s: float = Rule().slow_over_s


@dataclass(slots=True)
class Said:
    """What the machine did about the verdict of a check on a component."""

    word: str = ""
    is_open: bool = False


@dataclass(slots=True)
class Incident:
    """The one automatic incident of the page."""

    status: str
    due: float
    published_at: float | None = None
    told: Word = Word.UP


@dataclass(slots=True)
class Seen:
    """What a run of the world came to; times in seconds of its clock."""

    # (when, check, component, word as it is claimed)
    verdicts: list[tuple[float, int, str, str]] = field(default_factory=list)
    # (when, status of the update, whether readers see it)
    public: list[tuple[float, str]] = field(default_factory=list)
    incidents: int = 0
    calls: list[tuple[float, str]] = field(default_factory=list)
    faults: list[tuple[float, str]] = field(default_factory=list)

    def first(self, words: Sequence[str], component: str = "", *, after: float) -> float | None:
        """Return when one of these words was first said of a component."""
        return next(
            (
                at
                for at, _, of, word in self.verdicts
                if word in words and at >= after and component in ("", of)
            ),
            None,
        )

    def turns(self) -> int:
        """Return how often readers saw the state of the component turn, from or to trouble."""
        bad = [status not in ("monitoring", "resolved") for _, status in self.public]
        return sum(1 for before, now in zip([False, *bad], bad, strict=False) if before is not now)


class World:
    """Checks, their page, and a clock that only run() moves."""

    def __init__(
        self,
        rng: random.Random,
        checks: Sequence[Check],
        *,
        windows: Sequence[Window] = (),
        publish: Mapping[Word, Publish] | None = None,
        veto_s: float = VETO_S,
    ) -> None:
        self.rng = rng
        self.checks = checks
        self.windows = windows
        self.veto_s = veto_s
        self.publish = publish or dict.fromkeys(BAD, Publish.AUTO) | {
            Word.SLOW_BURN: Publish.NOTIFY
        }
        self.seen = Seen()
        self.incident: Incident | None = None
        self.recent: Incident | None = None
        self.resolved_at = 0.0
        self.said: dict[tuple[int, str], Said] = {}
        self.called: dict[tuple[int, str], str] = {}
        self._claimed: dict[tuple[int, str], str] = {}
        self._is_blind: set[int] = set()
        self._begins = 0.0

    def run(
        self, until: float, *, begin: float = 0.0, stop: Callable[[Seen], bool] | None = None
    ) -> Seen:
        """Let the clock run; each result is judged as it arrives, each second what falls due.

        It ends early when `stop` says so.
        """
        self._begins = begin
        for check in self.checks:
            self._begin(check, begin)
        arrivals = sorted(
            (
                (arrives, number, result)
                for number, check in enumerate(self.checks)
                for arrives, result in _runs(check, begin, until, self.rng)
            ),
            key=lambda each: each[0],
        )
        place = 0
        second = begin
        while second < until:
            second += 1
            while place < len(arrivals) and arrivals[place][0] <= second:
                at, number, result = arrivals[place]
                self._arrive(number, result, at)
                place += 1
            self._tick(second)
            if stop is not None and stop(self.seen):
                break
        return self.seen

    def _begin(self, check: Check, begin: float) -> None:
        """A check that was up for long, seen by everybody a moment ago."""
        well = Standing(
            word="up", since=ZERO - timedelta(days=1), clean_since=ZERO - timedelta(days=1),
            up_at=ZERO - timedelta(days=1),
        )  # fmt: skip
        for watch in check.watches:
            check.standing.setdefault(watch.component, well)
        for name in check.locations:
            before = begin - self.rng.random() * check.interval_s
            check.runs[name] = [heard(before, name, "o")]
            check.last_at[name] = before
        check.newest_at = max(check.last_at.values())

    def _arrive(self, number: int, result: Result, at: float) -> None:
        check = self.checks[number]
        began = (result.at - ZERO).total_seconds()
        check.newest_at = max(check.newest_at, began)
        check.last_at[result.location] = began
        runs = check.runs[result.location]
        runs.append(result)
        del runs[:-RUNS_KEPT]
        if not _is_plain(result):
            window_s = verdict.window_s(check.rule, check.interval_s, is_troubled=False)
            check.troubled_until = at + window_s
        self._judge(number, at)

    def _tick(self, now: float) -> None:
        for number, check in enumerate(self.checks):
            if now % MINUTE_S == COUNTED_AFTER_S:
                self._count(number, now)
            if self._is_silence_due(check, now):
                self._judge(number, now)
            for name, since in check.faulty.items():
                if now - since >= check.rule.fault_after_s and number not in self._is_blind:
                    self._call(now, f"fault {number} {name} {since}")
        if self.incident is not None or any(
            word in BAD or word == Word.SLOW_BURN for word in self._claimed.values()
        ):
            self._act(now)

    def _is_silence_due(self, check: Check, now: float) -> bool:
        """Say whether time alone may change something, as probes/clock.py asks."""
        blind_s = verdict.blind_after_s(check.interval_s)
        if now - check.newest_at >= blind_s:
            return True
        return now - min(check.last_at.values(), default=now) >= blind_s and any(
            now - at >= blind_s and name not in check.faulty for name, at in check.last_at.items()
        )

    # -- judging --

    def _judge(self, number: int, now: float) -> None:
        check = self.checks[number]
        if self._is_quiet(check, now):
            return
        is_troubled = any(each.word in BAD for each in check.standing.values())
        moment = instant(now)
        begin = moment - timedelta(
            seconds=verdict.window_s(check.rule, check.interval_s, is_troubled=is_troubled)
        )
        results = [run for runs in check.runs.values() for run in runs if run.at >= begin]
        ended = [each.mended_at for each in check.standing.values() if each.mended_at]
        burns = not any(each >= instant(check.counted_to) for each in ended)
        latency = None
        if check.over_since is not None:
            latency = baseline.Latency(check.latency_limit_s, check.counts, check.over_since)
        around = Surroundings(
            standing=check.standing,
            burn=check.burn if burns else ratio.Burn(),
            latency=latency,
            proven={(name, f"old of {name}") for name in check.locations},
            changed_at=check.changed_at,
        )
        how = {
            "locations": check.locations,
            "interval_s": check.interval_s,
            "watched_since": ZERO - timedelta(days=1),
        }
        found = verdict.judge(
            results, check.rule, moment, watches=check.watches, around=around, **how  # type: ignore[arg-type]  # as named
        )  # fmt: skip
        if check.faulty or not self._all_tell(check, now):
            named = verdict.faults(results, check.rule, moment, **how)  # type: ignore[arg-type]  # as named
            self._note_faults(check, named, now)
        changed = False
        for each in found:
            before = check.standing[each.component]
            after = verdict.follow(before, each, moment)
            changed = changed or verdict.differs(before, each, changed_at=check.changed_at)
            check.standing[each.component] = after
            check.skipped[each.component] = each.skipped
            if each.word is not None:
                check.reasoning[each.component] = each.reasoning
            if after.clean_since is not None:
                self.called.pop((number, each.component), None)
        is_blind = any(each.word is Word.UNKNOWN and not each.skipped for each in found)
        if is_blind and number not in self._is_blind:
            self._is_blind.add(number)
            self._call(now, f"blind {number} {now}")
        elif not is_blind:
            self._is_blind.discard(number)
        if changed:
            self._act(now)

    def _is_quiet(self, check: Check, now: float) -> bool:
        """Say whether nothing but good results were seen for so long that nothing can change."""
        if now < check.troubled_until or now - check.newest_at >= 60:
            return False
        return (
            not check.burn.exceeds(
                check.rule.burn_ratio, failures_min=check.rule.burn_failures, is_burning=True
            )
            and check.over_since is None
            and not check.faulty
            and check.away is None
            and all(
                each.word == "up" and each.clean_since is not None
                for each in check.standing.values()
            )
            and now - min(check.last_at.values()) < 60
        )

    def _all_tell(self, check: Check, now: float) -> bool:
        blind_s = verdict.blind_after_s(check.interval_s)
        return now - min(check.last_at.values()) < blind_s and all(
            runs[-1].outcome in _TOLD for runs in check.runs.values()
        )

    def _note_faults(self, check: Check, found: Sequence[verdict.Fault], now: float) -> None:
        names = {each.location for each in found}
        for name in names - check.faulty.keys():
            check.faulty[name] = now
            self.seen.faults.append((now, name))
        for name in check.faulty.keys() - names:
            del check.faulty[name]

    def _count(self, number: int, now: float) -> None:
        """Count the minute that is over, as probes/tally.py does."""
        check = self.checks[number]
        until = now - COUNTED_AFTER_S
        if until < self._begins + MINUTE_S:
            return
        told = [0, 0]
        for name, runs in check.runs.items():
            for run in runs:
                at = (run.at - ZERO).total_seconds()
                if not until - MINUTE_S <= at < until or run.first not in _TOLD:
                    continue
                told[0] += 1
                told[1] += run.first is Outcome.TARGET_FAIL
                if run.outcome in (Outcome.OK, Outcome.SLOW) and not run.was_mended:
                    check.good.setdefault(name, []).append((at, _is_over(run)))
        check.minutes[until - MINUTE_S] = told
        mended = [each.mended_at for each in check.standing.values() if each.mended_at]
        check.burn = ratio.burn_of(
            [ratio.Minute(instant(at), *counts) for at, counts in check.minutes.items()],
            instant(until),
            over_s=check.rule.burn_over_s,
            newest_s=check.rule.burn_newest_s,
            since=max(mended, default=None),
        )
        check.counted_to = until
        for name, good in check.good.items():
            late = good[bisect_left(good, (until - LATENCY_OVER_S, False)) :]
            check.counts[name] = baseline.Count(len(late), sum(over for _, over in late))
        latency = baseline.Latency(check.latency_limit_s, check.counts)
        is_slow = baseline.is_slow(latency, needed=verdict.quorum(len(check.locations)))
        check.over_since = (check.over_since or instant(until)) if is_slow else None
        if check.burn.failures or is_slow:
            self._judge(number, now)

    # -- acting, as probes/acting.py does it with rows --

    def _act(self, now: float) -> None:
        claims = self._claims(now)
        for key in sorted(claims, key=lambda each: gravity(claims[each]), reverse=True):
            if claims[key] in BAD or claims[key] == Word.SLOW_BURN:
                self._say(key, Word(claims[key]), now)
        self._publish_due(now)
        self._recover(now)

    def _claims(self, now: float) -> dict[tuple[int, str], str]:
        words = {
            (number, component): standing.word
            for number, check in enumerate(self.checks)
            for component, standing in check.standing.items()
        }
        found: dict[tuple[int, str], str] = {}
        for key, word in words.items():
            others = [
                (self.checks[other[0]].cohort, told)
                for other, told in words.items()
                if other[1] == key[1] and other != key
            ]
            cohort = self.checks[key[0]].cohort
            found[key] = policy.claim(Word(word or Word.UNKNOWN), cohort, others).value
            if self._claimed.get(key, "up") != found[key]:
                self.seen.verdicts.append((now, key[0], key[1], found[key]))
        self._claimed = found
        return found

    def _say(self, key: tuple[int, str], word: Word, now: float) -> None:
        check, said = self.checks[key[0]], self.said.setdefault(key, Said())
        standing = check.standing[key[1]]
        incident = self.incident
        moment = instant(now)
        case = Case(
            word=word,
            publish=self.publish.get(word),
            said_word=said.word,
            vetoed_word=standing.vetoed_word,
            is_said=said.is_open,
            is_published=incident is not None and incident.published_at is not None,
            is_monitored=incident is not None and incident.status == "monitoring",
            is_in_shadow=policy.is_in_shadow(
                changed_at=check.changed_at,
                up_at=standing.up_at,
                rejected=standing.rejected,
                now=moment,
                shadow_s=check.rule.shadow_s,
            ),
        )
        move = policy.respond(case)
        if move is Move.NOTHING:
            return
        grace_s = check.rule.maintenance_grace_s
        if policy.is_in_maintenance(self.windows, moment, grace_s=grace_s):
            return
        if move is Move.CALL:
            if self.called.get(key) != word:
                self.called[key] = word
                self._call(now, f"verdict {key} {word} {now}")
            return
        if move is Move.RELAPSE and incident is not None:
            incident.status = "investigating"
            self.seen.public.append((now, "investigating"))
            return
        is_relapse = (
            self.recent is not None and now - self.resolved_at <= check.rule.reopen_within_s
        )
        self._speak(
            policy.speak(
                is_open=incident is not None,
                is_published=case.is_published,
                is_relapse=is_relapse,
            ),
            said, word, standing, now,
        )  # fmt: skip

    def _speak(self, move: Move, said: Said, word: Word, standing: Standing, now: float) -> None:
        if move is Move.REOPEN:
            since = standing.since or instant(now)
            if instant(now) < since + timedelta(seconds=self.veto_s):
                return
            self.incident, self.recent = self.recent, None
            assert self.incident is not None, "reopened is what was there"
            self.incident.status = "investigating"
            self.seen.public.append((now, "investigating"))
        elif move is Move.DECLARE:
            self.seen.incidents += 1
            self.incident = Incident("investigating", now + self.veto_s)
            self._call(now, f"draft {now}")
        elif self.incident is not None and self.incident.published_at is not None:
            if gravity(word) > gravity(self.incident.told) or self.incident.status == "monitoring":
                self.incident.status = "investigating"
                self.seen.public.append((now, "investigating"))
        elif self.incident is not None:
            self.incident.due = min(self.incident.due, now + self.veto_s)
        said.word, said.is_open = word.value, True
        assert self.incident is not None, "every way to speak has an incident"
        self.incident.told = max(self.incident.told, word, key=gravity)

    def _publish_due(self, now: float) -> None:
        incident = self.incident
        if incident is not None and incident.published_at is None and now >= incident.due:
            incident.published_at = now
            self.seen.public.append((now, "investigating"))

    def _recover(self, now: float) -> None:
        incident = self.incident
        mine = [key for key, said in self.said.items() if said.is_open]
        if incident is None or not mine:
            return
        due = policy.way_back(
            [self.checks[number].standing[component].clean_since for number, component in mine],
            [self.checks[number].rule for number, _ in mine],
            instant(now),
            is_published=incident.published_at is not None,
            is_monitored=incident.status == "monitoring",
        )
        if due is Back.MONITOR:
            incident.status = "monitoring"
            self.seen.public.append((now, "monitoring"))
        elif due in (Back.WITHDRAW, Back.RESOLVE):
            self.said.clear()
            self.incident = None
            if due is Back.RESOLVE:
                self.recent, self.resolved_at = incident, now
                self.seen.public.append((now, "resolved"))

    def _call(self, now: float, key: str) -> None:
        if all(key != other for _, other in self.seen.calls):
            self.seen.calls.append((now, key))


_TOLD: Final = (Outcome.OK, Outcome.SLOW, Outcome.TARGET_FAIL)


def _is_plain(result: Result) -> bool:
    return (
        result.outcome is Outcome.OK
        and result.first is Outcome.OK
        and len(result.steps) == 2
        and not _is_over(result)
    )


def _is_over(result: Result) -> bool:
    return result.outcome is Outcome.SLOW or result.reason == OVER


OVER: Final = "took over the limit"


def _runs(
    check: Check, begin: float, until: float, rng: random.Random
) -> Sequence[tuple[float, Result]]:
    """Return what arrives when; a location probes at its own second, each run ends before the next."""
    found: list[tuple[float, Result]] = []
    for name in check.locations:
        phase = check.phases[name] if check.phases else rng.random() * check.interval_s
        due = begin + phase
        while due < until:
            letters, ends = _attempts(check, name, due)
            if letters[-1] != "-":
                result = heard(due, name, letters)
                if letters[-1] == "w":
                    result = Result(
                        name, result.at, result.outcome, result.steps, OVER, result.first
                    )
                arrives = ends + ARRIVES_AFTER_S
                if check.away is not None and check.away[0] <= arrives < check.away[1]:
                    arrives = check.away[1] + 5 * rng.random()
                found.append((arrives, result))
            missed = int((ends - due) // check.interval_s)
            due += (missed + 1) * check.interval_s
    return found


def _attempts(check: Check, name: str, at: float) -> tuple[str, float]:
    """Return what the attempts of one run saw, and when the run ended; "-" never arrives."""
    letter, took_s = check.sees(at, name, 1)
    ends = at + took_s
    is_failure = letter in SEEN and SEEN[letter][0] is Outcome.TARGET_FAIL
    if not is_failure or check.rule.retry_after_s == 0:
        return letter, ends
    again = ends + min(check.rule.retry_after_s, check.interval_s / 2)
    second, took_s = check.sees(again, name, 2)
    return letter + second, again + took_s
