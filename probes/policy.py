"""What follows from a verdict: when it is said, whom it waits for, and when it is over."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

from probes.rule import Rule
from probes.words import Word, gravity

# Policies: contract.md, "Detection".
VETO_S: Final = 120
# Agents ask for their checks each 10 s: what began before may be a run of the old ones.
ORDERS_TAKE_S: Final = 15
# Stands in the title of an incident, after the component's name.
COHORT_CHARS_MAX: Final = 100


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


# ---- whom it concerns ---------------------------------------------------------------------


def claim(word: Word, cohort: str, others: Iterable[tuple[str, str]]) -> Word:
    """Return what a check's verdict means for its component.

    A check with a cohort speaks for some users only. Where it alone is down that is a partial
    outage; with all others, as (cohort, word), down as well it is what it says.
    """
    if not cohort or word not in _DOWN:
        return word
    rest = [told for other, told in others if other != cohort and told not in ("", Word.UNKNOWN)]
    return word if rest and all(told in _DOWN for told in rest) else Word.PARTIAL


_DOWN: Final = (Word.OUTAGE, Word.STALE)


def is_in_shadow(
    *,
    changed_at: datetime | None,
    up_at: datetime | None,
    rejected: bool,
    now: datetime,
    shadow_s: float,
) -> bool:
    """Say whether a new or changed check must not speak in public yet.

    It may once it was up since, which proves its address and its keys; else when the time is
    over, but then too not of rejected credentials: those are ours until they worked once.
    """
    if changed_at is None or shadow_s == 0 or is_proof(up_at, changed_at):
        return False
    return rejected or now - changed_at < timedelta(seconds=shadow_s)


def is_proof(up_at: datetime | None, changed_at: datetime | None) -> bool:
    """Say whether runs that began then were runs of the check as it was changed."""
    if up_at is None or changed_at is None:
        return False
    return up_at >= changed_at + timedelta(seconds=ORDERS_TAKE_S)


@dataclass(frozen=True, slots=True)
class Window:
    """A maintenance; `ends` None while it is under way without a planned end."""

    begins: datetime
    ends: datetime | None


def is_in_maintenance(windows: Iterable[Window], now: datetime, *, grace_s: float) -> bool:
    """Say whether trouble is expected now: a window is open, or closed a moment ago."""
    grace = timedelta(seconds=grace_s)
    return any(
        each.begins <= now and (each.ends is None or now < each.ends + grace) for each in windows
    )


# ---- what to do about it ------------------------------------------------------------------


class Move(StrEnum):
    """What to do about a verdict that is bad."""

    NOTHING = "nothing"
    CALL = "call"
    SPEAK = "speak"
    # Again, in an incident that was thought to be over.
    RELAPSE = "relapse"
    DECLARE = "declare"
    REOPEN = "reopen"
    WIDEN = "widen"
    APPEND = "append"


@dataclass(frozen=True, slots=True)
class Case:
    """A bad verdict, and what was done about it so far."""

    word: Word
    # None: no policy matches.
    publish: Publish | None
    # Empty where nothing was said yet, and again once what was said is told no longer.
    said_word: str = ""
    vetoed_word: str = ""
    # The incident that says it.
    is_said: bool = False
    is_published: bool = False
    is_monitored: bool = False
    # The incident tells in public that the component works.
    is_told_over: bool = False
    is_in_shadow: bool = False


def respond(case: Case) -> Move:
    """Return what to do: nothing, call operators, or speak; speak() says where."""
    if case.publish is None:
        return Move.NOTHING
    if case.word is Word.SLOW_BURN or case.publish is Publish.NOTIFY or case.is_in_shadow:
        return Move.CALL
    if gravity(case.word) <= gravity(case.vetoed_word):
        return Move.NOTHING
    if case.is_said and not case.said_word:
        # Elsewhere the policy and its wait decide: of this one nobody may have been told.
        is_back = case.is_told_over and case.is_published and case.is_monitored
        return Move.RELAPSE if is_back else Move.SPEAK
    if case.is_said and gravity(case.word) <= gravity(case.said_word):
        return Move.RELAPSE if case.is_published and case.is_monitored else Move.NOTHING
    return Move.SPEAK


def speak(*, is_open: bool, is_published: bool, is_relapse: bool) -> Move:
    """Return where to say it: in the open incident or draft, in a recent one, or in a new one."""
    if is_open:
        return Move.APPEND if is_published else Move.WIDEN
    return Move.REOPEN if is_relapse else Move.DECLARE


class Back(StrEnum):
    """How far the way back is gone."""

    WAIT = "wait"
    # Nobody was told: it is taken back.
    WITHDRAW = "withdraw"
    MONITOR = "monitor"
    RESOLVE = "resolve"


def way_back(
    clean_since: Sequence[datetime | None],
    rules: Sequence[Rule],
    now: datetime,
    *,
    is_published: bool,
    is_monitored: bool,
) -> Back:
    """Return what is due of an incident whose verdicts are clean since then; None: not clean."""
    clean = [each for each in clean_since if each is not None]
    if len(clean) < len(clean_since):
        return Back.WAIT
    recover_s = max(rule.recover_after_s for rule in rules)
    recovered_at = max(clean) + timedelta(seconds=recover_s)
    if now < recovered_at:
        return Back.WAIT
    if not is_published:
        return Back.WITHDRAW
    waits = [rule.resolve_after_s for rule in rules if rule.resolve_after_s is not None]
    if len(waits) == len(rules) and now >= recovered_at + timedelta(seconds=max(waits)):
        return Back.RESOLVE
    return Back.WAIT if is_monitored else Back.MONITOR
