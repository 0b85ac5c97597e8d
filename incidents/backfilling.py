"""Incidents of the past, written down afterwards: the page and its uptime know them, nobody is told."""

from datetime import datetime

from django.db import transaction

from incidents import importing, services
from incidents.importing import OldIncident, OldUpdate
from incidents.lifecycle import ComponentStatus, Refused, Status, impact_of
from incidents.models import Incident, Page, Update, make_uid
from incidents.services import Components

BEGAN = "Written down afterwards: it began at this time."


@transaction.atomic
def backfill(
    *, page: Page, name: str, body: str, started_at: datetime, ended_at: datetime, components: Components, actor: str,
    now: datetime, key: str = "",
) -> Incident:  # fmt: skip
    """Write a past incident down, whole; the same `key` writes once. Raises Refused."""
    services._check_text(name, body)
    if ended_at <= started_at:
        raise Refused("It ends before it begins.")
    if ended_at > now:
        raise Refused("It has not ended yet; declare it instead.")
    Page.objects.select_for_update().get(pk=page.pk)
    if twin := services.made_by(key, page=page):
        return twin
    old = _old(name, body, started_at, ended_at, components)
    importing.take_incidents(page, [old], now=now)
    incident = Incident.objects.get(uid=old.uid)
    Incident.objects.filter(pk=incident.pk).update(backfilled=True, person_posted=True, source={})
    incident.updates.update(speaker=actor)
    Update.objects.filter(incident=incident, number=2).update(key=key)  # the one with their words
    services.audit(
        actor=actor, action="backfill", subject=incident.uid, after={"name": name}, now=now
    )
    return incident


def _old(
    name: str, body: str, started_at: datetime, ended_at: datetime, components: Components
) -> OldIncident:
    fine = ComponentStatus.OPERATIONAL
    began = tuple((row.uid, row.name, fine, state) for row, state in components.items())
    ended = tuple((row.uid, row.name, state, fine) for row, state in components.items())
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
