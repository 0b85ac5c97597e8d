"""The nouns of the voice: an entry on its way to all, its way to each, and what was tried."""

from enum import IntEnum, StrEnum
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from incidents.models import Call, Incident, Update
from subscribers.models import Letter, Subscriber, Subscription


class DeliveryState(StrEnum):
    """pending -> prepared -> calling -> an outcome. Final states only move to a later word of the provider."""

    PENDING = "pending"
    PREPARED = "prepared"  # claimed under a lease, the provider not called yet
    CALLING = "calling"  # the provider may have it from here on
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SUPERSEDED = "superseded"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    HALTED = "halted"


WAITING = (DeliveryState.PENDING, DeliveryState.PREPARED, DeliveryState.CALLING)
HANDED_OVER = (
    DeliveryState.ACCEPTED,
    DeliveryState.DELIVERED,
    DeliveryState.BOUNCED,
    DeliveryState.ACKNOWLEDGED,
)


class Lane(IntEnum):
    """Who goes first within a channel. Below the first, broadcasts of one lane take turns."""

    PERSONAL = 0  # letters to one person, calls to operators
    URGENT = 1
    BULK = 2
    HELD = 3  # asked for later: nobody claims from it (holding.py)


SENT_FROM = (Lane.PERSONAL, Lane.URGENT, Lane.BULK)


class Broadcast(models.Model):
    """One entry (an update, a call or a letter) on its way to everyone it is for.

    `plan` says for which channels, `cursor` how far fan-out has come in each (row id of the last subscription).
    """

    update_entry = models.OneToOneField(
        Update, models.CASCADE, null=True, blank=True, related_name="broadcast"
    )
    call = models.OneToOneField(
        Call, models.CASCADE, null=True, blank=True, related_name="broadcast"
    )
    letter = models.OneToOneField(
        Letter, models.CASCADE, null=True, blank=True, related_name="broadcast"
    )
    incident = models.ForeignKey(
        Incident, models.CASCADE, null=True, blank=True, related_name="broadcasts"
    )
    number = models.PositiveIntegerField(
        default=0, help_text="The update's number in its incident."
    )
    plan = models.JSONField(default=list)
    cursor = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    fanned_out_at = models.DateTimeField(null=True, blank=True)
    halted_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(
        null=True, blank=True, help_text="When nothing of it was waiting any more."
    )

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["id"], condition=Q(settled_at__isnull=True), name="broadcast_under_way"
            ),
            models.Index(
                fields=["id"], condition=Q(fanned_out_at__isnull=True), name="broadcast_to_fan_out"
            ),
            models.Index(fields=["incident", "number"], name="broadcast_of_incident"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=(
                    Q(update_entry__isnull=False, call__isnull=True, letter__isnull=True)
                    | Q(update_entry__isnull=True, call__isnull=False, letter__isnull=True)
                    | Q(update_entry__isnull=True, call__isnull=True, letter__isnull=False)
                ),
                name="broadcast_of_one_entry",
            )
        ]

    def __str__(self) -> str:
        return f"Broadcast {self.pk}"


class Delivery(models.Model):
    """One broadcast to one subscription. Lean: no text, no address."""

    broadcast = models.ForeignKey(
        Broadcast, models.CASCADE, related_name="deliveries", db_index=False
    )
    subscription = models.ForeignKey(Subscription, models.CASCADE, related_name="deliveries")
    channel = models.CharField(max_length=16)
    urgent = models.BooleanField(default=False)
    lane = models.PositiveSmallIntegerField(default=Lane.URGENT, db_default=1)
    state = models.CharField(max_length=12, default=DeliveryState.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    maybe_sent = models.BooleanField(default=False)
    due_at = models.DateTimeField()
    lease = models.CharField(max_length=32, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    provider = models.CharField(max_length=32, blank=True, default="")
    provider_id = models.CharField(max_length=255, blank=True, default="")
    why = models.CharField(max_length=255, blank=True, default="")
    accepted_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    # When the person's next channel was looked for, because this one failed or stayed unanswered.
    passed_on_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        indexes: ClassVar = [
            # What claim() walks: a channel's lane, its broadcasts in turn, longest due first. Only what waits is in
            # it, so it stays as small as the backlog however long the ledger grows.
            models.Index(
                fields=["channel", "lane", "broadcast", "due_at", "id"],
                condition=Q(state="pending"),
                name="delivery_in_line",
            ),
            models.Index(
                fields=["due_at"],
                condition=Q(state="pending", lane=3),
                name="delivery_held",
            ),
            models.Index(
                fields=["lease_until"],
                condition=Q(state__in=["prepared", "calling"]),
                name="delivery_under_lease",
            ),
            # What fallback walks: what did not arrive and has not been passed on yet.
            models.Index(
                fields=["id"],
                condition=Q(
                    state__in=["bounced", "refused", "failed", "suppressed"],
                    passed_on_at__isnull=True,
                ),
                name="delivery_to_pass_on",
            ),
            models.Index(
                # Channels that are answered, or of which receipts are counted; mail, the bulk, is neither.
                fields=["channel", "accepted_at"],
                condition=Q(channel__in=["sms", "voice", "webpush"]),
                name="delivery_by_handover",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["broadcast", "subscription"], name="queued_once"),
            models.CheckConstraint(
                condition=Q(state__in=list(DeliveryState)), name="delivery_state_is_a_word"
            ),
            models.CheckConstraint(
                condition=~Q(state="accepted") | Q(accepted_at__isnull=False),
                name="accepted_says_when",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.state}"


class Attempt(models.Model):
    """What a provider answered when it was not a plain "accepted"."""

    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="tried")
    at = models.DateTimeField()
    result = models.CharField(max_length=12)
    why = models.CharField(max_length=255, blank=True, default="")

    def __str__(self) -> str:
        return f"{self.result}: {self.why}"


class Pace(models.Model):
    """When a channel's account may send next; all workers share the row."""

    channel = models.CharField(max_length=16, primary_key=True)
    free_at = models.DateTimeField()
    # The provider asked us to wait (429, a refused account): until then nobody tries.
    held_until = models.DateTimeField(null=True, blank=True)
    why = models.CharField(max_length=255, blank=True, default="")
    # An operator let the brake go until then.
    lifted_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.channel


class Spent(models.Model):
    """How many messages of a capped channel were handed over in one hour: what the brake counts."""

    channel = models.CharField(max_length=16)
    hour = models.DateTimeField(help_text="Its beginning, UTC.")
    messages = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["channel", "hour"], name="spent_once_an_hour")
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.hour:%Y-%m-%d %H:00}: {self.messages}"


class Counted(models.Model):
    """How many deliveries of a broadcast stand where: kept by the database's own triggers, so that nobody counts a million.

    Each statement that moves deliveries adds rows of differences; tally.fold() sums them up. `told` is when they were handed
    over, in tenths of a second since 1970, rounded up; 0 for those who were not.
    """

    broadcast = models.ForeignKey(Broadcast, models.CASCADE, related_name="counted", db_index=False)
    channel = models.CharField(max_length=16)
    state = models.CharField(max_length=12)
    told = models.BigIntegerField(default=0)
    number = models.IntegerField()
    folded = models.BooleanField(default=False)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["broadcast"], name="counted_of_broadcast"),
            models.Index(fields=["id"], condition=Q(folded=False), name="counted_to_fold"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["broadcast", "channel", "state", "told"],
                condition=Q(folded=True),
                name="folded_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.state} on {self.channel}"


class Informed(models.Model):
    """Time to inform: how one channel went in one incident. Kept when the ledger's rows are long gone."""

    incident = models.ForeignKey(Incident, models.CASCADE, related_name="informed")
    channel = models.CharField(max_length=16)
    all_clear = models.BooleanField(default=False)
    fault_at = models.DateTimeField(null=True, blank=True)
    verdict_at = models.DateTimeField(null=True, blank=True)
    published_at = models.DateTimeField(help_text="The zero of the curve.")
    counts = models.JSONField(default=dict)
    curve = models.JSONField(default=list, help_text="Steps of [seconds, people told by then].")

    class Meta:
        verbose_name_plural = "informed"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["incident", "channel", "all_clear"], name="informed_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.channel} of incident {self.incident_id}"


class Epoch(models.Model):
    """One row: which life of this database it is. Its beats are also noted outside, so that an old copy gives itself away."""

    uid = models.CharField(max_length=32)
    beats = models.BigIntegerField(default=0)
    begun_at = models.DateTimeField(
        null=True, blank=True, help_text="When the newest life began: a backup was restored."
    )

    def __str__(self) -> str:
        return f"{self.uid}, beat {self.beats}"


class Wake(models.Model):
    """One person on the ladder of one incident: who asked to be woken and has not been heard yet. Rules: ladder.py."""

    person = models.ForeignKey(Subscriber, models.CASCADE, related_name="wakes")
    incident = models.ForeignKey(Incident, models.CASCADE, related_name="wakes", db_index=False)
    broadcast = models.ForeignKey(
        Broadcast, models.CASCADE, related_name="wakes", help_text="The alarm that is called out."
    )
    began_at = models.DateTimeField()
    # ladder.Rank, or 0: to be looked at again once due.
    rank = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField()
    heard_at = models.DateTimeField(null=True, blank=True)
    heard_by = models.CharField(max_length=16, blank=True, default="")
    ended_at = models.DateTimeField(null=True, blank=True)
    why = models.CharField(max_length=8, blank=True, default="")

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["rank", "due_at", "id"],
                condition=Q(ended_at__isnull=True),
                name="wake_in_line",
            ),
            # With which broadcasts the ladder runs: one probe for each.
            models.Index(
                fields=["broadcast"], condition=Q(ended_at__isnull=True), name="wake_running"
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["incident", "person"], name="woken_once_an_incident")
        ]

    def __str__(self) -> str:
        return f"wake {self.pk}: {self.why or 'under way'}"


class Ring(models.Model):
    """One call of a ladder. While it has no end, its number is called by nobody else."""

    wake = models.ForeignKey(Wake, models.CASCADE, related_name="rings", db_index=False)
    number = models.PositiveSmallIntegerField()
    subscription = models.ForeignKey(Subscription, models.CASCADE, related_name="rings")
    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="rings")
    address_hash = models.CharField(max_length=64)
    at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=16, blank=True, default="")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["wake", "number"], name="ring_numbered_once"),
            models.UniqueConstraint(
                fields=["address_hash"],
                condition=Q(ended_at__isnull=True),
                name="never_two_calls_at_once",
            ),
        ]

    def __str__(self) -> str:
        return f"ring {self.number}: {self.outcome or 'under way'}"


class Reply(models.Model):
    """A text message that a phone wrote to us; its words are not kept."""

    sid = models.CharField(max_length=64, unique=True, help_text="The provider's id of it.")
    number_hash = models.CharField(max_length=64)
    meaning = models.CharField(max_length=8)
    helped = models.BooleanField(default=False)
    at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "replies"
        indexes: ClassVar = [
            models.Index(fields=["number_hash", "at"], name="reply_of_number"),
            models.Index(fields=["at"], name="reply_by_age"),
        ]

    def __str__(self) -> str:
        return self.meaning


class Turned(models.Model):
    """How many callbacks a door of /receipts turned away in one hour, and why."""

    door = models.CharField(max_length=16)
    why = models.CharField(max_length=16)
    hour = models.DateTimeField(help_text="Its beginning, UTC.")
    times = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name_plural = "turned away"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["door", "why", "hour"], name="turned_once_an_hour")
        ]

    def __str__(self) -> str:
        return f"{self.door} {self.why}: {self.times}"


class Hole(models.Model):
    """A channel whose provider takes messages of which nothing more is heard."""

    channel = models.CharField(max_length=16)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    share = models.FloatField(help_text="Of what was handed over, how much a receipt came for.")
    normal = models.FloatField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["channel"], condition=Q(closed_at__isnull=True), name="one_open_hole"
            )
        ]

    def __str__(self) -> str:
        return f"{self.channel} since {self.opened_at:%Y-%m-%d %H:%M}"


class Checkup(models.Model):
    """What the last look at a channel's credentials found."""

    channel = models.CharField(max_length=16, primary_key=True)
    at = models.DateTimeField()
    good = models.BooleanField()
    why = models.CharField(max_length=255, blank=True, default="")
    expires_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.channel}: {'good' if self.good else self.why}"
