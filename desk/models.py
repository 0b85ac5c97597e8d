"""The nouns of the hands: keys, rules for alerts, what is typed, drills, the sealed account."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from incidents.models import NAME_CHARS_MAX, Component, Incident, Template

HASH_CHARS = 64  # SHA-256 in hexadecimal
FINGERPRINT_CHARS_MAX = 128
PLACE_CHARS_MAX = 128
MAPPING_CHARS_MAX = 16  # IntakeAlert.source
# Statuspage allows 60 a minute for each key; a machine of one's own can take more (accept_doors measures it).
REQUESTS_PER_MINUTE = 3_000


class ApiKey(models.Model):
    """A key to /v1 and /intake; only its hash is kept. Empty `scopes` = everything."""

    name = models.CharField(max_length=NAME_CHARS_MAX)
    hash = models.CharField(max_length=HASH_CHARS, unique=True, editable=False)
    scopes = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    requests_per_minute = models.PositiveIntegerField(default=REQUESTS_PER_MINUTE)

    class Meta:
        verbose_name = "API key"
        ordering: ClassVar = ["name", "id"]

    def __str__(self) -> str:
        return self.name


class Answered(models.Model):
    """A request with an `Idempotency-Key`, and its answer, which a repetition gets again for a day."""

    api_key = models.ForeignKey(ApiKey, models.CASCADE, related_name="+")
    key = models.CharField(max_length=HASH_CHARS)
    request = models.CharField(max_length=HASH_CHARS)
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(blank=True, default="")
    at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["api_key", "key"], name="answered_once_a_key")
        ]

    def __str__(self) -> str:
        return f"{self.key[:8]}: {self.status}"


class AlertRule(models.Model):
    """What an alert that carries all of `match` becomes; the first rule by position wins."""

    position = models.PositiveIntegerField(unique=True)
    match = models.JSONField(default=dict)
    component = models.ForeignKey(Component, models.CASCADE, related_name="+")
    publish = models.CharField(max_length=8)
    veto_s = models.FloatField()
    publish_after_s = models.FloatField(null=True, blank=True)
    template = models.ForeignKey(Template, models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering: ClassVar = ["position"]

    def __str__(self) -> str:
        return f"{self.match} → {self.component_id}"


class AppliedSite(models.Model):
    """The site.yaml that was applied last, so that what was changed since can be told from it; one row."""

    site = models.JSONField(default=dict)
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"applied at {self.at:%Y-%m-%d %H:%M}"


class SavedForm(models.Model):
    """What somebody has typed and not sent yet, kept as it is typed; one for each person and place."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    place = models.CharField(max_length=PLACE_CHARS_MAX)
    words = models.JSONField(default=dict)
    saved_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "place"], name="typed_once_a_place")
        ]

    def __str__(self) -> str:
        return f"{self.place} by {self.user_id}"


class Drill(models.Model):
    """A rehearsal: a test notice by every channel, and how long each took."""

    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    by = models.CharField(max_length=NAME_CHARS_MAX)
    passed = models.BooleanField(null=True)
    results = models.JSONField(default=dict, help_text="channel -> passed, seconds, why")

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"drill of {self.started_at:%Y-%m-%d %H:%M}"


class BreakGlass(models.Model):
    """An account for when nobody else can get in: sealed until it is used, and its use is an alarm."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="break_glass"
    )
    sealed_at = models.DateTimeField(default=timezone.now)
    opened_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "break-glass account"

    def __str__(self) -> str:
        return f"{self.user_id}: {'opened' if self.opened_at else 'sealed'}"


class IntakeMapping(models.Model):
    """Where another program's JSON holds what an alert is: name -> JMESPath."""

    name = models.SlugField(max_length=MAPPING_CHARS_MAX, unique=True)
    paths = models.JSONField(default=dict)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return self.name


class IntakeAlert(models.Model):
    """An alert from another system; the same fingerprint is the same alert until it is over."""

    fingerprint = models.CharField(max_length=FINGERPRINT_CHARS_MAX)
    source = models.CharField(max_length=MAPPING_CHARS_MAX)
    labels = models.JSONField(default=dict)
    summary = models.TextField(blank=True, default="")
    incident = models.ForeignKey(
        Incident, models.SET_NULL, null=True, blank=True, related_name="alerts"
    )
    received_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-received_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["source", "fingerprint"],
                condition=Q(ended_at__isnull=True),
                name="alert_open_once",
            ),
        ]

    def __str__(self) -> str:
        return self.summary or self.fingerprint
