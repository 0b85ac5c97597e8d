"""What staff type: an incident, an update, a maintenance; and how it becomes a verb of the core."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from desk import advice
from desk.preview import Draft
from incidents import reads, recurring
from incidents.lifecycle import (
    NEXT,
    OPEN,
    Audience,
    ComponentStatus,
    Impact,
    Refused,
    Status,
    is_maintenance,
)
from incidents.models import BODY_CHARS_MAX, NAME_CHARS_MAX, Component, Incident, Page, Template

KEY_BYTES = 16
KEY_CHARS_MAX = 40  # incidents.Update.key takes 64: this, a point, and 16 of a digest
# What stands in a form and is not said with it: another button, or a newer token, does not make other words.
_NOT_SAID = frozenset(
    {"csrfmiddlewaretoken", "key", "seen", "_form", "_publish", "_preview", "_draft", "_keep"}
)
TWEET_CHARS_MAX = 1000
STATUS_WORDS = {
    ComponentStatus.OPERATIONAL: "working",
    ComponentStatus.DEGRADED_PERFORMANCE: "slow",
    ComponentStatus.PARTIAL_OUTAGE: "partly working",
    ComponentStatus.MAJOR_OUTAGE: "not working",
    ComponentStatus.UNDER_MAINTENANCE: "in maintenance",
}
PROMISES = [
    ("", "no promise"), ("600", "in 10 min"), ("1200", "in 20 min"), ("1800", "in 30 min"), ("3600", "in 1 h"),
    ("7200", "in 2 h"), ("14400", "in 4 h"), ("86400", "in a day"),
]  # fmt: skip
USUAL_PROMISE = "1200"  # communication.md §3.3: every 20 min while it is critical


def make_key() -> str:
    """Return a word that goes with a form: pressed twice, it is published once."""
    return secrets.token_urlsafe(KEY_BYTES)


def _text(rows: int) -> forms.Textarea:
    widget: forms.Textarea = UnfoldAdminTextareaWidget(attrs={"rows": rows})
    return widget


LOCKED = (
    "What to do is locked while a critical component is affected: it is chosen by what is known to work. "
    "Empty this field, and put facts into the text."
)


class Speech(forms.Form):
    """What every form that says something has."""

    key = forms.CharField(widget=forms.HiddenInput, max_length=KEY_CHARS_MAX)
    body = forms.CharField(
        label="Text", widget=_text(5), max_length=BODY_CHARS_MAX,
        help_text="What people notice, what works, what is not known. No cause, no time of repair.",
    )  # fmt: skip
    what_to_do = forms.CharField(
        label="What to do now", widget=_text(3), required=False, max_length=BODY_CHARS_MAX,
        help_text="Stands first in every message.",
    )  # fmt: skip

    def __init__(
        self, *args: Any, page: Page, incident: Incident | None = None, **kwargs: Any
    ) -> None:  # Any: Django's
        super().__init__(*args, **kwargs)
        self.page = page
        self.incident = incident
        self.zone = ZoneInfo(page.time_zone)
        self.fields["key"].initial = make_key()

    def next_update_by(self, now: datetime) -> datetime | None:
        seconds = self.cleaned_data.get("next_update_in") or ""
        return now + timedelta(seconds=int(seconds)) if seconds else None

    @property
    def press(self) -> str:
        """Return the form's key and a digest of its words: pressed twice it is said once, other words are another press."""
        rows = self.data.lists()  # type: ignore[attr-defined]  # a QueryDict
        said = sorted((name, values) for name, values in rows if name not in _NOT_SAID)
        digest = hashlib.blake2b(repr(said).encode(), digest_size=8).hexdigest()
        return f"{self.cleaned_data['key']}.{digest}"

    @property
    def audience(self) -> Audience:
        return Audience.EVERYONE if self.cleaned_data.get("tell", True) else Audience.NOBODY

    def draft(self, now: datetime) -> Draft:
        """Return what the form says, for the preview."""
        raise NotImplementedError


class Advised(Speech):
    """Speech about trouble: what to do is chosen by what is known to work, wherever a critical component is affected."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: Django's
        super().__init__(*args, **kwargs)
        before = _known_before(self.incident)
        choices = [(word.value, word.value) for word in advice.Known]
        for name, label in advice.VARIABLES.items():
            self.fields[name] = forms.ChoiceField(
                label=label, choices=choices, required=False, initial=before.get(name, advice.Known.UNKNOWN.value),
                widget=UnfoldAdminSelectWidget,
            )  # fmt: skip
        self.fields["what_to_do"].label = "What to do, in your words"
        self.fields["what_to_do"].help_text = "Only where no critical component is affected."

    @property
    def known_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in advice.VARIABLES]

    def known(self) -> dict[str, str]:
        return {name: word.value for name, word in advice.read(self.cleaned_data).items()}

    def is_critical(self) -> bool:
        """Whether the approved block is said: for critical components, and for trouble that names none."""
        affected = self.affected_components()
        return not affected or any(row.critical for row in affected)

    def affected_components(self) -> list[Component]:
        raise NotImplementedError

    def is_over(self) -> bool:
        return self.cleaned_data.get("status") == Status.RESOLVED

    def advice(self) -> str:
        """Return what to do: locked words, or the writer's own."""
        if not self.is_critical():
            return str(self.cleaned_data.get("what_to_do") or "")
        if self.is_over():
            return advice.all_clear(self.missed(), time_zone=self.page.time_zone)
        return advice.block(advice.read(self.cleaned_data))

    def missed(self) -> tuple[datetime, datetime] | None:
        return None

    def clean(self) -> dict[str, Any]:  # Any: Django's cleaned data
        said = super().clean() or {}
        own = (said.get("what_to_do") or "").strip()
        if own and self.is_critical() and not self._is_approved(own):
            self.add_error("what_to_do", LOCKED)
        return said

    def _is_approved(self, own: str) -> bool:
        """A template's words were approved before the night; the block takes their place without a complaint."""
        mine = (
            self.incident.updates.filter(published_at__isnull=True, what_to_do=own)
            if self.incident
            else None
        )
        return Template.objects.filter(page=self.page, what_to_do=own).exists() or bool(
            mine and mine.exists()
        )


def _known_before(incident: Incident | None) -> dict[str, str]:
    """Return what was known when the incident was last spoken of."""
    if incident is None:
        return {}
    newest = incident.updates.exclude(known={}).order_by("-id").first()
    return dict(newest.known) if newest else {}


class Told(Advised):
    """Speech with components, a promise and an audience."""

    next_update_in = forms.ChoiceField(
        label="Next update", choices=PROMISES, required=False, widget=UnfoldAdminSelectWidget
    )
    tell = forms.BooleanField(
        label="Tell subscribers", required=False, initial=True, widget=UnfoldBooleanSwitchWidget,
        help_text="Off: the page shows it, nobody is messaged.",
    )  # fmt: skip

    untouched = "not affected"

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: Django's
        super().__init__(*args, **kwargs)
        self.components = {
            f"component_{row.pk}": row for row in Component.objects.filter(page=self.page)
        }
        choices = [
            ("", self.untouched),
            *((status.value, words) for status, words in STATUS_WORDS.items()),
        ]
        for name, row in self.components.items():
            self.fields[name] = forms.ChoiceField(
                label=row.name, choices=choices, required=False, widget=UnfoldAdminSelectWidget
            )

        self._translate()

    def _translate(self) -> None:
        """Let the text be written in each further language of the page; who reads none of them gets the first."""
        first, *others = self.page.languages or ["en"]
        self.tongues: dict[str, dict[str, str]] = {}
        for language in others:
            fields = {"body": f"body_in_{language}"}
            self.fields[fields["body"]] = forms.CharField(
                label=f"Text in {language}", widget=_text(4), required=False, max_length=BODY_CHARS_MAX,
                help_text=f"Empty: its readers get the words in {first}.",
            )  # fmt: skip
            if "name" in self.fields:
                fields = {"name": f"name_in_{language}"} | fields
                self.fields[fields["name"]] = forms.CharField(
                    label=f"What readers notice, in {language}", required=False,
                    max_length=NAME_CHARS_MAX, widget=UnfoldAdminTextInputWidget,
                )  # fmt: skip
            self.tongues[language] = fields

    @property
    def translation_fields(self) -> list[forms.BoundField]:
        return [self[field] for fields in self.tongues.values() for field in fields.values()]

    def translations(self) -> dict[str, dict[str, str]]:
        """Return language -> words; of what to do a translation stands only beside the approved words that it is of."""
        slug, draft = self.data.get("template", ""), None
        if self.incident is not None:
            draft = self.incident.updates.filter(published_at__isnull=True).order_by("id").first()
        source = draft or Template.objects.filter(page=self.page, slug=slug).first()
        kept = source.translations if source and source.what_to_do == self.advice() else {}
        return {
            language: {name: self.cleaned_data.get(field) or "" for name, field in fields.items()}
            | {"what_to_do": kept.get(language, {}).get("what_to_do", "")}
            for language, fields in self.tongues.items()
        }

    @property
    def component_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.components]

    def affected_components(self) -> list[Component]:
        return list(self.states())

    def states(self) -> dict[Component, ComponentStatus]:
        chosen = {row: self.cleaned_data.get(name) for name, row in self.components.items()}
        return {row: ComponentStatus(status) for row, status in chosen.items() if status}


class DeclareForm(Told):
    name = forms.CharField(
        label="What readers notice", max_length=NAME_CHARS_MAX, widget=UnfoldAdminTextInputWidget,
        help_text="“Followers may not receive alerts”: becomes the headline.",
    )  # fmt: skip
    status = forms.ChoiceField(
        choices=[(status.value, status.value.capitalize()) for status in (*OPEN, Status.RESOLVED)],
        initial=Status.INVESTIGATING.value,
        widget=UnfoldAdminSelectWidget,
    )
    impact = forms.ChoiceField(
        label="Impact", required=False, widget=UnfoldAdminSelectWidget,
        choices=[("", "from the components"), *((i.value, i.value) for i in Impact if i is not Impact.MAINTENANCE)],
    )  # fmt: skip
    social = forms.BooleanField(
        label="Post on X and Facebook",
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget,
    )
    custom_tweet = forms.CharField(
        label="Own words for X", required=False, max_length=TWEET_CHARS_MAX, widget=_text(2),
        help_text="Empty: made from the text.",
    )  # fmt: skip
    seen = forms.IntegerField(widget=forms.HiddenInput, required=False)
    field_order = ("name", "status", "body", "what_to_do", "next_update_in")

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: Django's
        super().__init__(*args, **kwargs)
        self.fields["next_update_in"].initial = USUAL_PROMISE
        self.fields["seen"].initial = newest_incident(self.page)

    def draft(self, now: datetime) -> Draft:
        said = self.cleaned_data
        return Draft(
            name=said["name"], status=Status(said["status"]), body=said["body"], what_to_do=self.advice(),
            components=self.states(), next_update_by=self.next_update_by(now), audience=self.audience,
            impact=Impact(said["impact"]) if said["impact"] else None, social=said["social"],
            custom_tweet=said["custom_tweet"],
        )  # fmt: skip


class UpdateForm(Told):
    status = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    custom_tweet = forms.CharField(
        label="Own words for X", required=False, max_length=TWEET_CHARS_MAX, widget=_text(2)
    )
    seen = forms.IntegerField(widget=forms.HiddenInput)
    missed_from = forms.DateTimeField(
        label="Alerts may have been missed from", required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
    )  # fmt: skip
    missed_until = forms.DateTimeField(
        label="until",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
    )
    field_order = ("status", "body", "what_to_do", "next_update_in")
    untouched = "as it is"

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: Django's
        super().__init__(*args, **kwargs)
        assert self.incident is not None, "an update belongs to an incident"
        now = Status(self.incident.status)
        allowed = [(each.value, each.value.replace("_", " ").capitalize()) for each in NEXT[now]]
        self.fields["status"].choices = allowed  # type: ignore[attr-defined]  # a ChoiceField
        self.fields["status"].initial = now.value
        self.fields["seen"].initial = reads.newest_number(self.incident)
        self.fields["next_update_in"].initial = USUAL_PROMISE

    def affected_components(self) -> list[Component]:
        assert self.incident is not None, "an update belongs to an incident"
        return [row.component for row in self.incident.affected.select_related("component")] + list(
            self.states()
        )

    def missed(self) -> tuple[datetime, datetime] | None:
        start, end = self.cleaned_data.get("missed_from"), self.cleaned_data.get("missed_until")
        return (
            (start.replace(tzinfo=self.zone), end.replace(tzinfo=self.zone))
            if start and end
            else None
        )

    def clean(self) -> dict[str, Any]:  # Any: Django's cleaned data
        said = super().clean() or {}
        start, end = said.get("missed_from"), said.get("missed_until")
        if (start is None) != (end is None):
            self.add_error("missed_until", "The window needs both ends; empty both to name none.")
        elif start and end and end < start:
            self.add_error("missed_until", "The window ends before it begins.")
        return said

    def draft(self, now: datetime) -> Draft:
        said = self.cleaned_data
        assert self.incident is not None, "an update belongs to an incident"
        return Draft(
            name=self.incident.name, status=Status(said["status"]), body=said["body"], what_to_do=self.advice(),
            components=self.states(), next_update_by=self.next_update_by(now), audience=self.audience,
            custom_tweet=said["custom_tweet"], social=self.incident.social,
        )  # fmt: skip


class ReopenForm(Told):
    untouched = "not affected"

    def affected_components(self) -> list[Component]:
        assert self.incident is not None, "only an incident can be reopened"
        return [row.component for row in self.incident.affected.select_related("component")] + list(
            self.states()
        )

    field_order = ("body", "what_to_do", "next_update_in")

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: Django's
        super().__init__(*args, **kwargs)
        self.fields.pop("tell")
        self.fields["next_update_in"].initial = USUAL_PROMISE

    def draft(self, now: datetime) -> Draft:
        said = self.cleaned_data
        assert self.incident is not None, "only an incident can be reopened"
        return Draft(
            name=self.incident.name, status=Status.INVESTIGATING, body=said["body"], what_to_do=self.advice(),
            components=self.states(), next_update_by=self.next_update_by(now), audience=Audience.EVERYONE,
            social=self.incident.social,
        )  # fmt: skip


class RetractForm(Speech):
    body = forms.CharField(
        label="Text", widget=_text(4), max_length=BODY_CHARS_MAX,
        help_text="Goes to exactly those who were alarmed.",
        initial="This was a false alarm. Everything was working. We are sorry for the worry.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: Django's
        super().__init__(*args, **kwargs)
        self.fields.pop("what_to_do")
        if self._is_planned:
            self.fields["body"].initial = "This maintenance does not take place."
            self.fields["body"].help_text = "Goes to exactly those who heard of it."

    @property
    def _is_planned(self) -> bool:
        return self.incident is not None and is_maintenance(Status(self.incident.status))

    def draft(self, now: datetime) -> Draft:
        assert self.incident is not None, "only an incident can be retracted"
        final = Status.COMPLETED if self._is_planned else Status.RESOLVED
        return Draft(
            name=self.incident.name, status=final, body=self.cleaned_data["body"], what_to_do="",
            components={}, next_update_by=None, audience=Audience.TOLD_BEFORE, retraction=True,
            social=self.incident.social,
        )  # fmt: skip


class PublishDraftForm(Told):
    """A draft, changed on the way if need be."""

    name = forms.CharField(
        label="What readers notice", max_length=NAME_CHARS_MAX, widget=UnfoldAdminTextInputWidget
    )
    field_order = ("name", "body", "what_to_do", "next_update_in")

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: Django's
        super().__init__(*args, **kwargs)
        assert self.incident is not None, "a draft belongs to an incident"
        self.fields.pop("tell")
        text = self.incident.updates.filter(published_at__isnull=True).order_by("id").first()
        self.fields["name"].initial = self.incident.name
        self.fields["next_update_in"].initial = USUAL_PROMISE
        for row in self.incident.affected.all():
            self.fields[f"component_{row.component_id}"].initial = row.status
        if text:
            self.fields["body"].initial = text.body
            self.fields["what_to_do"].initial = text.what_to_do
            self.initial = {**translated(text.translations), **self.initial}

    def draft(self, now: datetime) -> Draft:
        assert self.incident is not None, "a draft belongs to an incident"
        override = self.incident.impact_override
        return Draft(
            name=self.cleaned_data["name"], status=Status(self.incident.status), body=self.cleaned_data["body"],
            what_to_do=self.advice(), audience=Audience.EVERYONE, social=self.incident.social,
            components=self.states(), next_update_by=self.next_update_by(now),
            impact=Impact(override) if override else None,
        )  # fmt: skip


class ScheduleForm(Speech):
    name = forms.CharField(
        label="What is planned", max_length=NAME_CHARS_MAX, widget=UnfoldAdminTextInputWidget
    )
    scheduled_for = forms.DateTimeField(
        label="Begins", widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"})
    )
    scheduled_until = forms.DateTimeField(
        label="Ends", widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"})
    )
    affected = forms.ModelMultipleChoiceField(
        label="Components",
        queryset=Component.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    auto = forms.BooleanField(
        label="Opens and closes by itself",
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget,
    )
    tell = forms.BooleanField(
        label="Tell subscribers", required=False, initial=True, widget=UnfoldBooleanSwitchWidget
    )
    remind_before = forms.ChoiceField(
        label="Reminder", required=False, widget=UnfoldAdminSelectWidget,
        choices=[("", "none"), ("3600", "1 h before"), ("14400", "4 h before"), ("86400", "a day before")],
    )  # fmt: skip
    rule = forms.CharField(
        label="Comes again", required=False, max_length=NAME_CHARS_MAX, widget=UnfoldAdminTextInputWidget,
        help_text="Empty: once. Else an RRULE, such as FREQ=WEEKLY or FREQ=MONTHLY;BYDAY=1SU, on the wall clock.",
    )  # fmt: skip
    field_order = ("name", "scheduled_for", "scheduled_until", "body", "what_to_do", "affected")

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: Django's
        super().__init__(*args, **kwargs)
        self.fields["affected"].queryset = Component.objects.filter(page=self.page)  # type: ignore[attr-defined]  # a model choice
        for name in ("scheduled_for", "scheduled_until"):
            self.fields[name].help_text = f"In the page's time zone, {self.page.time_zone}."

    def clean(self) -> dict[str, Any]:  # Any: Django's cleaned data
        """Read the window in the page's zone, and say at the field what is wrong with it."""
        said = super().clean() or {}
        for name in ("scheduled_for", "scheduled_until"):
            if said.get(name):
                said[name] = said[name].replace(tzinfo=self.zone)
        start, end = said.get("scheduled_for"), said.get("scheduled_until")
        if start and end and end <= start:
            self.add_error("scheduled_until", "The window ends before it begins.")
        if end and end <= timezone.now():
            self.add_error("scheduled_until", "The window lies in the past.")
        if start and said.get("rule"):
            try:
                recurring.parse(said["rule"], starts_at=start, time_zone=self.page.time_zone)
            except Refused as error:
                self.add_error("rule", str(error))
        return said

    def remind_before_s(self) -> timedelta | None:
        seconds = self.cleaned_data["remind_before"]
        return timedelta(seconds=int(seconds)) if seconds else None

    def draft(self, now: datetime) -> Draft:
        said = self.cleaned_data
        return Draft(
            name=said["name"], status=Status.SCHEDULED, body=said["body"], what_to_do=said["what_to_do"],
            components=dict.fromkeys(said["affected"], ComponentStatus.OPERATIONAL), next_update_by=None,
            audience=self.audience, scheduled_for=said["scheduled_for"], scheduled_until=said["scheduled_until"],
        )  # fmt: skip


class BackfillForm(Told):
    """What was not written down at the time."""

    name = forms.CharField(
        label="What readers noticed", max_length=NAME_CHARS_MAX, widget=UnfoldAdminTextInputWidget
    )
    started_at = forms.DateTimeField(
        label="Began", widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"})
    )
    ended_at = forms.DateTimeField(
        label="Ended", widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"})
    )
    field_order = ("name", "started_at", "ended_at", "body")

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: Django's
        super().__init__(*args, **kwargs)
        for name in ("tell", "next_update_in", "what_to_do", *advice.VARIABLES):
            self.fields.pop(name)
        for name in ("started_at", "ended_at"):
            self.fields[name].help_text = f"In the page's time zone, {self.page.time_zone}."

    @property
    def known_fields(self) -> list[forms.BoundField]:
        return []

    def clean(self) -> dict[str, Any]:  # Any: Django's cleaned data
        said = super().clean() or {}
        for name in ("started_at", "ended_at"):
            if said.get(name):
                said[name] = said[name].replace(tzinfo=self.zone)
        start, end = said.get("started_at"), said.get("ended_at")
        if start and end and end <= start:
            self.add_error("ended_at", "It ends before it begins.")
        elif end and end > timezone.now():
            self.add_error("ended_at", "It has not ended yet; declare it instead.")
        return said

    def draft(self, now: datetime) -> Draft:
        said = self.cleaned_data
        return Draft(
            name=said["name"], status=Status.RESOLVED, body=said["body"], what_to_do="", components=self.states(),
            next_update_by=None, audience=Audience.NOBODY, social=False,
        )  # fmt: skip


def newest_incident(page: Page) -> int:
    """Return the row id of the newest incident: who declares after it has not seen what came later."""
    return (
        Incident.objects.filter(page=page).order_by("-pk").values_list("pk", flat=True).first() or 0
    )


def from_template(template: Template) -> dict[str, str]:
    """Return what a template puts into the form: its words, and how its components are by its impact."""
    promise = str(template.next_update_in_s or "")
    known = {value for value, _ in PROMISES}
    state = _HURT.get(template.impact, ComponentStatus.MAJOR_OUTAGE)
    return {
        "name": template.name, "body": template.body, "what_to_do": template.what_to_do,
        "impact": template.impact, "next_update_in": promise if promise in known else USUAL_PROMISE,
        **{f"component_{row.pk}": state.value for row in components_of(template)},
        **translated(template.translations),
    }  # fmt: skip


def translated(words: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return what fills the fields of further languages."""
    return {
        f"{name}_in_{language}": said[name]
        for language, said in words.items()
        for name in ("name", "body")
        if said.get(name)
    }


_HURT = {
    Impact.MINOR.value: ComponentStatus.DEGRADED_PERFORMANCE,
    Impact.MAJOR.value: ComponentStatus.PARTIAL_OUTAGE,
}


def components_of(template: Template) -> list[Component]:
    """Return the template's own components, else those whose policies speak with it."""
    own = list(template.components.all())
    return own or list(
        Component.objects.filter(page=template.page, policies__template=template.slug).distinct()
    )
