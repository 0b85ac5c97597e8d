"""A snapshot as the public pages in HTML."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import nh3
from django.template import Context, Engine
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

from incidents import uptime, wire
from incidents.facts import ComponentFact, IncidentFact, UpdateFact
from incidents.lifecycle import Impact, Status
from public import statusapi, words
from public.snapshot import BARS, PAST, PLACE_IS_FRESH, HistoryRow, Snapshot
from public.words import State

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
BAR_DAYS = BARS.days
# A check may run every few minutes; longer silence than this is told even while nothing is unknown.
LOOKED_RECENTLY = timedelta(minutes=15)

_STATUS_WORDS = {
    Status.INVESTIGATING: "Investigating",
    Status.IDENTIFIED: "Cause found",
    Status.MONITORING: "Recovering, we are watching",
    Status.RESOLVED: "Over",
    Status.POSTMORTEM: "Looked back",
    Status.SCHEDULED: "Planned",
    Status.IN_PROGRESS: "In progress",
    Status.VERIFYING: "Checking the result",
    Status.COMPLETED: "Done",
}
_OF_IMPACT = {
    Impact.CRITICAL: State.OUTAGE,
    Impact.MAJOR: State.PARTIAL,
    Impact.MINOR: State.DEGRADED,
    Impact.NONE: State.OPERATIONAL,
    Impact.MAINTENANCE: State.MAINTENANCE,
}


@dataclass(frozen=True, slots=True)
class View:
    """A snapshot with what every page of it needs: the zone and the files' versions."""

    snapshot: Snapshot
    zone: ZoneInfo
    versions: tuple[tuple[str, str], ...]  # file of static/ -> a word that changes with its content
    dated: bool = (
        False  # every time with its day and year: for pages that are not made anew each day
    )


def view(snapshot: Snapshot, versions: tuple[tuple[str, str], ...] = ()) -> View:
    return View(snapshot, wire.zone_of(snapshot.page.time_zone), versions)


def index(view: View, *, silent: bool = False) -> bytes:
    """Render `/`; `silent` is the one that watchdog.py shows while there is no news."""
    snapshot = view.snapshot
    past = [
        one
        for one in snapshot.incidents
        if not one.is_open and _ended_at(one) >= snapshot.now - PAST
    ]
    context = {
        "state": _silent_state(view) if silent else _state(view),
        "silent": silent,
        "sections": _sections(view, silent=silent),
        "incidents": [_incident(one, view) for one in (*snapshot.unresolved, *snapshot.running)],
        "planned": [_incident(one, view) for one in snapshot.planned],
        "past": _days(past, view),
        "past_days": str(PAST.days),
        "title": snapshot.page.name,
        "path": "",
    }
    if silent:
        context |= {"generated_at": words.SINCE_ISO, "made": f"{words.SINCE_CLOCK} UTC"}
    return _render("public/index.html", context, view)


def history(view: View) -> bytes:
    """Render `/history`: every incident by month."""
    view = replace(view, dated=True)
    rows = view.snapshot.archive
    months = [
        {"name": name, "rows": [_history_row(row, view) for row in of_month]}
        for name, of_month in groupby(rows, key=lambda row: f"{_local(row.started_at, view):%B %Y}")
    ]
    title = f"Past incidents - {view.snapshot.page.name}"
    return _render(
        "public/history.html", {"months": months, "title": title, "path": "history"}, view
    )


def incident(one: IncidentFact, view: View) -> bytes:
    """Render `/incidents/{uid}` and `/maintenance/{uid}`."""
    view = replace(view, dated=True)
    folder = "maintenance" if one.is_maintenance else "incidents"
    context = {
        "incident": _incident(one, view),
        "title": f"{one.name} - {view.snapshot.page.name}",
        "path": f"{folder}/{one.uid}",
    }
    return _render("public/incident.html", context, view)


def incident_key(one: IncidentFact, view: View) -> object:
    """Return what the incident's page depends on: an equal key makes an equal page."""
    page = view.snapshot.page
    promise = _promise(one, view)
    left = (promise["overdue"], promise["left"]) if promise else None
    return one, left, page.name, page.url, page.time_zone, view.versions


def component(one: ComponentFact, view: View) -> bytes:
    """Render `/components/{slug}`."""
    view = replace(view, dated=True)
    touched = [
        _incident(incident, view)
        for incident in view.snapshot.incidents
        if one.uid in {named.uid for named in incident.components}
    ]
    context = {
        "component": _component(one, view),
        "incidents": touched,
        "title": f"{one.name} - {view.snapshot.page.name}",
        "path": f"components/{one.slug}",
    }
    return _render("public/component.html", context, view)


# --- what is shown ----------------------------------------------------------------------------


def _state(view: View) -> dict[str, Any]:
    snapshot = view.snapshot
    open_ones, running = snapshot.unresolved, snapshot.running
    main = next(iter((*open_ones, *running)), None)
    since = statusapi.since(snapshot)
    return {
        "kind": str(words.page_state(snapshot.components, open_ones, running)),
        "sentence": words.headline(snapshot.components, open_ones, running),
        "url": _path(main) if main else "",
        "status": _STATUS_WORDS[main.status] if main else "",
        "since": _time(since, view) if since else "",
        "lasting": _span(snapshot.now - since) if since else "",
        "what_to_do": markdown(statusapi.what_to_do(main) or ""),
        "promise": _promise(main, view) if main else None,
        "checked": _checked(view),
        "blind": [
            {"name": one.name, "why": one.unknown_why}
            for one in snapshot.components
            if one.is_unknown and (open_ones or one.unknown_why)
        ],
    }


def _silent_state(view: View) -> dict[str, Any]:
    """The last state known, under a sentence that says how old it is."""
    state = _state(view)
    known = state["sentence"] if view.snapshot.unresolved else ""
    if state["promise"]:
        state["promise"] |= {"left": ""}
    return state | {
        "kind": str(State.UNKNOWN),
        "sentence": words.silent_headline(),
        "last_known": known,
        "since": "",
        "lasting": "",
        "checked": None,
        "blind": [],
    }


def _promise(one: IncidentFact, view: View) -> dict[str, Any] | None:
    if not one.is_open or one.next_update_by is None:
        return None
    left = one.next_update_by - view.snapshot.now
    return {
        "at": _time(one.next_update_by, view),
        "overdue": left < timedelta(0),
        "left": _span(abs(left)),
        "due": statusapi.iso(one.next_update_by),
    }


def _checked(view: View) -> dict[str, Any] | None:
    checked, now = view.snapshot.checked, view.snapshot.now
    if checked is None:
        return None
    blind = any(one.is_unknown for one in view.snapshot.components)
    age = now - checked.at
    return {
        "at": _time(checked.at, view),
        "iso": statusapi.iso(checked.at),
        "stale": age > (PLACE_IS_FRESH if blind else LOOKED_RECENTLY),
        "ago": _span(max(age, timedelta(0))),
        "places": "1 place" if checked.places == 1 else f"{checked.places} places",
        "counted": checked.places > 0,
    }


def _sections(view: View, *, silent: bool) -> list[dict[str, Any]]:
    """Components by group, in order of the page; those without a group come first."""
    snapshot = view.snapshot
    sections: list[dict[str, Any]] = []
    for group in (None, *snapshot.groups):
        own = [
            _component(one, view, silent=silent)
            for one in snapshot.components
            if one.group == (group.uid if group else None) and _is_visible(one)
        ]
        if own:
            name, text = (group.name, group.description) if group else ("", "")
            sections.append({"name": name, "description": text, "components": own})
    return sections


def _is_visible(one: ComponentFact) -> bool:
    return not one.only_show_if_degraded or words.component_state(one) is not State.OPERATIONAL


def _component(one: ComponentFact, view: View, *, silent: bool = False) -> dict[str, Any]:
    state = State.UNKNOWN if silent else words.component_state(one)
    why = one.unknown_why or "checks not running"
    return {
        "name": one.name,
        "slug": one.slug,
        "description": one.description,
        "kind": str(state),
        "word": words.COMPONENT_WORDS["en"][state],
        "why": why if one.is_unknown and not silent else "",
        "since": _time(one.unknown_since, view) if one.unknown_since and not silent else "",
        "bars": _bars(one, view) if one.showcase else None,
    }


def _incident(one: IncidentFact, view: View) -> dict[str, Any]:
    ended_at = _ended_at(one) if not one.is_open else None
    began_at = one.scheduled_for or one.started_at
    state = _OF_IMPACT[one.impact] if one.is_open or one.is_maintenance else State.OPERATIONAL
    return {
        "name": one.name,
        "url": _path(one),
        "kind": str(state),
        "status": _STATUS_WORDS[one.status],
        "is_open": one.is_open,
        "is_maintenance": one.is_maintenance,
        "retracted": one.retracted_at is not None,
        "components": [component.name for component in one.components],
        "began": _time(began_at, view),
        "until": _time(one.scheduled_until, view) if one.scheduled_until else "",
        "ended": _time(ended_at, view) if ended_at else "",
        "lasted": _span(ended_at - began_at) if ended_at and ended_at > began_at else "",
        "promise": _promise(one, view),
        "updates": [_update(update, view) for update in one.updates],
        "what_to_do": markdown(statusapi.what_to_do(one) or ""),
        "postmortem": markdown(one.postmortem_body),
    }


def _update(update: UpdateFact, view: View) -> dict[str, Any]:
    speaker = update.speaker or view.snapshot.page.name
    return {
        "uid": update.uid,
        "status": _STATUS_WORDS[update.status],
        "body": markdown(update.body),
        "what_to_do": markdown(update.what_to_do),
        "at": _time(update.display_at, view),
        "by": "" if update.automatic else speaker,
        "edited": _time(update.edited_at, view) if update.edited_at else "",
    }


def _days(past: Sequence[IncidentFact], view: View) -> list[dict[str, Any]]:
    newest = sorted(past, key=_ended_at, reverse=True)
    return [
        {"day": _day_words(day, view), "incidents": [_incident(one, view) for one in of_day]}
        for day, of_day in groupby(newest, key=lambda one: _local(_ended_at(one), view).date())
    ]


def _history_row(row: HistoryRow, view: View) -> dict[str, Any]:
    began_at = row.scheduled_for or row.started_at
    lasted = _span(row.ended_at - began_at) if row.ended_at and row.ended_at > began_at else ""
    folder = "maintenance" if row.is_maintenance else "incidents"
    return {
        "name": row.name,
        "url": f"/{folder}/{row.uid}",
        "kind": str(_OF_IMPACT[row.impact]),
        "status": _STATUS_WORDS[row.status],
        "began": _time(began_at, view),
        "lasted": lasted,
    }


def _ended_at(one: IncidentFact) -> datetime:
    return one.resolved_at or one.updated_at


def _path(one: IncidentFact) -> str:
    return f"/{'maintenance' if one.is_maintenance else 'incidents'}/{one.uid}"


# --- bars -------------------------------------------------------------------------------------

_BAR_HEIGHT = 28
# Heights in the drawing's units: a worse day stands higher.
_HEIGHTS = {
    State.OPERATIONAL: 8,
    State.UNKNOWN: 12,
    State.MAINTENANCE: 12,
    State.DEGRADED: 16,
    State.PARTIAL: 22,
    State.OUTAGE: _BAR_HEIGHT,
}
_STEP, _WIDTH = 5, 4


def _bars(one: ComponentFact, view: View) -> dict[str, Any] | None:
    """Return the drawing, the percentage and a row for each day that was not all well."""
    changes = dict(view.snapshot.history).get(one.uid)
    if not changes:
        return None
    # Counted to the whole minute: a pass every 10 s then finds most of its work done.
    until = view.snapshot.now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return _drawn(changes, until, view.zone)


@lru_cache(maxsize=512)
def _drawn(
    changes: tuple[tuple[datetime, str], ...], until: datetime, zone: ZoneInfo
) -> dict[str, Any]:
    spans = uptime.spans(changes, until=until)
    days = uptime.daily(spans, days=BAR_DAYS, until=until, zone=zone)
    percent = uptime.uptime_percent(spans, since=until - BARS, until=until)
    troubled = [day for day in days if day.seconds and day.worst != "operational"]
    return {
        "drawing": _drawing(tuple(days)),
        "percent": _percent(percent),
        "rows": [
            {"day": _short_day(day.day), "words": _day_text(day)} for day in reversed(troubled)
        ],
        "last_day": days[-1].day.isoformat(),
    }


def _drawing(days: Sequence[uptime.Day]) -> SafeString:
    """Return rectangles as SVG markup: quiet days as one path, the others each with its words."""
    quiet, empty, loud = [], [], []
    for number, day in enumerate(days):
        x, state = number * _STEP, words.bar_state(day.worst)
        height = _HEIGHTS[state]
        top = _BAR_HEIGHT - height
        if not day.seconds:
            empty.append(f"M{x} {_BAR_HEIGHT - 3}h{_WIDTH}v3h-{_WIDTH}z")
        elif state is State.OPERATIONAL:
            quiet.append(f"M{x} {top}h{_WIDTH}v{height}h-{_WIDTH}z")
        else:
            said = f"{_short_day(day.day)}: {_day_text(day)}"
            loud.append(
                format_html(
                    '<rect class="is-{}" data-day="{}" x="{}" y="{}" width="{}" height="{}">'
                    "<title>{}</title></rect>",
                    str(state),
                    str(number),
                    str(x),
                    str(top),
                    str(_WIDTH),
                    str(height),
                    said,
                )  # fmt: skip
            )
    paths = f'<path class="is-empty" d="{"".join(empty)}"/>' if empty else ""
    paths += f'<path class="is-operational" d="{"".join(quiet)}"/>' if quiet else ""
    return mark_safe(paths + "".join(loud))  # noqa: S308  # numbers of ours and format_html's output


def _day_text(day: uptime.Day) -> str:
    """Return as "not working 9 h 58 min, slow 3 min", the worst first."""
    told = [
        (state, day.seconds[status])
        for status in day.seconds
        if (state := words.bar_state(status)) is not State.OPERATIONAL
    ]
    told.sort(key=lambda pair: _HEIGHTS[pair[0]], reverse=True)
    in_words = words.COMPONENT_WORDS["en"]
    return ", ".join(f"{in_words[state]} {_span(timedelta(seconds=s))}" for state, s in told)


def _percent(percent: float | None) -> str:
    """Never rounded up: 100 % is said only when nothing was lost."""
    if percent is None:
        return ""
    if percent == 100:
        return "100 %"
    return f"{int(percent * 100) / 100:.2f} %"


# --- words and times --------------------------------------------------------------------------


def _local(at: datetime, view: View) -> datetime:
    return at.astimezone(view.zone)


def _time(at: datetime, view: View) -> SafeString:
    """Return a time element: the page's zone in words, UTC for machines and on focus."""
    local, now = _local(at, view), _local(view.snapshot.now, view)
    clock = f"{local:%H:%M} {_zone_name(local)}"
    if view.dated or local.date() != now.date():
        clock = f"{_day_words(local.date(), view)}, {clock}"
    utc = at.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        f"{utc:%Y-%m-%dT%H:%M:%SZ}", f"{utc.day} {utc:%b %Y %H:%M:%S} UTC", clock,
    )  # fmt: skip


def _zone_name(local: datetime) -> str:
    """Zones without a name of their own are told by their offset: "+03" reads as "UTC+03"."""
    name = f"{local:%Z}"
    return f"UTC{name}" if name[:1] in "+-" else name


def _day_words(day: date, view: View) -> str:
    short = _short_day(day)
    this_year = not view.dated and day.year == _local(view.snapshot.now, view).year
    return short if this_year else f"{short} {day.year}"


def _short_day(day: date) -> str:
    return f"{day.day} {day:%b}"


def _span(span: timedelta) -> str:
    """Return as "9 s", "20 min", "1 h 08 min" or "2 days 3 h"."""
    seconds = int(span.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


_MARKDOWN = MarkdownIt("commonmark", {"html": False, "breaks": True}).disable("image")
_TAGS = {"p", "br", "strong", "em", "a", "ul", "ol", "li", "code", "pre", "blockquote"}


@lru_cache(maxsize=1024)
def markdown(text: str) -> SafeString:
    """Return an operator's Markdown as HTML: raw HTML is shown as letters, and only plain tags are left."""
    if not text.strip():
        return SafeString("")
    html = nh3.clean(
        _MARKDOWN.render(text),
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https", "mailto", "tel"},
        link_rel="nofollow noopener noreferrer",
    )
    return mark_safe(html)  # noqa: S308  # nh3 has just cleaned it


# --- templates --------------------------------------------------------------------------------


@cache
def _engine() -> Engine:
    loaders = [
        ("django.template.loaders.cached.Loader", ["django.template.loaders.filesystem.Loader"])
    ]
    return Engine(dirs=[str(TEMPLATES)], loaders=loaders)


def _render(name: str, context: dict[str, Any], view: View) -> bytes:
    snapshot = view.snapshot
    around = {
        "page": snapshot.page,
        "made": _time(snapshot.now, view),
        "generated_at": statusapi.iso(snapshot.now),
        "version": dict(view.versions),
        "time_zone": snapshot.page.time_zone,
    }
    html = _engine().get_template(name).render(Context(around | context))
    return "\n".join(_lines(html)).encode()


def _lines(html: str) -> Iterator[str]:
    """Templates are written to be read; the wire does without their blank lines and indents."""
    for line in html.splitlines():
        if stripped := line.strip():
            yield stripped
