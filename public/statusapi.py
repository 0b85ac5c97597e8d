"""A snapshot as Statuspage's public API and as the in-app banner's JSON."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from incidents import wire
from incidents.facts import ComponentFact, IncidentFact
from incidents.lifecycle import OPEN, Impact, Status
from public import badges, words
from public.snapshot import NEWEST, Snapshot
from public.words import State

BANNER_SCHEMA = 1
BANNER_VALID_FOR_S = 300  # contract.md, "banner.json"
LANGUAGES = tuple(words.SENTENCES)
FREQUENT = ("api/v2/status.json", "api/v2/summary.json")  # rewritten every 10 s
NOW = "now.json"  # what page.js asks: is what I show still true, and how old is it

Json = dict[str, Any]  # what json.dumps takes

_LINK = re.compile(r"\[([^\]\n]*)\]\([^)\s]*\)")
_MARKS = re.compile(r"\*\*|__|`")


def documents(snapshot: Snapshot) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of what /api/v2 has beside frequent_documents()."""
    page = wire.page_json(snapshot.page)
    planned = snapshot.maintenances
    lists: tuple[tuple[str, str, Sequence[IncidentFact]], ...] = (
        ("incidents", "incidents", snapshot.realtime[:NEWEST]),
        ("incidents/unresolved", "incidents", _among(snapshot.realtime, OPEN)),
        ("scheduled-maintenances", "scheduled_maintenances", planned[:NEWEST]),
        (
            "scheduled-maintenances/upcoming",
            "scheduled_maintenances",
            _among(planned, (Status.SCHEDULED,)),
        ),
        (
            "scheduled-maintenances/active",
            "scheduled_maintenances",
            _among(planned, (Status.IN_PROGRESS, Status.VERIFYING)),
        ),
    )
    rows = wire.component_rows(snapshot.components, snapshot.groups, snapshot.page)
    yield "api/v2/components.json", encode({"page": page, "components": rows})
    for name, key, incidents in lists:
        yield f"api/v2/{name}.json", encode({"page": page, key: _incidents(incidents, snapshot)})


def frequent_documents(snapshot: Snapshot) -> Iterator[tuple[str, bytes]]:
    yield FREQUENT[0], encode(status(snapshot))
    yield FREQUENT[1], encode(summary(snapshot))


def now_document(snapshot: Snapshot) -> bytes:
    """Return age and revision: a page that shows the same revision need not be fetched again."""
    checked = snapshot.checked
    return encode(
        {
            "generated_at": iso(snapshot.now),
            "revision": revision(snapshot),
            "checked_at": iso(checked.at) if checked else None,
        }
    )


def revision(snapshot: Snapshot) -> str:
    """Return a word that changes with whatever the pages tell but their age; and with the hour, for the bars."""
    hour = snapshot.now.replace(minute=0, second=0, microsecond=0)
    told = (snapshot.page, snapshot.groups, snapshot.components, snapshot.incidents, hour)
    return hashlib.blake2b(repr(told).encode(), digest_size=6).hexdigest()


def status(snapshot: Snapshot) -> Json:
    open_ones = snapshot.unresolved
    return {
        "page": wire.page_json(snapshot.page),
        "status": wire.status_json(snapshot.components, open_ones, snapshot.page),
    }


def summary(snapshot: Snapshot) -> Json:
    ahead = (Status.SCHEDULED, Status.IN_PROGRESS, Status.VERIFYING)
    rows = wire.component_rows(snapshot.components, snapshot.groups, snapshot.page)
    return {
        "page": wire.page_json(snapshot.page),
        "components": rows,
        "incidents": _incidents(_among(snapshot.realtime, OPEN), snapshot),
        "scheduled_maintenances": _incidents(_among(snapshot.maintenances, ahead), snapshot),
        "status": wire.status_json(snapshot.components, snapshot.unresolved, snapshot.page),
    }


def _among(incidents: Iterable[IncidentFact], wanted: Sequence[Status]) -> list[IncidentFact]:
    return [incident for incident in incidents if incident.status in wanted]


def _incidents(incidents: Iterable[IncidentFact], snapshot: Snapshot) -> list[Json]:
    return [wire.incident_json(incident, snapshot.page) for incident in incidents]


def encode(document: Json) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


# --- banner -----------------------------------------------------------------------------------


def banners(
    snapshot: Snapshot, valid_for_s: int = BANNER_VALID_FOR_S
) -> Iterator[tuple[str, bytes]]:
    """Yield the banner in the page's first language, and in each one we speak."""
    first = snapshot.page.languages[0]
    yield "banner.json", encode(banner(snapshot, first, valid_for_s))
    for language in sorted({*LANGUAGES, *snapshot.page.languages}):
        if language.replace("-", "").isalnum():
            own = next(
                (o for o in snapshot.page.languages if words.language_of(o) == language), language
            )
            told = snapshot.told_in(own)
            yield f"banner.{language}.json", encode(banner(told, language, valid_for_s))


def banner(snapshot: Snapshot, language: str, valid_for_s: int = BANNER_VALID_FOR_S) -> Json:
    open_ones, running = snapshot.unresolved, snapshot.running
    main = main_of(snapshot)
    return {
        "schema": BANNER_SCHEMA,
        "generated_at": iso(snapshot.now),
        "valid_for_s": valid_for_s,
        "state": str(words.page_state(snapshot.components, open_ones, running)),
        "headline": words.headline(snapshot.components, open_ones, running, language),
        "what_to_do": plain(what_to_do(main)),
        "since": iso(since(snapshot)),
        "next_update_by": iso(main.next_update_by) if main else None,
        "incident": _banner_incident(main, snapshot) if main else None,
        "components": [_banner_component(component) for component in snapshot.components],
        **({"general": True} if _is_general(open_ones) else {}),
    }


def main_of(snapshot: Snapshot) -> IncidentFact | None:
    """Return what the sentence on top is about: a running maintenance only while no part is hurt or unknown by itself."""
    by_itself = (State.DEGRADED, State.PARTIAL, State.OUTAGE, State.UNKNOWN)
    if any(words.component_state(one) in by_itself for one in snapshot.components):
        return next(iter(snapshot.unresolved), None)
    return next(iter((*snapshot.unresolved, *snapshot.running)), None)


def _is_general(incidents: Iterable[IncidentFact]) -> bool:
    """Say whether one of them names no component, and so concerns whoever asks about any."""
    return any(not one.components and one.impact is not Impact.NONE for one in incidents)


def iso(at: datetime | None) -> str | None:
    if at is None:
        return None
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def what_to_do(incident: IncidentFact | None) -> str | None:
    """Return the newest advice of the incident: an update without one does not take the last one back."""
    if incident is None or not incident.is_open:
        return None
    return next((update.what_to_do for update in incident.updates if update.what_to_do), None)


def plain(text: str | None) -> str | None:
    """Return an operator's Markdown without its marks: an app shows the banner's words as they are."""
    if text is None:
        return None
    return _MARKS.sub("", _LINK.sub(r"\1", text)).strip()


def since(snapshot: Snapshot) -> datetime | None:
    """Return since when the page has been in its state; None when everything works."""
    main = next(iter(snapshot.unresolved), None)
    if main:
        return main.started_at
    blind = [one.unknown_since for one in snapshot.components if one.unknown_since]
    running = [one.scheduled_for for one in snapshot.running if one.scheduled_for]
    hurt = _began(snapshot, (State.DEGRADED, State.PARTIAL, State.OUTAGE))
    # In the order of words.headline(): what it names, and nothing else, says since when.
    named = hurt or blind or running or _began(snapshot, (State.MAINTENANCE,))
    return min(named, default=None)


def _began(snapshot: Snapshot, states: tuple[State, ...]) -> list[datetime]:
    began = dict(snapshot.history)
    return [
        began[one.uid][-1][0]
        for one in snapshot.components
        if words.component_state(one) in states and began.get(one.uid)
    ]


def _banner_incident(incident: IncidentFact, snapshot: Snapshot) -> Json:
    return {
        "id": incident.uid,
        "name": incident.name,
        "status": str(incident.status),
        "url": wire.incident_url(incident.uid, snapshot.page),
    }


def _banner_component(component: ComponentFact) -> Json:
    state = "unknown" if component.is_unknown else str(component.status)
    row = {"id": component.uid, "slug": component.slug, "name": component.name, "status": state}
    return row | {"why": component.unknown_why} if component.unknown_why else row


# --- the publisher is silent ------------------------------------------------------------------


def silent_documents(snapshot: Snapshot) -> Iterator[tuple[str, bytes]]:
    """Yield what watchdog.py puts in the place of the API's files, the banner, the badges and now.json."""
    text = f"Status unknown: checks not running since {words.SINCE_CLOCK} UTC"
    state = status(snapshot)
    indicator = state["status"]["indicator"]
    state["status"] = {
        "indicator": "minor" if indicator in ("none", "maintenance") else indicator,
        "description": text,
    }
    whole = summary(snapshot)
    for row in whole["components"]:
        row |= {"status": "degraded_performance", "description": text}
    whole["status"] = state["status"]
    yield FREQUENT[0], encode(state)
    yield FREQUENT[1], encode(whole)
    yield "api/v2/components.json", encode({key: whole[key] for key in ("page", "components")})
    yield NOW, encode({"generated_at": words.SINCE_ISO, "revision": "silent", "checked_at": None})
    for path, body in banners(snapshot):
        language = path.split(".")[1] if path.count(".") > 1 else snapshot.page.languages[0]
        yield path, encode(_silent_banner(json.loads(body), language))
    yield from badges.badges(snapshot, silent=True)
    yield "favicon.svg", badges.sign(State.UNKNOWN)


def _silent_banner(document: Json, language: str) -> Json:
    document |= {
        "generated_at": words.SINCE_ISO,
        "state": str(State.UNKNOWN),
        "headline": words.silent_headline(language),
        "since": words.SINCE_ISO,
        "components": [row | {"status": "unknown"} for row in document["components"]],
    }
    return document
