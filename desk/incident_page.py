"""One incident at the desk: what was said, what can be done, how far each message has come, what it came to."""

import csv
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from desk import access, actions, progress, saved, tables, timeline
from desk.access import allowed
from desk.admin import who
from desk.progress import Curve, Progress
from desk.roles import Right
from desk.words import span
from incidents import postmortems, promises
from incidents.lifecycle import FINAL, OPEN, Refused
from incidents.models import Incident
from notifications.models import Broadcast, Delivery

ROWS_MAX = 50
MESSAGES_MAX = 10  # with their bars; the records behind hold the rest
MERGEABLE_MAX = 20
EXPORT_ROWS_AT_ONCE = 2_000


@allowed(Right.SEE)
@require_safe
def page(request: HttpRequest, uid: str) -> HttpResponse:
    """The whole page, or its live part alone when htmx asks for it."""
    incident = get_object_or_404(Incident.objects.select_related("page", "merged_into"), uid=uid)
    now, held = timezone.now(), access.rights_of(request.user)
    shown = {
        "page": incident.page, "zone": incident.page.time_zone, "incident": incident, "now": now,
        "affected": incident.affected.select_related("component"),
        "updates": incident.updates.order_by("-id")[:ROWS_MAX],
        "offered": actions.offered(incident) if Right.DRAFT in held else [],
        "sent": _sent(incident), "curves": _curves(incident), "promise": _promise(incident, now),
        "score": promises.score(promises.newest_first(incident), now=now),
        "mergeable": _mergeable(incident) if Right.PUBLISH in held else [],
        "postmortem": postmortems.of(incident), "is_over": incident.status in FINAL,
        "may_publish": Right.PUBLISH in held, "may_brake": Right.BRAKE in held, "may_draft": Right.DRAFT in held,
    }  # fmt: skip
    name = "desk/_sent.html" if request.headers.get("HX-Request") else "desk/incident.html"
    return render(request, name, shown)


def _sent(incident: Incident) -> list[Progress]:
    rows = (
        Broadcast.objects.filter(incident=incident, update_entry__isnull=False)
        .select_related("update_entry", "incident")
        .order_by("-number")[:MESSAGES_MAX]
    )
    return [progress.of(row) for row in rows]


def _curves(incident: Incident) -> list[tuple[str, Curve]]:
    """Return the alarm's curve, and the all-clear's once there is one."""
    found = (
        ("From the first word", progress.curve(incident)),
        ("The all-clear", progress.curve(incident, all_clear=True)),
    )
    return [(title, one) for title, one in found if one is not None]


def _promise(incident: Incident, now: datetime) -> str:
    if incident.next_update_by is None or incident.status not in OPEN:
        return ""
    if incident.next_update_by < now:
        return f"overdue for {span(now - incident.next_update_by)}"
    return f"due in {span(incident.next_update_by - now)}"


def _mergeable(incident: Incident) -> list[Incident]:
    if incident.scheduled_for or incident.status in FINAL or incident.vetoed_at:
        return []
    others = Incident.objects.filter(
        page=incident.page, published_at__isnull=False, status__in=OPEN
    )
    return list(others.exclude(pk=incident.pk)[:MERGEABLE_MAX])


# --- who was told -----------------------------------------------------------------------------------------------------


@allowed(Right.SEE)
@require_safe
def export(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """Return a broadcast's deliveries as CSV, without addresses."""
    broadcast = get_object_or_404(Broadcast, pk=pk, update_entry__isnull=False)
    answer = StreamingHttpResponse(_lines(broadcast), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="broadcast-{pk}.csv"'
    return answer


class _Echo:
    def write(self, text: str) -> str:
        return text


def _lines(broadcast: Broadcast) -> Iterator[str]:
    writer = csv.writer(_Echo())
    columns = (
        "id",
        "channel",
        "state",
        "attempts",
        "accepted_at",
        "answered_at",
        "provider",
        "provider_id",
        "why",
    )
    yield writer.writerow(columns)
    rows = Delivery.objects.filter(broadcast=broadcast).order_by("id").values_list(*columns)
    for row in rows.iterator(chunk_size=EXPORT_ROWS_AT_ONCE):
        yield writer.writerow([tables.cell(value) for value in row])


# --- what it came to --------------------------------------------------------------------------------------------------


@allowed(Right.PUBLISH)
@require_http_methods(["GET", "HEAD", "POST"])
def postmortem(request: HttpRequest, uid: str) -> HttpResponse:
    """Write the post-mortem: it begins as a timeline made from the records, and is published by a second button."""
    incident = get_object_or_404(Incident.objects.select_related("page"), uid=uid)
    now, place = timezone.now(), saved.place_of(request.path)
    row, error = postmortems.of(incident), ""
    if request.method == "POST":
        saved.keep(request, place, now=now)
        refusal, error = _postmortem_done(request, incident, now)
        if refusal is not None:
            return refusal
        row = postmortems.of(incident)
    kept = saved.find(request, place)
    text = kept.words.get("body", "") if kept else (row.body_draft or row.body if row else "")
    shown: dict[str, Any] = {
        "page": incident.page, "incident": incident, "row": row, "error": error, "is_over": incident.status in FINAL,
        "text": text or timeline.markdown(incident, now=now), "is_new": not text,
    }  # fmt: skip
    return render(request, "desk/postmortem.html", shown, status=409 if error else 200)


def _postmortem_done(
    request: HttpRequest, incident: Incident, now: datetime
) -> tuple[HttpResponse | None, str]:
    actor, body = who(request), request.POST.get("body", "")
    tell = request.POST.get("tell") == "on"
    if "_publish" in request.POST and tell:
        first = access.before_everyone(request, now=now)
        if first is not None:
            return first, ""
    try:
        postmortems.draft(incident, body=body, actor=actor, now=now)
        if "_publish" in request.POST:
            postmortems.publish(incident, actor=actor, now=now, notify_subscribers=tell)
    except Refused as error:
        return None, str(error)
    saved.forget(request, saved.place_of(request.path))
    done = (
        "The post-mortem is published."
        if "_publish" in request.POST
        else "Kept; nobody sees it yet."
    )
    messages.success(request, done)
    return redirect("desk:incident", incident.uid), ""
