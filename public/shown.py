"""What the templates show: facts of a snapshot as words of one language."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from incidents import wire
from incidents.facts import ComponentFact, IncidentFact, UpdateFact
from incidents.lifecycle import Impact, Status
from public import bars, plots, statusapi, words
from public.phrases import PHRASES
from public.richtext import markdown
from public.snapshot import PAST, PLACE_IS_FRESH, HistoryRow, Snapshot
from public.times import Moments
from public.words import State

# A check may run every few minutes; longer silence than this is told even while nothing is unknown.
LOOKED_RECENTLY = timedelta(minutes=15)
_OF_IMPACT = {
    Impact.CRITICAL: State.OUTAGE,
    Impact.MAJOR: State.PARTIAL,
    Impact.MINOR: State.DEGRADED,
    Impact.NONE: State.OPERATIONAL,
    Impact.MAINTENANCE: State.MAINTENANCE,
}
Shown = dict[str, Any]  # what a template reads


@dataclass(frozen=True, slots=True)
class View:
    """A snapshot with what every page of it needs: language, where its pages lie, the files' versions."""

    snapshot: Snapshot
    moments: Moments
    base: str = ""  # before every path: "" for the page's first language, "/es" for another one
    versions: tuple[tuple[str, str], ...] = ()  # file of static/ -> a word that changes with it
    logo: str = ""  # the logo's file, empty without one
    revision: str = ""  # statusapi.revision() of the snapshot

    @property
    def language(self) -> str:
        return self.moments.language

    @property
    def say(self) -> Mapping[str, str]:
        return PHRASES[self.moments.language]

    @property
    def is_dated(self) -> "View":
        return replace(self, moments=replace(self.moments, dated=True))


def views(
    snapshot: Snapshot, versions: tuple[tuple[str, str], ...] = (), logo: str = ""
) -> tuple[View, ...]:
    """Return a view for each of the page's languages that we speak, its first one at the root."""
    zone, revision = wire.zone_of(snapshot.page.time_zone), statusapi.revision(snapshot)
    return tuple(
        View(
            snapshot.told_in(own_code(snapshot, code)),
            Moments(snapshot.now, zone, code),
            f"/{code}" if number else "",
            versions,
            logo,
            revision,
        )
        for number, code in enumerate(languages(snapshot))
    )


def languages(snapshot: Snapshot) -> list[str]:
    return list(dict.fromkeys(words.language_of(each) for each in snapshot.page.languages)) or [
        "en"
    ]


def own_code(snapshot: Snapshot, code: str) -> str:
    """Return the page's own word for a language that we speak: operators write under es-MX what es reads."""
    return next((own for own in snapshot.page.languages if words.language_of(own) == code), code)


# --- the answer -------------------------------------------------------------------------------


def state(view: View) -> Shown:
    snapshot = view.snapshot
    open_ones, running = snapshot.unresolved, snapshot.running
    main = statusapi.main_of(snapshot)
    sentence = words.headline(snapshot.components, open_ones, running, view.language)
    began = statusapi.since(snapshot)
    since: SafeString | str = ""
    if began:
        since = format_html(
            '{} <span data-lasting="{}">({})</span>',
            phrase(view, "since", when=view.moments.time(began)),
            statusapi.iso(began),
            view.moments.span(snapshot.now - began),
        )
    return {
        "kind": str(words.page_state(snapshot.components, open_ones, running)),
        "sentence": sentence,
        "url": path(main, view) if main else "",
        "status": _status(main.status, view) if main else "",
        "since": since,
        "what_to_do": markdown(statusapi.what_to_do(main) or ""),
        "promise": promise(main, view) if main else None,
        "checked": _checked(view),
        "blind": [
            _blind(one, view) for one in snapshot.components if _is_told_blind(one, sentence, view)
        ],
    }


def silent_state(view: View) -> Shown:
    """The last state known, under a sentence that says how old it is."""
    found = state(view)
    known = found["sentence"] if view.snapshot.unresolved else ""
    if found["promise"]:
        found["promise"] |= {"left": ""}
    return found | {
        "kind": str(State.UNKNOWN),
        "sentence": words.silent_headline(view.language),
        "last_known": known,
        "since": "",
        "checked": None,
        "blind": [],
    }


def _is_told_blind(one: ComponentFact, sentence: str, view: View) -> bool:
    """True for what the sentence on top has not said already."""
    told = bool(one.unknown_why) and one.unknown_why in sentence
    return one.is_unknown and not told and bool(view.snapshot.unresolved or one.unknown_why)


def _blind(one: ComponentFact, view: View) -> str:
    key = "blind_why" if one.unknown_why else "blind"
    return view.say[key].format(name=one.name, why=one.unknown_why)


def promise(one: IncidentFact, view: View) -> Shown | None:
    if not one.is_open or one.next_update_by is None:
        return None
    left = one.next_update_by - view.snapshot.now
    when = view.moments.time(one.next_update_by)
    return {
        "text": phrase(view, "overdue" if left < timedelta(0) else "next", when=when),
        "late": phrase(view, "overdue", when=when),
        "overdue": left < timedelta(0),
        "left": view.say["left"].format(span=view.moments.span(abs(left))),
        "due": statusapi.iso(one.next_update_by),
    }


def _checked(view: View) -> Shown | None:
    checked, now = view.snapshot.checked, view.snapshot.now
    if checked is None:
        return None
    blind = any(one.is_unknown for one in view.snapshot.components)
    age = now - checked.at
    if age > (PLACE_IS_FRESH if blind else LOOKED_RECENTLY):
        return {
            "stale": True,
            "text": phrase(view, "not_checked", when=view.moments.time(checked.at)),
        }
    ago = format_html(
        '<span data-ago="{}">{}</span>',
        statusapi.iso(checked.at),
        view.moments.span(max(age, timedelta(0))),
    )
    one_place = view.say["one_place"]
    places = one_place if checked.places == 1 else view.say["places"].format(count=checked.places)
    key = "checked_from" if checked.places else "checked"
    return {"stale": False, "text": phrase(view, key, ago=ago, places=places)}


# --- parts of the product ---------------------------------------------------------------------


def sections(view: View, *, silent: bool) -> list[Shown]:
    """Components by group, in order of the page; those without a group come first."""
    snapshot = view.snapshot
    found: list[Shown] = []
    for group in (None, *snapshot.groups):
        own = [
            component(one, view, silent=silent)
            for one in snapshot.components
            if one.group == (group.uid if group else None) and is_visible(one)
        ]
        if own:
            name, text = (group.name, group.description) if group else ("", "")
            found.append({"name": name, "description": text, "components": own})
    return found


def is_visible(one: ComponentFact) -> bool:
    return not one.only_show_if_degraded or words.component_state(one) is not State.OPERATIONAL


def component(one: ComponentFact, view: View, *, silent: bool = False) -> Shown:
    kind = State.UNKNOWN if silent else words.component_state(one)
    why: SafeString | str = ""
    if one.unknown_since and not silent:
        why = phrase(
            view, "unknown_why",
            why=one.unknown_why or view.say["not_running"], when=view.moments.time(one.unknown_since),
        )  # fmt: skip
    return {
        "name": one.name,
        "slug": one.slug,
        "description": one.description,
        "kind": str(kind),
        "word": words.COMPONENT_WORDS[view.language][kind],
        "why": why,
        "bars": _bars(one, view) if one.showcase else None,
    }


def _bars(one: ComponentFact, view: View) -> Shown | None:
    drawn = bars.bars(dict(view.snapshot.history).get(one.uid, ()), view.moments)
    if drawn is None:
        return None
    key = "bars_percent" if drawn["percent"] else "bars"
    label = view.say[key].format(name=one.name, days=bars.DAYS, percent=drawn["percent"])
    return drawn | {"label": label, "days": view.say["days"].format(count=bars.DAYS)}


def latency(one: ComponentFact, view: View) -> list[Shown]:
    snapshot = view.snapshot
    series = dict(snapshot.latency).get(one.slug, ())
    return plots.latency(series, dict(snapshot.history).get(one.uid, ()), view.moments)


# --- incidents --------------------------------------------------------------------------------


def incident(one: IncidentFact, view: View) -> Shown:
    kind = _OF_IMPACT[one.impact] if one.is_open or one.is_maintenance else State.OPERATIONAL
    ended_at = _ended_at(one) if not one.is_open else None
    began_at = one.scheduled_for or one.started_at
    lasted = ended_at - began_at if ended_at and ended_at > began_at else None
    return {
        "name": one.name,
        "url": path(one, view),
        "uid": one.uid,
        "kind": str(kind),
        "facts": _facts(one, view),
        "summary": _summary(one, lasted, view),
        "is_open": one.is_open,
        "components": [named.name for named in one.components],
        "subscribe": _subscribe(one),
        "promise": promise(one, view),
        "updates": [_update(update, view) for update in one.updates],
        "what_to_do": markdown(statusapi.what_to_do(one) or ""),
        "postmortem": markdown(one.postmortem_body),
        "postmortem_at": (
            phrase(view, "looked_back_on", when=view.moments.time(one.postmortem_published_at))
            if one.postmortem_published_at
            else ""
        ),
    }


def _facts(one: IncidentFact, view: View) -> SafeString:
    """Return where it stands and when it was, as one line."""
    time, status = view.moments.time, _status(one.status, view)
    if one.is_maintenance and one.scheduled_for:
        window = time(one.scheduled_for)
        if one.scheduled_until:
            window = phrase(view, "until", began=window, ended=time(one.scheduled_until))
        return format_html(
            "{} · {}", window, view.say["called_off"] if one.retracted_at else status
        )
    if one.is_open:
        return phrase(view, "began_open", status=status, when=time(one.started_at))
    ended_at = _ended_at(one)
    said = view.say["retracted"] if one.retracted_at else status
    span = phrase(view, "until", began=time(one.started_at), ended=time(ended_at))
    if ended_at <= one.started_at:
        return format_html("{} · {}", said, span)
    return format_html("{} · {} ({})", said, span, view.moments.span(ended_at - one.started_at))


def _summary(one: IncidentFact, lasted: timedelta | None, view: View) -> str:
    taken_back = view.say["called_off" if one.is_maintenance else "retracted"]
    said = taken_back if one.retracted_at else _status(one.status, view)
    if lasted is None:
        return said
    return f"{said} · {view.say['lasted'].format(span=view.moments.span(lasted))}"


def _subscribe(one: IncidentFact) -> str:
    return "&".join(f"components={named.slug}" for named in one.components)


def _update(update: UpdateFact, view: View) -> Shown:
    edited = update.edited_at
    return {
        "uid": update.uid,
        "status": _status(update.status, view),
        "body": markdown(update.body),
        "what_to_do": markdown(update.what_to_do),
        "at": view.moments.time(update.display_at),
        "by": "" if update.automatic else update.speaker or view.snapshot.page.name,
        "edited": phrase(view, "edited", when=view.moments.time(edited)) if edited else "",
    }


def told(one: IncidentFact, view: View) -> list[Shown]:
    return plots.told(dict(view.snapshot.told).get(one.uid, ()), view.moments)


def days(past: Sequence[IncidentFact], view: View) -> list[Shown]:
    newest = sorted(past, key=_ended_at, reverse=True)
    local = view.moments.local
    return [
        {"day": view.moments.day(day), "incidents": [incident(one, view) for one in of_day]}
        for day, of_day in groupby(newest, key=lambda one: local(_ended_at(one)).date())
    ]


def past(view: View) -> list[IncidentFact]:
    since = view.snapshot.now - PAST
    return [one for one in view.snapshot.incidents if not one.is_open and _ended_at(one) >= since]


# --- history ----------------------------------------------------------------------------------


def by_month(rows: Iterable[HistoryRow], view: View) -> dict[date, list[HistoryRow]]:
    """Return the rows under the first day of the month in which they began, the newest month first."""
    found: dict[date, list[HistoryRow]] = {}
    for row in rows:
        first = view.moments.local(row.scheduled_for or row.started_at).date().replace(day=1)
        found.setdefault(first, []).append(row)
    return {first: found[first] for first in sorted(found, reverse=True)}


def month(first: date, rows: Sequence[HistoryRow], view: View) -> Shown:
    name = view.moments.month(first)
    return {
        "name": name[0].upper() + name[1:],
        "url": f"{view.base}/months/{first:%Y-%m}",
        "rows": [_row(row, view) for row in rows],
        "empty": view.say["none_in"].format(month=name),
    }


def _row(row: HistoryRow, view: View) -> Shown:
    began_at = row.scheduled_for or row.started_at
    span = row.ended_at - began_at if row.ended_at and row.ended_at > began_at else None
    lasted = view.say["lasted"].format(span=view.moments.span(span)) if span else ""
    folder = "maintenance" if row.is_maintenance else "incidents"
    taken_back = view.say["called_off" if row.is_maintenance else "retracted"]
    return {
        "name": row.name,
        "url": f"{view.base}/{folder}/{row.uid}",
        "kind": str(_OF_IMPACT[row.impact]),
        "status": taken_back if row.retracted else _status(row.status, view),
        "began": view.moments.time(began_at),
        "lasted": lasted,
    }


def _ended_at(one: IncidentFact) -> datetime:
    return one.resolved_at or one.updated_at


def path(one: IncidentFact, view: View) -> str:
    return f"{view.base}/{'maintenance' if one.is_maintenance else 'incidents'}/{one.uid}"


def _status(status: Status, view: View) -> str:
    return view.say[f"status_{status.value}"]


def phrase(view: View, key: str, **parts: SafeString | str) -> SafeString:
    """Return a phrase with its parts put in, escaped unless they are markup of ours."""
    return format_html(view.say[key], **parts)
