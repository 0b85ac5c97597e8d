"""The scenarios of detection.md that can be played in real time, each with what has to come of it."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from benchmarks import eyes_look as look
from benchmarks.accept import Point
from benchmarks.eyes_net import BOTH, Cable
from benchmarks.eyes_room import ACCOUNTS, Room
from benchmarks.eyes_scaled import SCALE
from benchmarks.eyes_site import (
    JOURNEY,
    LOGIN,
    READ,
    RECOVER_S,
    RESOLVE_S,
    SHARE,
    SHARE_LOGIN,
    SHARE_READ,
    site,
)
from incidents.models import Incident
from probes.kinds import Outcome
from probes.verdict import Word

# What no divisor shortens: the clock's tick of one second; processes on a shared machine.
FLOOR_S = 1.0
# A verdict that comes too late is still waited for, to say how late.
LATE_S = 8.0
WELL_S = 60.0
POLL_S = 0.05
# Nothing is heard of before this has passed, where nothing may be: five minutes.
WATCH_S = 300 / SCALE

BAD = (Word.DEGRADED, Word.PARTIAL, Word.STALE, Word.OUTAGE)
Pair = tuple[str, str]
Faults = Mapping[str, object]
EVERYTHING: tuple[Pair, ...] = (
    (JOURNEY, LOGIN),
    (JOURNEY, READ),
    (SHARE, SHARE_LOGIN),
    (SHARE, SHARE_READ),
)
LOGINS: tuple[Pair, ...] = ((JOURNEY, LOGIN), (SHARE, SHARE_LOGIN))
READS: tuple[Pair, ...] = ((JOURNEY, READ), (SHARE, SHARE_READ))
# All is broken: the journey fails in its first step, the Share check reads with the session it has.
FIRST: tuple[Pair, ...] = ((JOURNEY, LOGIN), (SHARE, SHARE_READ))


@dataclass(frozen=True, slots=True)
class Scene:
    """One fault of the whole service, and the verdict that has to come within `within_s`, undivided."""

    number: str
    what: str
    faults: Faults
    pairs: tuple[Pair, ...]
    word: Word
    within_s: float
    # What must stay well meanwhile.
    spared: tuple[Pair, ...] = ()


HANG: Faults = {"all": {"shape": "F2", "hang_s": 60 / SCALE}}
ALL_503: Faults = {"all": {"shape": "F15", "ratio": 1, "status": 503}}
FROZEN = {"shape": "F9", "age_s": 0}
DICE = {"shape": "F15", "status": 500}
SCENES = (
    Scene("D1", "every connection closed", {"all": "F1"}, FIRST, Word.OUTAGE, 90),
    Scene("D2", "accepted, then no answer for 60 s", HANG, FIRST, Word.OUTAGE, 90),
    Scene("D3", "503 everywhere", ALL_503, FIRST, Word.OUTAGE, 90),
    Scene(
        "D4",
        "log-in faults, cached sessions read on",
        {"login": "F3"},
        LOGINS,
        Word.OUTAGE,
        180,
        spared=((SHARE, SHARE_READ),),
    ),
    Scene("D5", "all-zero session in a 200", {"login": "F7"}, LOGINS, Word.OUTAGE, 180),
    Scene("D6", "reads are 200 []", {"read": "F8"}, READS, Word.OUTAGE, 90),
    Scene(
        "D7",
        "newest reading frozen, on the REST path",
        {"read": {**FROZEN, "path": "rest"}},
        ((JOURNEY, READ),),
        Word.STALE,
        270,
    ),
    Scene(
        "D8",
        "frozen under a fresh Date header, on the publisher path",
        {"read": {**FROZEN, "path": "publisher"}},
        ((SHARE, SHARE_READ),),
        Word.STALE,
        270,
    ),
    Scene("D9", "200 with a web page", {"all": "F11"}, FIRST, Word.OUTAGE, 90),
    Scene("D10", "200 with nothing in it", {"all": "F10"}, FIRST, Word.OUTAGE, 90),
    Scene("D12", "50 % random 500", {"read": {**DICE, "ratio": 0.5}}, READS, Word.PARTIAL, 300),
    Scene("D13", "30 % random 500", {"read": {**DICE, "ratio": 0.3}}, READS, Word.PARTIAL, 720),
)
QUIET = ("D11", "D16", "D17", "D18", "D20", "D27")
SPOKEN = ("D26", "D32", "D31")
NUMBERS = (*(scene.number for scene in SCENES), *QUIET, *SPOKEN)


class NeverWell(Exception):
    """The room did not become well, so that nothing could be measured; the text says what was wrong."""


class Play:
    """Plays scenarios in a room, one after the other, each from a well state."""

    def __init__(self, room: Room, say: Callable[[str], None]) -> None:
        self.room = room
        self.say = say

    def play(self, numbers: tuple[str, ...]) -> Iterator[Point]:
        """Play those scenarios; first those without publishing, which go faster."""
        self.room.apply(site(self.room.locations, publishes=False))
        self.room.start_agents()
        for scene in SCENES:
            if scene.number in numbers:
                yield self._guarded(scene.number, partial(self._verdict, scene))
        self.room.apply(site(self.room.locations, publishes=True))
        for number in (*QUIET, *SPOKEN):
            if number in numbers:
                yield from self._of(number)

    def _of(self, number: str) -> Iterator[Point]:
        lost = {"D16": 1, "D17": 2, "D18": 3}
        if number in lost:
            count = lost[number]
            yield self._guarded(number, lambda: self._lost(number, count, (Cable.WORLD,)))
            yield self._guarded(number, lambda: self._lost(number, count, BOTH))
            return
        plays = {
            "D11": self._drift,
            "D20": self._one_account,
            "D26": self._flap,
            "D27": self._blip,
            "D31": self._half_recovered,
            "D32": self._relapse,
        }
        yield self._guarded(number, plays[number])

    def _guarded(self, number: str, play: Callable[[], Point]) -> Point:
        self.room.look_after()
        try:
            point = play()
        except NeverWell as error:
            point = Point(f"{number} in real time", False, str(error), "before the scenario")
        self.room.mend_follow()
        self.room.net.plug(self.room.locations)
        self.say(point.line())
        return point

    # --- faults of the whole service ------------------------------------------------------------

    def _verdict(self, scene: Scene) -> Point:
        self._await_well()
        broken_at = self.room.break_follow(scene.faults)
        bound_s = scene.within_s / SCALE
        told: dict[Pair, float] = {}
        deadline = time.monotonic() + bound_s + FLOOR_S + LATE_S
        while len(told) < len(scene.pairs) and time.monotonic() < deadline:
            for said in look.changes(broken_at):
                pair = (said.check, said.component)
                if pair in scene.pairs and said.word == scene.word:
                    told.setdefault(pair, (said.at - broken_at).total_seconds())
            time.sleep(POLL_S)
        harmed = self._harmed(broken_at, scene.spared)
        dated = self.room.date_is_fresh() if scene.number == "D8" else True
        good = len(told) == len(scene.pairs) and max(told.values()) <= bound_s + FLOOR_S
        return Point(
            f"{scene.number} {scene.what}: {scene.word} ≤ {bound_s:g} s + {FLOOR_S:g} s",
            good and not harmed and dated,
            "; ".join(
                [*(self._told(pair, told, broken_at) for pair in scene.pairs), *harmed]
                + ([] if dated else ["the answers bore no fresh Date"])
            ),
            f"fault {dict(scene.faults)} in Follow, seconds ÷ {SCALE}",
        )

    def _told(self, pair: Pair, told: Mapping[Pair, float], since: datetime) -> str:
        name = "/".join(pair)
        if pair in told:
            return f"{name} after {told[pair]:.2f} s"
        words = [said.word for said in look.changes(since) if (said.check, said.component) == pair]
        return f"{name} never ({' then '.join(words) or 'no verdict changed'})"

    def _harmed(self, since: datetime, spared: tuple[Pair, ...]) -> list[str]:
        return [
            f"{said.check}/{said.component} became {said.word}"
            for said in look.changes(since)
            if (said.check, said.component) in spared and said.word != Word.UP
        ]

    # --- what must not be heard of --------------------------------------------------------------

    def _drift(self) -> Point:
        """D11: the trend becomes a number on the publisher path; a warning, no alarm."""
        self._await_well()
        began = self.room.break_follow({"read": {"shape": "F12", "path": "publisher"}})
        heard = self._watch(120 / SCALE + FLOOR_S)
        warned = [
            (run.received_at - began).total_seconds()
            for run in look.runs(began, check=SHARE)
            if any("form of a reading changed" in words for words in run.warnings)
        ]
        wrong = [*heard.wrong, *self._public_since(began)]
        bound_s = 120 / SCALE
        return Point(
            f"D11 the trend's type flips: a warning ≤ {bound_s:g} s + {FLOOR_S:g} s, no alarm",
            bool(warned) and min(warned) <= bound_s + FLOOR_S and not wrong,
            "; ".join([f"warned after {min(warned):.2f} s" if warned else "never warned", *wrong]),
            f"fault F12 on the publisher path, watched {120 / SCALE + FLOOR_S:g} s",
        )

    def _lost(self, number: str, count: int, cables: tuple[Cable, ...]) -> Point:
        """D16 to D18: so many locations lose the world, or the world and their server."""
        self._await_well()
        names = self.room.locations[-count:]
        began = datetime.now(UTC)
        self.room.net.pull(names, cables)
        heard = self._watch(WATCH_S)
        quorum = len(self.room.locations) // 2 + 1
        blind = len(self.room.locations) - count < quorum
        figures, wrong = [], []
        if cables == BOTH:
            talking = look.locations_heard(began) & set(names)
            wrong += [f"{name} was still heard" for name in sorted(talking)]
        else:
            figure, late = self._own_faults(names, began)
            figures.append(figure)
            wrong += late
        if blind:
            figure, more = self._blind(heard, began)
            figures.append(figure)
            wrong += more
        else:
            wrong += heard.wrong
            wrong += [f"the page said {state}" for state in heard.states - {"operational"}]
        wrong += self._public_since(began)
        lost = "its network" if cables == BOTH else "the world, not its server"
        expected = f"unknown and a call ≤ {90 / SCALE:g} s" if blind else "nothing public"
        return Point(
            f"{number} {count} of {len(self.room.locations)} loses {lost}: {expected}",
            not wrong,
            "; ".join([*figures, *wrong]) or "nothing was said",
            f"{' and '.join(cables)} cable of {', '.join(names)} pulled for {WATCH_S:g} s",
        )

    def _own_faults(self, names: tuple[str, ...], began: datetime) -> tuple[str, list[str]]:
        """Say how soon each lost location called the fault its own: 60 s, undivided."""
        bound_s, found, wrong = 60 / SCALE + FLOOR_S, [], []
        for name in names:
            own = [
                (run.received_at - began).total_seconds()
                for run in look.runs(began, location=name)
                if run.outcome == Outcome.PROBER_FAULT
            ]
            found.append(f"{name} {min(own):.2f} s" if own else f"{name} never")
            if not own or min(own) > bound_s:
                wrong.append(f"{name} was not a prober fault within {bound_s:g} s")
        return f"prober_fault: {', '.join(found)}", wrong

    def _blind(self, heard: "Heard", began: datetime) -> tuple[str, list[str]]:
        bound_s = 90 / SCALE + FLOOR_S
        unknown: dict[Pair, float] = {}
        for said in heard.changes:
            if said.word == Word.UNKNOWN:
                after_s = (said.at - began).total_seconds()
                unknown.setdefault((said.check, said.component), after_s)
        calls = [call for call in look.calls(began) if call.reason == "blind"]
        wrong = [
            f"{'/'.join(pair)} was not unknown within {bound_s:g} s"
            for pair in EVERYTHING
            if unknown.get(pair, bound_s + 1) > bound_s
        ]
        wrong += [f"{each} was said" for each in heard.wrong if "unknown" not in each]
        if not calls:
            wrong.append("no operator was called")
        if heard.last_state != "unknown":
            wrong.append(f"the page said {heard.last_state} in the end")
        last = max(unknown.values(), default=float("inf"))
        return f"unknown after {last:.2f} s, {len(calls)} calls", wrong

    def _one_account(self) -> Point:
        """D20: the password of one location's account is wrong."""
        self._await_well()
        before = self._struck()
        began = self.room.break_follow(
            {"login": {"shape": "F4", "account": ACCOUNTS[0], "path": "publisher"}}
        )
        watched_s = 600 / SCALE
        heard = self._watch(watched_s)
        tries = self._struck() - before
        own = (Outcome.AUTH_SUSPECT, Outcome.PROBER_FAULT)
        runs = look.runs(began, location=self.room.locations[0], check=SHARE)
        seen = sum(1 for run in runs if run.outcome in own)
        wrong = [*heard.wrong, *self._public_since(began)]
        if not 1 <= tries <= 2:
            wrong.append("expected one or two tries")
        if not seen:
            wrong.append("the location never called it a fault of its account")
        return Point(
            "D20 one probe account's password is wrong: nothing public, at most 2 log-ins",
            not wrong,
            "; ".join([f"{tries} log-ins tried, {seen} runs not counted", *wrong]),
            f"fault F4 for one account, watched {watched_s:g} s",
        )

    def _struck(self) -> int:
        return int(self.room.board()["struck"].get("login", 0))

    def _blip(self) -> Point:
        """D27: 20 s of outage, three times, five minutes apart; each alone is nothing."""
        times, wrong = 3, []
        for _ in range(times):
            self._await_well()
            began = self.room.break_follow({"all": "F1"})
            time.sleep(20 / SCALE)
            self.room.mend_follow()
            heard = self._watch(WATCH_S)
            wrong += [*heard.wrong, *self._public_since(began)]
        return Point(
            "D27 a single 20 s blip: nothing",
            not wrong,
            "; ".join(wrong) or "no verdict changed",
            f"fault F1 for {20 / SCALE:.2f} s, {times} times, each watched {WATCH_S:g} s",
        )

    # --- what the public hears of -------------------------------------------------------------------

    def _flap(self) -> Point:
        """D26: 60 s down, 60 s up, for 30 minutes."""
        self._await_well()
        began = datetime.now(UTC)
        cycles = 15
        for _ in range(cycles):
            self.room.break_follow({"all": "F1"})
            time.sleep(60 / SCALE)
            self.room.mend_follow()
            time.sleep(60 / SCALE)
        opened = [each for each in look.incidents(began) if each.published_at]
        turns: dict[str, list[str]] = {}
        for component, status in look.public_changes(began):
            turns.setdefault(component, []).append(status)
        most = max((len(each) for each in turns.values()), default=0)
        said = "; ".join(f"{name}: {' '.join(each)}" for name, each in sorted(turns.items()))
        updates = [each.status for each in look.updates(began)]
        return Point(
            "D26 flapping 60/60 s for 30 min: one incident, at most 2 public transitions",
            len(opened) == 1 and most <= 2,
            f"{len(opened)} incidents, updates {updates}, {said}",
            f"fault F1 for {60 / SCALE:g} s, {cycles} times",
        )

    def _relapse(self) -> Point:
        """D32: clean for 4 min 50 s, then down again: the same incident, and nobody hears that it is over."""
        self._await_well()
        began = self.room.break_follow({"all": "F1"})
        if not self._await(lambda: self._is_public(READS[1]), 90 / SCALE + LATE_S):
            return Point("D32 a relapse", False, "the first outage was never published", "fault F1")
        known = {each.pk for each in self._open()}
        mended_at = self.room.mend_follow()
        if not self._await(look.are_clean, WELL_S):
            return Point("D32 a relapse", False, "it never became clean again", "fault F1")
        time.sleep(290 / SCALE)
        again_at = self.room.break_follow({"all": "F1"})
        back = self._await(lambda: not look.are_clean(), 90 / SCALE + LATE_S)
        time.sleep(RECOVER_S)
        over = [
            each.status
            for each in look.updates(mended_at)
            if each.status in ("resolved", "postmortem")
        ]
        same = {each.pk for each in self._open()} == known and not look.incidents(again_at)
        return Point(
            "D32 a relapse after 4 min 50 s clean: the same incident, no all-clear",
            back and same and not over,
            f"{len(known)} incident before, {len(look.incidents(began))} made in all, "
            f"updates since mended: {[each.status for each in look.updates(mended_at)]}",
            f"fault F1, {290 / SCALE:.2f} s clean, fault F1",
        )

    def _half_recovered(self) -> Point:
        """D31: readings are back, the log-in still fails: not over, however long. Then all is well, and it is."""
        self._await_well()
        self.room.break_follow({"all": "F1"})
        if not self._await(
            lambda: self._is_public(LOGINS[0]) and self._is_public(LOGINS[1]), WELL_S
        ):
            said = f"the outage was never published whole: {self._statuses()}, {look.current()}"
            return Point("D31 half recovered", False, said, "fault F1")
        half_at = self.room.break_follow({"login": "F3"})
        waited_s = RECOVER_S + RESOLVE_S + 5
        time.sleep(waited_s)
        early = [each.status for each in look.updates(half_at) if each.status == "resolved"]
        mended_at = self.room.mend_follow()
        closed = self._await(lambda: not self._open(), WELL_S + RECOVER_S + RESOLVE_S)
        after_s = (datetime.now(UTC) - mended_at).total_seconds()
        return Point(
            "D31 readings are back, the log-in still fails: no all-clear; with the log-in back there is one",
            not early and closed,
            f"{len(early)} all-clears in {waited_s:g} s while the log-in failed; "
            + (
                f"all-clear {after_s:.1f} s after it was mended"
                if closed
                else "and none afterwards"
            ),
            f"fault F1, then F3 in the log-in for {waited_s:g} s, then nothing",
        )

    def _is_public(self, pair: Pair) -> bool:
        return self._statuses()[pair[1]] not in ("operational", "unknown")

    def _statuses(self) -> dict[str, str]:
        return {
            each["slug"]: each["status"] for each in self.room.page("banner.json")["components"]
        }

    def _open(self) -> list[Incident]:
        return look.open_incidents()

    # --- looking ------------------------------------------------------------------------------------

    def _watch(self, seconds: float) -> "Heard":
        """Look at the page and the verdicts for so long."""
        began = datetime.now(UTC)
        states: list[str] = []
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            states.append(str(self.room.page("banner.json")["state"]))
            time.sleep(2 * POLL_S)
        return Heard(look.changes(began), frozenset(states), states[-1])

    def _public_since(self, began: datetime) -> list[str]:
        """Return what went public that should not have."""
        return [f'published: "{each.name}"' for each in look.incidents(began) if each.published_at]

    def _await(self, is_so: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if is_so():
                return True
            time.sleep(POLL_S)
        return False

    def _await_well(self) -> None:
        """Wait until every check says up, nothing is open, and each location sees it."""
        wrong: list[str] = []
        deadline = time.monotonic() + WELL_S + RECOVER_S + RESOLVE_S
        while time.monotonic() < deadline:
            wrong = self._unwell()
            if not wrong:
                return
            time.sleep(2 * POLL_S)
        raise NeverWell(f"it never became well: {'; '.join(wrong)}")

    def _unwell(self) -> list[str]:
        now = look.current()
        wrong = [
            f"{'/'.join(p)} is {now.get(p, 'unjudged')}"
            for p in EVERYTHING
            if now.get(p) != Word.UP
        ]
        if not look.are_clean():
            wrong.append("a quorum still sees failures")
        # What went before is over for readers, too: its way back takes longer than its verdicts.
        wrong += [f"an incident is open: {each.name}" for each in self._open()]
        if not wrong and (state := self.room.page("banner.json")["state"]) != "operational":
            wrong.append(f"the page says {state}")
        for location in self.room.locations:
            for check in (JOURNEY, SHARE):
                run = look.newest(location, check)
                if run is None or run.outcome != Outcome.OK:
                    wrong.append(f"{check} at {location}: {run.outcome if run else 'no run'}")
        return wrong


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said while we watched."""

    changes: list[look.Said]
    states: frozenset[str]
    last_state: str

    @property
    def wrong(self) -> list[str]:
        """Return the verdicts that became anything but up."""
        return [
            f"{said.check}/{said.component} became {said.word}: {said.reasoning}"
            for said in self.changes
            if said.word != Word.UP
        ]
