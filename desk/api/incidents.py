"""/v1 incidents and maintenances; every change goes through the core's verbs."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import ProtectedError, Q, QuerySet
from django.http import Http404, HttpRequest
from django.utils import timezone
from ninja import Router, Schema
from ninja import Status as Answer
from pydantic import Field

from desk.api import lookup, shapes
from desk.api.entrance import Json, actor, idempotency_key, route
from incidents import reads, services
from incidents.lifecycle import (
    FINAL,
    OPEN,
    Audience,
    ComponentStatus,
    Impact,
    Refused,
    Status,
    is_maintenance,
)
from incidents.models import Component, Incident, IncidentComponent, Page, Update

router = Router(tags=["incidents"])

# Statuspage takes an incident without a text; an update without a text would tell nobody anything.
TEXT = {
    Status.INVESTIGATING: "We are investigating.",
    Status.IDENTIFIED: "We have found the cause and are working on it.",
    Status.MONITORING: "It is recovering and we are watching it.",
    Status.RESOLVED: "This is resolved.",
    Status.POSTMORTEM: "We have written down what happened.",
    Status.SCHEDULED: "Work is planned.",
    Status.IN_PROGRESS: "The work has begun.",
    Status.VERIFYING: "The work is done and we are checking it.",
    Status.COMPLETED: "The work is finished.",
}


class IncidentWords(Schema):
    """What Statuspage's clients send and what we add: what_to_do, next_update_by, social."""

    name: str | None = None
    status: Status | None = None
    impact_override: Impact | None = None
    body: str | None = None
    components: dict[str, ComponentStatus] | list[str] | None = None
    component_ids: list[str] | None = None
    deliver_notifications: bool = True
    scheduled_for: datetime | None = None
    scheduled_until: datetime | None = None
    scheduled_auto_in_progress: bool | None = None
    scheduled_auto_completed: bool | None = None
    auto_transition_to_maintenance_state: bool | None = None
    auto_transition_to_operational_state: bool | None = None
    backfilled: bool = False
    backfill_date: datetime | None = None
    metadata: dict[str, Any] | None = None  # Any: what the caller keeps there
    custom_tweet: str = ""
    what_to_do: str = ""
    next_update_by: datetime | None = None
    social: bool | None = None

    @property
    def statuses(self) -> dict[str, ComponentStatus]:
        return self.components if isinstance(self.components, dict) else {}

    @property
    def attached(self) -> list[str]:
        """Ids named without a status; an older example passes `components` as a list."""
        listed = self.components if isinstance(self.components, list) else []
        return [
            uid
            for uid in [*(self.component_ids or []), *listed]
            if uid and uid not in self.statuses
        ]

    @property
    def audience(self) -> Audience:
        return Audience.EVERYONE if self.deliver_notifications else Audience.NOBODY

    @property
    def opens_itself(self) -> bool | None:
        return _first(self.scheduled_auto_in_progress, self.auto_transition_to_maintenance_state)

    @property
    def closes_itself(self) -> bool | None:
        return _first(self.scheduled_auto_completed, self.auto_transition_to_operational_state)


class IncidentIn(Schema):
    incident: IncidentWords


class UpdateWords(Schema):
    body: str | None = None
    display_at: datetime | None = None


class UpdateIn(Schema):
    incident_update: UpdateWords = Field(default_factory=UpdateWords)


def _first(*switches: bool | None) -> bool | None:
    return next((switch for switch in switches if switch is not None), None)


@route(
    router, ["POST"], "/pages/{page_id}/incidents", response={201: dict[str, Any]}, summary="Declare or schedule"
)  # fmt: skip
def create_incident(request: HttpRequest, page_id: str, body: IncidentIn) -> Answer[Json]:
    page = lookup.page(page_id)
    words = body.incident
    if not (words.name or "").strip():
        raise Refused("incident.name is missing")
    backfilled = words.backfilled or words.backfill_date is not None
    status = words.status or _first_status(words, backfilled=backfilled)
    rows = {} if backfilled else _states(page, words, scheduled=status is Status.SCHEDULED)
    incident = services.declare(
        page=page, name=words.name or "", body=words.body or TEXT[status], status=status, what_to_do=words.what_to_do,
        components=rows, impact=words.impact_override, started_at=_aware(page, words.backfill_date),
        next_update_by=_aware(page, words.next_update_by), scheduled_for=_aware(page, words.scheduled_for),
        scheduled_until=_aware(page, words.scheduled_until), auto_in_progress=words.opens_itself is not False,
        auto_completed=words.closes_itself is not False, social=words.social is not False, backfilled=backfilled,
        audience=words.audience, custom_tweet=words.custom_tweet, metadata=words.metadata, actor=actor(request),
        key=idempotency_key(request), now=timezone.now(),
    )  # fmt: skip
    return Answer(201, shapes.incident_of(incident.uid, page))


@route(
    router,
    ["GET"],
    "/pages/{page_id}/incidents",
    summary="List incidents and maintenances, newest first",
)
def list_incidents(
    request: HttpRequest, page_id: str, q: str = "", limit: int = shapes.PER_PAGE_MAX, page: int = 1
) -> list[Json]:
    row = lookup.page(page_id)
    rows = _published(row)
    if q:
        told = Q(name__icontains=q) | Q(
            updates__body__icontains=q, updates__published_at__isnull=False
        )
        rows = rows.filter(told | Q(status=q) | Q(impact=q)).distinct()
    return _list(row, rows, page=page, limit=limit)


@route(router, ["GET"], "/pages/{page_id}/incidents/unresolved", summary="List open incidents")
def list_unresolved(
    request: HttpRequest, page_id: str, page: int = 1, per_page: int = 100
) -> list[Json]:
    row = lookup.page(page_id)
    return _list(row, _published(row).filter(status__in=OPEN), page=page, limit=per_page)


@route(
    router,
    ["GET"],
    "/pages/{page_id}/incidents/scheduled",
    summary="List maintenances that have not begun",
)
def list_scheduled(
    request: HttpRequest, page_id: str, page: int = 1, per_page: int = 100
) -> list[Json]:
    row = lookup.page(page_id)
    return _list(row, _published(row).filter(status=Status.SCHEDULED), page=page, limit=per_page)


@route(
    router,
    ["GET"],
    "/pages/{page_id}/incidents/upcoming",
    summary="List maintenances whose window lies ahead",
)
def list_upcoming(
    request: HttpRequest, page_id: str, page: int = 1, per_page: int = 100
) -> list[Json]:
    row = lookup.page(page_id)
    rows = _published(row).filter(status=Status.SCHEDULED).order_by("scheduled_for", "id")
    return _list(row, rows, page=page, limit=per_page)


@route(
    router,
    ["GET"],
    "/pages/{page_id}/incidents/active_maintenance",
    summary="List maintenances in progress",
)
def list_active(
    request: HttpRequest, page_id: str, page: int = 1, per_page: int = 100
) -> list[Json]:
    row = lookup.page(page_id)
    rows = _published(row).filter(status__in=[Status.IN_PROGRESS, Status.VERIFYING])
    return _list(row, rows, page=page, limit=per_page)


@route(router, ["GET"], "/pages/{page_id}/incidents/{incident_id}", summary="Read an incident")
def read_incident(request: HttpRequest, page_id: str, incident_id: str) -> Json:
    page = lookup.page(page_id)
    return shapes.incident_of(lookup.incident(page, incident_id).uid, page)


@route(
    router, ["PATCH", "PUT"], "/pages/{page_id}/incidents/{incident_id}",
    summary="Post an update (status or body), or correct what nobody is told of",
)  # fmt: skip
def change_incident(request: HttpRequest, page_id: str, incident_id: str, body: IncidentIn) -> Json:
    page = lookup.page(page_id)
    incident = lookup.incident(page, incident_id)
    words = body.incident
    says_something = words.status is not None or bool(words.body)
    with transaction.atomic():
        amend(incident, words, quietly=not says_something, actor=actor(request))
        if says_something:
            _post(request, page, incident, words)
    return shapes.incident_of(incident.uid, page)


@route(router, ["DELETE"], "/pages/{page_id}/incidents/{incident_id}", summary="Delete an incident")
def delete_incident(request: HttpRequest, page_id: str, incident_id: str) -> Json:
    page = lookup.page(page_id)
    incident = lookup.incident(page, incident_id)
    gone = shapes.incident_of(incident.uid, page)
    now = timezone.now()
    with transaction.atomic():
        if incident.status not in FINAL:
            _close_quietly(incident, actor=actor(request))
        services.audit(
            actor=actor(request), action="delete", subject=incident.uid, before=gone, now=now
        )
        try:
            incident.delete()
        except ProtectedError as error:
            raise Refused(
                f'"{incident.name}" was sent to people and stays on the record; retract it'
            ) from error
        Page.objects.filter(pk=page.pk).update(updated_at=now)
    return gone


@route(
    router, ["PATCH", "PUT"], "/pages/{page_id}/incidents/{incident_id}/incident_updates/{update_id}",
    summary="Correct a published text",
)  # fmt: skip
def change_update(
    request: HttpRequest, page_id: str, incident_id: str, update_id: str, body: UpdateIn
) -> Json:
    page = lookup.page(page_id)
    incident = lookup.incident(page, incident_id)
    update = Update.objects.filter(
        incident=incident, uid=update_id, published_at__isnull=False
    ).first()
    if update is None:
        raise Http404(f'there is no incident update "{update_id}"')
    words, now = body.incident_update, timezone.now()
    with transaction.atomic():
        if words.body is not None:
            update = services.edit(update, body=words.body, actor=actor(request), now=now)
        if words.display_at:
            Update.objects.filter(pk=update.pk).update(
                display_at=_aware(page, words.display_at), updated_at=now
            )
    whole = shapes.incident_of(incident.uid, page)
    return next(row for row in whole["incident_updates"] if row["id"] == update_id)


# --- inside -----------------------------------------------------------------------------------------------------------


def _published(page: Page) -> QuerySet[Incident]:
    return Incident.objects.filter(page=page, published_at__isnull=False)


def _list(row: Page, rows: QuerySet[Incident], *, page: int, limit: int) -> list[Json]:
    fact = reads.page_fact(row)
    shown = shapes.cut(reads.with_all(rows), page=page, limit=limit)
    return [shapes.incident_json(reads.incident_fact(incident), fact) for incident in shown]


def _first_status(words: IncidentWords, *, backfilled: bool) -> Status:
    """What a new incident is when its caller does not say."""
    if backfilled:
        return Status.RESOLVED
    return Status.SCHEDULED if words.scheduled_for else Status.INVESTIGATING


def _states(
    page: Page, words: IncidentWords, *, scheduled: bool = False
) -> dict[Component, ComponentStatus]:
    """Return the components with their statuses; one that is only attached keeps the status it has."""
    rows = lookup.components(page, [*words.statuses, *words.attached])
    states = {rows[uid]: status for uid, status in words.statuses.items()}
    kept = {rows[uid]: ComponentStatus(rows[uid].status) for uid in words.attached}
    return states | (dict.fromkeys(kept, ComponentStatus.OPERATIONAL) if scheduled else kept)


def _post(request: HttpRequest, page: Page, incident: Incident, words: IncidentWords) -> None:
    """One request is one update; a resolved incident set to investigating is reopened."""
    now, who = timezone.now(), actor(request)
    status = words.status or Status(incident.status)
    said: dict[str, Any] = {  # Any: the words shared by two verbs
        "body": words.body or TEXT[status],
        "what_to_do": words.what_to_do,
        "components": _states(page, words),
        "next_update_by": _aware(page, words.next_update_by),
    }
    if incident.status == Status.RESOLVED and status is Status.INVESTIGATING:
        services.reopen(incident, actor=who, now=now, **said)
        return
    services.publish_update(
        incident, status=status, audience=words.audience, impact=words.impact_override, actor=who, now=now,
        custom_tweet=words.custom_tweet, key=idempotency_key(request), **said,
    )  # fmt: skip


def amend(incident: Incident, words: IncidentWords, *, quietly: bool, actor: str) -> None:
    """Change what is no news by itself: name, window, metadata; and, when nothing is said, impact and components."""
    page, now = incident.page, timezone.now()
    given = words.model_fields_set
    changes: Json = {
        name: getattr(words, name)
        for name in ("metadata", "social")
        if getattr(words, name) is not None
    }
    if words.name and words.name.strip():
        changes["name"] = words.name.strip()[:255]
    changes |= {
        n: _aware(page, getattr(words, n))
        for n in ("scheduled_for", "scheduled_until")
        if getattr(words, n)
    }
    if words.opens_itself is not None:
        changes["auto_in_progress"] = words.opens_itself
    if words.closes_itself is not None:
        changes["auto_completed"] = words.closes_itself
    if quietly and "impact_override" in given:
        changes["impact_override"] = words.impact_override or ""
    _check_window(incident, changes)
    changes = {name: value for name, value in changes.items() if getattr(incident, name) != value}
    states = _states(page, words) if quietly else {}
    if changes or states:
        _write(incident, changes, states, actor=actor, now=now)


def _check_window(incident: Incident, changes: Json) -> None:
    if "scheduled_for" in changes and not is_maintenance(Status(incident.status)):
        raise Refused("incident.scheduled_for belongs to a maintenance; this is an incident")
    start = changes.get("scheduled_for", incident.scheduled_for)
    end = changes.get("scheduled_until", incident.scheduled_until)
    if start and end and end <= start:
        raise Refused("incident.scheduled_until is not after incident.scheduled_for")


def _write(
    incident: Incident,
    changes: Json,
    states: dict[Component, ComponentStatus],
    *,
    actor: str,
    now: datetime,
) -> None:
    before = {name: str(getattr(incident, name)) for name in changes}
    for name, value in changes.items():
        setattr(incident, name, value)
    incident.updated_at = now
    incident.save(update_fields=[*changes, "updated_at"])
    for component, status in states.items():
        IncidentComponent.objects.update_or_create(
            incident=incident, component=component, defaults={"status": status}
        )
        services.set_status(component, status=status, actor=actor, now=now)
    after = {name: str(value) for name, value in changes.items()} | {
        row.slug: str(s) for row, s in states.items()
    }
    services.audit(
        actor=actor, action="amend", subject=incident.uid, before=before, after=after, now=now
    )
    Page.objects.filter(pk=incident.page_id).update(updated_at=now)


def _close_quietly(incident: Incident, *, actor: str) -> None:
    """Bring the components back to what the other incidents say of them, and tell nobody."""
    status = Status.COMPLETED if is_maintenance(Status(incident.status)) else Status.RESOLVED
    services.publish_update(
        incident,
        status=status,
        body="Deleted.",
        audience=Audience.NOBODY,
        actor=actor,
        now=timezone.now(),
    )


def _aware(page: Page, at: datetime | None) -> datetime | None:
    """Return the instant; a time without a zone is the page's."""
    return at if at is None or at.tzinfo else at.replace(tzinfo=ZoneInfo(page.time_zone))
