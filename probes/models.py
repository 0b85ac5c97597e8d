"""The nouns of the eyes: facts and constraints, no rules."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from incidents.models import NAME_CHARS_MAX, Component, Incident, Page
from probes import latency
from probes.facts import ANSWER_CHARS_MAX, Outcome
from probes.policy import COHORT_CHARS_MAX, VETO_S, Publish
from probes.rule import Rule
from probes.words import Word

SLUG_CHARS_MAX = 64
WORD_CHARS_MAX = 16
STEP_CHARS_MAX = 100
ACCOUNT_CHARS_MAX = 40
REASON_CHARS_MAX = 2000
TRY_ID_CHARS_MAX = 32
SLOW_OVER_MS = Rule().slow_over_s * 1000


class Check(models.Model):
    """What to watch. `spec` is the kind's own; its steps name their components by slug."""

    page = models.ForeignKey(Page, models.CASCADE, related_name="checks")
    slug = models.SlugField(max_length=SLUG_CHARS_MAX)
    kind = models.CharField(max_length=32)
    spec = models.JSONField(default=dict)
    interval_s = models.PositiveIntegerField(default=30)
    timeout_s = models.FloatField(default=10)
    locations = models.JSONField(default=list, help_text="Names of locations, such as local.")
    rule = models.JSONField(default=dict, blank=True)
    cohort = models.CharField(
        max_length=COHORT_CHARS_MAX,
        blank=True,
        default="",
        help_text="Which users it speaks for, in words; empty: all.",
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)
    # An operator asks for a run now; the agents' result carries the id.
    try_id = models.CharField(max_length=TRY_ID_CHARS_MAX, blank=True, default="")
    try_asked_at = models.DateTimeField(null=True, blank=True)
    beat_at = models.DateTimeField(
        null=True, blank=True, help_text="When the newest heartbeat arrived (kind heartbeat)."
    )
    shadow_from = models.DateTimeField(
        null=True, blank=True, help_text="It speaks in public once it was up since."
    )

    class Meta:
        ordering: ClassVar = ["slug"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["page", "slug"], name="check_slug_once_a_page"),
            models.CheckConstraint(
                condition=Q(interval_s__gte=1), name="check_at_most_each_second"
            ),
            models.CheckConstraint(condition=Q(timeout_s__gt=0), name="check_has_a_timeout"),
        ]

    def __str__(self) -> str:
        return self.slug


class Location(models.Model):
    """Where a probe runs from; its agent proves itself by a token that is kept hashed."""

    name = models.CharField(max_length=SLUG_CHARS_MAX, unique=True)
    token_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_seen_at = models.DateTimeField(
        null=True, blank=True, help_text="When it last handed in a new result."
    )
    skew_s = models.FloatField(default=0, help_text="How far its clock is ahead of ours.")
    dropped = models.PositiveBigIntegerField(default=0, help_text="Results lost to a full buffer.")

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Policy(models.Model):
    """What to do about a verdict; the first by position that matches wins."""

    page = models.ForeignKey(Page, models.CASCADE, related_name="policies")
    position = models.PositiveIntegerField(default=0)
    component = models.ForeignKey(Component, models.CASCADE, related_name="policies")
    verdicts = models.JSONField(default=list)
    publish = models.CharField(max_length=8, choices=[(each.value, each.value) for each in Publish])
    veto_s = models.FloatField(default=VETO_S)
    publish_after_s = models.FloatField(null=True, blank=True)
    template = models.SlugField(max_length=SLUG_CHARS_MAX, blank=True, default="")
    night = models.JSONField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["position", "id"]
        verbose_name_plural = "policies"

    def __str__(self) -> str:
        return f"{self.component_id}: {self.publish}"


class Result(models.Model):
    """What one run from one location said; kept 48 h, longer while an incident needs it."""

    # The indexes below begin with the check and with the location: none of their own.
    of_check = models.ForeignKey(Check, models.CASCADE, related_name="results", db_index=False)
    location = models.ForeignKey(Location, models.CASCADE, related_name="results", db_index=False)
    sequence = models.BigIntegerField()
    at = models.DateTimeField()
    received_at = models.DateTimeField()
    outcome = models.CharField(
        max_length=WORD_CHARS_MAX,
        choices=[(each.value, each.value) for each in Outcome],
    )
    # Before any retry: what ratios are counted from.
    first_outcome = models.CharField(max_length=WORD_CHARS_MAX)
    # Which step failed in the first attempt, before any retry.
    first_step = models.CharField(max_length=STEP_CHARS_MAX, blank=True, default="")
    attempts = models.PositiveSmallIntegerField(default=1)
    reason = models.CharField(max_length=REASON_CHARS_MAX, blank=True, default="")
    steps = models.JSONField(default=list)
    total_ms = models.FloatField(default=0)
    # Sentences about what is strange and no failure.
    warnings = models.JSONField(default=list, blank=True)
    # The beginning of what a failing step was answered, without secrets.
    answer = models.TextField(max_length=ANSWER_CHARS_MAX, blank=True, default="")
    # The request of an operator that this run fulfils (Check.try_id).
    try_id = models.CharField(max_length=TRY_ID_CHARS_MAX, blank=True, default="")
    is_pinned = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Older than 48 h, kept for the post-mortem of an incident.",
    )

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["of_check", "-at"], name="result_newest"),
            # Apart, so that neither has to step over the rows of the other.
            models.Index(fields=["at"], name="result_to_forget", condition=Q(is_pinned=False)),
            models.Index(fields=["at"], name="result_pinned", condition=Q(is_pinned=True)),
        ]
        constraints: ClassVar = [
            # Sequences are milliseconds: few results share one, so a batch is found by
            # (location, sequence) alone, however many checks it speaks of.
            models.UniqueConstraint(
                fields=["location", "sequence", "of_check"], name="result_counts_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} at {self.at:%H:%M:%S}"


class Span(models.TextChoices):
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


class Rollup(models.Model):
    """Counts of results in a minute, hour or day: for ratios and plots, never for uptime."""

    of_check = models.ForeignKey(Check, models.CASCADE, related_name="rollups", db_index=False)
    location = models.ForeignKey(Location, models.CASCADE, related_name="rollups")
    span = models.CharField(max_length=8, choices=Span.choices)
    at = models.DateTimeField()
    runs = models.PositiveIntegerField(default=0)
    ok = models.PositiveIntegerField(default=0)
    slow = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    faults = models.PositiveIntegerField(default=0)
    first_told = models.PositiveIntegerField(
        default=0, db_default=0, help_text="First attempts that could tell: ok, slow or failed."
    )
    first_failed = models.PositiveIntegerField(
        default=0,
        db_default=0,
        help_text="First attempts that failed, also those that a retry mended.",
    )
    total_ms_sum = models.FloatField(default=0)
    # How long the good runs took, as probes.latency packs it.
    sketch = models.BinaryField(default=bytes, db_default=b"", max_length=latency.PACKED_BYTES_MAX)

    class Meta:
        constraints: ClassVar = [
            # In the order in which a plot and a ratio look: a check's minutes in a row.
            models.UniqueConstraint(
                fields=["of_check", "span", "at", "location"], name="rollup_once_a_span"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["span", "at"], name="rollup_by_age")]

    def __str__(self) -> str:
        return f"{self.span} {self.at:%Y-%m-%d %H:%M}"


class Tally(models.Model):
    """What was counted of a check of late, so that no judgement counts it again."""

    of_check = models.OneToOneField(Check, models.CASCADE, related_name="tally")
    # Up to the end of which minute: first attempts in the long and in the short window.
    counted_to = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    newest_attempts = models.PositiveIntegerField(default=0)
    newest_failures = models.PositiveIntegerField(default=0)
    # Good runs of the last 10 minutes by location, as [all, over the limit].
    latency = models.JSONField(default=dict)
    limit_ms = models.FloatField(default=SLOW_OVER_MS)
    over_since = models.DateTimeField(null=True, blank=True)
    hour = models.DateTimeField(null=True, blank=True, help_text="The last hour counted.")
    # Locations that cannot tell: why, since when, and whether operators were called.
    faults = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "tallies"

    def __str__(self) -> str:
        return f"{self.of_check_id}: {self.failures} of {self.attempts}"


class Minute(models.Model):
    """What one location saw in one minute: first attempts, and good runs; kept two hours."""

    of_check = models.ForeignKey(Check, models.CASCADE, related_name="minutes")
    location = models.ForeignKey(Location, models.CASCADE, related_name="minutes")
    at = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    good = models.PositiveIntegerField(default=0)
    over = models.PositiveIntegerField(default=0, help_text="Good runs above the limit.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["of_check", "at", "location"], name="minute_once_a_location"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["at"], name="minute_by_age")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M}: {self.failures} of {self.attempts}"


class UsualHour(models.Model):
    """How long the good runs of one hour took: 95 % of them no longer than this."""

    of_check = models.ForeignKey(Check, models.CASCADE, related_name="usual_hours")
    at = models.DateTimeField()
    p95_ms = models.FloatField()
    runs = models.PositiveIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["of_check", "at"], name="usual_hour_once"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H}: {self.p95_ms:.0f} ms"


class Proof(models.Model):
    """An account got in from a location at `at`: its rejection soon after is not its own fault."""

    of_check = models.ForeignKey(Check, models.CASCADE, related_name="proofs")
    location = models.ForeignKey(Location, models.CASCADE, related_name="proofs")
    account = models.CharField(max_length=ACCOUNT_CHARS_MAX, help_text="A digest, no name.")
    at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["of_check", "location", "account"], name="proof_once_an_account"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account} at {self.at:%Y-%m-%d %H:%M}"


class CurrentVerdict(models.Model):
    """What a check says of a component now, and what was done about it; locked while acting."""

    # What it means for the component as long as it is acted upon: claim() of policy.py.
    claim: str = ""

    of_check = models.ForeignKey(Check, models.CASCADE, related_name="current")
    component = models.ForeignKey(Component, models.CASCADE, related_name="current_verdicts")
    word = models.CharField(max_length=WORD_CHARS_MAX, blank=True, default="")
    reasoning = models.TextField(blank=True, default="")
    locations = models.JSONField(default=list)
    step = models.CharField(max_length=NAME_CHARS_MAX, blank=True, default="")
    unknown_why = models.CharField(max_length=NAME_CHARS_MAX, blank=True, default="")
    skipped = models.BooleanField(default=False)
    since = models.DateTimeField(null=True, blank=True, help_text="Since when it is this word.")
    began_at = models.DateTimeField(null=True, blank=True, help_text="When the trouble began.")
    clean_since = models.DateTimeField(null=True, blank=True)
    up_at = models.DateTimeField(null=True, blank=True)
    mended_at = models.DateTimeField(null=True, blank=True, help_text="When trouble last ended.")
    flapping = models.BooleanField(default=False)
    rejected = models.BooleanField(
        default=False, help_text="The failure is that our credentials were not taken."
    )
    # What was said of it in public, where, and what an operator does not want said.
    incident = models.ForeignKey(
        Incident, models.SET_NULL, null=True, blank=True, related_name="verdicts"
    )
    said_word = models.CharField(max_length=WORD_CHARS_MAX, blank=True, default="")
    vetoed_word = models.CharField(max_length=WORD_CHARS_MAX, blank=True, default="")
    called_for = models.CharField(max_length=WORD_CHARS_MAX, blank=True, default="")

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["of_check", "component"], name="one_verdict_now"),
            models.CheckConstraint(
                condition=Q(word__in=["", *(word.value for word in Word)]),
                name="verdict_is_a_word",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.component_id}: {self.word}"


class VerdictChange(models.Model):
    """From `at` on a check said `new` of a component, and why."""

    of_check = models.ForeignKey(Check, models.CASCADE, related_name="verdict_changes")
    component = models.ForeignKey(Component, models.CASCADE, related_name="verdict_changes")
    old = models.CharField(max_length=WORD_CHARS_MAX, blank=True, default="")
    new = models.CharField(max_length=WORD_CHARS_MAX)
    at = models.DateTimeField()
    reasoning = models.TextField(blank=True, default="")
    locations = models.JSONField(default=list)

    class Meta:
        ordering: ClassVar = ["-at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["component", "-at"], name="verdict_change_newest")
        ]

    def __str__(self) -> str:
        return f"{self.old or 'none'} -> {self.new} at {self.at:%Y-%m-%d %H:%M:%S}"
