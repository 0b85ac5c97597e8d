"""The on-call screen: what the probes see, what goes out by itself, what is open, how far the message has come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from desk import access, breakglass, drill, health, progress, waking
from desk.access import allowed
from desk.admin import who
from desk.models import ApiKey
from desk.roles import Right
from desk.words import ago, span
from incidents import reads
from incidents.models import Incident, IncidentComponent, Page, Update
from notifications import checkups
from probes.models import Check, CurrentVerdict, Location, Policy
from probes.verdict import Publish, Word, gravity
from subscribers.models import Role, State, Subscription

ROWS_MAX = 20  # of each kind on the screen; the records behind hold the rest
PLACES_TO_PUBLISH_ALONE = 3  # contract.md, "Detection", Quorum
EXPIRY_WARNED = timedelta(days=14)
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


@allowed(Right.SEE)
@require_safe
def console(request: HttpRequest) -> HttpResponse:
    """The whole screen, or its live part alone when htmx asks for it."""
    name = "desk/_live.html" if request.headers.get("HX-Request") else "desk/console.html"
    return render(request, name, shown(request, timezone.now()))


def shown(request: HttpRequest, now: datetime) -> dict[str, Any]:  # Any: what the template shows
    page, rows, line = reads.the_page(), seen(), health.take(now)
    held = access.rights_of(request.user)
    return {
        "page": page,
        "now": now,
        "zone": page.time_zone,
        "sentence": sight_in_words(rows, now),
        "seen": rows,
        "drafts": drafts(page, now),
        "open": opened(page, now),
        "progress": progress.newest(now),
        "calls": [
            (row, span(row.calls_after - now)) for row in waking.waiting(now) if row.calls_after
        ],
        "channels": health.channels(now),
        "warnings": warnings(request),
        "health": line,
        "silent": [
            *([line.problem] if line.problem else []),
            *(f"{p.name} {_stale(p)}" for p in line.parts if not p.is_fresh),
        ],
        "may_draft": Right.DRAFT in held,
        "may_publish": Right.PUBLISH in held,
        "may_brake": Right.BRAKE in held,
        "who": who(request),
    }


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


def warnings(request: HttpRequest) -> list[str]:
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
    return (
        found
        + checkups.problems(timezone.now())
        + _few_places()
        + _of_access(request)
        + _of_credentials()
    )


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


def _of_access(request: HttpRequest) -> list[str]:
    found = [word for word in (breakglass.warning(), drill.warning(timezone.now())) if word]
    if not settings.DESK_MFA:
        found.append(
            "Publishing takes a password only here: a second factor is asked for when SITE_URL is https, or with DESK_MFA=on."
        )
    elif Right.PUBLISH in access.rights_of(request.user) and not access.has_second_factor(
        request.user
    ):
        found.append(
            "You have no second factor yet, and cannot publish to everyone: add one under your name."
        )
    if not settings.ADVICE_APPROVED_BY:
        found.append(
            "No clinician has approved the words of what to do here: ADVICE_APPROVED_BY is not set."
        )
    return found


def _of_credentials() -> list[str]:
    """Keys and certificates that end soon are told before they do; accounts are asked by checkups, probers' tokens do not end."""
    now = timezone.now()
    certificates = CurrentVerdict.objects.filter(of_check__enabled=True, of_check__kind="tls")
    bad = certificates.exclude(word__in=[Word.UP, Word.UNKNOWN, ""]).select_related("of_check")
    found = [f"Certificate, check “{row.of_check.slug}”: {row.reasoning}" for row in bad[:ROWS_MAX]]
    keys = ApiKey.objects.filter(
        revoked_at__isnull=True, expires_at__gt=now, expires_at__lt=now + EXPIRY_WARNED
    )
    return found + [
        f"The API key “{key.name}” ends on {key.expires_at:%Y-%m-%d}: make its successor."
        for key in keys.order_by("expires_at")[:ROWS_MAX]
    ]


def _stale(part: health.Part) -> str:
    if part.why:
        return part.why
    return (
        "has never reported"
        if part.age_s is None
        else f"silent for {span(timedelta(seconds=part.age_s))}"
    )
