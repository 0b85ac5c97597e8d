"""Two incidents that are one trouble: the later words go on in one of them."""

from datetime import datetime

from django.db import transaction

from incidents import services
from incidents.lifecycle import FINAL, Audience, ComponentStatus, Refused, Status, worst
from incidents.models import Incident, Update


@transaction.atomic
def merge(incident: Incident, *, into: Incident, actor: str, now: datetime) -> Update | None:
    """Go on about `incident` in `into`: that takes over its components, this one ends without a message of its own.

    A draft is vetoed. Those who follow its components hear the update of `into` that takes them over; None when it takes
    over nothing new. Raises Refused.
    """
    incident, into = _locked(incident, into)
    _check(incident, into)
    already = {row.component_id: ComponentStatus(row.status) for row in into.affected.all()}
    mine = {
        row.component: worst([ComponentStatus(row.status), already.get(row.component_id, ComponentStatus.OPERATIONAL)])
        for row in incident.affected.select_related("component")
    }  # fmt: skip
    new = {
        component: state for component, state in mine.items() if already.get(component.pk) != state
    }
    said = None
    if new:
        names = ", ".join(component.name for component in new)
        said = services.publish_update(
            into, status=Status(into.status), body=f"“{incident.name}” is the same trouble ({names}); we go on here.",
            components=new, speaker=actor, actor=actor, now=now,
        )  # fmt: skip
    if incident.published_at is None:
        services.veto(incident, actor=actor, now=now)
    else:
        services.publish_update(
            incident, status=Status.RESOLVED, body=f"This is the same trouble as “{into.name}”; we go on there.",
            audience=Audience.NOBODY, speaker=actor, actor=actor, now=now,
        )  # fmt: skip
    Incident.objects.filter(pk=incident.pk).update(merged_into=into)
    services.audit(
        actor=actor, action="merge", subject=incident.uid, after={"into": into.uid}, now=now
    )
    return said


def _locked(incident: Incident, into: Incident) -> tuple[Incident, Incident]:
    """Lock both in the order of their ids, so that two merges cannot wait for each other."""
    services.lock_page(into.page_id)
    rows = Incident.objects.select_for_update(of=("self",)).select_related("page")
    found = {row.pk: row for row in rows.filter(pk__in=[incident.pk, into.pk]).order_by("pk")}
    return found[incident.pk], found[into.pk]


def _check(incident: Incident, into: Incident) -> None:
    if incident.pk == into.pk:
        raise Refused("An incident cannot be merged into itself; choose another one.")
    if incident.scheduled_for or into.scheduled_for:
        raise Refused("A maintenance cannot be merged; only incidents can.")
    if into.published_at is None or into.status in FINAL:
        raise Refused(f'"{into.name}" is not open; merge into an open, published incident.')
    if incident.vetoed_at or (incident.published_at and incident.status in FINAL):
        raise Refused(f'"{incident.name}" is over already; there is nothing to merge.')
