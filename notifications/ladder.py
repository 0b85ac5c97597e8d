"""Who is still to be woken, how and when: two rings close together, then the next contact, until somebody has heard.

Where the figures come from: docs/decisions.md, "The ladder".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import IntEnum, StrEnum
from zoneinfo import ZoneInfo

CHANNEL = "voice"
SOFT = ("sms", "webpush")  # they can wake and be answered; a mail wakes nobody
# Text message and push come first; who has not answered them by then is called.
FIRST_CALL_AFTER = timedelta(minutes=2)
# A phone in Do Not Disturb lets a number through that calls again within three minutes ("Repeated Calls").
AGAIN_WITHIN = timedelta(minutes=3)
# The line must be free again at the other end.
AGAIN_AFTER = timedelta(seconds=5)
CALLS_MAX = 4
CLIMB_MAX = timedelta(minutes=45)
# Where one telephone is all there is, its second pair of rings comes so much later.
PAIR_GAP = timedelta(minutes=15)
RINGS_OF_A_PAIR = 2
# Ringing and three readings take below two and a half minutes; a call without a word after that is over.
CALL_LASTS_MAX = timedelta(seconds=150)
# So many seconds' worth of calls are handed to the line at once: enough to keep it busy until the next tick, few enough
# that who must come first does come first.
AHEAD_S = 3.0


class Rank(IntEnum):
    """Who is called first while the account's rate does not reach for all: the lower, the sooner; equals by waiting time."""

    AGAIN = 1  # the second ring of a pair: without it within three minutes the first was in vain
    FIRST = 2  # has not been called at all
    CONTACT = 3  # somebody else's turn, after a person did not answer twice
    LATER = 4  # the second pair of a lone telephone


class Ended(StrEnum):
    """Why a climb is over."""

    HEARD = "heard"
    OVER = "over"  # resolved, retracted or halted before anybody had to be called again
    UNHEARD = "unheard"  # four calls, or 45 minutes, and nobody answered
    NOBODY = "nobody"  # no telephone is left that may be called


@dataclass(frozen=True, slots=True)
class Quiet:
    """A person's own quiet hours, on the wall clock of their zone; equal ends mean none."""

    begins: time
    ends: time
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Phone:
    """One telephone that may be called for a person: their own, or a further contact's who agreed to it."""

    subscription: int
    contact: bool = False
    quiet: Quiet | None = None  # a contact's; who asked to be woken has none


@dataclass(frozen=True, slots=True)
class Ring:
    """One call so far. `ended_at` None: under way, as far as we know."""

    subscription: int
    at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Climb:
    """Where one person stands on the ladder of one incident.

    `softly` tells that a text message or a push is still on its way to them or was handed over, so that they get two
    minutes to answer it; otherwise the first call comes at once.
    """

    began_at: datetime
    softly: bool
    phones: Sequence[Phone]
    rings: Sequence[Ring] = ()
    patience: timedelta = FIRST_CALL_AFTER  # the person's own time instead of the two minutes
    heard: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    until: datetime


@dataclass(frozen=True, slots=True)
class Call:
    """Call `subscription` as soon as the rate allows; `since` is how long that has been due."""

    subscription: int
    rank: Rank
    since: datetime


@dataclass(frozen=True, slots=True)
class Done:
    why: Ended


Step = Wait | Call | Done


def step(climb: Climb, now: datetime) -> Step:
    """Return what is to be done for one person at `now`. A call under way is waited for, never doubled."""
    if climb.heard:
        return Done(Ended.HEARD)
    if climb.over:
        return Done(Ended.OVER)
    last = climb.rings[-1] if climb.rings else None
    if last is None:
        return _first(climb, now)
    ended_at = last.ended_at or last.at + CALL_LASTS_MAX
    if ended_at > now:
        return Wait(ended_at)
    if len(climb.rings) >= CALLS_MAX or now >= climb.rings[0].at + CLIMB_MAX:
        return Done(Ended.UNHEARD)
    return _further(climb, ended_at, now)


def order(calls: Sequence[tuple[int, Call]]) -> list[tuple[int, Call]]:
    """Return (row id, call) in the order in which they are made while the rate is short."""
    return sorted(calls, key=lambda one: (one[1].rank, one[1].since, one[0]))


def room(per_s: float | None, waiting: int, *, most: int) -> int:
    """Return how many further calls may be handed to the line, which has `waiting` of them still to make."""
    if per_s is None:
        return max(most - waiting, 0)
    return max(min(round(per_s * AHEAD_S), most) - waiting, 0)


def minutes_for(people: int, per_s: float) -> float:
    """Return in how many minutes so many people have all been called twice, for the form and the desk."""
    return people * RINGS_OF_A_PAIR / per_s / 60


def called_within(minutes: float, per_s: float) -> int:
    """Return how many people can be called twice within `minutes`: what people are told when they sign up."""
    return int(minutes * 60 * per_s / RINGS_OF_A_PAIR)


def is_quiet(quiet: Quiet | None, now: datetime) -> bool:
    return quiet is not None and _window(quiet, now) is not None


def quiet_ends_at(quiet: Quiet | None, now: datetime) -> datetime:
    """Return when the quiet hours around `now` end; `now` when there are none."""
    window = _window(quiet, now) if quiet is not None else None
    return window[1] if window else now


def _first(climb: Climb, now: datetime) -> Step:
    if not climb.phones:
        return Done(Ended.NOBODY)
    due = climb.began_at + (climb.patience if climb.softly else timedelta())
    if due > now:
        return Wait(due)
    return _call_next(climb, due, now)


def _further(climb: Climb, ended_at: datetime, now: datetime) -> Step:
    """After a call that nobody answered: the same number again if it was a pair's first, else the next in line."""
    last = climb.rings[-1]
    is_pairs_first = _rings_in_a_row(climb.rings) % RINGS_OF_A_PAIR == 1
    still_there = any(phone.subscription == last.subscription for phone in climb.phones)
    if is_pairs_first and still_there:
        due = ended_at + AGAIN_AFTER
        return Call(last.subscription, Rank.AGAIN, due) if due <= now else Wait(due)
    return _call_next(climb, ended_at, now)


def _call_next(climb: Climb, due: datetime, now: datetime) -> Step:
    """Call whoever was called least among those not in their quiet hours, in the order of the list."""
    if not climb.phones:
        return Done(Ended.NOBODY)
    awake = _awake(climb.phones, now)
    if not awake:
        return Wait(min(quiet_ends_at(phone.quiet, now) for phone in climb.phones))
    phone = min(awake, key=lambda phone: _rings_of(climb.rings, phone))
    if not _rings_of(climb.rings, phone):
        rank = Rank.CONTACT if phone.contact or climb.rings else Rank.FIRST
        return Call(phone.subscription, rank, due)
    due += PAIR_GAP
    return Call(phone.subscription, Rank.LATER, due) if due <= now else Wait(due)


def _awake(phones: Sequence[Phone], now: datetime) -> list[Phone]:
    return [phone for phone in phones if not is_quiet(phone.quiet, now)]


def _rings_of(rings: Sequence[Ring], phone: Phone) -> int:
    return sum(ring.subscription == phone.subscription for ring in rings)


def _rings_in_a_row(rings: Sequence[Ring]) -> int:
    """Return how many of the last calls went to the same telephone."""
    count = 0
    for ring in reversed(rings):
        if ring.subscription != rings[-1].subscription:
            break
        count += 1
    return count


def _window(quiet: Quiet, now: datetime) -> tuple[datetime, datetime] | None:
    """Return the quiet hours that hold `now`.

    Counted in instants, not on the wall clock: in the night in which an hour comes twice they begin at its first and end at
    its second coming; an end inside the hour that is left out comes as much later.
    """
    if quiet.begins == quiet.ends:
        return None
    zone = ZoneInfo(quiet.zone)
    today = now.astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        last_day = day + timedelta(days=quiet.ends <= quiet.begins)
        begins = datetime.combine(day, quiet.begins, zone)
        ends = _instant(datetime.combine(last_day, quiet.ends, zone))
        if begins.timestamp() <= now.timestamp() < ends.timestamp():
            return begins, ends
    return None


def _instant(wall: datetime) -> datetime:
    """Return the later of the two instants a wall clock may mean, or for one that never comes the instant after the gap."""
    first, second = wall.replace(fold=0), wall.replace(fold=1)
    return first if first.utcoffset() < second.utcoffset() else second  # type: ignore[operator]  # both are aware
