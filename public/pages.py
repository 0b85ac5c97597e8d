"""A snapshot as the public pages in HTML."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

from django.template import Context, Engine

from incidents.facts import ComponentFact, IncidentFact
from public import plots, shown, statusapi, words
from public.phrases import NAMES
from public.shown import Shown, View
from public.snapshot import PAST, HistoryRow

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
MONTHS = 12  # on /history; each older month has a page of its own


def index(view: View, *, silent: bool = False) -> bytes:
    """Render `/`; `silent` is the one that watchdog.py shows while there is no news."""
    snapshot = view.snapshot
    return _render(
        "public/index.html",
        {
            "state": shown.silent_state(view) if silent else shown.state(view),
            "silent": silent,
            "sections": shown.sections(view, silent=silent),
            "incidents": [
                shown.incident(one, view) for one in (*snapshot.unresolved, *snapshot.running)
            ],
            "planned": [shown.incident(one, view) for one in snapshot.planned],
            "past": shown.days(shown.past(view), view),
            "none_lately": view.say["none_lately"].format(count=PAST.days),
            "parts": [
                {"slug": one.slug, "name": one.name}
                for one in snapshot.components
                if shown.is_visible(one)
            ],
            "title": snapshot.page.name,
        },
        view,
        "",
        silent=silent,
    )


def widget(view: View, *, silent: bool = False) -> bytes:
    """Render `/widget`: the answer alone, to be framed by other sites."""
    state = shown.silent_state(view) if silent else shown.state(view)
    context: Shown = {"state": state, "title": view.snapshot.page.name, "silent": silent}
    return _render("public/widget.html", context, view, "widget", silent=silent)


def history(view: View) -> bytes:
    """Render `/history`: the last twelve months, and a link to each earlier one that had incidents."""
    view = view.is_dated
    rows = shown.by_month(view.snapshot.archive, view)
    newest = _last_months(view.moments.local(view.snapshot.now).date(), rows)
    context: Shown = {
        "months": [shown.month(first, rows.get(first, ()), view) for first in newest],
        "earlier": [shown.month(first, (), view) for first in rows if first not in newest],
        "title": f"{view.say['past']} - {view.snapshot.page.name}",
    }
    return _render("public/history.html", context, view, "history")


def _last_months(today: date, rows: dict[date, list[HistoryRow]]) -> list[date]:
    """Return the months from the newest back to the oldest of the last twelve that had an incident."""
    newest = max([today.replace(day=1), *rows]) if rows else today.replace(day=1)
    numbers = [newest.year * 12 + newest.month - 1 - back for back in range(MONTHS)]
    months = [date(number // 12, number % 12 + 1, 1) for number in numbers]
    busy = [first for first in months if first in rows]
    return [first for first in months if busy and first >= busy[-1]]


def month(first: date, rows: Sequence[HistoryRow], view: View) -> bytes:
    """Render `/months/2019-11`."""
    view = view.is_dated
    found = shown.month(first, rows, view)
    title = f"{found['name']} - {view.snapshot.page.name}"
    context: Shown = {"month": found, "title": title}
    return _render("public/month.html", context, view, f"months/{first:%Y-%m}")


def incident(one: IncidentFact, view: View) -> bytes:
    """Render `/incidents/{uid}` and `/maintenance/{uid}`."""
    view = view.is_dated
    context: Shown = {
        "incident": shown.incident(one, view),
        "told": shown.told(one, view),
        "title": f"{one.name} - {view.snapshot.page.name}",
    }
    plain = shown.path(one, view).removeprefix(view.base).removeprefix("/")
    return _render("public/incident.html", context, view, plain)


def incident_key(one: IncidentFact, view: View) -> object:
    """Return what the incident's page depends on: an equal key makes an equal page."""
    page = view.snapshot.page
    promise = shown.promise(one, view)
    left = (promise["overdue"], promise["left"]) if promise else None
    told = dict(view.snapshot.told).get(one.uid)
    return told_key(one), left, told, around_key(view), page.url, page.time_zone


def component(one: ComponentFact, view: View, *, silent: bool = False) -> bytes:
    """Render `/components/{slug}`."""
    view = view.is_dated
    touched = [shown.incident(incident, view) for incident in _touching(one, view)]
    found = shown.component(one, view, silent=silent)
    context: Shown = {
        "component": found,
        "heading": view.say["component_is"].format(name=one.name, word=found["word"]),
        "incidents": touched,
        "latency": shown.latency(one, view),
        "latency_days": view.say["latency_days"].format(count=plots.DAYS),
        "title": f"{one.name} - {view.snapshot.page.name}",
        "silent": silent,
    }
    return _render("public/component.html", context, view, f"components/{one.slug}", silent=silent)


def component_key(one: ComponentFact, view: View) -> object:
    """Return what the component's page depends on; its bars and plots move on with the hour."""
    snapshot, page = view.snapshot, view.snapshot.page
    hour = snapshot.now.replace(minute=0, second=0, microsecond=0)
    changes = dict(snapshot.history).get(one.uid)
    touching = tuple(told_key(incident) for incident in _touching(one, view))
    return one, touching, changes, hour, around_key(view), page.url, page.time_zone


def told_key(one: IncidentFact) -> object:
    """Return what pages and feeds tell of an incident: its parts by name, not how they are just now."""
    named = tuple((each.uid, each.slug, each.name) for each in one.components)
    return replace(one, components=()), named


def thanks(view: View) -> bytes:
    """Render `/thanks`, where "I have this problem too" leads."""
    return _render("public/thanks.html", {"title": view.snapshot.page.name}, view, "thanks")


def _touching(one: ComponentFact, view: View) -> list[IncidentFact]:
    return [
        incident
        for incident in view.snapshot.incidents
        if one.uid in {named.uid for named in incident.components}
    ]


def around_key(view: View) -> object:
    page = view.snapshot.page
    return page.name, page.languages, page.headline, view.language, view.versions, view.logo


# --- templates --------------------------------------------------------------------------------


@cache
def _engine() -> Engine:
    loaders = [
        ("django.template.loaders.cached.Loader", ["django.template.loaders.filesystem.Loader"])
    ]
    return Engine(dirs=[str(TEMPLATES)], loaders=loaders)


def _render(name: str, context: Shown, view: View, path: str, *, silent: bool = False) -> bytes:
    snapshot, page = view.snapshot, view.snapshot.page
    made = f"{words.SINCE_CLOCK} UTC" if silent else view.moments.time(snapshot.now)
    around = {
        "page": page,
        "say": view.say,
        "base": view.base,
        "home": f"{view.base}/",
        "language": view.language,
        "languages": _languages(view, path),
        "canonical": f"{page.url}{view.base}/{path}",
        "description": view.say["description"].format(name=page.name),
        "made": shown.phrase(view, "made", when=made),
        "generated_at": words.SINCE_ISO if silent else statusapi.iso(snapshot.now),
        "revision": "silent" if silent else view.revision,
        "version": dict(view.versions),
        "logo": view.logo,
        "time_zone": page.time_zone,
    }
    html = _engine().get_template(name).render(Context(around | context))
    return "\n".join(_lines(html)).encode()


def _languages(view: View, path: str) -> list[Shown]:
    codes = shown.languages(view.snapshot)
    if len(codes) < 2:
        return []
    return [
        {
            "code": code,
            "name": NAMES[code],
            "url": f"/{path}" if number == 0 else f"/{code}/{path}",
            "is_this": code == view.language,
        }
        for number, code in enumerate(codes)
    ]


def _lines(html: str) -> Iterator[str]:
    """Templates are written to be read; the wire does without their blank lines and indents."""
    for line in html.splitlines():
        if stripped := line.strip():
            yield stripped
