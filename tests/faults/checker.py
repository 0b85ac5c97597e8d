"""Judges a history after the fact: publishes, people, intents and the providers' ledger against the invariants I1 to I11.

Pure: it sees no database and no clock. Instants are seconds since 1970 of the machine that all of them ran on.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

LEFT_S = 5.0  # I4: no send starts later than this after somebody left
UNSHOWN_S = 5.0  # contract.md: if publishing fails, messages go after 5 s
LEARNED_S = 0.4  # accepted by the provider so long before we knew: found again, not sent again
TOLD = frozenset({"accepted", "delivered", "bounced", "acknowledged"})
# Ends that a provider or a person decided; nobody is lost by them.
EXPLAINED = frozenset({"refused", "suppressed", "failed", "expired", "halted"})
OPEN = frozenset({"pending", "prepared", "calling"})
BRIEF = frozenset({"sms", "voice"})  # hear the first word, a new impact and the end


@dataclass(frozen=True, slots=True)
class Publish:
    """One published update; `news` when it is a first word, a new impact or the end."""

    incident: str
    number: int
    at: float
    shown_at: float | None = None
    news: bool = True
    to_nobody: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    channel: str
    address: str
    confirmed_at: float
    left_at: float | None = None
    suppressed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """One delivery as the database has it in the end; `ambiguous` counts attempts whose end nobody could know."""

    delivery: int
    channel: str
    address: str
    incident: str
    number: int
    state: str
    ambiguous: int = 0
    accepted_at: float | None = None
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Handover:
    """One line of a provider's ledger."""

    channel: str
    address: str
    at: float
    incident: str
    number: int
    delivery: int


@dataclass(frozen=True, slots=True)
class History:
    publishes: Sequence[Publish]
    people: Sequence[Person]
    intents: Sequence[Intent]
    ledger: Sequence[Handover]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a scenario allows beyond the invariants, and what it must have met.

    `late_s` is the time from publish within which everybody must be told; `in_flight` how many sends a frozen or killed
    process may have begun before a newer update; `ambiguous_on` the channels whose faults must have been ambiguous;
    `extra_max` the copies that all ambiguities together may cost; `clocks_agree` is off where clocks were moved.
    """

    late_s: float = 150.0
    in_flight: int = 0
    ambiguous_on: frozenset[str] = frozenset()
    extra_max: int | None = None
    clocks_agree: bool = True


@dataclass(slots=True)
class Ambiguity:
    """Per channel: attempts that ended unknown, those found to be accepted, those sent again."""

    injected: int = 0
    accepted: int = 0
    resent: int = 0


@dataclass(slots=True)
class Verdict:
    publishes: int = 0
    people: int = 0
    handovers: int = 0
    last_s: float = 0.0
    lost: int = 0
    duplicate: int = 0
    late: int = 0
    out_of_order: int = 0
    again: int = 0  # copies explained by an ambiguity
    ambiguity: dict[str, Ambiguity] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return what was seen in one line."""
        seen = (
            f"{self.publishes} updates, {self.people} people, {self.handovers} hand-overs, the last after "
            f"{self.last_s:.1f} s; lost {self.lost}, duplicate {self.duplicate}, late {self.late}, "
            f"out of order {self.out_of_order}; told again after ambiguity {self.again}"
        )
        for channel, seen_of in sorted(self.ambiguity.items()):
            seen += (
                f"; {channel}: ambiguous {seen_of.injected} injected, {seen_of.accepted} resolved as accepted, "
                f"{seen_of.resent} resent"
            )
        seen = "; ".join([seen, *self.notes])
        return seen + (f" — BROKEN {'; '.join(self.broken)}" if self.broken else "")


def judge(history: History, rules: Rules | None = None) -> Verdict:
    """Return what the history shows; `broken` names each invariant that does not hold, with an example."""
    rules = rules or Rules()
    verdict = Verdict(
        len(history.publishes), len(history.people), len(history.ledger), _last_s(history)
    )
    _everybody_was_told(history, rules, verdict)
    _nobody_was_told_twice(history, rules, verdict)
    _nothing_older_came_later(history, rules, verdict)
    _nobody_heard_after_leaving(history, verdict)
    _the_page_was_first(history, rules, verdict)
    _only_what_was_published_was_sent(history, verdict)
    _the_books_agree(history, verdict)
    _ambiguity_was_met(history, rules, verdict)
    return verdict


def hears(channel: str, publish: Publish) -> bool:
    """Tell whether a channel hears this update by the contract; social accounts hear all."""
    return not publish.to_nobody and (publish.news or channel not in BRIEF)


def _last_s(history: History) -> float:
    at = {(publish.incident, publish.number): publish.at for publish in history.publishes}
    spans = [
        one.at - at[one.incident, one.number]
        for one in history.ledger
        if (one.incident, one.number) in at
    ]
    return max(spans, default=0.0)


def _first_told(ledger: Iterable[Handover]) -> dict[tuple[str, str, str, int], float]:
    first: dict[tuple[str, str, str, int], float] = {}
    for one in ledger:
        key = (one.channel, one.address, one.incident, one.number)
        first[key] = min(one.at, first.get(key, one.at))
    return first


def _everybody_was_told(history: History, rules: Rules, verdict: Verdict) -> None:
    """I1: whoever was there when an update was published hears it, or a newer one of its incident, in time."""
    first = _first_told(history.ledger)
    states = {(i.channel, i.address, i.incident, i.number): i.state for i in history.intents}
    newest: dict[tuple[str, str, str], int] = defaultdict(int)
    for channel, address, incident, number in first:
        newest[channel, address, incident] = max(newest[channel, address, incident], number)
    lost, late = [], []
    for publish in history.publishes:
        for person in history.people:
            if not hears(person.channel, publish) or not _was_there(person, publish.at):
                continue
            key = (person.channel, person.address, publish.incident, publish.number)
            if key in first:
                if first[key] > publish.at + rules.late_s:
                    late.append(key)
            elif newest[key[:3]] < publish.number and not _is_explained(person, states.get(key)):
                lost.append(key)
    verdict.lost, verdict.late = len(lost), len(late)
    _note(verdict, "I1 lost", lost)
    _note(verdict, "I1 late", late)


def _was_there(person: Person, at: float) -> bool:
    return person.confirmed_at <= at and (person.left_at is None or person.left_at > at)


def _is_explained(person: Person, state: str | None) -> bool:
    return state in EXPLAINED or person.left_at is not None or person.suppressed_at is not None


def _nobody_was_told_twice(history: History, rules: Rules, verdict: Verdict) -> None:
    """I2: at most one copy more for each ambiguity, and none without."""
    allowed: Counter[tuple[str, str, str, int]] = Counter()
    for intent in history.intents:
        allowed[intent.channel, intent.address, intent.incident, intent.number] += intent.ambiguous
    told = Counter((h.channel, h.address, h.incident, h.number) for h in history.ledger)
    wrong = {key: times - 1 - allowed[key] for key, times in told.items() if times > 1}
    verdict.again = sum(times - 1 for times in told.values())
    verdict.duplicate = sum(extra for extra in wrong.values() if extra > 0)
    verdict.again -= verdict.duplicate
    _note(verdict, "I2 duplicate", [key for key, extra in wrong.items() if extra > 0])
    if rules.extra_max is not None and verdict.again > rules.extra_max:
        verdict.broken.append(f"I2: {verdict.again} copies, at most {rules.extra_max} allowed")


def _nothing_older_came_later(history: History, rules: Rules, verdict: Verdict) -> None:
    """I3: to one person, of one incident, no older update after a newer one."""
    newest: dict[tuple[str, str, str], int] = defaultdict(int)
    older = []
    for one in sorted(history.ledger, key=lambda one: one.at):
        key = (one.channel, one.address, one.incident)
        if one.number < newest[key]:
            older.append((*key, one.number))
        newest[key] = max(newest[key], one.number)
    verdict.out_of_order = len(older)
    if len(older) > rules.in_flight:
        _note(verdict, "I3 out of order", older)


def _nobody_heard_after_leaving(history: History, verdict: Verdict) -> None:
    """I4: 5 s after somebody left, or an address was found dead, nothing goes there any more."""
    ends: dict[tuple[str, str], float] = {}
    for person in history.people:
        at = [end for end in (person.left_at, person.suppressed_at) if end is not None]
        if at:
            ends[person.channel, person.address] = min(at)
    after = [
        (one.channel, one.address, one.incident, one.number)
        for one in history.ledger
        if one.at > ends.get((one.channel, one.address), one.at) + LEFT_S
    ]
    _note(verdict, "I4 told after leaving", after)


def _the_page_was_first(history: History, rules: Rules, verdict: Verdict) -> None:
    """I5: the page shows an update before the first message, unless publishing failed for 5 s."""
    if not rules.clocks_agree:
        return
    may = {
        (publish.incident, publish.number): min(
            publish.at + UNSHOWN_S,
            publish.at + UNSHOWN_S if publish.shown_at is None else publish.shown_at,
        )
        for publish in history.publishes
    }
    early = [
        (one.channel, one.address, one.incident, one.number)
        for one in history.ledger
        if one.at < may.get((one.incident, one.number), 0.0)
    ]
    _note(verdict, "I5 before the page", early)


def _only_what_was_published_was_sent(history: History, verdict: Verdict) -> None:
    """I6: every message is a published revision, to somebody who may hear it. I7: at their own address."""
    published = {(p.incident, p.number) for p in history.publishes if not p.to_nobody}
    known = {(person.channel, person.address) for person in history.people}
    meant = {i.delivery: i.address for i in history.intents}
    strange = [
        (one.channel, one.address, one.incident, one.number)
        for one in history.ledger
        if (one.incident, one.number) not in published or (one.channel, one.address) not in known
    ]
    _note(verdict, "I6 never published", strange)
    astray = [
        (one.channel, one.address, one.incident, one.number)
        for one in history.ledger
        if meant.get(one.delivery, one.address) != one.address
    ]
    _note(verdict, "I7 at another's address", astray)


def _the_books_agree(history: History, verdict: Verdict) -> None:
    """I11: nothing is open in the end, and what counts as sent is in a provider's ledger."""
    there = {(one.channel, one.address, one.incident, one.number) for one in history.ledger}
    keys = {
        (i.channel, i.address, i.incident, i.number): i.state
        for i in history.intents
        if i.state in TOLD | OPEN
    }
    _note(verdict, "I11 still open", [key for key, state in keys.items() if state in OPEN])
    claimed = [key for key, state in keys.items() if state in TOLD and key not in there]
    _note(verdict, "I11 accepted by nobody", claimed)


def _ambiguity_was_met(history: History, rules: Rules, verdict: Verdict) -> None:
    """A fault about ambiguity that made none has tested nothing."""
    told = defaultdict(list)
    for one in history.ledger:
        told[one.channel, one.address, one.incident, one.number].append(one.at)
    for intent in history.intents:
        if intent.ambiguous:
            seen = verdict.ambiguity.setdefault(intent.channel, Ambiguity())
            seen.injected += intent.ambiguous
            times = told[intent.channel, intent.address, intent.incident, intent.number]
            if len(times) == 1 and (intent.accepted_at or 0.0) - times[0] > LEARNED_S:
                seen.accepted += 1
            elif times:
                seen.resent += 1
    for channel in sorted(rules.ambiguous_on):
        if not verdict.ambiguity.setdefault(channel, Ambiguity()).injected:
            verdict.broken.append(f"nothing ambiguous was injected on {channel}")


def _note(verdict: Verdict, what: str, found: Sequence[tuple[str, str, str, int]]) -> None:
    if found:
        channel, address, incident, number = found[0]
        verdict.broken.append(
            f"{what}: {len(found)}, such as update {number} of {incident} by {channel} to {address}"
        )
