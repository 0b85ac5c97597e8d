"""Incidents of the past, written down afterwards: the page and its uptime know them, nobody is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from incidents import importing, services
from incidents.importing import OldIncident, OldUpdate
from incidents.lifecycle import ComponentStatus, Refused, Status, impact_of
from incidents.models import Component, Incident, Page, StatusChange, Update, make_uid
from incidents.services import Components
from incidents.uptime import UNKNOWN, held, overlaid

BEGAN = "Written down afterwards: it began at this time."

Changes = Sequence[tuple[datetime, str]]  # since when it was what, in order of time


@transaction.atomic
def backfill(
    *, page: Page, name: str, body: str, started_at: datetime, ended_at: datetime, components: Components, actor: str,
    now: datetime, key: str = "",
) -> Incident:  # fmt: skip
    """Write a past incident down, whole; the same `key` writes once. Raises Refused.

    It adds to the trouble that is recorded of its components, and takes none of it away.
    """
    services._check_text(name, body)
    if ended_at <= started_at:
        raise Refused("It ends before it begins.")
    if ended_at > now:
        raise Refused("It has not ended yet; declare it instead.")
    Page.objects.select_for_update().get(pk=page.pk)
    if twin := services.made_by(key, page=page):
        return twin
    pasts = [_past(row, status, started_at, ended_at) for row, status in components.items()]
    old = _old(name, body, started_at, ended_at, components, pasts)
    importing.take_incidents(page, [old], now=now, with_history=False)
    incident = Incident.objects.get(uid=old.uid)
    StatusChange.objects.bulk_create(
        StatusChange(component=past.component, status=status, at=at, incident=incident, actor=actor)
        for past in pasts
        for at, status in past.added
    )
    Incident.objects.filter(pk=incident.pk).update(backfilled=True, person_posted=True, source={})
    incident.updates.update(speaker=actor)
    Update.objects.filter(incident=incident, number=2).update(key=key)  # the one with their words
    services.audit(
        actor=actor, action="backfill", subject=incident.uid, after={"name": name}, now=now
    )
    return incident


@dataclass(frozen=True, slots=True)
class _Past:
    """How a component was around a past incident: as recorded, and what the incident adds."""

    component: Component
    recorded: Changes
    added: Changes

    def change(self, at: datetime) -> tuple[str, str, ComponentStatus, ComponentStatus]:
        """Return what an update says of a moment; what nobody knew is no trouble."""
        # Sorting leaves what was added behind what was recorded of the same moment.
        whole = sorted([*self.recorded, *self.added], key=lambda change: change[0])
        words = (held(whole, at - timedelta(microseconds=1)), held(whole, at))
        old, new = (
            ComponentStatus.OPERATIONAL if word in (None, UNKNOWN) else ComponentStatus(word)
            for word in words
        )
        return self.component.uid, self.component.name, old, new


def _past(row: Component, status: str, began: datetime, ended: datetime) -> _Past:
    rows = StatusChange.objects.filter(component=row)
    before = rows.filter(at__lt=began).order_by("-at", "-id").values_list("at", "status")[:1]
    inside = rows.filter(at__gte=began, at__lte=ended).order_by("at", "id")
    recorded = [*before, *inside.values_list("at", "status")]
    return _Past(row, recorded, overlaid(recorded, status, began=began, ended=ended))


def _old(
    name: str, body: str, started_at: datetime, ended_at: datetime, components: Components, pasts: Sequence[_Past]
) -> OldIncident:  # fmt: skip
    began = tuple(past.change(started_at) for past in pasts)
    ended = tuple(past.change(ended_at) for past in pasts)
    updates = tuple(
        OldUpdate(make_uid(), status, text, at, at, at, changes)
        for status, text, at, changes in (
            (Status.INVESTIGATING, BEGAN, started_at, began),
            (Status.RESOLVED, body, ended_at, ended),
        )
    )
    return OldIncident(
        uid=make_uid(), name=name, status=Status.RESOLVED, impact=impact_of(components.values()), created_at=started_at,
        updated_at=ended_at, started_at=started_at, updates=updates, resolved_at=ended_at,
    )  # fmt: skip
