"""Post-mortems: drafted, published, taken back."""

from datetime import datetime

from django.db import transaction

from incidents import services
from incidents.lifecycle import FINAL, Audience, Refused, Status
from incidents.models import BODY_CHARS_MAX, Incident, Page, PostMortem

# The update that announces it; the text itself stands on the incident's page.
ANNOUNCED = "We have written down what happened."


@transaction.atomic
def draft(incident: Incident, *, body: str, actor: str, now: datetime) -> PostMortem:
    """Keep the text for later; what is published already stays as it is. Raises Refused."""
    if not body.strip():
        raise Refused("postmortem.body_draft is empty; say what happened and what was learned")
    if len(body) > BODY_CHARS_MAX:
        raise Refused(
            f"postmortem.body_draft has {len(body):,} characters; allowed are {BODY_CHARS_MAX:,}"
        )
    row = PostMortem.objects.filter(incident=incident).first() or PostMortem(
        incident=incident, created_at=now
    )
    services.audit(
        actor=actor, action="draft_postmortem", subject=incident.uid, now=now,
        before={"body_draft": row.body_draft}, after={"body_draft": body},
    )  # fmt: skip
    row.body_draft, row.body_draft_updated_at, row.updated_at = body, now, now
    row.save()
    return row


@transaction.atomic
def publish(
    incident: Incident,
    *,
    actor: str,
    now: datetime,
    notify_subscribers: bool = False,
    notify_twitter: bool = False,
    custom_tweet: str = "",
) -> PostMortem:
    """Show the draft under the incident; people are told only when `notify_subscribers`. Raises Refused."""
    services.lock_page(incident.page_id)
    incident = Incident.objects.select_for_update().get(pk=incident.pk)
    row = of(incident)
    if row is None or not row.body_draft:
        raise Refused(f'"{incident.name}" has no post-mortem to publish; write the draft first')
    if incident.status not in FINAL:
        raise Refused(
            f'"{incident.name}" is "{incident.status}"; a post-mortem is published once it is over'
        )
    row.body, row.body_updated_at, row.published_at, row.updated_at = (
        row.body_draft,
        now,
        now,
        now,
    )
    row.notify_subscribers, row.notify_twitter, row.custom_tweet = (
        notify_subscribers, notify_twitter, custom_tweet[:1000],
    )  # fmt: skip
    row.save()
    if incident.status != Status.COMPLETED:
        services.publish_update(
            incident, status=Status.POSTMORTEM, body=ANNOUNCED, actor=actor, now=now, custom_tweet=custom_tweet[:1000],
            audience=Audience.EVERYONE if notify_subscribers else Audience.NOBODY,
        )  # fmt: skip
    services.audit(actor=actor, action="publish_postmortem", subject=incident.uid, now=now)
    _touch(incident, now)
    return row


@transaction.atomic
def revert(incident: Incident, *, actor: str, now: datetime) -> PostMortem:
    """Take a published post-mortem from the page; its text is a draft again. Raises Refused."""
    row = of(incident)
    if row is None or row.published_at is None:
        raise Refused(f'"{incident.name}" has no published post-mortem')
    row.body_draft, row.body_draft_updated_at = row.body_draft or row.body, now
    row.body, row.body_updated_at, row.published_at, row.updated_at = "", None, None, now
    row.save()
    _back_to_resolved(incident, now)
    services.audit(actor=actor, action="revert_postmortem", subject=incident.uid, now=now)
    return row


@transaction.atomic
def delete(incident: Incident, *, actor: str, now: datetime) -> None:
    """Remove the post-mortem, published or not."""
    row = of(incident)
    if row is None:
        return
    services.audit(
        actor=actor, action="delete_postmortem", subject=incident.uid, now=now,
        before={"body": row.body, "body_draft": row.body_draft},
    )  # fmt: skip
    row.delete()
    _back_to_resolved(incident, now)


def of(incident: Incident) -> PostMortem | None:
    return PostMortem.objects.filter(incident=incident).first()


def _back_to_resolved(incident: Incident, now: datetime) -> None:
    services.lock_page(incident.page_id)
    Incident.objects.filter(pk=incident.pk, status=Status.POSTMORTEM).update(status=Status.RESOLVED)
    _touch(incident, now)


def _touch(incident: Incident, now: datetime) -> None:
    Page.objects.filter(pk=incident.page_id).update(updated_at=now)
    Incident.objects.filter(pk=incident.pk).update(updated_at=now)
