"""The verbs of the core, and its only writers: declare, publish, schedule, edit, retract, reopen, call operators."""

import logging
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from incidents import doorbell, reads, trace
from incidents.lifecycle import (
    ACTIVE,
    FINAL,
    OPEN,
    Audience,
    CallReason,
    ComponentStatus,
    Impact,
    Overtaken,
    Refused,
    Status,
    check_move,
    higher_impact,
    impact_of,
    is_maintenance,
    worst,
)
from incidents.models import (
    BODY_CHARS_MAX,
    NAME_CHARS_MAX,
    AuditEntry,
    Call,
    Component,
    Incident,
    IncidentComponent,
    Page,
    Series,
    StatusChange,
    Template,
    Update,
)

log = logging.getLogger(__name__)

Components = Mapping[Component, ComponentStatus]
NOTHING: Components = {}
Translated = Mapping[str, Mapping[str, str]]  # language -> name, body, what_to_do
UNTRANSLATED: Translated = {}
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?")
LANGUAGES_MAX = 20
MACHINES = ("clock", "intake", "probes")  # the actors of our own: their veto is no person's


@transaction.atomic
def declare(
    *,
    page: Page,
    name: str,
    body: str,
    actor: str,
    now: datetime,
    status: Status = Status.INVESTIGATING,
    what_to_do: str = "",
    components: Components = NOTHING,
    impact: Impact | None = None,
    published: bool = True,
    publish_at: datetime | None = None,
    started_at: datetime | None = None,
    detected_at: datetime | None = None,
    next_update_by: datetime | None = None,
    scheduled_for: datetime | None = None,
    scheduled_until: datetime | None = None,
    auto_in_progress: bool = True,
    auto_completed: bool = True,
    automatic: bool = False,
    social: bool = True,
    backfilled: bool = False,
    audience: Audience = Audience.EVERYONE,
    speaker: str = "",
    custom_tweet: str = "",
    translations: Translated = UNTRANSLATED,
    template: Template | None = None,
    source: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    known: dict[str, str] | None = None,
    remind_at: datetime | None = None,
    series: Series | None = None,
    seen: int | None = None,
    key: str = "",
) -> Incident:
    """Open an incident, or keep it as a draft when not `published`; `publish_at` lets a draft go out by itself.

    `impact` overrides what the components imply. The same `key` on this page declares once. `seen` is the newest incident
    (row id) that the writer knew of. Raises Refused, Overtaken or IllegalMove in words.
    """
    _check_text(name, body)
    check_move(None, status)
    _check_window(status, scheduled_for, scheduled_until)
    Page.objects.select_for_update().get(pk=page.pk)
    if twin := made_by(key, page=page, published=published):
        return twin
    _check_nobody_was_first(page, seen, components)
    past = started_at if backfilled else None
    incident = Incident.objects.create(
        page=page,
        name=name,
        status=status,
        impact=Impact.MAINTENANCE if is_maintenance(status) else impact_of(components.values()),
        impact_override=impact or "",
        automatic=automatic,
        social=social,
        backfilled=backfilled,
        template=template,
        source=source or {},
        metadata=metadata or {},
        created_at=past or now,
        updated_at=now,
        started_at=started_at or now,
        detected_at=detected_at or now,
        publish_at=None if published else publish_at,
        resolved_at=(past or now) if status in (Status.RESOLVED, Status.POSTMORTEM) else None,
        scheduled_for=scheduled_for,
        scheduled_until=scheduled_until,
        auto_in_progress=auto_in_progress,
        auto_completed=auto_completed,
        remind_at=remind_at,
        series=series,
    )
    IncidentComponent.objects.bulk_create(
        IncidentComponent(incident=incident, component=component, status=state)
        for component, state in components.items()
    )
    draft = Update.objects.create(
        incident=incident,
        status=status,
        body=body,
        what_to_do=what_to_do,
        custom_tweet=custom_tweet,
        translations=_check_translations(translations),
        audience=Audience.NOBODY if backfilled else audience,
        automatic=automatic,
        speaker=speaker,
        known=known or {},
        key=key,
        next_update_by=next_update_by,
        created_at=now,
        updated_at=now,
        display_at=now,
    )
    audit(
        actor=actor,
        action="declare" if published else "draft",
        subject=incident.uid,
        after={"name": name},
        now=now,
    )
    if published:
        _publish(incident, draft, components=components, actor=actor, now=now)
    if past:
        Update.objects.filter(pk=draft.pk).update(display_at=past)
    return incident


def schedule(
    *,
    page: Page,
    name: str,
    body: str,
    scheduled_for: datetime,
    scheduled_until: datetime,
    actor: str,
    now: datetime,
    components: Sequence[Component] = (),
    **more: Any,  # the rest of declare()'s words, unchanged
) -> Incident:
    """Announce a maintenance; its components go under maintenance when the window opens."""
    states = dict.fromkeys(components, ComponentStatus.OPERATIONAL)
    return declare(
        page=page, name=name, body=body, status=Status.SCHEDULED, scheduled_for=scheduled_for,
        scheduled_until=scheduled_until, components=states, actor=actor, now=now, **more,
    )  # fmt: skip


@transaction.atomic
def publish_draft(
    incident: Incident,
    *,
    actor: str,
    now: datetime,
    body: str | None = None,
    what_to_do: str | None = None,
    known: dict[str, str] | None = None,
    by_person: bool = False,
    key: str = "",
    components: Components | None = None,
    name: str | None = None,
    next_update_by: datetime | None = None,
    translations: Translated | None = None,
) -> Update:
    """Publish a drafted incident, its words changed on the way when given. A second press returns the same update.

    With a `key` only the same key is the same press: words of somebody else are Overtaken.
    """
    incident = _lock(incident)
    if incident.published_at:
        if key and not incident.updates.filter(key=key).exists():
            raise _overtaken(incident)
        return incident.updates.filter(number__isnull=False).order_by("number").first()  # type: ignore[return-value]  # a published incident has one
    if incident.vetoed_at:
        raise Refused(
            f'"{incident.name}" was vetoed at {incident.vetoed_at:%H:%M} UTC; declare it anew.'
        )
    draft = (
        incident.updates.filter(published_at__isnull=True, vetoed_at__isnull=True)
        .order_by("id")
        .first()
    )
    if draft is None:
        raise Refused(f'"{incident.name}" has no text to publish.')
    if translations is not None:
        draft.translations = _check_translations(translations)
    else:
        draft.translations = _still_true(draft, body, what_to_do)
    draft.body = draft.body if body is None else body
    draft.what_to_do = draft.what_to_do if what_to_do is None else what_to_do
    draft.known = draft.known if known is None else known
    draft.key, draft.next_update_by = key or draft.key, next_update_by or draft.next_update_by
    incident.name = name or incident.name
    _check_text(incident.name, draft.body)
    if by_person:
        draft.automatic, draft.speaker = False, draft.speaker or actor
    states = {
        row.component: ComponentStatus(row.status)
        for row in incident.affected.select_related("component")
    }
    if components is not None:
        incident.affected.exclude(component__in=list(components)).delete()
        states = dict(components)
        incident.impact = impact_of(states.values())
    _publish(incident, draft, components=states, actor=actor, now=now, opening=True)
    return draft


@transaction.atomic
def publish_update(
    incident: Incident,
    *,
    status: Status,
    body: str,
    actor: str,
    now: datetime,
    what_to_do: str = "",
    components: Components = NOTHING,
    next_update_by: datetime | None = None,
    audience: Audience = Audience.EVERYONE,
    automatic: bool = False,
    speaker: str = "",
    custom_tweet: str = "",
    impact: Impact | None = None,
    known: dict[str, str] | None = None,
    translations: Translated = UNTRANSLATED,
    seen: int | None = None,
    key: str = "",
) -> Update:
    """Say the next thing about a published incident. The same `key` is the same update.

    `seen` is the number of the newest update that the writer has read: over a later one nobody speaks (Overtaken).
    """
    incident = _lock(incident)
    if key and (twin := incident.updates.filter(key=key).first()):
        return twin
    if _other_presses(incident.updates.all(), key):
        raise _overtaken(incident)
    if seen is not None and reads.newest_number(incident) != seen:
        raise _overtaken(incident)
    _check_text(incident.name, body)
    if incident.published_at is None:
        raise Refused(f'"{incident.name}" is still a draft; publish the draft first.')
    check_move(Status(incident.status), status)
    if impact:
        incident.impact_override = impact
    update = Update(
        incident=incident,
        status=status,
        body=body,
        what_to_do=what_to_do,
        custom_tweet=custom_tweet,
        translations=_check_translations(translations),
        audience=audience,
        automatic=automatic,
        speaker=speaker,
        known=known or {},
        key=key,
        next_update_by=next_update_by,
        created_at=now,
        updated_at=now,
        display_at=now,
    )
    _publish(incident, update, components=components, actor=actor, now=now)
    return update


@transaction.atomic
def draft_update(
    incident: Incident, *, status: Status, body: str, actor: str, now: datetime, publish_at: datetime | None,
    what_to_do: str = "", translations: Translated = UNTRANSLATED, components: Components = NOTHING, next_update_by: datetime | None = None,
) -> Update:  # fmt: skip
    """Keep a follow-up by the machine until a person publishes or vetoes it, or `publish_at` comes."""
    incident = _lock(incident)
    _check_text(incident.name, body)
    check_move(Status(incident.status), status)
    update = Update.objects.create(
        incident=incident,
        status=status,
        body=body,
        what_to_do=what_to_do,
        translations=_check_translations(translations),
        automatic=True,
        next_update_by=next_update_by,
        publish_at=publish_at,
        changes=[
            _change(component, component.status, state) for component, state in components.items()
        ],
        created_at=now,
        updated_at=now,
        display_at=now,
    )
    audit(
        actor=actor,
        action="draft_update",
        subject=incident.uid,
        after={"body": body, "update": update.uid},
        now=now,
    )
    doorbell.ring_on_commit("draft")
    return update


@transaction.atomic
def publish_drafted_update(
    update: Update, *, actor: str, now: datetime, by_person: bool = False
) -> Update:
    """Publish a drafted follow-up; one that was published already is returned as it is."""
    incident = _lock(update.incident)
    update = Update.objects.select_for_update().get(pk=update.pk)
    if update.published_at:
        return update
    if update.vetoed_at:
        raise Refused(f"This follow-up was vetoed at {update.vetoed_at:%H:%M} UTC.")
    if incident.published_at is None:
        raise Refused(f'"{incident.name}" is still a draft; publish the draft first.')
    if incident.status in FINAL:
        raise Refused(f'"{incident.name}" is over; nothing more was to be said.')
    check_move(Status(incident.status), Status(update.status))
    if by_person:
        update.automatic, update.speaker = False, actor
    by_uid = {
        component.uid: component for component in Component.objects.filter(page=incident.page)
    }
    states = {
        by_uid[row["code"]]: ComponentStatus(row["new_status"])
        for row in update.changes
        if row["code"] in by_uid
    }
    if not by_person:
        states = _not_lowered(incident, update, states)
    _publish(incident, update, components=states, actor=actor, now=now)
    return update


def _not_lowered(
    incident: Incident, draft: Update, states: Components
) -> dict[Component, ComponentStatus]:
    """Return the states, for a component of which the public was told since the draft the graver one.

    An all-clear stays what it is: whoever saw the trouble again withdraws it.
    """
    later = incident.updates.filter(number__isnull=False, published_at__gte=draft.created_at)
    told = {row["code"] for update in later for row in update.changes}
    now = {row.component_id: ComponentStatus(row.status) for row in incident.affected.all()}
    is_all_clear = draft.status in (Status.MONITORING, *FINAL)
    return {
        component: state
        if component.uid not in told or (is_all_clear and state is ComponentStatus.OPERATIONAL)
        else worst([state, now.get(component.pk, state)])
        for component, state in states.items()
    }


@transaction.atomic
def veto(draft: Incident | Update, *, actor: str, now: datetime) -> None:
    """Stop a draft from going out. Raises Refused when it has gone out already."""
    row: Incident | Update
    if isinstance(draft, Incident):
        row = _lock(draft)
    else:
        row = Update.objects.select_for_update().get(pk=draft.pk)
    if row.published_at:
        raise Refused(
            f"It went out at {row.published_at:%H:%M:%S} UTC; post an update or retract it instead."
        )
    if row.vetoed_at:
        return
    type(row).objects.filter(pk=row.pk).update(vetoed_at=now, updated_at=now)
    audit(actor=actor, action="veto", subject=row.uid, now=now)
    doorbell.ring_on_commit("veto")


def taken_back(incident: Incident) -> list[str]:
    """Return the follow-ups (uids) that a machine withdrew; what a person vetoed is not among them."""
    vetoed = incident.updates.filter(automatic=True, vetoed_at__isnull=False)
    uids = list(vetoed.values_list("uid", flat=True))
    ours = AuditEntry.objects.filter(subject__in=uids, action="veto", actor__in=MACHINES)
    return list(ours.values_list("subject", flat=True))


@transaction.atomic
def revive(incident: Incident, *, publish_at: datetime | None, actor: str, now: datetime) -> None:
    """Let a vetoed draft wait again: what it was made of is back."""
    incident = _lock(incident)
    if incident.published_at or incident.vetoed_at is None:
        return
    source = {name: value for name, value in incident.source.items() if name != "over_at"}
    Incident.objects.filter(pk=incident.pk).update(
        vetoed_at=None, publish_at=publish_at, source=source, updated_at=now
    )
    audit(actor=actor, action="revive", subject=incident.uid, now=now)
    doorbell.ring_on_commit("draft")


@transaction.atomic
def move_deadline(
    incident: Incident, *, publish_at: datetime | None, actor: str, now: datetime
) -> None:
    """Set when a draft goes out by itself."""
    incident = _lock(incident)
    if incident.published_at is None:
        incident.publish_at = publish_at
        incident.save(update_fields=["publish_at"])
        audit(
            actor=actor,
            action="move_deadline",
            subject=incident.uid,
            after={"publish_at": str(publish_at)},
            now=now,
        )


@transaction.atomic
def add_to_draft(
    incident: Incident, *, components: Components, now: datetime, **fields: Any
) -> None:
    """Widen a draft: further components, an earlier deadline, the text of a worse template.

    `fields` are columns of the incident (name, publish_at, template, source) or, as `body` and `what_to_do`, of its text.
    """
    incident = _lock(incident)
    if incident.published_at:
        raise Refused(f'"{incident.name}" is published; post an update instead.')
    text = {
        name: fields.pop(name)
        for name in ("body", "what_to_do", "translations", "next_update_by")
        if name in fields
    }
    if text:
        incident.updates.filter(published_at__isnull=True).update(**text, updated_at=now)
    for component, state in components.items():
        incident.affected.update_or_create(component=component, defaults={"status": state})
    states = [ComponentStatus(row.status) for row in incident.affected.all()]
    Incident.objects.filter(pk=incident.pk).update(
        impact=impact_of(states), updated_at=now, **fields
    )
    doorbell.ring_on_commit("draft")


@transaction.atomic
def edit(
    update: Update, *, body: str, actor: str, now: datetime, what_to_do: str | None = None
) -> Update:
    """Correct a published text; the page marks it as edited, the old words stay in the audit. Nobody is messaged again."""
    lock_page(update.incident.page_id)
    locked = Update.objects.select_for_update(of=("self",)).select_related("incident__page")
    update = locked.get(pk=update.pk)
    _check_text(update.incident.name, body)
    audit(
        actor=actor,
        action="edit",
        subject=update.uid,
        before={"body": update.body},
        after={"body": body},
        now=now,
    )
    update.translations = _still_true(update, body, what_to_do)
    update.body, update.edited_at, update.updated_at = body, now, now
    if what_to_do is not None:
        update.what_to_do = what_to_do
    update.save(update_fields=["body", "what_to_do", "translations", "edited_at", "updated_at"])
    _touch(update.incident, now)
    return update


@transaction.atomic
def retract(
    incident: Incident, *, body: str, actor: str, now: datetime, speaker: str = ""
) -> Update:
    """Take a false alarm back: resolved, told to exactly those who were told before."""
    incident = _lock(incident)
    if incident.published_at is None:
        raise Refused(f'"{incident.name}" was never published; veto the draft instead.')
    if incident.retracted_at:
        raise Refused(f'"{incident.name}" was retracted at {incident.retracted_at:%H:%M} UTC.')
    _check_text(incident.name, body)
    incident.retracted_at = now
    final = Status.COMPLETED if is_maintenance(Status(incident.status)) else Status.RESOLVED
    update = Update(
        incident=incident, status=final, body=body, audience=Audience.TOLD_BEFORE, retraction=True, speaker=speaker,
        created_at=now, updated_at=now, display_at=now,
    )  # fmt: skip
    _publish(incident, update, components=NOTHING, actor=actor, now=now)
    return update


@transaction.atomic
def reopen(
    incident: Incident, *, body: str, actor: str, now: datetime, what_to_do: str = "", components: Components = NOTHING,
    next_update_by: datetime | None = None, automatic: bool = False, speaker: str = "",
    audience: Audience = Audience.EVERYONE, impact: Impact | None = None, custom_tweet: str = "",
    translations: Translated = UNTRANSLATED,
) -> Update:  # fmt: skip
    """Open a resolved incident again: the same trouble is back, under the same id.

    Beside another automatic incident it is a person's from now on: a page has one of the machine's.
    """
    incident = _lock(incident)
    if incident.status != Status.RESOLVED:
        raise Refused(
            f'"{incident.name}" is "{incident.status}"; only a resolved incident can be reopened.'
        )
    incident.resolved_at = incident.monitoring_at = incident.retracted_at = None
    incident.status = Status.INVESTIGATING
    if impact:
        incident.impact_override = impact
    others = Incident.objects.filter(
        page=incident.page, automatic=True, vetoed_at__isnull=True, status__in=OPEN
    )
    if not automatic and others.exists():
        incident.automatic = False
    update = Update(
        incident=incident, status=Status.INVESTIGATING, body=body, what_to_do=what_to_do, automatic=automatic,
        audience=audience, custom_tweet=custom_tweet, translations=_check_translations(translations),
        speaker=speaker, next_update_by=next_update_by, created_at=now, updated_at=now, display_at=now,
    )  # fmt: skip
    _publish(incident, update, components=components, actor=actor, now=now, opening=True)
    return update


def _still_true(
    update: Update, body: str | None, what_to_do: str | None
) -> dict[str, dict[str, str]]:
    """Return the translations without what says in another language what stands there no longer."""
    if body not in (None, update.body):
        return {}
    kept: dict[str, dict[str, str]] = update.translations
    if what_to_do in (None, update.what_to_do):
        return kept
    return {
        language: {name: text for name, text in words.items() if name != "what_to_do"}
        for language, words in kept.items()
    }


def call_operators(
    *,
    page: Page,
    reason: CallReason,
    text: str,
    key: str,
    now: datetime,
    incident: Incident | None = None,
) -> Call | None:
    """Leave a word for the operators; the same `key` calls once and then returns None."""
    call, is_new = Call.objects.get_or_create(
        key=key,
        defaults={
            "page": page,
            "reason": reason,
            "text": text,
            "incident": incident,
            "created_at": now,
        },
    )
    if is_new:
        doorbell.ring_on_commit("call")
    return call if is_new else None


@transaction.atomic
def set_status(component: Component, *, status: ComponentStatus, actor: str, now: datetime) -> None:
    """Set what the public reads of a component; sends nothing. Wins until an incident changes it."""
    component = _lock_component(component)
    if component.status == status:
        return
    before = component.status
    _write_status(component, status, incident=None, actor=actor, now=now)
    audit(
        actor=actor, action="set_status", subject=component.uid, before={"status": before}, after={"status": status},
        now=now,
    )  # fmt: skip
    _touch_page(component.page_id, now)


@transaction.atomic
def set_unknown(component: Component, *, why: str, since: datetime, now: datetime) -> bool:
    """Say that nobody can tell how the component is; True when that is new."""
    known = Component.objects.filter(pk=component.pk, unknown_since__isnull=False)
    if known.filter(unknown_why=why[:NAME_CHARS_MAX]).exists():
        return False
    component = _lock_component(component)
    if component.unknown_since:
        if component.unknown_why != why:
            Component.objects.filter(pk=component.pk).update(
                unknown_why=why[:NAME_CHARS_MAX], updated_at=now
            )
        return False
    component.unknown_since, component.unknown_why, component.updated_at = (
        since,
        why[:NAME_CHARS_MAX],
        now,
    )
    component.save(update_fields=["unknown_since", "unknown_why", "updated_at"])
    StatusChange.objects.create(component=component, status="unknown", at=now, actor="probes")
    _touch_page(component.page_id, now)
    return True


@transaction.atomic
def clear_unknown(component: Component, *, now: datetime) -> bool:
    """The checks see the component again; True when it was unknown."""
    # Asked at each result: where nothing changes, nobody waits for the page.
    if not Component.objects.filter(pk=component.pk, unknown_since__isnull=False).exists():
        return False
    component = _lock_component(component)
    if component.unknown_since is None:
        return False
    component.unknown_since, component.unknown_why, component.updated_at = None, "", now
    component.save(update_fields=["unknown_since", "unknown_why", "updated_at"])
    StatusChange.objects.create(
        component=component, status=component.status, at=now, actor="probes"
    )
    _touch_page(component.page_id, now)
    return True


def add_component(
    *, page: Page, slug: str, name: str, actor: str, now: datetime, **fields: Any
) -> Component:
    """Create a component; its history of status begins here."""
    with transaction.atomic():
        component = Component.objects.create(
            page=page, slug=slug, name=name, created_at=now, updated_at=now, **fields
        )
        StatusChange.objects.create(
            component=component, status=component.status, at=now, actor=actor
        )
        audit(
            actor=actor,
            action="add_component",
            subject=component.uid,
            after={"slug": slug, "name": name},
            now=now,
        )
        _touch_page(page.pk, now)
    return component


def mark_shown(updates: Sequence[int], *, now: datetime) -> None:
    """Note when the page first showed these updates (row ids); from then on they may be pushed."""
    Update.objects.filter(pk__in=updates, shown_at__isnull=True).update(shown_at=now)


def audit(
    *, actor: str, action: str, subject: str, now: datetime,
    before: dict[str, Any] | None = None, after: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write who did what; never changed afterwards."""
    AuditEntry.objects.create(
        at=now,
        actor=actor[:NAME_CHARS_MAX],
        action=action,
        subject=subject,
        before=before or {},
        after=after or {},
    )


# --- inside -----------------------------------------------------------------------------------------------------------


def _publish(
    incident: Incident,
    update: Update,
    *,
    components: Components,
    actor: str,
    now: datetime,
    opening: bool = False,
) -> None:
    """Give the update its number and let it act on incident and components. The caller holds the incident's lock."""
    status = Status(update.status)
    opening = opening or incident.published_at is None
    acted = incident.published_at is not None and incident.status in ACTIVE
    states = {**_implied(incident, status), **components}
    impact_before = Impact(incident.impact_override or incident.impact)
    update.changes = _apply(incident, states, opening=opening, closing=status in FINAL)
    incident.status = status
    incident.impact = _impact(incident, status)
    incident.updated_at = now
    incident.monitoring_at = incident.monitoring_at or (
        now if status is Status.MONITORING else None
    )
    if status in (Status.RESOLVED, Status.COMPLETED):
        incident.resolved_at = incident.resolved_at or now
    incident.published_at = incident.published_at or now
    incident.publish_at = None
    incident.next_update_by = _promise(incident, update, status, now)
    incident.person_posted = incident.person_posted or not update.automatic
    incident.save()
    update.number = reads.newest_number(incident) + 1
    update.first_word = update.number == 1
    update.new_impact = not update.first_word and _is_graver(
        Impact(incident.impact_override or incident.impact), impact_before
    )
    update.published_at = update.updated_at = update.display_at = now
    update.publish_at = None
    update.save()
    # A window announced and an incident that was over already leave the components as they are.
    if acted or status in ACTIVE:
        _write_public(incident, [row["code"] for row in update.changes], actor=actor, now=now)
    audit(
        actor=actor, action="publish", subject=incident.uid, now=now,
        after={"update": update.uid, "status": status, "body": update.body, "audience": update.audience},
    )  # fmt: skip
    _touch_page(incident.page_id, now)
    transaction.on_commit(lambda: _tell(incident, update))


def _tell(incident: Incident, update: Update) -> None:
    with trace.on(trace.of_incident(incident.uid, incident.source), "publish"):
        log.info("update %s of %s is published: %s", update.number, incident.uid, update.status)


def _promise(incident: Incident, update: Update, status: Status, now: datetime) -> datetime | None:
    """A promise stands until it is kept by its hour, renewed, or the incident is over."""
    if status in FINAL:
        return None
    if update.next_update_by is None and incident.next_update_by and incident.next_update_by > now:
        return incident.next_update_by
    return update.next_update_by


def _implied(incident: Incident, status: Status) -> dict[Component, ComponentStatus]:
    """What a status says of all the incident's components by itself: over, or under maintenance."""
    if status in FINAL:
        state = ComponentStatus.OPERATIONAL
    elif status in (Status.IN_PROGRESS, Status.VERIFYING):
        state = ComponentStatus.UNDER_MAINTENANCE
    else:
        return {}
    return {row.component: state for row in incident.affected.select_related("component")}


def _apply(
    incident: Incident, states: Components, *, opening: bool, closing: bool
) -> list[dict[str, str]]:
    """Write the components under the incident; return the changes as /api/v2 words them."""
    before = {row.component_id: row.status for row in incident.affected.all()}
    changes = []
    for component, state in states.items():
        old = (
            ComponentStatus.OPERATIONAL
            if opening
            else before.get(component.pk, ComponentStatus.OPERATIONAL)
        )
        incident.affected.update_or_create(component=component, defaults={"status": state})
        if opening or closing or old != state:
            changes.append(_change(component, old, state))
    return changes


def _change(component: Component, old: str, new: str) -> dict[str, str]:
    return {
        "code": component.uid,
        "name": component.name,
        "old_status": str(old),
        "new_status": str(new),
    }


def _impact(incident: Incident, status: Status) -> Impact:
    if is_maintenance(status):
        return Impact.MAINTENANCE
    states = [ComponentStatus(row.status) for row in incident.affected.all()]
    return higher_impact(Impact(incident.impact), impact_of(states))


def _is_graver(new: Impact, old: Impact) -> bool:
    return new != old and higher_impact(new, old) == new


def _write_public(incident: Incident, uids: Sequence[str], *, actor: str, now: datetime) -> None:
    """Set the public status of the changed components to the worst that open incidents say of them."""
    touched = Component.objects.select_for_update().filter(uid__in=uids).order_by("id")
    for component in touched:
        others = IncidentComponent.objects.filter(
            component=component, incident__in=reads.active_incidents(incident.page)
        )
        state = worst(ComponentStatus(row.status) for row in others)
        _write_status(component, state, incident=incident, actor=actor, now=now)


def _write_status(
    component: Component,
    status: ComponentStatus,
    *,
    incident: Incident | None,
    actor: str,
    now: datetime,
) -> None:
    if component.status == status:
        return
    component.status, component.updated_at = status, now
    component.save(update_fields=["status", "updated_at"])
    if component.unknown_since is None:
        StatusChange.objects.create(
            component=component, status=status, at=now, incident=incident, actor=actor
        )


def made_by(key: str, *, page: Page, published: bool = True) -> Incident | None:
    """Return the incident that this press made already, None for a new one. Raises Refused or Overtaken.

    A form's key is "FORM.WORDS": the same words again are the same press. Other words from the same form, which stood open
    on a second device or came back by the browser's own button, must neither be lost nor doubled.
    """
    if not key:
        return None
    twin = Incident.objects.filter(page=page, updates__key=key).first()
    if twin is not None and published == (twin.published_at is not None):
        return twin
    other = _other_presses(Update.objects.filter(incident__page=page), key).first()
    made = twin or (other.incident if other else None)
    if made is None:
        return None
    if made.published_at and published:
        raise _overtaken(made)
    how = "published" if made.published_at else "kept as a draft"
    raise Refused(f'"{made.name}" is {how} already; go on with it at the desk.')


def _other_presses(updates: QuerySet[Update], key: str) -> QuerySet[Update]:
    form, _, words = key.rpartition(".")
    return updates.filter(key__startswith=f"{form}.") if form and words else updates.none()


def _overtaken(incident: Incident) -> Overtaken:
    """Say what was published meanwhile."""
    newest = incident.updates.filter(number__isnull=False).order_by("-number").first()
    assert newest is not None, "only a published incident is overtaken"
    at = f"{newest.published_at:%H:%M:%S}" if newest.published_at else "just now"
    return Overtaken(
        f"Meanwhile {newest.speaker or 'the machine'} said ({newest.status}, {at} UTC): “{newest.body}” Nothing of yours "
        "was sent. Change your text if it needs to, then press again."
    )


def _check_nobody_was_first(page: Page, seen: int | None, components: Components) -> None:
    """Two people who declare the same trouble make one incident: the second reads the first one's words."""
    if seen is None:
        return
    newer = Incident.objects.filter(
        page=page, pk__gt=seen, vetoed_at__isnull=True, backfilled=False
    )
    newer = newer.exclude(status__in=FINAL)
    if components:
        newer = newer.filter(Q(components__in=list(components)) | Q(components__isnull=True))
    twin = newer.order_by("-pk").first()
    if twin is None:
        return
    text = twin.updates.order_by("id").first()
    raise Overtaken(
        f"Meanwhile {(text and text.speaker) or 'the machine'} {'declared' if twin.published_at else 'drafted'} "
        f"“{twin.name}”: “{text.body if text else ''}” Nothing of yours was sent. Post an update there, or press again "
        "if yours is another trouble."
    )


def lock_page(page_id: int) -> None:
    """Wait until nobody else writes: the page, then incidents, then components is the one order of locks."""
    Page.objects.select_for_update(no_key=True).get(pk=page_id)


def _lock(incident: Incident) -> Incident:
    lock_page(incident.page_id)
    return (
        Incident.objects.select_for_update(of=("self",)).select_related("page").get(pk=incident.pk)
    )


def _lock_component(component: Component) -> Component:
    lock_page(component.page_id)
    return Component.objects.select_for_update().get(pk=component.pk)


def _touch(incident: Incident, now: datetime) -> None:
    Incident.objects.filter(pk=incident.pk).update(updated_at=now)
    _touch_page(incident.page_id, now)


def _touch_page(page_id: int, now: datetime) -> None:
    """The page has news: it is dated, and the clock is woken."""
    Page.objects.filter(pk=page_id).update(updated_at=now)
    doorbell.ring_on_commit("published")


def _check_text(name: str, body: str) -> None:
    if not name.strip():
        raise Refused("The name is empty; say what readers notice, in a few words.")
    if len(name) > NAME_CHARS_MAX:
        raise Refused(f"The name has {len(name)} characters; allowed are {NAME_CHARS_MAX}.")
    if not body.strip():
        raise Refused("The text is empty; say what is known, even if it is little.")
    if len(body) > BODY_CHARS_MAX:
        raise Refused(f"The text has {len(body):,} characters; allowed are {BODY_CHARS_MAX:,}.")
    if "\x00" in name + body:
        raise Refused("The text holds a NUL character; remove it.")


def _check_translations(words: Translated) -> dict[str, dict[str, str]]:
    """Return what is kept: language -> words, without what is empty. Raises Refused."""
    kept: dict[str, dict[str, str]] = {}
    for language, said in words.items():
        if not LANGUAGE.fullmatch(language):
            raise Refused(f'"{language[:20]}" is not a language; expected one as es or pt-BR.')
        unknown = set(said) - {"name", "body", "what_to_do"}
        if unknown:
            raise Refused(
                f"A translation has name, body and what_to_do, not {min(unknown)[:20]!r}."
            )
        full = {name: text for name, text in said.items() if text.strip()}
        if full:
            _check_text(full.get("name", "-"), full.get("body", "-"))
            _check_text("-", full.get("what_to_do", "-"))
            kept[language] = full
    if len(kept) > LANGUAGES_MAX:
        raise Refused(f"At most {LANGUAGES_MAX} translations can be given.")
    return kept


def _check_window(status: Status, start: datetime | None, end: datetime | None) -> None:
    if is_maintenance(status) != (start is not None):
        raise Refused("A maintenance needs scheduled_for, and only a maintenance has it.")
    if start and end and end <= start:
        raise Refused(
            f"The window ends at {end:%Y-%m-%d %H:%M} before it begins at {start:%Y-%m-%d %H:%M}."
        )
