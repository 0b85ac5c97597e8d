"""D1 to D34: what is injected, what has to be said by when, and what must never be said."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.detection_world import (
    INTERVAL_S,
    LOCATIONS,
    NOISE,
    WELL,
    Attempt,
    Check,
    Seen,
    Sees,
    World,
    instant,
)
from probes.kinds import Watch
from probes.policy import Window
from probes.rule import Rule

# The service was well for so long before the fault, by the check's own phase and a bit of chance.
WARM_S: Final = 360.0
MINUTE_S: Final = 60.0
OUTAGE: Final = ("outage",)
PARTIAL: Final = ("partial",)
TROUBLE: Final = ("degraded", "partial", "stale", "outage")
# The canary of the sharer: a reading each minute, stale at three (detection.md, rule D).
CANARY_EVERY_S: Final = 60.0
CANARY_STALE_S: Final = 180.0


@dataclass(frozen=True, slots=True)
class Found:
    """How one seed came out: when it was detected, and what happened that must not."""

    detected_s: float | None = None
    wrong: str = ""
    public: int = 0
    incidents: int = 0


Play = Callable[[random.Random, Rule], Found]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table; `within_s` None: there is nothing to detect, only things to avoid."""

    name: str
    inject: str
    play: Play
    within_s: float | None = None
    # The share of seeds that must be detected in time.
    share: float = 1.0
    # One seed of it takes so long that fewer are played: one for so many of the others.
    cost: int = 1


# ---- how things look ----------------------------------------------------------------------


def noisy(rng: random.Random, sees: Sees) -> Sees:
    """A good attempt fails now and then, as everywhere."""

    def look(at: float, location: str, attempt: int) -> Attempt:
        seen = sees(at, location, attempt)
        return ("f", 0.2) if seen == WELL and rng.random() < NOISE else seen

    return look


def from_then(at: float, seen: Attempt, *, until: float = float("inf")) -> Sees:
    """All is well but from `at` on."""
    return lambda now, _, __: seen if at <= now < until else WELL


def fault_at(rng: random.Random) -> float:
    """Return the second in which it breaks; no phase of a probe is better than another."""
    return WARM_S + rng.random() * MINUTE_S


def _once(rng: random.Random, words: Sequence[str]) -> Callable[[Seen], bool] | None:
    """End with the verdict; each twentieth seed goes on, to see what the public sees of it."""
    if rng.random() < 1 / 20:
        return None
    return lambda seen: bool(seen.verdicts) and seen.verdicts[-1][3] in words


def _detected(seen: Seen, at: float, words: Sequence[str], component: str = "") -> float | None:
    first = seen.first(words, component, after=at)
    return None if first is None else first - at


def _found(seen: Seen, detected_s: float | None, wrong: str = "") -> Found:
    return Found(detected_s, wrong, seen.turns(), seen.incidents)


def _total(seen_as: Attempt) -> Play:
    """D1 to D3, D6, D9, D10: everybody sees the same failure from one second on."""

    def play(rng: random.Random, rule: Rule) -> Found:
        at = fault_at(rng)
        world = World(rng, [Check(noisy(rng, from_then(at, seen_as)), rule)])
        seen = world.run(at + 300, stop=_once(rng, OUTAGE))
        return _found(seen, _detected(seen, at, OUTAGE, "follow"))

    return play


def _login(seen_as: Attempt) -> Play:
    """D4, D5: the log-in, tried once a minute and account, fails; reads go by the old session."""

    def play(rng: random.Random, rule: Rule) -> Found:
        at = fault_at(rng)
        tried: dict[str, float] = {}

        def look(now: float, location: str, attempt: int) -> Attempt:
            if now < at:
                return WELL
            if attempt == 1 and now - tried.get(location, at - rng.random() * 60) < 59.9:
                return ("r" if seen_as[0] == "l" else "-", 0.2)
            if attempt == 1:
                tried[location] = now
            return seen_as

        world = World(rng, [Check(noisy(rng, look), rule)])
        seen = world.run(at + 360, stop=_once(rng, OUTAGE))
        return _found(seen, _detected(seen, at, OUTAGE, "login"))

    return play


def _frozen(rng: random.Random, rule: Rule) -> Found:
    """D7, D8: the newest reading stays what it is; what the answer's Date says is not asked."""
    at = fault_at(rng)
    newest = at - rng.random() * CANARY_EVERY_S

    def look(now: float, _: str, __: int) -> Attempt:
        return ("t", 0.2) if now >= at and now - newest > CANARY_STALE_S else WELL

    world = World(rng, [Check(noisy(rng, look), rule)])
    seen = world.run(at + 480, stop=_once(rng, ("stale", "outage")))
    return _found(seen, _detected(seen, at, ("stale", "outage"), "follow"))


def _nothing(sees: Callable[[random.Random, float], Sees], lasts_s: float) -> Play:
    """Nothing may be said, neither as a verdict nor in public."""

    def play(rng: random.Random, rule: Rule) -> Found:
        at = fault_at(rng)
        seen = World(rng, [Check(noisy(rng, sees(rng, at)), rule)]).run(at + lasts_s)
        bad = [word for _, _, _, word in seen.verdicts if word in TROUBLE]
        return _found(seen, None, f"said {bad[0]}" if bad or seen.incidents else "")

    return play


def _share(errors: float, lasts_s: float, words: Sequence[str]) -> Play:
    """D12 to D14: a share of all attempts fails, each by chance."""

    def play(rng: random.Random, rule: Rule) -> Found:
        at = fault_at(rng)

        def look(now: float, _: str, __: int) -> Attempt:
            share = errors if now >= at else NOISE
            return ("f", 0.2) if rng.random() < share else WELL

        check = Check(look, rule)
        # An hour before, as it was: of ten attempts a minute one of a hundred failed.
        for minute in range(1, 61):
            failed = sum(rng.random() < NOISE for _ in range(10))
            check.minutes[-minute * MINUTE_S] = [10, failed]
        world = World(rng, [check])
        seen = world.run(at + lasts_s, stop=_once(rng, words))
        return _found(seen, _detected(seen, at, words, "follow"))

    return play


def _slow(rng: random.Random, rule: Rule) -> Found:
    """D15: eight seconds, all 200; every other seed has a check that knows no limit of its own."""
    at = fault_at(rng)
    seen_as = rng.choice(("s", "w"))
    seen = World(rng, [Check(noisy(rng, from_then(at, (seen_as, 8.0))), rule)]).run(at + 960)
    return _found(seen, _detected(seen, at, ("degraded",)))


# ---- locations that cannot tell -----------------------------------------------------------


def _offline(rng: random.Random, names: Sequence[str], at: float, rest: Attempt) -> Sees:
    """Some locations are cut off: silent, or reporting that no reference answers."""
    letter = {name: rng.choice("-p") for name in names}

    def look(now: float, location: str, _: int) -> Attempt:
        if now < at:
            return WELL
        return (letter[location], 3.0) if location in letter else rest

    return look


def _cut_off(count: int, rest: Attempt = WELL) -> Play:
    """D16 to D19: some of five locations lose their own network."""

    def play(rng: random.Random, rule: Rule) -> Found:
        at = fault_at(rng)
        names = rng.sample(LOCATIONS, count)
        world = World(rng, [Check(noisy(rng, _offline(rng, names, at, rest)), rule)])
        seen = world.run(at + 900)
        bad = [word for _, _, _, word in seen.verdicts if word in TROUBLE]
        wrong = f"said {bad[0]}" if bad or seen.incidents else ""
        if count < 3:
            first = [when for when, name in seen.faults if when >= at and name in names]
            unknown = seen.first(("unknown",), after=at)
            return _found(
                seen,
                first[0] - at if len(first) >= count else None,
                wrong or ("unknown with a quorum" if unknown else ""),
            )
        called = [when for when, key in seen.calls if when >= at and key.startswith("blind")]
        detected = _detected(seen, at, ("unknown",))
        return _found(seen, detected if called else None, wrong)

    return play


def _one_account(rng: random.Random, rule: Rule) -> Found:
    """D20: the password of one account is wrong; its location alone is rejected."""
    at = fault_at(rng)
    name = rng.choice(LOCATIONS)

    def look(now: float, location: str, _: int) -> Attempt:
        return ("a", 0.2) if now >= at and location == name else WELL

    seen = World(rng, [Check(noisy(rng, look), rule)]).run(at + 900)
    bad = [word for _, _, _, word in seen.verdicts if word in TROUBLE]
    faulty = [when - at for when, location in seen.faults if location == name and when >= at]
    return _found(
        seen, faulty[0] if faulty else None, f"said {bad[0]}" if bad or seen.incidents else ""
    )


def _all_accounts(rng: random.Random, rule: Rule) -> Found:
    """D21: accounts that got in until now are rejected everywhere; each tries once a minute."""
    at = fault_at(rng)
    next_try = {name: at + rng.random() * 60 for name in LOCATIONS}

    def look(now: float, location: str, _: int) -> Attempt:
        return ("a", 0.2) if now >= next_try[location] else WELL

    seen = World(rng, [Check(noisy(rng, look), rule)]).run(at + 420)
    return _found(seen, _detected(seen, at, OUTAGE, "login"))


def _wrong_keys(rng: random.Random, rule: Rule) -> Found:
    """D22: we gave all probers wrong keys; told to us as new accounts, or as a changed check."""
    at = fault_at(rng)
    letter = rng.choice("Ak")
    check = Check(noisy(rng, from_then(at, (letter, 0.2))), rule)
    check.changed_at = instant(at) if letter == "k" else None
    seen = World(rng, [check]).run(at + 1800)
    called = [when - at for when, _ in seen.calls if when >= at]
    return _found(seen, called[0] if called else None, "published" if seen.public else "")


def _turned_away(rng: random.Random, rule: Rule) -> Found:
    """D23: only the probers get 403 and 429."""
    at = fault_at(rng)
    seen = World(rng, [Check(noisy(rng, from_then(at, ("b", 0.2))), rule)]).run(at + 1800)
    called = [when - at for when, _ in seen.calls if when >= at]
    wrong = "an incident" if seen.incidents or seen.public else ""
    return _found(seen, called[0] if called else None, wrong)


# ---- cohorts, canaries, flapping ----------------------------------------------------------


def _cohort(rng: random.Random, rule: Rule) -> Found:
    """D24: one cohort reads an empty list, the other its readings."""
    at = fault_at(rng)
    down = Check(noisy(rng, from_then(at, ("f", 0.2))), rule, cohort="accounts in Europe")
    well = Check(noisy(rng, lambda *_: WELL), rule, cohort="accounts in the US")
    seen = World(rng, [down, well]).run(at + 600)
    wrong = "" if seen.first(OUTAGE, after=at) is None else "said outage of all"
    return _found(seen, _detected(seen, at, ("partial",), "follow"), wrong)


def _alert_canary(rng: random.Random, rule: Rule) -> Found:
    """D25: a synthetic alert each five minutes has three to arrive."""
    at = 1200 + rng.random() * 300
    check = Check(
        from_then(at, ("f", 180.0)),
        Rule.parse({"retry_after_s": 0, "consecutive": rule.consecutive}),
        interval_s=300.0,
        watches=(Watch("read", "follow"),),
    )
    seen = World(rng, [check]).run(at + 1200)
    return _found(seen, _detected(seen, at, OUTAGE, "follow"))


def _flapping(rng: random.Random, rule: Rule) -> Found:
    """D26: a minute down, a minute up, for half an hour."""
    at = fault_at(rng)

    def look(now: float, _: str, __: int) -> Attempt:
        is_down = at <= now < at + 1800 and (now - at) % 120 < 60
        return ("f", 0.2) if is_down else WELL

    seen = World(rng, [Check(noisy(rng, look), rule)], veto_s=0).run(at + 1800 + 900)
    wrong = ""
    if seen.incidents > 1:
        wrong = f"{seen.incidents} incidents"
    elif seen.turns() > 2:
        wrong = f"{seen.turns()} turns in public"
    return _found(seen, None, wrong)


def _blip(_: random.Random, at: float) -> Sees:
    return from_then(at, ("f", 0.2), until=at + 20)


def _drift(_: random.Random, __: float) -> Sees:
    """D11: a changed type is a warning of a good run."""
    return lambda *_: WELL


def _daily_burst(rng: random.Random, rule: Rule) -> Found:
    """D28: one path is bad for three minutes a day, for a year; the days apart are alike."""
    for _ in range(365):
        at = fault_at(rng)
        name = rng.choice(LOCATIONS)

        def look(now: float, location: str, _: int, at: float = at, name: str = name) -> Attempt:
            return ("f", 0.2) if location == name and at <= now < at + 180 else WELL

        seen = World(rng, [Check(noisy(rng, look), rule)]).run(at + 180 + 11 * INTERVAL_S)
        if seen.incidents:
            return _found(seen, None, "an incident")
    return Found()


def _silence(rng: random.Random, rule: Rule) -> Found:
    """D29: nothing arrives any more; that our own clock lives is the watchdog's to see."""
    at = fault_at(rng)
    seen = World(rng, [Check(noisy(rng, from_then(at, ("-", 0.2))), rule)]).run(at + 300)
    called = any(key.startswith("blind") for _, key in seen.calls)
    wrong = "an incident" if seen.incidents else ""
    return _found(seen, _detected(seen, at, ("unknown",)) if called else None, wrong)


def _wrong_clock(rng: random.Random, rule: Rule) -> Found:
    """D30: a prober's clock is ten minutes off; the door makes its results a prober's fault."""
    at = fault_at(rng)
    name = rng.choice(LOCATIONS)

    def look(now: float, location: str, _: int) -> Attempt:
        return ("p", 0.2) if now >= at and location == name else WELL

    seen = World(rng, [Check(noisy(rng, look), rule)]).run(at + 600)
    bad = [word for _, _, _, word in seen.verdicts if word in TROUBLE]
    faulty = [when - at for when, location in seen.faults if location == name and when >= at]
    return _found(
        seen, faulty[0] if faulty else None, f"said {bad[0]}" if bad or seen.incidents else ""
    )


# ---- the way back -------------------------------------------------------------------------


def _half_mended(rng: random.Random, rule: Rule) -> Found:
    """D31: reads are back, the log-in still fails."""
    at = fault_at(rng)

    def look(now: float, _: str, __: int) -> Attempt:
        if now < at:
            return WELL
        return ("n", 0.2) if now < at + 300 else ("l", 0.2)

    seen = World(rng, [Check(noisy(rng, look), rule)], veto_s=0).run(at + 2700)
    over = [status for _, status in seen.public if status in ("monitoring", "resolved")]
    return _found(seen, _detected(seen, at, OUTAGE, "login"), f"said {over[0]}" if over else "")


def _relapse(rng: random.Random, rule: Rule) -> Found:
    """D32: clean for 4 min 50 s, then bad again."""
    at = fault_at(rng)
    mended = at + 300
    back = mended + 290

    def look(now: float, _: str, __: int) -> Attempt:
        return ("f", 0.2) if at <= now < mended or now >= back else WELL

    seen = World(rng, [Check(noisy(rng, look), rule)], veto_s=0).run(back + 600)
    over = [status for _, status in seen.public if status == "resolved"]
    wrong = "said resolved" if over else ""
    if seen.incidents != 1:
        wrong = f"{seen.incidents} incidents"
    return _found(seen, None, wrong)


def _maintenance(rng: random.Random, rule: Rule) -> Found:
    """D33: down inside a window; every other seed is still stale when grace is over."""
    at = fault_at(rng)
    ends = at + 1200
    overruns = rng.random() < 0.5
    until = float("inf") if overruns else ends - 60
    look = from_then(at, ("t" if overruns else "f", 0.2), until=until)
    window = Window(instant(at - 60), instant(ends))
    seen = World(rng, [Check(noisy(rng, look), rule)], windows=[window], veto_s=0).run(ends + 900)
    early = [when for when, _ in seen.public if when < ends + Rule().maintenance_grace_s]
    wrong = "said in the window" if early else ""
    if not overruns:
        # Nothing is left to say: what counts is the silence.
        return _found(seen, 0.0, wrong or ("said after it was over" if seen.public else ""))
    said = next((when for when, _ in seen.public), None)
    return _found(seen, None if said is None else said - ends, wrong)


def _database_away(rng: random.Random, rule: Rule) -> Found:
    """D34: our database is away for three minutes of the outage; agents keep what they saw."""
    at = fault_at(rng)
    check = Check(noisy(rng, from_then(at, ("f", 0.2))), rule)
    check.away = (at + 5, at + 185)
    seen = World(rng, [check]).run(at + 600)
    return _found(seen, _detected(seen, at, OUTAGE, "follow"))


SCENARIOS: Final[Sequence[Scenario]] = (
    Scenario("D1", "all refuse the connection", _total(("f", 0.1)), 90),
    Scenario("D2", "accept and hang", _total(("f", 10.0)), 90),
    Scenario("D3", "503 everywhere", _total(("f", 0.2)), 90),
    Scenario("D4", "log-in 500, old sessions read", _login(("l", 0.3)), 180),
    Scenario("D5", "an all-zero session", _login(("n", 0.3)), 180),
    Scenario("D6", "200 with an empty list", _total(("f", 0.2)), 90),
    Scenario("D7", "the newest reading frozen", _frozen, 270),
    Scenario("D8", "frozen under a fresh Date", _frozen, 270),
    Scenario("D9", "200 with an HTML page", _total(("f", 0.3)), 90),
    Scenario("D10", "200 with no bytes", _total(("f", 0.1)), 90),
    Scenario("D11", "a type changes", _nothing(_drift, 600), cost=16),
    Scenario("D12", "50 % errors", _share(0.5, 600, PARTIAL), 300, 0.98, cost=2),
    Scenario("D13", "30 % errors", _share(0.3, 1200, PARTIAL), 720, 0.98, cost=2),
    Scenario("D14", "10 % errors", _share(0.1, 2760, ("slow_burn", *PARTIAL)), 2700, 0.98, cost=4),
    Scenario("D15", "8 s instead of 0.2 s", _slow, 900, 0.98, cost=8),
    Scenario("D16", "1 of 5 locations cut off", _cut_off(1), 91, cost=16),
    Scenario("D17", "2 of 5 cut off", _cut_off(2), 91, cost=16),
    Scenario("D18", "3 of 5 cut off", _cut_off(3), 91, cost=16),
    Scenario("D19", "3 of 5 cut off and really down", _cut_off(3, ("f", 0.2)), 91, cost=16),
    Scenario("D20", "one account's password wrong", _one_account, 60, cost=16),
    Scenario("D21", "all accounts rejected", _all_accounts, 240, cost=4),
    Scenario("D22", "all our keys wrong", _wrong_keys, 600, cost=32),
    Scenario("D23", "probers turned away", _turned_away, 90, cost=16),
    Scenario("D24", "one cohort only", _cohort, 90, cost=16),
    Scenario("D25", "alerts no longer pushed", _alert_canary, 780, cost=4),
    Scenario("D26", "flapping 60/60 s for 30 min", _flapping, cost=32),
    Scenario("D27", "one blip of 20 s", _nothing(_blip, 900), cost=8),
    Scenario("D28", "a burst a day at one location, a year", _daily_burst, cost=500),
    Scenario("D29", "nothing arrives any more", _silence, 120, cost=8),
    Scenario("D30", "a clock 10 min off", _wrong_clock, 60, cost=8),
    Scenario("D31", "read mended, log-in not", _half_mended, 90, cost=32),
    Scenario("D32", "clean 4:50, relapse", _relapse, cost=16),
    Scenario("D33", "inside a maintenance; overrun", _maintenance, 302, cost=16),
    Scenario("D34", "our database away meanwhile", _database_away, 300, cost=16),
)
BY_NAME: Final[Mapping[str, Scenario]] = {each.name: each for each in SCENARIOS}
