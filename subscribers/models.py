"""The nouns of people: who hears of what, by which channel, and on whose word."""

from enum import StrEnum
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from incidents.models import Component, Incident, Uid


class Role(StrEnum):
    """On whose behalf an address stands here."""

    SUBSCRIBER = "subscriber"
    OPERATOR = "operator"  # hears Calls
    SOCIAL = "social"  # the page's own account on X or Facebook: hears Updates for everyone


class State(StrEnum):
    PENDING = "pending"  # has not confirmed yet
    ACTIVE = "active"
    GONE = "gone"  # unsubscribed, or removed by an operator


class LetterKind(StrEnum):
    CONFIRM = "confirm"
    MANAGE = "manage"
    TEST = "test"


def _words(enum: type[StrEnum]) -> list[tuple[str, str]]:
    return [(word.value, word.value.capitalize()) for word in enum]


class Subscriber(models.Model):
    """The person behind one or several subscriptions."""

    uid = Uid()
    language = models.CharField(max_length=10, default="en")
    time_zone = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.uid}"


class Subscription(models.Model):
    """One channel, one address, the chosen components.

    The address lies encrypted in `address_sealed` (addresses.seal); `address_hash` is a keyed hash for look-up only.
    `language` and `wake_me` are repeated here so that fan-out reads one table.
    """

    uid = Uid()
    subscriber = models.ForeignKey(Subscriber, models.CASCADE, related_name="subscriptions")
    channel = models.CharField(max_length=16)
    address_sealed = models.BinaryField()
    address_hash = models.CharField(max_length=64)
    role = models.CharField(max_length=10, choices=_words(Role), default=Role.SUBSCRIBER)
    state = models.CharField(max_length=8, choices=_words(State), default=State.PENDING)
    label = models.CharField(
        max_length=255, blank=True, default="", help_text="An operator's or account's name."
    )
    language = models.CharField(max_length=10, default="en")
    every_component = models.BooleanField(default=True)
    components = models.ManyToManyField(Component, blank=True, related_name="subscriptions")
    only_incidents = models.BooleanField(
        default=False, help_text="Hears of the incidents it follows, and of nothing else."
    )
    incidents = models.ManyToManyField(Incident, blank=True, related_name="followers")
    wake_me = models.BooleanField(default=False)
    position = models.PositiveIntegerField(default=0)
    source = models.CharField(max_length=32, default="page")
    created_at = models.DateTimeField(default=timezone.now)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    gone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar = [
            # What fan-out walks: one channel's active rows in order of id.
            models.Index(
                fields=["channel", "role", "id"],
                condition=Q(state="active"),
                name="subscription_fan_out",
            ),
            models.Index(fields=["address_hash"], name="subscription_by_address"),
            # What the clock walks: those who never confirmed, and those who left.
            models.Index(
                fields=["created_at"], condition=Q(state="pending"), name="subscription_pending"
            ),
            models.Index(fields=["gone_at"], condition=Q(state="gone"), name="subscription_gone"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["channel", "role", "address_hash"],
                condition=~Q(state="gone"),
                name="address_once_a_channel",
            ),
            models.CheckConstraint(
                condition=~Q(state="active") | Q(confirmed_at__isnull=False),
                name="active_is_confirmed",
            ),
            models.CheckConstraint(
                condition=Q(state__in=list(State)), name="subscription_state_is_a_word"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.uid}"


class Consent(models.Model):
    """Proof that a person asked for it: what was shown, when, from where (hashed), by which version of the text."""

    subscription = models.ForeignKey(Subscription, models.CASCADE, related_name="consents")
    text = models.TextField()
    source = models.CharField(max_length=255)
    network_hash = models.CharField(max_length=64, blank=True, default="")
    version = models.CharField(max_length=16, default="1")
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.source} at {self.at:%Y-%m-%d}"


class Suppression(models.Model):
    """An address that must not be written to: it bounced, or its owner said stop.

    Outlives the subscription. Only the owner lifts what the owner said; a bounce is forgiven when
    the address asks again.
    """

    channel = models.CharField(max_length=16)
    address_hash = models.CharField(max_length=64)
    reason = models.CharField(max_length=255)
    by_owner = models.BooleanField(default=False, help_text="Its owner said stop or complained.")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["channel", "address_hash"], name="suppressed_once"),
        ]

    def __str__(self) -> str:
        return f"{self.channel}: {self.reason}"


class Letter(models.Model):
    """A message to one person: confirm, manage link, test. Its link is derived from `uid`; nothing secret is stored."""

    uid = Uid()
    subscription = models.ForeignKey(Subscription, models.CASCADE, related_name="letters")
    kind = models.CharField(max_length=8, choices=_words(LetterKind))
    created_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveSmallIntegerField(default=0, help_text="Wrong codes so far.")

    class Meta:
        indexes: ClassVar = [models.Index(fields=["created_at"], name="letter_by_age")]

    def __str__(self) -> str:
        return f"{self.kind} {self.uid}"


class Ask(models.Model):
    """One request for a letter, counted against its network and block of numbers; lives for hours.

    Written before anybody is looked up, so that what is still allowed tells nothing about who is known.
    """

    kind = models.CharField(max_length=8, help_text="The kind of address: phone, email.")
    network_hash = models.CharField(max_length=64, blank=True, default="")
    prefix = models.CharField(max_length=8, blank=True, default="", help_text="+ and seven digits.")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["network_hash", "at"], name="ask_by_network"),
            models.Index(fields=["kind", "at"], name="ask_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} at {self.at:%H:%M}"
