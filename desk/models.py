"""The nouns of the hands: keys to the API, rules for alerts, alerts that came in."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from incidents.models import NAME_CHARS_MAX, Component, Incident, Template

HASH_CHARS = 64  # SHA-256 in hexadecimal
FINGERPRINT_CHARS_MAX = 128
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
