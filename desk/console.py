"""The on-call screen: what the probes see, what goes out by itself, what is open, how far the message has come."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Concatenate, ParamSpec

from django.conf import settings
from django.contrib import messages
from django.contrib.admin.views.decorators import staff_member_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from desk import health
from desk.admin import who
from incidents import reads, services
from incidents.lifecycle import IllegalMove, Refused
from incidents.models import Incident, IncidentComponent, Page, Update
from notifications import checkups, outbox
from notifications.models import Broadcast
from notifications.reach import measure
from probes.models import Check, CurrentVerdict, Location, Policy
from probes.verdict import Publish, Word, gravity
from subscribers.models import Role, State, Subscription

ROWS_MAX = 20  # of each kind on the screen; the records behind hold the rest
BROADCASTS_MAX = 5
PROGRESS_SHOWN = timedelta(hours=6)
PLACES_TO_PUBLISH_ALONE = 3  # contract.md, "Detection", Quorum
# Nothing from elsewhere, nothing inline: security.md, "XSS/markup".
CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_SAID = {
    Word.UP: "working",
    Word.SLOW_BURN: "fails now and then",
    Word.DEGRADED: "slow",
    Word.PARTIAL: "partly working",
    Word.STALE: "shows old data",
    Word.OUTAGE: "not working",
    Word.UNKNOWN: "unknown",
    "": "not judged yet",
}

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the checks say of one component."""

    component: str
    said: str
    word: str
    since: datetime | None
    reasoning: str
    check: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A draft: of an incident, or of a follow-up."""

    row: Incident | Update
    incident: Incident
    body: str
    components: str
    publish_at: datetime | None
    in_words: str
    is_follow_up: bool


@dataclass(frozen=True, slots=True)
class Open:
    incident: Incident
    age: str
    promise: str
    is_overdue: bool
    components: str


@dataclass(frozen=True, slots=True)
class Bar:
    """How far one channel has come."""

    channel: str
    accepted: int
    waiting: int
    failed: int
    quiet: int  # superseded or suppressed: not to be told

    @property
    def everyone(self) -> int:
        return self.accepted + self.waiting + self.failed


@dataclass(frozen=True, slots=True)
class Progress:
    broadcast: Broadcast
    title: str
    bars: Sequence[Bar]
    is_running: bool


def protected(view: View[P]) -> View[P]:
    """Staff only, never cached, under the strict policy."""

    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        response = view(request, *args, **kwargs)
        response["Content-Security-Policy"] = CSP
        return response

    return never_cache(staff_member_required(guarded, login_url="admin:login"))


@protected
@require_safe
def console(request: HttpRequest) -> HttpResponse:
    now, page = timezone.now(), reads.the_page()
    rows, line = seen(), health.take(now)
    shown = {
        "page": page,
        "now": now,
        "zone": page.time_zone,
        "sentence": sight_in_words(rows, now),
        "seen": rows,
        "drafts": drafts(page, now),
        "open": opened(page, now),
        "progress": progress(now),
        "channels": settings.CHANNELS,
        "warnings": warnings(),
        "health": line,
        "silent": [
            *([line.problem] if line.problem else []),
            *(f"{p.name} {_stale(p)}" for p in line.parts if not p.is_fresh),
        ],
        "may_act": request.user.has_perm("incidents.change_incident"),
        "who": who(request),
    }
    return render(request, "desk/console.html", shown)


# --- what is shown ----------------------------------------------------------------------------------------------------


def seen() -> list[Seen]:
    """Return what the checks say, the worst first."""
    rows = CurrentVerdict.objects.select_related("component", "of_check").filter(
        of_check__enabled=True
    )
    ordered = sorted(rows, key=lambda row: (-_urgency(row.word), row.component.position, row.pk))
    return [
        Seen(
            row.component.name,
            _SAID.get(row.word, row.word),
            row.word,
            row.since,
            row.reasoning,
            row.of_check.slug,
        )
        for row in ordered[:ROWS_MAX]
    ]


def _urgency(word: str) -> float:
    """Not to know is worse than slow and better than not working."""
    return gravity(Word.PARTIAL) - 0.5 if word == Word.UNKNOWN else gravity(word)


def sight_in_words(rows: Sequence[Seen], now: datetime) -> str:
    """Say in one sentence what the probes see."""
    if not Check.objects.filter(enabled=True).exists():
        return "No check is configured: nobody looks. Add checks to site.yaml."
    places = Location.objects.filter(revoked_at__isnull=True, last_seen_at__isnull=False)
    newest = places.order_by("-last_seen_at").values_list("last_seen_at", flat=True).first()
    last = f"Last checked {ago(newest, now)}." if newest else "No probe has reported yet."
    bad = [row for row in rows if row.word not in (Word.UP, "")]
    if bad:
        listed = "; ".join(f"{row.component} {row.said}" for row in bad[:3])
        return f"{listed}{' and more' if len(bad) > 3 else ''}. {last}"
    return (
        f"The checks see nothing wrong. {last}"
        if any(row.word == Word.UP for row in rows)
        else last
    )


def drafts(page: Page, now: datetime) -> list[Waiting]:
    """Return what goes out by itself or waits for a person, the nearest deadline first."""
    incidents = Incident.objects.filter(
        page=page, published_at__isnull=True, vetoed_at__isnull=True
    )
    follow_ups = Update.objects.filter(
        incident__page=page,
        published_at__isnull=True,
        vetoed_at__isnull=True,
        incident__published_at__isnull=False,
    )
    found = [_draft(row, now) for row in incidents.order_by("publish_at", "id")[:ROWS_MAX]]
    found += [_follow_up(row, now) for row in follow_ups.select_related("incident")[:ROWS_MAX]]
    return sorted(found, key=lambda row: (row.publish_at is None, row.publish_at or now))


def _draft(row: Incident, now: datetime) -> Waiting:
    text = row.updates.filter(published_at__isnull=True).order_by("id").first()
    body = text.body if text else ""
    return Waiting(
        row, row, body, _affected(row), row.publish_at, _countdown(row.publish_at, now), False
    )


def _follow_up(row: Update, now: datetime) -> Waiting:
    names = ", ".join(change["name"] for change in row.changes)
    return Waiting(
        row, row.incident, row.body, names, row.publish_at, _countdown(row.publish_at, now), True
    )


def _countdown(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "waits for you; it does not go out by itself"
    return f"goes out by itself in {span(at - now)}" if at > now else "goes out now"


def opened(page: Page, now: datetime) -> list[Open]:
    rows = health.open_incidents().filter(page=page).order_by("-created_at")[:ROWS_MAX]
    return [
        Open(
            row,
            span(now - row.started_at),
            _promise(row, now),
            _is_overdue(row, now),
            _affected(row),
        )
        for row in rows
    ]


def _is_overdue(row: Incident, now: datetime) -> bool:
    return row.next_update_by is not None and row.next_update_by < now


def _promise(row: Incident, now: datetime) -> str:
    if row.next_update_by is None:
        return "no next update promised"
    if row.next_update_by < now:
        return f"next update overdue for {span(now - row.next_update_by)}"
    return f"next update promised in {span(row.next_update_by - now)}"


def _affected(row: Incident) -> str:
    affected = IncidentComponent.objects.filter(incident=row).select_related("component")
    names = ", ".join(each.component.name for each in affected)
    return names or "no component named: goes to everyone"


def progress(now: datetime) -> list[Progress]:
    """Return how far the newest messages have come, per channel."""
    rows = (
        Broadcast.objects.filter(update_entry__isnull=False, created_at__gt=now - PROGRESS_SHOWN)
        .select_related("update_entry", "incident")
        .order_by("-id")[:BROADCASTS_MAX]
    )
    return [_progress(row) for row in rows]


def _progress(row: Broadcast) -> Progress:
    by_channel: dict[str, dict[str, int]] = {}
    for count in health.delivery_counts(row.deliveries.all()):
        by_channel.setdefault(count["channel"], {})[count["state"]] = count["number"]
    bars = [_bar(channel, states) for channel, states in sorted(by_channel.items())]
    running = row.halted_at is None and (
        row.fanned_out_at is None or any(bar.waiting for bar in bars)
    )
    title = f"{row.incident.name if row.incident else ''}: {row.update_entry.status if row.update_entry else ''}"
    return Progress(row, title, bars, running)


def _bar(channel: str, states: dict[str, int]) -> Bar:
    counts = measure(states, [], since=timezone.now()).counts
    label = settings.CHANNELS.get(channel, (channel, ""))[0]
    failed = counts["refused"] + counts["failed"] + counts["unknown"]
    quiet = counts["superseded"] + counts["suppressed"]
    return Bar(label, counts["accepted"], counts["pending"], failed, quiet)


def warnings() -> list[str]:
    """Return what is wrong with the arrangement itself: it stands until somebody mends it."""
    found = []
    if not Subscription.objects.filter(role=Role.OPERATOR, state=State.ACTIVE).exists():
        found.append("Nobody is called at night: site.yaml names no operators.")
    operators = Subscription.objects.filter(role=Role.OPERATOR, state=State.ACTIVE)
    found += [
        f"{row.label} hears no call: {row.channel} is not configured."
        for row in operators.exclude(channel__in=list(settings.CHANNELS))
    ]
    if not settings.HEARTBEAT_URL:
        found.append("If this system dies, nobody is told: HEARTBEAT_URL is not set.")
    if not settings.CHANNELS:
        found.append("No channel is configured: only the page, its feeds and the banner can speak.")
    return found + checkups.problems(timezone.now()) + _few_places()


def _few_places() -> list[str]:
    """One place cannot tell its own broken network from a broken service."""
    if not Policy.objects.filter(publish=Publish.AUTO).exists():
        return []
    few = [
        row.slug
        for row in Check.objects.filter(enabled=True)
        if len(row.locations) < PLACES_TO_PUBLISH_ALONE
    ]
    if not few:
        return []
    named = ", ".join(few[:3]) + (" and more" if len(few) > 3 else "")
    return [
        f"A policy publishes by itself, but {named} is watched from fewer than {PLACES_TO_PUBLISH_ALONE} places: "
        "a fault of one network can look like an outage."
    ]


def _stale(part: health.Part) -> str:
    if part.why:
        return part.why
    return (
        "has never reported"
        if part.age_s is None
        else f"silent for {span(timedelta(seconds=part.age_s))}"
    )


def span(length: timedelta) -> str:
    """Return a length as people say it: "42 s", "12 min", "1 h 08 min"."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def ago(at: datetime, now: datetime) -> str:
    return f"{span(now - at)} ago"


# --- what is done -----------------------------------------------------------------------------------------------------


def acting(view: View[P]) -> View[P]:
    """A button: POST only, with the right to it; a refusal is a sentence on the screen."""

    def pressed(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.user.has_perm("incidents.change_incident"):
            raise PermissionDenied
        try:
            return view(request, *args, **kwargs)
        except (Refused, IllegalMove) as error:
            messages.error(request, str(error))
            return redirect("desk:console")

    return protected(require_POST(pressed))


@acting
def publish_draft(request: HttpRequest, uid: str) -> HttpResponse:
    incident = get_object_or_404(Incident, uid=uid)
    services.publish_draft(incident, actor=who(request), by_person=True, now=timezone.now())
    messages.success(request, f"Published: {incident.name}")
    return redirect("desk:console")


@acting
def veto_draft(request: HttpRequest, uid: str) -> HttpResponse:
    incident = get_object_or_404(Incident, uid=uid)
    services.veto(incident, actor=who(request), now=timezone.now())
    messages.success(request, f"Vetoed, does not go out: {incident.name}")
    return redirect("desk:console")


@acting
def publish_follow_up(request: HttpRequest, uid: str) -> HttpResponse:
    update = get_object_or_404(Update.objects.select_related("incident__page"), uid=uid)
    services.publish_drafted_update(update, actor=who(request), by_person=True, now=timezone.now())
    messages.success(request, f"Published: {update.incident.name}")
    return redirect("desk:console")


@acting
def veto_follow_up(request: HttpRequest, uid: str) -> HttpResponse:
    update = get_object_or_404(Update.objects.select_related("incident__page"), uid=uid)
    services.veto(update, actor=who(request), now=timezone.now())
    messages.success(request, f"Vetoed, does not go out: {update.incident.name}")
    return redirect("desk:console")


@acting
def halt(request: HttpRequest, pk: int) -> HttpResponse:
    """The brake: no new message of this broadcast leaves."""
    broadcast = get_object_or_404(Broadcast, pk=pk)
    now = timezone.now()
    outbox.halt(broadcast, now=now)
    services.audit(actor=who(request), action="halt", subject=str(broadcast.pk), now=now)
    messages.success(request, "Halted: no new message of it leaves.")
    return redirect("desk:console")
