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


class Basis(StrEnum):
    """Why we may write: the owner's own wish, or a customer list on a recorded legal basis."""

    CONSENT = "consent"
    CONTRACT = "contract"
    VITAL = "vital_interest"
    LEGITIMATE = "legitimate_interest"
    LEGAL = "legal_obligation"


CONTACTS_MAX = 5  # communication.md §3.6: the ladder stops after four calls anyway
# How long a message may stay unanswered before the next channel: communication.md §3.6.
FALLBACK_AFTER_S = 120


def _words(enum: type[StrEnum]) -> list[tuple[str, str]]:
    return [(word.value, word.value.capitalize()) for word in enum]


class Subscriber(models.Model):
    """The person behind one or several subscriptions."""

    uid = Uid()
    language = models.CharField(max_length=10, default="en")
    time_zone = models.CharField(max_length=64, blank=True, default="")
    quiet_from = models.TimeField(
        null=True, blank=True, help_text="In the person's zone; from then on only calls asked for."
    )
    quiet_until = models.TimeField(null=True, blank=True)
    fallback_after_s = models.PositiveIntegerField(
        default=FALLBACK_AFTER_S, help_text="Unanswered for so long: the next channel."
    )
    wake_test_hour = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Monthly, at this hour of the person's zone; empty: never."
    )
    wake_tested_at = models.DateTimeField(null=True, blank=True)
    wake_heard_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["id"], condition=Q(quiet_from__isnull=False), name="subscriber_with_quiet"
            ),
            models.Index(
                fields=["wake_test_hour"],
                condition=Q(wake_test_hour__isnull=False),
                name="subscriber_to_test",
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(quiet_from__isnull=True, quiet_until__isnull=True)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False),
                name="quiet_has_two_ends",
            ),
            models.CheckConstraint(
                condition=Q(wake_test_hour__isnull=True) | Q(wake_test_hour__lt=24),
                name="wake_test_hour_of_a_day",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.uid}"


class Subscription(models.Model):
    """One channel, one address, the chosen components.

    The address lies encrypted in `address_sealed` (addresses.seal); `address_hash` is a keyed hash for look-up only.
    `language` and `time_zone` are repeated here, `discreet` is the same on all of a person's, so that sending reads one table. `position` is the person's order of channels, lowest first.
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
    time_zone = models.CharField(max_length=64, blank=True, default="")
    discreet = models.BooleanField(
        default=False, help_text="Lock screens show “Service notice” and no more."
    )
    every_component = models.BooleanField(default=True)
    components = models.ManyToManyField(Component, blank=True, related_name="subscriptions")
    only_incidents = models.BooleanField(
        default=False, help_text="Hears of the incidents it follows, and of nothing else."
    )
    incidents = models.ManyToManyField(Incident, blank=True, related_name="followers")
    wake_me = models.BooleanField(default=False)
    position = models.PositiveIntegerField(default=0)
    least_impact = models.CharField(
        max_length=12,
        blank=True,
        default="",
        help_text="Hears incidents that hurt at least so much.",
    )
    digest = models.BooleanField(
        default=False, help_text="Between the first word and the end at most one message an hour."
    )
    paused_until = models.DateTimeField(null=True, blank=True)
    basis = models.CharField(max_length=20, choices=_words(Basis), default=Basis.CONSENT)
    list_name = models.CharField(
        max_length=64, blank=True, default="", help_text="The customer list that brought it in."
    )
    list_run = models.CharField(max_length=32, blank=True, default="")
    undelivered_at = models.DateTimeField(null=True, blank=True)
    undelivered_why = models.CharField(max_length=255, blank=True, default="")
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
            models.Index(
                fields=["list_name", "list_run"],
                condition=~Q(list_name=""),
                name="subscription_of_list",
            ),
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


class Contact(models.Model):
    """Another human to try when a person does not answer: by a subscription of their own, which they confirmed themselves."""

    person = models.ForeignKey(Subscriber, models.CASCADE, related_name="contacts")
    subscription = models.ForeignKey(Subscription, models.CASCADE, related_name="contact_of")
    name = models.CharField(max_length=80, blank=True, default="")
    position = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["person", "subscription"], name="contact_once"),
        ]

    def __str__(self) -> str:
        return f"contact {self.position} of {self.person_id}"


class Consent(models.Model):
    """Proof that a person asked for it: what was shown, when, from where (hashed), by which version of the text."""

    channel = models.CharField(max_length=16, blank=True, default="")
    address_hash = models.CharField(max_length=64, blank=True, default="")
    basis = models.CharField(max_length=20, choices=_words(Basis), default=Basis.CONSENT)
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
    due_at = models.DateTimeField(null=True, blank=True, help_text="Not before; empty: at once.")
    used_at = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveSmallIntegerField(default=0, help_text="Wrong codes so far.")

    class Meta:
        indexes: ClassVar = [models.Index(fields=["created_at"], name="letter_by_age")]

    def __str__(self) -> str:
        return f"{self.kind} {self.uid}"


class Invitation(models.Model):
    """A confirmation that was asked for on somebody's page: of a further way to reach them, or of a further contact.

    Only once it was confirmed the address is theirs or a Contact; before, their page and export tell nothing of it, so that
    nobody learns there which addresses are known, or holds the row of an address that is not theirs.
    """

    letter = models.OneToOneField(Letter, models.CASCADE, related_name="invitation")
    person = models.ForeignKey(Subscriber, models.CASCADE, related_name="invitations")
    as_contact = models.BooleanField(default=False)
    name = models.CharField(
        max_length=80, blank=True, default="", help_text="What they call the contact."
    )

    def __str__(self) -> str:
        return f"invitation by {self.person_id}"


class Ask(models.Model):
    """What somebody asked for on a page: written by one INSERT whoever they are, and answered by the clock.

    So an answer's bytes and its time tell nothing of who is known. The wish lies sealed and is emptied when answered; the
    row then only counts against its network and block of numbers, and lives for hours.
    """

    kind = models.CharField(max_length=8, help_text="The kind of address: phone, email.")
    network_hash = models.CharField(max_length=64, blank=True, default="")
    prefix = models.CharField(max_length=8, blank=True, default="", help_text="+ and seven digits.")
    wish = models.BinaryField(default=b"")
    at = models.DateTimeField(default=timezone.now)
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["network_hash", "at"], name="ask_by_network"),
            models.Index(fields=["kind", "at"], name="ask_by_age"),
            models.Index(fields=["id"], condition=Q(done_at__isnull=True), name="ask_waiting"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} at {self.at:%H:%M}"
