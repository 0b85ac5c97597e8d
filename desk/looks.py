"""How a message would look, drawn by what draws it: the mail, the page and the banner, framed inside the desk."""

import json
from dataclasses import replace
from datetime import datetime
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_safe

from desk import compose, preview, saved
from desk.access import allowed
from desk.roles import Right
from incidents.facts import IncidentFact, PageFact, UpdateFact
from incidents.lifecycle import ComponentStatus, worst
from notifications.channels import _mail
from notifications.messages import update_notice
from public import pages, shown, snapshot, statusapi
from public.snapshot import Snapshot

# A mail brings its own style; nothing in it runs, nothing is fetched.
CSP = "default-src 'none'; style-src 'unsafe-inline' 'self'; img-src 'self' data:; sandbox; frame-ancestors 'self'"
# The banner's own script runs, reads what stands in its address, and writes text only.
BANNER_CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
NOTHING = "<!doctype html><html lang=en><title>Preview</title><p>Nothing to show yet: the form is not whole."

Said = tuple[PageFact, IncidentFact, UpdateFact]


@allowed(Right.DRAFT)
@xframe_options_sameorigin
@require_safe
def email(request: HttpRequest) -> HttpResponse:
    said = _said(request, timezone.now())
    if said is None:
        return _framed(NOTHING)
    page, incident, update = said
    notice = update_notice(
        page,
        incident,
        update,
        language=page.languages[0],
        url=f"{page.url}/incidents/{incident.uid}",
    )
    _, html = _mail.bodies(notice, _mail.Foot(), _mail.Foot())
    return _framed(html)


@allowed(Right.DRAFT)
@xframe_options_sameorigin
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    said = _said(request, now)
    return _framed(NOTHING if said is None else _page(said, now))


@allowed(Right.DRAFT)
@xframe_options_sameorigin
@require_safe
def banner(request: HttpRequest) -> HttpResponse:
    """Draw the banner by its own script, as an app that shows every component does."""
    now = timezone.now()
    said = _said(request, now)
    if said is None:
        return _framed(NOTHING)
    language = said[0].languages[0]
    told = statusapi.banner(_taken(said, now), language)
    given = {"source": quote(json.dumps(told)), "language": language, "state": told["state"]}
    answer = render(request, "desk/look_banner.html", given)
    answer["Content-Security-Policy"] = BANNER_CSP
    return answer


def _said(request: HttpRequest, now: datetime) -> Said | None:
    """Return what this person's saved form says, as if it were published; None while it is not whole."""
    name, _, uid = request.GET.get("of", "").partition(":")
    action, page, incident = compose.what(name, uid)
    place = f"incidents/{uid}/{name}" if uid else name
    kept = saved.find(request, place)
    form = action.form(saved.as_posted(kept.words if kept else {}), page=page, incident=incident)
    if not form.is_valid():
        return None
    return preview.as_published(page, form.draft(now), now=now, incident=incident)


def _page(said: Said, now: datetime) -> str:
    """Draw the page's index."""
    view = shown.views(_taken(said, now))[0]
    return pages.index(view).decode()


def _taken(said: Said, now: datetime) -> Snapshot:
    """Return a snapshot of now with the incident put into it."""
    _, incident, _ = said
    taken = snapshot.take(now)
    states = dict(incident.component_statuses)
    components = tuple(
        replace(one, status=worst([one.status, states.get(one.uid, ComponentStatus.OPERATIONAL)]))
        for one in taken.components
    )
    others = tuple(one for one in taken.incidents if one.uid != incident.uid)
    return replace(taken, components=components, incidents=(incident, *others))


def _framed(html: str) -> HttpResponse:
    answer = HttpResponse(html)
    answer["Content-Security-Policy"] = CSP
    return answer
