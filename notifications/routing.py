"""Which channels an entry goes by, how urgently, and to whom among their subscribers."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from incidents.facts import IncidentFact, UpdateFact
from incidents.lifecycle import FINAL, Audience

SOCIAL = frozenset({"x", "facebook"})
BRIEF = frozenset({"sms"})  # hears the first word, a new impact and the end: communication.md §3.1
CALLS = frozenset({"voice"})


@dataclass(frozen=True, slots=True)
class Leg:
    """One channel's part of a broadcast.

    `role` is whose addresses; `wake_me` limits to those who asked to be woken; `told` to those who were told before in this
    incident; `answered` to those who answered its call. `heirs` limits to those whose earlier message of the incident was
    overtaken before it was handed over, urgent ones to those whose message was urgent. `ladder`: not at once, but when the ladder says so (ladder.py). `components` holds
    uids; empty means every subscriber.
    """

    channel: str
    role: str = "subscriber"
    urgent: bool = False
    wake_me: bool = False
    told: bool = False
    answered: bool = False
    heirs: bool = False
    ladder: bool = False
    components: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Under which a broadcast's cursor keeps how far this leg has come: urgent heirs go before the rest of their channel."""
        return f"{self.channel}, urgent heirs" if self.heirs and self.urgent else self.channel

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"components": list(self.components)}


def leg(row: Mapping[str, Any]) -> Leg:
    """Return the Leg that as_json() wrote, perhaps that of another version: what is not known is left out."""
    known = {field.name: row[field.name] for field in fields(Leg) if field.name in row}
    return Leg(**{**known, "components": tuple(row.get("components", ()))})


def plan(incident: IncidentFact, update: UpdateFact, channels: Iterable[str]) -> list[Leg]:
    """Return the legs of an update, social accounts first, then by urgency."""
    if update.audience is Audience.NOBODY:
        return []
    legs = [leg for channel in sorted(channels) if (leg := _leg(incident, update, channel))]
    return sorted(legs, key=_turn)


def _leg(incident: IncidentFact, update: UpdateFact, channel: str) -> Leg | None:
    told = update.audience is Audience.TOLD_BEFORE
    components = tuple(component.uid for component in incident.components)
    is_final = update.status in FINAL
    is_news = update.first_word or update.new_impact or _reopens(incident, update)
    if channel in SOCIAL:
        return Leg(channel, role="social", urgent=True, told=told) if incident.social else None
    if channel in CALLS:
        return _call(incident, components, is_news=is_news, is_final=is_final)
    if channel in BRIEF and not (is_news or is_final):
        return None
    return Leg(
        channel, urgent=is_news or is_final, told=told, components=() if told else components
    )


def _reopens(incident: IncidentFact, update: UpdateFact) -> bool:
    """The same trouble is back after its end: as new to people as the first time."""
    earlier = [said for said in incident.updates if said.number < update.number]
    last = max(earlier, key=lambda said: said.number, default=None)
    return last is not None and last.status in FINAL and update.status not in FINAL


def _call(
    incident: IncidentFact, components: tuple[str, ...], *, is_news: bool, is_final: bool
) -> Leg | None:
    """A call wakes only who asked for it, for a critical component; the all-clear only who answered."""
    if is_final:
        return Leg("voice", urgent=False, answered=True)
    if is_news and incident.is_critical and not incident.is_maintenance:
        return Leg("voice", urgent=True, wake_me=True, ladder=True, components=components)
    return None


def inherit(legs: list[Leg], overtaken: Collection[tuple[str, bool]]) -> list[Leg]:
    """Add what overtaken updates leave behind: `overtaken` has a channel and an urgency for each kind of waiting message.

    An update that a channel would not hear by itself is heard there by those whose earlier message was overtaken, so that
    superseding loses nobody. Urgency is handed on to those whose message was urgent, before the others of their channel.
    Social accounts are never overtaken.
    """
    present = {leg.channel for leg in legs}
    hurried = [
        replace(leg, urgent=True, heirs=True)
        for leg in legs
        if leg.channel not in SOCIAL and not leg.urgent and (leg.channel, True) in overtaken
    ]
    heirs = [
        Leg(channel, urgent=urgent, heirs=True, ladder=channel in CALLS)
        for channel, urgent in overtaken
        if channel not in SOCIAL and channel not in present
    ]
    return sorted([*hurried, *legs, *heirs], key=_turn)


def _turn(leg: Leg) -> tuple[bool, bool, str]:
    return leg.role != "social", not leg.urgent, leg.channel
