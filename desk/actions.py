"""What staff can do with an incident: form, right, verb; used by the admin's pages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from desk.forms import (
    BackfillForm,
    DeclareForm,
    PublishDraftForm,
    ReopenForm,
    RetractForm,
    ScheduleForm,
    Speech,
    Told,
    UpdateForm,
)
from incidents import backfilling, recurring, services
from incidents.lifecycle import FINAL, Impact, Status, is_maintenance
from incidents.models import Incident, Page, Template

Verb = Callable[[Page, Incident | None, Speech, str, datetime], Incident]


@dataclass(frozen=True, slots=True)
class Action:
    """`name` is the last part of its address; `button` what stands on the button that does it."""

    name: str
    title: str
    button: str
    done: str
    form: type[Speech]
    verb: Verb
    right: str = "change"
    of_incident: bool = True
    takes_template: bool = False


def _declare(
    page: Page, incident: Incident | None, form: Speech, actor: str, now: datetime
) -> Incident:
    return services.declare(**_declared(page, form, actor, now))


def _declared(
    page: Page, form: Speech, actor: str, now: datetime
) -> dict[str, Any]:  # Any: the words of declare()
    assert isinstance(form, Told), "what is declared has components"
    draft = form.draft(now)
    chosen = Template.objects.filter(page=page, slug=form.data.get("template", "")).first()
    return {
        "page": page, "name": draft.name, "body": draft.body, "status": draft.status, "what_to_do": draft.what_to_do,
        "components": draft.components, "impact": draft.impact, "next_update_by": draft.next_update_by,
        "audience": draft.audience, "social": draft.social, "custom_tweet": draft.custom_tweet, "template": chosen,
        "speaker": actor, "actor": actor, "now": now, "key": form.press, "known": form.known(),
        "seen": form.cleaned_data["seen"], "translations": form.translations(),
    }  # fmt: skip


def is_draft(posted: Mapping[str, Any], action: Action) -> bool:
    """Say whether a press keeps a draft: a declaration alone can be one, anything else is said to everyone."""
    return action is DECLARE and "_draft" in posted


def keep_draft(page: Page, form: Speech, *, actor: str, now: datetime) -> Incident:
    """Keep a declaration as a draft that waits for a person."""
    return services.declare(**_declared(page, form, actor, now), published=False)


@transaction.atomic
def _schedule(
    page: Page, incident: Incident | None, form: Speech, actor: str, now: datetime
) -> Incident:
    assert isinstance(form, ScheduleForm), "a maintenance has a window"
    said, remind = form.cleaned_data, form.remind_before_s()
    series = None
    Page.objects.select_for_update().get(pk=page.pk)  # pressed twice at once, one waits here
    if twin := services.made_by(form.press, page=page):
        return twin
    if said["rule"]:
        series = recurring.begin(
            page=page, name=said["name"], body=said["body"], what_to_do=said["what_to_do"], rule=said["rule"],
            starts_at=said["scheduled_for"], duration=said["scheduled_until"] - said["scheduled_for"],
            components=list(said["affected"]), remind_before=remind, first_is_told=True, actor=actor, now=now,
        )  # fmt: skip
    return services.schedule(
        page=page, name=said["name"], body=said["body"], what_to_do=said["what_to_do"],
        scheduled_for=said["scheduled_for"], scheduled_until=said["scheduled_until"],
        components=list(said["affected"]), auto_in_progress=said["auto"], auto_completed=said["auto"],
        audience=form.audience, speaker=actor, actor=actor, now=now, key=form.press, series=series,
        remind_at=said["scheduled_for"] - remind if remind else None,
    )  # fmt: skip


def _backfill(
    page: Page, incident: Incident | None, form: Speech, actor: str, now: datetime
) -> Incident:
    assert isinstance(form, BackfillForm), "a past incident has a beginning and an end"
    said = form.cleaned_data
    return backfilling.backfill(
        page=page, name=said["name"], body=said["body"], started_at=said["started_at"], ended_at=said["ended_at"],
        components=form.states(), actor=actor, now=now, key=form.press,
    )  # fmt: skip


def _update(
    page: Page, incident: Incident | None, form: Speech, actor: str, now: datetime
) -> Incident:
    assert incident is not None, "the address names an incident"
    assert isinstance(form, Told), "an update has components"
    draft = form.draft(now)
    services.publish_update(
        incident, known=form.known(), seen=form.cleaned_data["seen"], status=draft.status, body=draft.body, what_to_do=draft.what_to_do, components=draft.components,
        next_update_by=draft.next_update_by, audience=draft.audience, custom_tweet=draft.custom_tweet,
        speaker=actor, actor=actor, now=now, key=form.press, translations=form.translations(),
    )  # fmt: skip
    return incident


def _publish_draft(
    page: Page, incident: Incident | None, form: Speech, actor: str, now: datetime
) -> Incident:
    assert incident is not None, "the address names an incident"
    assert isinstance(form, Told), "a draft has components"
    draft = form.draft(now)
    services.publish_draft(
        incident, name=draft.name, body=draft.body, what_to_do=draft.what_to_do, known=form.known(),
        components=draft.components, next_update_by=draft.next_update_by, by_person=True, actor=actor, now=now,
        key=form.press, translations=form.translations(),
    )  # fmt: skip
    return incident


def _retract(
    page: Page, incident: Incident | None, form: Speech, actor: str, now: datetime
) -> Incident:
    assert incident is not None, "the address names an incident"
    services.retract(incident, body=form.cleaned_data["body"], speaker=actor, actor=actor, now=now)
    return incident


def _reopen(
    page: Page, incident: Incident | None, form: Speech, actor: str, now: datetime
) -> Incident:
    assert incident is not None, "the address names an incident"
    draft = form.draft(now)
    services.reopen(
        incident, body=draft.body, what_to_do=draft.what_to_do, components=draft.components,
        next_update_by=draft.next_update_by, speaker=actor, actor=actor, now=now,
    )  # fmt: skip
    return incident


DECLARE = Action(
    "declare", "Declare an incident", "Publish", "The incident is published.", DeclareForm, _declare,
    right="add", of_incident=False, takes_template=True,
)  # fmt: skip
SCHEDULE = Action(
    "schedule", "Schedule a maintenance", "Announce", "The maintenance is announced.", ScheduleForm, _schedule,
    right="add", of_incident=False,
)  # fmt: skip
BACKFILL = Action(
    "backfill", "Write down a past incident", "Write down", "It is on the record; nobody was told.", BackfillForm,
    _backfill, right="add", of_incident=False,
)  # fmt: skip
UPDATE = Action(
    "update",
    "Post an update",
    "Publish",
    "The update is published.",
    UpdateForm,
    _update,
    takes_template=True,
)
PUBLISH = Action(
    "publish",
    "Publish the draft",
    "Publish",
    "The draft is published.",
    PublishDraftForm,
    _publish_draft,
)
RETRACT = Action(
    "retract", "Retract a false alarm", "Retract", "The alarm is taken back.", RetractForm, _retract
)
REOPEN = Action("reopen", "Reopen", "Reopen", "The incident is open again.", ReopenForm, _reopen)
ALL = (DECLARE, SCHEDULE, BACKFILL, UPDATE, PUBLISH, RETRACT, REOPEN)


def offered(incident: Incident) -> list[Action]:
    """Return what can be done with this incident now, the usual first."""
    status = Status(incident.status)
    if incident.published_at is None:
        return [] if incident.vetoed_at else [PUBLISH]
    if status == Status.RESOLVED and not incident.retracted_at:
        return [REOPEN, UPDATE, RETRACT]
    if status in FINAL:
        return [REOPEN, UPDATE] if status == Status.RESOLVED else [UPDATE]
    return [UPDATE] if is_maintenance(status) and incident.retracted_at else [UPDATE, RETRACT]


def impact_words(incident: Incident) -> str:
    return str(Impact(incident.impact_override or incident.impact))
