"""What the page, the banner and the badges say in words, per language."""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum

from incidents.facts import ComponentFact, IncidentFact
from incidents.lifecycle import ComponentStatus, Impact


class State(StrEnum):
    """How the product, or one component, is; the words of banner.json."""

    OPERATIONAL = "operational"
    MAINTENANCE = "maintenance"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"
    PARTIAL = "partial"
    OUTAGE = "outage"


# Ascending. Not knowing is graver than slowness, and never hides an outage that is known.
_ORDER = tuple(State)
_OF_COMPONENT = {
    ComponentStatus.OPERATIONAL: State.OPERATIONAL,
    ComponentStatus.DEGRADED_PERFORMANCE: State.DEGRADED,
    ComponentStatus.PARTIAL_OUTAGE: State.PARTIAL,
    ComponentStatus.MAJOR_OUTAGE: State.OUTAGE,
    ComponentStatus.UNDER_MAINTENANCE: State.MAINTENANCE,
}
_OF_IMPACT = {
    Impact.NONE: State.OPERATIONAL,
    Impact.MAINTENANCE: State.MAINTENANCE,
    Impact.MINOR: State.DEGRADED,
    Impact.MAJOR: State.PARTIAL,
    Impact.CRITICAL: State.OUTAGE,
}

# What stands at the right of a component's name.
COMPONENT_WORDS = {
    "en": {
        State.OPERATIONAL: "working",
        State.DEGRADED: "slow",
        State.PARTIAL: "partly working",
        State.OUTAGE: "not working",
        State.MAINTENANCE: "maintenance",
        State.UNKNOWN: "unknown",
    },
    "es": {
        State.OPERATIONAL: "funciona",
        State.DEGRADED: "lento",
        State.PARTIAL: "funciona en parte",
        State.OUTAGE: "no funciona",
        State.MAINTENANCE: "mantenimiento",
        State.UNKNOWN: "desconocido",
    },
}
SENTENCES = {
    "en": {
        "fine": "Everything is working",
        "one": "{name}: {word}",
        "many": "{count} of {all} parts are not fully working",
        "unknown_one": "We cannot tell how “{name}” is",
        "unknown_why": "“{name}” is unknown: {why}",
        "unknown_some": "We cannot tell how {count} of {all} parts are",
        "unknown_all": "We cannot tell how things are",
        "further": "{name} (and {count} more)",
        "silent": "We cannot tell how things are: no news since {since} UTC",
    },
    "es": {
        "fine": "Todo funciona",
        "one": "{name}: {word}",
        "many": "{count} de {all} partes no funcionan del todo",
        "unknown_one": "No sabemos cómo está “{name}”",
        "unknown_why": "“{name}”, desconocido: {why}",
        "unknown_some": "No sabemos cómo están {count} de {all} partes",
        "unknown_all": "No sabemos cómo está el servicio",
        "further": "{name} (y {count} más)",
        "silent": "No sabemos cómo está el servicio: sin noticias desde las {since} UTC",
    },
}


# XML 1.0 forbids these even as references: https://www.w3.org/TR/xml/#charsets
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def for_xml(text: str) -> str:
    """Return the text without what no XML document may hold."""
    return _NOT_XML.sub("", text)


def language_of(language: str) -> str:
    """Return the language whose words we have; English for one that we do not speak."""
    short = language.lower().split("-")[0]
    return short if short in SENTENCES else "en"


def component_state(component: ComponentFact) -> State:
    return State.UNKNOWN if component.is_unknown else _OF_COMPONENT[component.status]


def bar_state(status: str) -> State:
    """Return the state of a status as StatusChange words it."""
    return State.UNKNOWN if status == "unknown" else _OF_COMPONENT[ComponentStatus(status)]


def worst_state(states: Iterable[State]) -> State:
    return max(states, key=_ORDER.index, default=State.OPERATIONAL)


def page_state(
    components: Iterable[ComponentFact],
    incidents: Iterable[IncidentFact],
    running: Iterable[IncidentFact] = (),
) -> State:
    """Return how the product is: the worst of its components, open incidents and `running` maintenance.

    An incident's impact does not drop when its components recover, so it speaks by itself only when it
    names none; one that names some keeps the page at least `degraded` until it is over.
    """
    states = [component_state(component) for component in components]
    for incident in incidents:
        by_impact = _OF_IMPACT[incident.impact]
        if incident.components and by_impact is not State.OPERATIONAL:
            states.append(State.DEGRADED)
        else:
            states.append(by_impact)
    states += [State.MAINTENANCE for _ in running]
    return worst_state(states)


def headline(
    components: Sequence[ComponentFact],
    incidents: Sequence[IncidentFact],
    running: Sequence[IncidentFact],
    language: str = "en",
) -> str:
    """Return the page's state as one sentence; `incidents` are the open ones, the gravest first."""
    say = SENTENCES[language_of(language)]
    if incidents:
        return _with_further(say["further"], incidents)
    hurt = [component for component in components if _is_hurt(component)]
    if hurt:
        return _parts(say, hurt, len(components), language)
    blind = [component for component in components if component.is_unknown]
    if blind:
        return _blind(say, blind, len(components))
    if running:
        return _with_further(say["further"], running)
    in_work = [c for c in components if component_state(c) is State.MAINTENANCE]
    return _parts(say, in_work, len(components), language) if in_work else say["fine"]


def _is_hurt(component: ComponentFact) -> bool:
    return component_state(component) in (State.DEGRADED, State.PARTIAL, State.OUTAGE)


def _with_further(sentence: str, incidents: Sequence[IncidentFact]) -> str:
    first, more = incidents[0].name, len(incidents) - 1
    return sentence.format(name=first, count=more) if more else first


def _parts(say: dict[str, str], hurt: Sequence[ComponentFact], every: int, language: str) -> str:
    if len(hurt) == 1:
        word = COMPONENT_WORDS[language_of(language)][component_state(hurt[0])]
        return say["one"].format(name=hurt[0].name, word=word)
    return say["many"].format(count=len(hurt), all=every)


def _blind(say: dict[str, str], blind: Sequence[ComponentFact], every: int) -> str:
    if len(blind) == 1 and blind[0].unknown_why:
        return say["unknown_why"].format(name=blind[0].name, why=blind[0].unknown_why)
    if len(blind) == every:
        return say["unknown_all"]
    if len(blind) == 1:
        return say["unknown_one"].format(name=blind[0].name)
    return say["unknown_some"].format(count=len(blind), all=every)


# --- the publisher is silent -------------------------------------------------------------------

# Stand in the prepared "unknown" files until watchdog.py knows since when there is no news.
SINCE_ISO = "@@SINCE_ISO@@"  # 2026-11-23T01:02:03.000Z
SINCE_CLOCK = "@@SINCE_CLOCK@@"  # 01:02, UTC


def silent_headline(language: str = "en") -> str:
    return SENTENCES[language_of(language)]["silent"].format(since=SINCE_CLOCK)
