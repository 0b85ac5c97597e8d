"""Changes to an incident that are no news by themselves: nobody is messaged."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import ProtectedError

from incidents import services
from incidents.lifecycle import FINAL, Audience, Refused, Status, is_maintenance
from incidents.models import NAME_CHARS_MAX, Incident, IncidentComponent, Page, Update
from incidents.services import NOTHING, Components

# What may be changed quietly; everything else is said in an update.
COLUMNS = frozenset(
    {"name", "metadata", "social", "scheduled_for", "scheduled_until", "auto_in_progress", "auto_completed",
     "impact_override"}
)  # fmt: skip


@transaction.atomic
def amend(
    incident: Incident,
    *,
    changes: Mapping[str, Any],  # Any: column -> value, as Django takes them
    actor: str,
    now: datetime,
    components: Components = NOTHING,
) -> None:
    """Change columns out of COLUMNS, and the status of components, without an update. Raises Refused."""
    assert set(changes) <= COLUMNS, changes
    services.lock_page(incident.page_id)
    incident = Incident.objects.select_for_update().get(pk=incident.pk)
    _check(incident, changes)
    new = {name: value for name, value in changes.items() if getattr(incident, name) != value}
    if not new and not components:
        return
    before = {name: str(getattr(incident, name)) for name in new}
    for name, value in new.items():
        setattr(incident, name, value)
    incident.updated_at = now
    incident.save(update_fields=[*new, "updated_at"])
    if "name" in new:
        _forget_other_names(incident)
    for component, status in components.items():
        IncidentComponent.objects.update_or_create(
            incident=incident, component=component, defaults={"status": status}
        )
        services.set_status(component, status=status, actor=actor, now=now)
    after = {name: str(value) for name, value in new.items()}
    after |= {component.slug: str(status) for component, status in components.items()}
    services.audit(
        actor=actor, action="amend", subject=incident.uid, before=before, after=after, now=now
    )
    Page.objects.filter(pk=incident.page_id).update(updated_at=now)


def _forget_other_names(incident: Incident) -> None:
    """Drop the old name's translations: they name what it is called no longer."""
    for update in incident.updates.exclude(translations={}):
        update.translations = {
            language: {name: text for name, text in words.items() if name != "name"}
            for language, words in update.translations.items()
        }
        update.save(update_fields=["translations"])


@transaction.atomic
def date(update: Update, *, display_at: datetime, actor: str, now: datetime) -> None:
    """Let the page show an update under another time."""
    services.lock_page(update.incident.page_id)
    services.audit(
        actor=actor, action="date", subject=update.uid, now=now,
        before={"display_at": str(update.display_at)}, after={"display_at": str(display_at)},
    )  # fmt: skip
    Update.objects.filter(pk=update.pk).update(display_at=display_at, updated_at=now)
    Incident.objects.filter(pk=update.incident_id).update(updated_at=now)
    Page.objects.filter(incidents=update.incident_id).update(updated_at=now)


@transaction.atomic
def delete(incident: Incident, *, was: Mapping[str, Any], actor: str, now: datetime) -> None:
    """Remove an incident that nobody was told of; `was` goes into the audit. Raises Refused.

    Its components go back to what the other incidents say of them.
    """
    services.lock_page(incident.page_id)
    if incident.status not in FINAL:
        final = Status.COMPLETED if is_maintenance(Status(incident.status)) else Status.RESOLVED
        services.publish_update(
            incident, status=final, body="Deleted.", audience=Audience.NOBODY, actor=actor, now=now
        )
    services.audit(actor=actor, action="delete", subject=incident.uid, before=dict(was), now=now)
    try:
        incident.delete()
    except ProtectedError as error:
        raise Refused(
            f'"{incident.name}" was sent to people and stays on the record; retract it'
        ) from error
    Page.objects.filter(pk=incident.page_id).update(updated_at=now)


def _check(incident: Incident, changes: Mapping[str, Any]) -> None:
    if len(changes.get("name", "")) > NAME_CHARS_MAX:
        raise Refused(
            f"incident.name has {len(changes['name'])} characters; allowed are {NAME_CHARS_MAX}"
        )
    if not {"scheduled_for", "scheduled_until"} & set(changes):
        return
    if not is_maintenance(Status(incident.status)):
        raise Refused("incident.scheduled_for belongs to a maintenance; this is an incident")
    start = changes.get("scheduled_for", incident.scheduled_for)
    end = changes.get("scheduled_until", incident.scheduled_until)
    if start and end and end <= start:
        raise Refused("incident.scheduled_until is not after incident.scheduled_for")
