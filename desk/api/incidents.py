"""/v1 incidents and maintenances; every change goes through the core's verbs."""

from datetime import datetime
from typing import Annotated, Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest
from django.utils import timezone
from ninja import Query, Router, Schema
from ninja import Status as Answer
from pydantic import Field

from desk.api import answers, lookup, shapes
from desk.api.entrance import Json, actor, route
from desk.api.paging import Moment, PageNumber, PerPage, cut
from incidents import amending, reads, services
from incidents.lifecycle import (
    OPEN,
    Audience,
    ComponentStatus,
    Impact,
    Refused,
    Status,
)
from incidents.models import BODY_CHARS_MAX, NAME_CHARS_MAX, Component, Incident, Page, Update
from incidents.wire import zone_of

router = Router(tags=["incidents"])
Search = Annotated[
    str,
    Query(
        max_length=NAME_CHARS_MAX, description="Words of a name or a text, a status or an impact."
    ),
]

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

    name: str | None = Field(default=None, max_length=NAME_CHARS_MAX)
    status: Status | None = None
    impact_override: Impact | None = None
    body: str | None = Field(default=None, max_length=BODY_CHARS_MAX)
    components: dict[str, ComponentStatus] | list[str] | None = None
    component_ids: list[str] | None = None
    deliver_notifications: bool = True
    scheduled_for: Moment | None = None
    scheduled_until: Moment | None = None
    scheduled_auto_in_progress: bool | None = None
    scheduled_auto_completed: bool | None = None
    auto_transition_to_maintenance_state: bool | None = None
    auto_transition_to_operational_state: bool | None = None
    backfilled: bool = False
    backfill_date: Moment | None = None
    metadata: dict[str, dict[str, Any]] | None = None  # Any: what the caller keeps there
    custom_tweet: str = Field(default="", max_length=1000)
    what_to_do: str = Field(default="", max_length=BODY_CHARS_MAX)
    next_update_by: Moment | None = None
    social: bool | None = None
    translations: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="language -> name, body, what_to_do in it"
    )

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
    body: str | None = Field(default=None, max_length=BODY_CHARS_MAX)
    display_at: Moment | None = None


class UpdateIn(Schema):
    incident_update: UpdateWords = Field(default_factory=UpdateWords)


def _first(*switches: bool | None) -> bool | None:
    return next((switch for switch in switches if switch is not None), None)


@route(
    router, ["POST"], "/pages/{page_id}/incidents", summary="Declare or schedule", status=201,
    answer=answers.Incident,
)  # fmt: skip
def create_incident(request: HttpRequest, page_id: str, body: IncidentIn) -> Answer[Json]:
    page = lookup.page(page_id)
    words = body.incident
    if not (words.name or "").strip():
        raise Refused("incident.name is missing")
    backfilled = words.backfilled or words.backfill_date is not None
    _check_window(_aware(page, words.scheduled_for), _aware(page, words.scheduled_until))
    status = words.status or _first_status(words, backfilled=backfilled)
    rows = {} if backfilled else _states(page, words, scheduled=status is Status.SCHEDULED)
    incident = services.declare(
        page=page, name=words.name or "", body=words.body or TEXT[status], status=status, what_to_do=words.what_to_do,
        components=rows, impact=words.impact_override, started_at=_aware(page, words.backfill_date),
        next_update_by=_aware(page, words.next_update_by), scheduled_for=_aware(page, words.scheduled_for),
        scheduled_until=_aware(page, words.scheduled_until), auto_in_progress=words.opens_itself is not False,
        auto_completed=words.closes_itself is not False, social=words.social is not False, backfilled=backfilled,
        audience=words.audience, custom_tweet=words.custom_tweet, metadata=words.metadata, actor=actor(request),
        translations=words.translations, now=timezone.now(),
    )  # fmt: skip
    return Answer(201, shapes.incident_of(incident.uid, page))


@route(
    router,
    ["GET"],
    "/pages/{page_id}/incidents",
    summary="List incidents and maintenances, newest first",
    answer=list[answers.Incident],
)
def list_incidents(
    request: HttpRequest, page_id: str, page: PageNumber, limit: PerPage, q: Search = ""
) -> list[Json]:
    row = lookup.page(page_id)
    rows = _published(row)
    if q:
        told = Q(name__icontains=q) | Q(
            updates__body__icontains=q, updates__published_at__isnull=False
        )
        rows = rows.filter(told | Q(status=q) | Q(impact=q)).distinct()
    return _list(row, rows, page=page, limit=limit)


@route(
    router,
    ["GET"],
    "/pages/{page_id}/incidents/unresolved",
    summary="List open incidents",
    answer=list[answers.Incident],
)
def list_unresolved(
    request: HttpRequest, page_id: str, page: PageNumber, per_page: PerPage
) -> list[Json]:
    row = lookup.page(page_id)
    return _list(row, _published(row).filter(status__in=OPEN), page=page, limit=per_page)


@route(
    router,
    ["GET"],
    "/pages/{page_id}/incidents/scheduled",
    summary="List maintenances that have not begun",
    answer=list[answers.Incident],
)
def list_scheduled(
    request: HttpRequest, page_id: str, page: PageNumber, per_page: PerPage
) -> list[Json]:
    row = lookup.page(page_id)
    return _list(row, _published(row).filter(status=Status.SCHEDULED), page=page, limit=per_page)


@route(
    router,
    ["GET"],
    "/pages/{page_id}/incidents/upcoming",
    summary="List maintenances whose window lies ahead",
    answer=list[answers.Incident],
)
def list_upcoming(
    request: HttpRequest, page_id: str, page: PageNumber, per_page: PerPage
) -> list[Json]:
    row = lookup.page(page_id)
    rows = _published(row).filter(status=Status.SCHEDULED).order_by("scheduled_for", "id")
    return _list(row, rows, page=page, limit=per_page)


@route(
    router,
    ["GET"],
    "/pages/{page_id}/incidents/active_maintenance",
    summary="List maintenances in progress",
    answer=list[answers.Incident],
)
def list_active(
    request: HttpRequest, page_id: str, page: PageNumber, per_page: PerPage
) -> list[Json]:
    row = lookup.page(page_id)
    rows = _published(row).filter(status__in=[Status.IN_PROGRESS, Status.VERIFYING])
    return _list(row, rows, page=page, limit=per_page)


@route(
    router, ["GET"], "/pages/{page_id}/incidents/{incident_id}", summary="Read an incident", answer=answers.Incident
)  # fmt: skip
def read_incident(request: HttpRequest, page_id: str, incident_id: str) -> Json:
    page = lookup.page(page_id)
    return shapes.incident_of(lookup.incident(page, incident_id).uid, page)


@route(
    router, ["PATCH", "PUT"], "/pages/{page_id}/incidents/{incident_id}",
    summary="Post an update (status or body), or correct what nobody is told of", answer=answers.Incident,
)  # fmt: skip
def change_incident(request: HttpRequest, page_id: str, incident_id: str, body: IncidentIn) -> Json:
    page = lookup.page(page_id)
    incident = lookup.incident(page, incident_id)
    words = body.incident
    begins, ends = _aware(page, words.scheduled_for), _aware(page, words.scheduled_until)
    if begins or ends:
        _check_window(begins or incident.scheduled_for, ends or incident.scheduled_until)
    says_something = words.status is not None or bool(words.body)
    with transaction.atomic():
        amending.amend(
            incident, changes=_quiet_changes(page, words, quietly=not says_something), actor=actor(request),
            components={} if says_something else _states(page, words), now=timezone.now(),
        )  # fmt: skip
        if says_something:
            _post(request, page, incident, words)
    return shapes.incident_of(incident.uid, page)


@route(
    router, ["DELETE"], "/pages/{page_id}/incidents/{incident_id}", summary="Delete an incident",
    answer=answers.Incident,
)  # fmt: skip
def delete_incident(request: HttpRequest, page_id: str, incident_id: str) -> Json:
    page = lookup.page(page_id)
    incident = lookup.incident(page, incident_id)
    gone = shapes.incident_of(incident.uid, page)
    amending.delete(incident, was=gone, actor=actor(request), now=timezone.now())
    return gone


@route(
    router, ["PATCH", "PUT"], "/pages/{page_id}/incidents/{incident_id}/incident_updates/{update_id}",
    summary="Correct a published text", answer=answers.IncidentUpdate,
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
            at = _aware(page, words.display_at) or now
            amending.date(update, display_at=at, actor=actor(request), now=now)
    whole = shapes.incident_of(incident.uid, page)
    return next(row for row in whole["incident_updates"] if row["id"] == update_id)


# --- inside -----------------------------------------------------------------------------------------------------------


def _published(page: Page) -> QuerySet[Incident]:
    return Incident.objects.filter(page=page, published_at__isnull=False)


def _list(row: Page, rows: QuerySet[Incident], *, page: int, limit: int) -> list[Json]:
    fact = reads.page_fact(row)
    shown = reads.incident_facts(cut(rows, page=page, limit=limit))
    return [shapes.incident_json(incident, fact) for incident in shown]


def _check_window(begins: datetime | None, ends: datetime | None) -> None:
    if begins and ends and ends <= begins:
        raise Refused(
            f'incident.scheduled_until is "{ends.isoformat()}"; expected a time after incident.scheduled_for, '
            f'which is "{begins.isoformat()}"'
        )


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
        "audience": words.audience,
        "impact": words.impact_override,
        "custom_tweet": words.custom_tweet,
        "translations": words.translations,
    }
    if incident.status == Status.RESOLVED and status is Status.INVESTIGATING:
        services.reopen(incident, actor=who, now=now, **said)
        return
    services.publish_update(incident, status=status, actor=who, now=now, **said)


def _quiet_changes(page: Page, words: IncidentWords, *, quietly: bool) -> Json:
    """Return what is no news by itself: name, window, metadata; and, when nothing is said, the impact."""
    changes: Json = {
        name: getattr(words, name)
        for name in ("metadata", "social")
        if getattr(words, name) is not None
    }
    if words.name and words.name.strip():
        changes["name"] = words.name.strip()
    for name in ("scheduled_for", "scheduled_until"):
        if at := _aware(page, getattr(words, name)):
            changes[name] = at
    if words.opens_itself is not None:
        changes["auto_in_progress"] = words.opens_itself
    if words.closes_itself is not None:
        changes["auto_completed"] = words.closes_itself
    if quietly and "impact_override" in words.model_fields_set:
        changes["impact_override"] = words.impact_override or ""
    return changes


def _aware(page: Page, at: datetime | None) -> datetime | None:
    """Return the instant; a time without a zone is the page's."""
    return at if at is None or at.tzinfo else at.replace(tzinfo=zone_of(page.time_zone))
