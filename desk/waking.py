"""Two people to wake everyone: calls wait for a second one, or two minutes; page, mails and texts never wait."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery

from desk import preview, roles
from desk.actions import Action
from desk.forms import Speech
from desk.preview import Draft, Words
from desk.roles import Right
from incidents import services
from incidents.lifecycle import Audience, ComponentStatus, Refused, Status
from incidents.models import AuditEntry, Component, Incident, Page, Update
from notifications import mounting
from notifications.routing import CALLS

FALL_BACK = timedelta(seconds=120)  # security.md, "Admin": two people with a time-out to one
PUBLISHERS = [role.value for role in roles.Role if Right.PUBLISH in roles.RIGHTS[role]]


SAID = " Calls wait two minutes for a second person to agree; all else goes at once."


def perform(
    action: Action, page: Page, incident: Incident | None, form: Speech, *, user: User, actor: str, now: datetime
) -> tuple[Incident, bool]:  # fmt: skip
    """Do what a form asks, and let its calls wait where a second person is to be asked; True when they do."""
    before = incident if incident and incident.published_at else None
    held = is_held(user, preview.of_draft(page, form.draft(now), now=now, incident=before))
    with transaction.atomic():
        done = action.verb(page, incident, form, actor, now)
        if held:
            hold(done, actor=actor, now=now)
    return done, held


def is_held(user: User, rows: Sequence[Words]) -> bool:
    """Say whether publishing this would wake people by calls, and there is a second person to ask."""
    wakes = any(row.channel in CALLS and row.urgent and row.people for row in rows)
    return wakes and others(user) > 0


def draft_is_held(incident: Incident, user: User, *, now: datetime) -> bool:
    """The same of a draft that is published as it stands."""
    text = incident.updates.filter(published_at__isnull=True).order_by("id").first()
    if text is None:
        return False
    rows = incident.affected.select_related("component")
    draft = Draft(
        name=incident.name, status=Status(incident.status), body=text.body, what_to_do=text.what_to_do,
        components={row.component: ComponentStatus(row.status) for row in rows}, next_update_by=None,
        audience=Audience(text.audience), social=incident.social,
    )  # fmt: skip
    return is_held(user, preview.of_draft(incident.page, draft, now=now))


def follow_up_is_held(update: Update, user: User, *, now: datetime) -> bool:
    """The same of a drafted follow-up."""
    incident = update.incident
    if incident.published_at is None or update.published_at:
        return False
    new = {row["code"]: ComponentStatus(row["new_status"]) for row in update.changes}
    rows = Component.objects.filter(page=incident.page_id, uid__in=new)
    draft = Draft(
        name=incident.name, status=Status(update.status), body=update.body, what_to_do=update.what_to_do,
        components={row: new[row.uid] for row in rows}, next_update_by=None, audience=Audience(update.audience),
        social=incident.social,
    )  # fmt: skip
    return is_held(user, preview.of_draft(incident.page, draft, now=now, incident=incident))


def others(user: User) -> int:
    """Return how many other people may publish; where there is one only, one decides."""
    may = Q(groups__name__in=PUBLISHERS) | Q(is_superuser=True)
    people = User.objects.filter(may, is_active=True, break_glass__isnull=True).exclude(pk=user.pk)
    return people.distinct().count()


@transaction.atomic
def hold(incident: Incident, *, actor: str, now: datetime) -> None:
    """Let the calls of the newest update wait; in the transaction that publishes it, so that none goes before."""
    newest = incident.updates.filter(number__isnull=False).order_by("-number").first()
    assert newest is not None, "it was published a moment ago"
    if newest.calls_after is None:
        Update.objects.filter(pk=newest.pk).update(calls_after=now + FALL_BACK)
        services.audit(
            actor=actor, action="calls_wait", subject=newest.uid, now=now,
            after={"until": (now + FALL_BACK).isoformat()},
        )  # fmt: skip


@transaction.atomic
def agree(update: Update, *, actor: str, now: datetime) -> int:
    """Bring the calls forward: a second person agrees. Return how many phones ring now. Raises Refused."""
    update = Update.objects.select_for_update().get(pk=update.pk)
    if update.calls_after is None or update.calls_after <= now:
        raise Refused(
            "No call waits any more: they went when two minutes were over, or a colleague agreed."
        )
    if _held(update.uid).filter(actor=actor).exists():
        raise Refused(
            "You published this yourself: a second person agrees, or the calls go by themselves in two minutes."
        )
    Update.objects.filter(pk=update.pk).update(calls_after=now)
    woken = mounting.bring_forward(update, now)
    services.audit(
        actor=actor, action="calls_agreed", subject=update.uid, after={"people": woken}, now=now
    )
    return woken


def waiting(now: datetime) -> list[Update]:
    """Return the updates whose calls wait for a second person; `held_by` is the first one."""
    rows = Update.objects.filter(calls_after__gt=now).select_related("incident")
    held_by = Subquery(_held(OuterRef("uid")).values("actor")[:1])
    return list(rows.annotate(held_by=held_by).order_by("calls_after")[:5])


def _held(uid: str | OuterRef) -> QuerySet[AuditEntry]:
    """Return who published and let the calls wait; the words may be another's, kept as a draft."""
    return AuditEntry.objects.filter(action="calls_wait", subject=uid)
