"""One screen to say something: what, how the components are, what to do, who hears it, publish."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from desk import access, actions, estimates, missed, preview, saved, waking
from desk.access import allowed
from desk.actions import Action
from desk.admin import who
from desk.forms import Advised, Speech, UpdateForm, from_template, make_key, newest_incident
from desk.models import SavedForm
from desk.roles import Right
from incidents import reads
from incidents.lifecycle import Audience, IllegalMove, Overtaken, Refused, Status
from incidents.models import Incident, Page, Template

_LOCAL = "%Y-%m-%dT%H:%M"  # what <input type="datetime-local"> holds


@allowed(Right.DRAFT)
@require_http_methods(["GET", "HEAD", "POST"])
def act(request: HttpRequest, name: str, uid: str = "") -> HttpResponse:
    """Show a form, what would be sent, and do it once."""
    action, page, incident = what(name, uid)
    now, place = timezone.now(), saved.place_of(request.path)
    if request.method != "POST":
        kept = saved.find(request, place)
        first = _initial(request, action, page, incident, kept, now)
        form = action.form(initial=first, page=page, incident=incident)
        return _show(request, action, incident, form, kept=kept)
    saved.keep(request, place, now=now)
    form = action.form(request.POST, page=page, incident=incident)
    if not form.is_valid() or "_preview" in request.POST:
        return _show(request, action, incident, form)
    try:
        refusal = _refusal(request, action, form, now)
        if refusal is not None:
            return refusal
        done = _do(request, action, page, incident, form, now)
    except (Refused, IllegalMove) as error:
        return _show(request, action, incident, form, refused=error, status=409)
    saved.forget(request, place)
    return redirect("desk:incident", done.uid) if done.published_at else redirect("desk:console")


@allowed(Right.DRAFT)
@require_POST
def keep(request: HttpRequest, name: str, uid: str = "") -> HttpResponse:
    """Keep what is being typed, and answer with what would be sent."""
    action, page, incident = what(name, uid)
    now = timezone.now()
    saved.keep(request, saved.place_of(request.path), now=now)
    form = action.form(request.POST, page=page, incident=incident)
    form.is_valid()
    return render(request, "desk/_preview.html", _outlook(request, action, incident, form, now))


@allowed(Right.DRAFT)
@require_POST
def clear(request: HttpRequest, name: str, uid: str = "") -> HttpResponse:
    """Throw away what was typed."""
    place = saved.place_of(request.path.removesuffix("/clear"))
    saved.forget(request, place)
    return redirect(request.path.removesuffix("/clear"))


def what(name: str, uid: str) -> tuple[Action, Page, Incident | None]:
    action = next((each for each in actions.ALL if each.name == name), None)
    if action is None or action.of_incident != bool(uid):
        raise Http404("there is no such form")
    incident = get_object_or_404(Incident.objects.select_related("page"), uid=uid) if uid else None
    return action, incident.page if incident else reads.the_page(), incident


def _initial(
    request: HttpRequest, action: Action, page: Page, incident: Incident | None, kept: SavedForm | None, now: datetime
) -> dict[str, Any]:  # Any: values of fields  # fmt: skip
    """Return what the form begins with: a template asked for, else what was typed, else what the action implies."""
    first: dict[str, Any] = {}
    if action.form is UpdateForm and incident is not None:
        first = _update_initial(request, page, incident, now)
    template = _template(request, action, page)
    if template is None and kept is not None:
        words = {**{name: False for name in _SWITCHES if "_form" in kept.words}, **kept.words}
        return first | words | {"key": kept.words.get("key") or make_key()}
    typed = {
        name: value
        for name, value in (kept.words if kept else {}).items()
        if name not in _TEMPLATED
    }
    return first | typed | (from_template(template) if template else {})


_SWITCHES = ("tell", "social", "auto")
_TEMPLATED = ("name", "body", "what_to_do", "impact", "next_update_in")


def _update_initial(
    request: HttpRequest, page: Page, incident: Incident, now: datetime
) -> dict[str, Any]:
    zone = ZoneInfo(page.time_zone)
    start, end = missed.window(incident, now=now)
    first = {
        "missed_from": start.astimezone(zone).strftime(_LOCAL),
        "missed_until": end.astimezone(zone).strftime(_LOCAL),
    }
    asked = request.GET.get("status", "")
    return first | ({"status": asked} if asked in list(Status) else {})


def _template(request: HttpRequest, action: Action, page: Page) -> Template | None:
    slug = request.GET.get("template", "") if action.takes_template else ""
    return Template.objects.filter(page=page, slug=slug).first() if slug else None


def _refusal(
    request: HttpRequest, action: Action, form: Speech, now: datetime
) -> HttpResponse | None:
    """Return why this person may not do that now: a draft needs less than a word to everyone."""
    if actions.is_draft(request.POST, action):
        return None
    if Right.PUBLISH not in access.rights_of(request.user):
        return access.forbidden(request, Right.PUBLISH)
    if form.draft(now).audience is Audience.NOBODY:
        return None
    return access.before_everyone(request, now=now)


def _do(
    request: HttpRequest,
    action: Action,
    page: Page,
    incident: Incident | None,
    form: Speech,
    now: datetime,
) -> Incident:
    if actions.is_draft(request.POST, action):
        done = actions.keep_draft(page, form, actor=who(request), now=now)
        messages.success(request, "Kept as a draft; nobody is told.")
        return done
    done, is_held = waking.perform(
        action, page, incident, form, user=access.user_of(request), actor=who(request), now=now
    )
    messages.success(request, action.done + (waking.SAID if is_held else ""))
    return done


def _show(
    request: HttpRequest, action: Action, incident: Incident | None, form: Speech, *, kept: SavedForm | None = None,
    refused: Exception | None = None, status: int = 200,
) -> HttpResponse:  # fmt: skip
    """Render the screen; over words that were overtaken the form learns what it has not seen."""
    now = timezone.now()
    if isinstance(refused, Overtaken):
        form.data = _seen_now(form, incident)
    page = form.page
    shown = {
        **_outlook(request, action, incident, form, now), "form": form, "refused": refused, "kept": kept,
        "templates": Template.objects.filter(page=page) if action.takes_template else [],
        "chosen": request.GET.get("template", ""), "plain": _plain(form),
        "component_fields": getattr(form, "component_fields", []), "known_fields": getattr(form, "known_fields", []),
        "seen_updates": incident.updates.filter(number__isnull=False).order_by("-number")[:3] if incident else [],
    }  # fmt: skip
    return render(request, "desk/compose.html", shown, status=status)


def _seen_now(form: Speech, incident: Incident | None) -> Any:  # Any: a QueryDict that is a copy
    data = form.data.copy()  # type: ignore[attr-defined]  # a QueryDict
    newest = reads.newest_number(incident) if incident else newest_incident(form.page)
    data["seen"] = str(newest)
    data["key"] = make_key()
    return data


def _plain(form: Speech) -> list[Any]:  # Any: bound fields
    """Return the fields that no fieldset shows, in their order."""
    grouped = {
        *getattr(form, "components", {}),
        *(field.name for field in getattr(form, "known_fields", [])),
        *(field.name for field in getattr(form, "translation_fields", [])),
    }
    return [field for field in form if field.name not in grouped and field.name not in _ASIDE]


_ASIDE = ("what_to_do", "custom_tweet", "social", "impact", "tell", "missed_from", "missed_until")


def _outlook(
    request: HttpRequest, action: Action, incident: Incident | None, form: Speech, now: datetime
) -> dict[str, Any]:  # Any: what templates show
    """Return what would go out if it were published now; without a valid form, what is missing."""
    uid = incident.uid if incident and action.of_incident else ""
    page, typed = form.page, form.is_bound
    before = incident if incident and incident.published_at else None
    if not typed:
        form = action.form(_as_shown(form), page=page, incident=incident)
    whole = form.is_valid()
    rows = preview.of_draft(page, form.draft(now), now=now, incident=before) if whole else None
    return {
        "page": page, "action": action, "incident": incident, "now": now, "who": who(request),
        "rows": None if rows is None else [estimates.of(row) for row in rows if row.people or row.is_account and row.text],
        "nobody": [row.label for row in rows or () if not row.people and not row.is_account],
        "reach": preview.reach(rows) if rows is not None else "", "channels": settings.CHANNELS,
        "advice": form.advice() if whole and isinstance(form, Advised) and hasattr(form, "components") else "",
        "is_locked": whole and isinstance(form, Advised) and hasattr(form, "components") and form.is_critical(),
        "missing": _missing(form) if typed and not whole else [],
        "of": f"{action.name}:{uid}", "post": saved.way_back(request.path),
        "may_publish": Right.PUBLISH in access.rights_of(request.user), "zone": page.time_zone,
    }  # fmt: skip


def _as_shown(form: Speech) -> Any:  # Any: a QueryDict
    """Return what an untouched form would post."""
    values = {field.html_name: field.value() for field in form}
    return saved.as_posted(
        {name: value for name, value in values.items() if value is not None and value is not False}
    )


def _missing(form: Speech) -> list[str]:
    names: Mapping[str, Any] = form.fields
    return [
        f"{names[name].label or name.replace('_', ' ').capitalize() if name in names else 'The form'}: {said}"
        for name, errors in form.errors.items()
        for said in errors
    ]
