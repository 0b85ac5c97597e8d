"""The nouns of the core: facts and constraints, no rules."""

import secrets
from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from incidents.lifecycle import (
    MAINTENANCE,
    OPEN,
    Audience,
    CallReason,
    ComponentStatus,
    Impact,
    Status,
)

# Statuspage's ids: 12 characters of [a-z0-9], opaque (statuspage.io's public payloads); 62 bits here.
UID_CHARS = 12
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
BODY_CHARS_MAX = 25_000  # Statuspage's limit of incident.body
NAME_CHARS_MAX = 255


def make_uid() -> str:
    """Return a new opaque public id."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(UID_CHARS))


def choices(
    words: type[Status] | type[Impact] | type[ComponentStatus] | type[Audience] | type[CallReason],
) -> list[tuple[str, str]]:
    """Return form choices of a StrEnum: value and the value in plain letters."""
    return [(word.value, word.value.replace("_", " ").capitalize()) for word in words]


class Uid(models.CharField):  # type: ignore[type-arg]  # not subscriptable at run time
    """A unique public id."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # passed through as Django gave them
        kwargs |= {"max_length": UID_CHARS, "unique": True, "default": make_uid, "editable": False}
        super().__init__(*args, **kwargs)


class Page(models.Model):
    """The status page. There is one; `manage.py apply` names it."""

    uid = Uid()
    name = models.CharField(max_length=NAME_CHARS_MAX, default="Status")
    url = models.URLField(blank=True, default="")
    headline = models.CharField(max_length=NAME_CHARS_MAX, blank=True, default="")
    time_zone = models.CharField(max_length=64, default="Etc/UTC")
    languages = models.JSONField(default=list, blank=True)
    references = models.JSONField(default=list, blank=True)
    operators = models.JSONField(default=list, blank=True)
    profile = models.JSONField(
        default=dict, blank=True, help_text="What /v1 keeps of the page beyond its name."
    )
    embed = models.JSONField(default=dict, blank=True, help_text="/v1's status_embed_config.")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


class Group(models.Model):
    uid = Uid()
    page = models.ForeignKey(Page, models.CASCADE, related_name="groups")
    name = models.CharField(max_length=NAME_CHARS_MAX)
    description = models.TextField(blank=True, default="")
    position = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["position", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["page", "name"], name="group_name_once_a_page")
        ]

    def __str__(self) -> str:
        return self.name


class Component(models.Model):
    """A part of the product that readers know by name.

    `status` is what the public reads; only incidents/services writes it. `unknown_since` overrides it in words.
    """

    uid = Uid()
    page = models.ForeignKey(Page, models.CASCADE, related_name="components")
    group = models.ForeignKey(
        Group, models.SET_NULL, null=True, blank=True, related_name="components"
    )
    slug = models.SlugField(max_length=64)
    name = models.CharField(max_length=NAME_CHARS_MAX)
    description = models.TextField(blank=True, default="")
    position = models.PositiveIntegerField(default=0)
    critical = models.BooleanField(
        default=False, help_text="People may ask to be woken by a call for this one."
    )
    showcase = models.BooleanField(default=True)
    only_show_if_degraded = models.BooleanField(default=False)
    start_date = models.DateField(null=True, blank=True)
    status = models.CharField(
        max_length=24, choices=choices(ComponentStatus), default=ComponentStatus.OPERATIONAL
    )
    unknown_since = models.DateTimeField(null=True, blank=True)
    unknown_why = models.CharField(max_length=NAME_CHARS_MAX, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["position", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["page", "slug"], name="component_slug_once_a_page"),
            models.CheckConstraint(
                condition=Q(status__in=list(ComponentStatus)), name="component_status_is_a_word"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Translations(models.JSONField):
    """Language -> {name, body, what_to_do}: an operator's own words in further languages."""

    def __init__(self, **options: Any) -> None:  # Any: Django's
        super().__init__(
            **{
                "default": dict,
                "blank": True,
                "help_text": "Language -> name, body, what_to_do in it.",
                **options,
            }
        )


class Template(models.Model):
    """An approved text, ready before the night."""

    uid = Uid()
    page = models.ForeignKey(Page, models.CASCADE, related_name="templates")
    slug = models.SlugField(max_length=64)
    name = models.CharField(max_length=NAME_CHARS_MAX, help_text="Becomes the incident's name.")
    impact = models.CharField(max_length=12, choices=choices(Impact), blank=True, default="")
    body = models.TextField(max_length=BODY_CHARS_MAX)
    what_to_do = models.TextField(blank=True, default="", max_length=BODY_CHARS_MAX)
    next_update_in_s = models.PositiveIntegerField(null=True, blank=True)
    label = models.CharField(
        max_length=NAME_CHARS_MAX, blank=True, default="", help_text="What operators call it."
    )
    update_status = models.CharField(max_length=16, choices=choices(Status), blank=True, default="")
    should_tweet = models.BooleanField(default=True)
    should_send_notifications = models.BooleanField(default=True)
    group = models.ForeignKey(
        Group, models.SET_NULL, null=True, blank=True, related_name="templates"
    )
    components = models.ManyToManyField(Component, blank=True, related_name="templates")
    translations = Translations()

    class Meta:
        ordering: ClassVar = ["slug"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["page", "slug"], name="template_slug_once_a_page")
        ]

    def __str__(self) -> str:
        return self.name


class Incident(models.Model):
    """Something wrong, or a maintenance (one with a window). A draft has no `published_at`."""

    uid = Uid()
    page = models.ForeignKey(Page, models.CASCADE, related_name="incidents")
    name = models.CharField(max_length=NAME_CHARS_MAX)
    status = models.CharField(max_length=16, choices=choices(Status))
    impact = models.CharField(max_length=12, choices=choices(Impact), default=Impact.NONE)
    impact_override = models.CharField(
        max_length=12, choices=choices(Impact), blank=True, default=""
    )
    automatic = models.BooleanField(default=False, help_text="Opened by the machine.")
    person_posted = models.BooleanField(default=False, help_text="A person has spoken in it.")
    social = models.BooleanField(default=True, help_text="X and Facebook hear of it.")
    backfilled = models.BooleanField(default=False)
    template = models.ForeignKey(Template, models.SET_NULL, null=True, blank=True)
    source = models.JSONField(default=dict, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(default=timezone.now, help_text="When it began to hurt.")
    detected_at = models.DateTimeField(null=True, blank=True)
    published_at = models.DateTimeField(null=True, blank=True)
    publish_at = models.DateTimeField(
        null=True, blank=True, help_text="A draft goes out by itself at this time."
    )
    vetoed_at = models.DateTimeField(null=True, blank=True)
    monitoring_at = models.DateTimeField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    retracted_at = models.DateTimeField(null=True, blank=True)
    next_update_by = models.DateTimeField(null=True, blank=True)
    scheduled_for = models.DateTimeField(null=True, blank=True)
    scheduled_until = models.DateTimeField(null=True, blank=True)
    auto_in_progress = models.BooleanField(default=True)
    auto_completed = models.BooleanField(default=True)
    remind_at = models.DateTimeField(
        null=True, blank=True, help_text="When those who follow are reminded of a maintenance."
    )
    series = models.ForeignKey(
        "Series", models.SET_NULL, null=True, blank=True, related_name="incidents"
    )
    merged_into = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="merged"
    )
    components = models.ManyToManyField(
        Component, through="IncidentComponent", related_name="incidents"
    )

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [models.Index(fields=["page", "-created_at"], name="incident_newest")]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status__in=list(Status)), name="incident_status_is_a_word"
            ),
            models.CheckConstraint(
                condition=Q(impact__in=list(Impact)), name="incident_impact_is_a_word"
            ),
            models.CheckConstraint(
                condition=Q(status__in=MAINTENANCE, scheduled_for__isnull=False)
                | (~Q(status__in=MAINTENANCE) & Q(scheduled_for__isnull=True)),
                name="a_maintenance_has_a_window",
            ),
            models.CheckConstraint(
                condition=Q(scheduled_until__isnull=True)
                | Q(scheduled_until__gt=F("scheduled_for")),
                name="a_window_ends_after_it_begins",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=[Status.RESOLVED, Status.POSTMORTEM])
                | Q(resolved_at__isnull=False),
                name="resolved_says_when",
            ),
            models.UniqueConstraint(
                fields=["page"],
                condition=Q(automatic=True, vetoed_at__isnull=True, status__in=OPEN),
                name="one_open_automatic_incident_a_page",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class IncidentComponent(models.Model):
    """A component under an incident, and how it is because of it."""

    incident = models.ForeignKey(Incident, models.CASCADE, related_name="affected")
    component = models.ForeignKey(Component, models.CASCADE, related_name="affected")
    status = models.CharField(max_length=24, choices=choices(ComponentStatus))

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["incident", "component"], name="component_once_an_incident"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.component_id}: {self.status}"


class Update(models.Model):
    """What we said about an incident. A draft has no `published_at` and no `number`."""

    uid = Uid()
    incident = models.ForeignKey(Incident, models.CASCADE, related_name="updates")
    number = models.PositiveIntegerField(null=True, blank=True)
    status = models.CharField(max_length=16, choices=choices(Status))
    body = models.TextField(max_length=BODY_CHARS_MAX)
    what_to_do = models.TextField(blank=True, default="")
    custom_tweet = models.CharField(max_length=1000, blank=True, default="")
    translations = Translations()
    known = models.JSONField(
        default=dict, blank=True, help_text="What was known to work: the block of advice."
    )
    calls_after = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Nobody is woken by a call before; a second person may bring it forward.",
    )
    changes = models.JSONField(
        default=list, blank=True
    )  # [{code, name, old_status, new_status}], as /api/v2 says it
    audience = models.CharField(max_length=12, choices=choices(Audience), default=Audience.EVERYONE)
    automatic = models.BooleanField(default=False)
    speaker = models.CharField(max_length=NAME_CHARS_MAX, blank=True, default="")
    first_word = models.BooleanField(default=False)
    new_impact = models.BooleanField(default=False)
    retraction = models.BooleanField(default=False)
    key = models.CharField(
        max_length=64, blank=True, default="", help_text="Same key, same update."
    )
    next_update_by = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    display_at = models.DateTimeField(default=timezone.now)
    edited_at = models.DateTimeField(null=True, blank=True)
    published_at = models.DateTimeField(null=True, blank=True)
    publish_at = models.DateTimeField(null=True, blank=True)
    vetoed_at = models.DateTimeField(null=True, blank=True)
    shown_at = models.DateTimeField(
        null=True, blank=True, help_text="When the page first showed it."
    )

    class Meta:
        ordering: ClassVar = ["-display_at", "-id"]
        indexes: ClassVar = [
            models.Index(
                fields=["published_at"], condition=Q(shown_at__isnull=True), name="update_not_shown"
            ),
            models.Index(
                fields=["publish_at"],
                condition=Q(published_at__isnull=True),
                name="update_draft_due",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["incident", "number"], name="update_number_once"),
            models.UniqueConstraint(
                fields=["incident", "key"], condition=~Q(key=""), name="update_key_once"
            ),
            models.CheckConstraint(
                condition=Q(published_at__isnull=True) | Q(number__isnull=False),
                name="published_update_is_numbered",
            ),
            models.CheckConstraint(
                condition=Q(audience__in=list(Audience)), name="update_audience_is_a_word"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.status}: {self.body[:60]}"


class Series(models.Model):
    """A maintenance that comes again: its rule is an RRULE of RFC 5545, counted in its own time zone."""

    uid = Uid()
    page = models.ForeignKey(Page, models.CASCADE, related_name="series")
    name = models.CharField(max_length=NAME_CHARS_MAX)
    body = models.TextField(max_length=BODY_CHARS_MAX)
    what_to_do = models.TextField(blank=True, default="", max_length=BODY_CHARS_MAX)
    rule = models.CharField(max_length=NAME_CHARS_MAX)
    starts_at = models.DateTimeField(help_text="The first window.")
    time_zone = models.CharField(max_length=64, default="Etc/UTC")
    duration_s = models.PositiveIntegerField()
    announce_before_s = models.PositiveIntegerField(default=7 * 86_400)
    remind_before_s = models.PositiveIntegerField(null=True, blank=True)
    components = models.ManyToManyField(Component, blank=True, related_name="series")
    next_at = models.DateTimeField(
        null=True, blank=True, help_text="The next window that nobody was told of."
    )
    announce_at = models.DateTimeField(null=True, blank=True, db_index=True)
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        verbose_name_plural = "series"

    def __str__(self) -> str:
        return self.name


class Call(models.Model):
    """A word to the operators, in order of their list."""

    uid = Uid()
    page = models.ForeignKey(Page, models.CASCADE, related_name="calls")
    incident = models.ForeignKey(
        Incident, models.SET_NULL, null=True, blank=True, related_name="calls"
    )
    reason = models.CharField(max_length=16, choices=choices(CallReason))
    text = models.TextField()
    key = models.CharField(max_length=128, unique=True, help_text="The same matter calls once.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return self.text[:80]


class StatusChange(models.Model):
    """From `at` on, the component was `status` (or "unknown"). The only source of uptime."""

    component = models.ForeignKey(Component, models.CASCADE, related_name="status_changes")
    status = models.CharField(max_length=24)
    at = models.DateTimeField()
    incident = models.ForeignKey(Incident, models.SET_NULL, null=True, blank=True)
    actor = models.CharField(max_length=NAME_CHARS_MAX)

    class Meta:
        ordering: ClassVar = ["at", "id"]
        indexes: ClassVar = [
            models.Index(fields=["component", "at"], name="status_change_by_component")
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status__in=[*ComponentStatus, "unknown"]),
                name="status_change_is_a_word",
            )
        ]

    def __str__(self) -> str:
        return f"{self.status} since {self.at:%Y-%m-%d %H:%M}"


class PostMortem(models.Model):
    """What happened and what was learned; readers see `body`, from `published_at` on."""

    incident = models.OneToOneField(Incident, models.CASCADE, related_name="postmortem")
    preview_key = models.CharField(max_length=UID_CHARS, default=make_uid, editable=False)
    body = models.TextField(blank=True, default="")
    body_updated_at = models.DateTimeField(null=True, blank=True)
    body_draft = models.TextField(blank=True, default="")
    body_draft_updated_at = models.DateTimeField(null=True, blank=True)
    published_at = models.DateTimeField(null=True, blank=True)
    notify_subscribers = models.BooleanField(default=False)
    notify_twitter = models.BooleanField(default=False)
    custom_tweet = models.CharField(max_length=1000, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"Post-mortem of {self.incident_id}"


class Metric(models.Model):
    """A figure that other programs hand in and the page plots."""

    uid = Uid()
    page = models.ForeignKey(Page, models.CASCADE, related_name="metrics")
    name = models.CharField(max_length=NAME_CHARS_MAX)
    suffix = models.CharField(max_length=16, blank=True, default="")
    display = models.BooleanField(default=True)
    tooltip_description = models.TextField(blank=True, default="")
    y_axis_min = models.FloatField(null=True, blank=True)
    y_axis_max = models.FloatField(null=True, blank=True)
    y_axis_hidden = models.BooleanField(default=False)
    decimal_places = models.PositiveSmallIntegerField(default=0)
    reference_name = models.CharField(max_length=NAME_CHARS_MAX, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return self.name


class MetricPoint(models.Model):
    """One value of a metric; `at` lies on a whole half minute."""

    metric = models.ForeignKey(Metric, models.CASCADE, related_name="points")
    at = models.DateTimeField()
    value = models.FloatField()

    class Meta:
        ordering: ClassVar = ["at"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["metric", "at"], name="metric_point_once")
        ]

    def __str__(self) -> str:
        return f"{self.value} at {self.at:%Y-%m-%d %H:%M:%S}"


class AuditEntry(models.Model):
    """Who did what, when; never changed, never deleted (the database refuses: migration 0002)."""

    at = models.DateTimeField(default=timezone.now)
    actor = models.CharField(max_length=NAME_CHARS_MAX)
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=NAME_CHARS_MAX)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)

    class Meta:
        ordering: ClassVar = ["-id"]
        verbose_name_plural = "audit entries"
        indexes: ClassVar = [models.Index(fields=["subject"], name="audit_by_subject")]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.subject}"


class AuditSeal(models.Model):
    """A link of the chain over the audit: made a moment after the entry, never changed (migration 0005)."""

    entry = models.OneToOneField(AuditEntry, models.PROTECT, primary_key=True, related_name="seal")
    position = models.PositiveBigIntegerField(unique=True)
    previous = models.CharField(max_length=64, unique=True)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering: ClassVar = ["position"]

    def __str__(self) -> str:
        return f"{self.position}: {self.hash[:12]}"


class Pulse(models.Model):
    """When a part of the line last completed a pass; what /health reads."""

    name = models.CharField(max_length=64, primary_key=True)
    at = models.DateTimeField()
    note = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return f"{self.name} at {self.at:%H:%M:%S}"
