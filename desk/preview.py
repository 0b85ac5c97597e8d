"""What would be said, by which channel, to how many: shown before anything is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings

from incidents import reads
from incidents.facts import ComponentChange, IncidentFact, PageFact, UpdateFact
from incidents.lifecycle import (
    OPEN,
    Audience,
    ComponentStatus,
    Impact,
    Status,
    impact_of,
    is_maintenance,
    worst,
)
from incidents.models import UID_CHARS, Component, Incident, IncidentComponent, Page
from notifications import estimating, routing
from notifications.channels.sms import sms_text
from notifications.estimating import Estimate
from notifications.messages import Notice, gsm7_misfits, update_notice
from notifications.models import Broadcast
from subscribers.models import Role

# Stands for the id that publishing will give: lengths are counted with it.
NO_UID_YET = "x" * UID_CHARS


@dataclass(frozen=True, slots=True)
class Draft:
    """What a form holds: enough to show it as if it were published."""

    name: str
    status: Status
    body: str
    what_to_do: str
    components: Mapping[Component, ComponentStatus]
    next_update_by: datetime | None
    audience: Audience
    impact: Impact | None = None
    social: bool = True
    scheduled_for: datetime | None = None
    scheduled_until: datetime | None = None
    custom_tweet: str = ""
    retraction: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """One channel: the text as it will look, and how many hear it. `people` None = this channel stays silent."""

    channel: str
    label: str
    text: str
    people: int | None
    urgent: bool = False
    is_account: bool = False
    estimate: Estimate | None = None
    why: str = ""  # what makes it longer, or cannot be sent as it is written


def of_draft(
    page: Page, draft: Draft, *, now: datetime, incident: Incident | None = None
) -> list[Words]:
    """Return a row for each configured channel; `incident` is set for a further update."""
    fact = reads.page_fact(page)
    before = _fact(incident) if incident else None
    said, update = _as_published(fact, draft, before, now)
    broadcast = Broadcast(incident=incident, number=update.number)
    legs = {leg.channel: leg for leg in routing.plan(said, update, settings.CHANNELS)}
    return [
        _words(name, label, legs.get(name), broadcast, (fact, said, update), now)
        for name, (label, _) in settings.CHANNELS.items()
    ]


def as_published(
    page: Page, draft: Draft, *, now: datetime, incident: Incident | None = None
) -> tuple[PageFact, IncidentFact, UpdateFact]:
    """Return page, incident and update as they would stand after publishing."""
    fact = reads.page_fact(page)
    before = _fact(incident) if incident and incident.published_at else None
    return fact, *_as_published(fact, draft, before, now)


def reach(rows: Sequence[Words]) -> str:
    """Return in words how many addresses are written to, and on how many of the page's own accounts it is posted."""
    addresses = sum(row.people or 0 for row in rows if not row.is_account)
    posts = sum(1 for row in rows if row.is_account and row.text)
    said = [f"{addresses:,} {'address' if addresses == 1 else 'addresses'}"] if addresses else []
    said += [f"{posts} {'post' if posts == 1 else 'posts'}"] if posts else []
    return " and ".join(said) or "the page alone"


def _words(
    name: str,
    label: str,
    leg: routing.Leg | None,
    broadcast: Broadcast,
    facts: tuple[PageFact, IncidentFact, UpdateFact],
    now: datetime,
) -> Words:
    if leg is None:
        return Words(name, label, "", None)
    page, incident, update = facts
    folder = "maintenance" if incident.is_maintenance else "incidents"
    notice = update_notice(
        page,
        incident,
        update,
        language=page.languages[0],
        url=f"{page.url}/{folder}/{incident.uid}",
    )
    found = estimating.estimate(leg, broadcast, now=now, notice=notice)
    return Words(
        channel=name,
        label=label,
        text=settings.OPEN_CHANNELS[name].preview(notice),
        people=found.people,
        urgent=leg.urgent,
        is_account=leg.role == Role.SOCIAL,
        estimate=found,
        why=_dear(name, notice),
    )


def _dear(channel: str, notice: Notice) -> str:
    """Name the characters that make a text message dearer."""
    misfits = gsm7_misfits(sms_text(notice)) if channel == "sms" else ()
    verb = "is" if len(misfits) == 1 else "are"
    why = f"{' '.join(misfits[:5])} {verb} not in GSM-7: a part holds 70 characters instead of 160"
    return why if misfits else ""


def _fact(incident: Incident) -> IncidentFact:
    return reads.incident_fact(reads.with_all(Incident.objects.filter(pk=incident.pk)).get())


def _as_published(
    page: PageFact, draft: Draft, before: IncidentFact | None, now: datetime
) -> tuple[IncidentFact, UpdateFact]:
    """Return incident and update as they would stand after publishing."""
    incident = _incident(draft, before, now)
    number = max((update.number for update in incident.updates), default=0) + 1
    first = number == 1
    update = UpdateFact(
        uid=NO_UID_YET, incident=incident.uid, number=number, status=draft.status, body=draft.body,
        what_to_do=draft.what_to_do, created_at=now, updated_at=now, display_at=now, published_at=now,
        next_update_by=draft.next_update_by, audience=draft.audience, automatic=False, speaker="",
        changes=_changes(draft, before), custom_tweet=draft.custom_tweet, first_word=first,
        new_impact=not first and before is not None and before.impact != incident.impact,
        retraction=draft.retraction,
    )  # fmt: skip
    return replace(incident, updates=(update, *incident.updates)), update


def _incident(draft: Draft, before: IncidentFact | None, now: datetime) -> IncidentFact:
    states = {component.uid: status for component, status in draft.components.items()}
    named = {
        component.uid: replace(
            reads.component_fact(component), status=_after(component, status, before)
        )
        for component, status in draft.components.items()
    }
    if before is not None:
        states = {**dict(before.component_statuses), **states}
        named = {**{component.uid: component for component in before.components}, **named}
    impact = Impact.MAINTENANCE if is_maintenance(draft.status) else impact_of(states.values())
    impact = draft.impact or (before.impact if before and draft.status not in OPEN else impact)
    fresh = before or IncidentFact(
        uid=NO_UID_YET, name=draft.name, status=draft.status, impact=impact, created_at=now, updated_at=now,
        started_at=now, monitoring_at=None, resolved_at=None, automatic=False, updates=(), components=(),
        scheduled_for=draft.scheduled_for, scheduled_until=draft.scheduled_until, social=draft.social,
    )  # fmt: skip
    return replace(
        fresh, status=draft.status, impact=impact, components=tuple(named.values()),
        component_statuses=tuple(states.items()), next_update_by=draft.next_update_by,
    )  # fmt: skip


def _after(
    component: Component, status: ComponentStatus, before: IncidentFact | None
) -> ComponentStatus:
    """Return how the page would show it: as bad as the worst of this and the other open incidents."""
    rows = IncidentComponent.objects.filter(
        component=component, incident__in=reads.active_incidents(component.page)
    )
    others = rows.exclude(incident__uid=before.uid) if before else rows
    return worst([status, *(ComponentStatus(row.status) for row in others)])


def _changes(draft: Draft, before: IncidentFact | None) -> tuple[ComponentChange, ...]:
    old = dict(before.component_statuses) if before else {}
    return tuple(
        ComponentChange(row.uid, row.name, old.get(row.uid, ComponentStatus.OPERATIONAL), status)
        for row, status in draft.components.items()
    )
