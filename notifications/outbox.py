"""The line from an entry to a settled delivery: open, fan out, claim, admit, settle. The database's clock rules leases."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, connection, models, transaction
from django.db.models import (
    BooleanField,
    Case,
    CharField,
    DateTimeField,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    Value,
    When,
)

from incidents import reads
from incidents.lifecycle import Audience
from incidents.models import Call, Incident, Update
from notifications import routing
from notifications.channels import Outcome, Result
from notifications.models import (
    HANDED_OVER,
    WAITING,
    Attempt,
    Broadcast,
    Delivery,
    DeliveryState,
    Pace,
)
from notifications.retry import ATTEMPTS_MAX, after_unknown, next_attempt_at
from subscribers import services as people
from subscribers.models import Letter, Role, State, Subscription, Suppression

ENTRIES_MAX = 200  # entries opened in one pass; the rest a second later
CHUNK_ROWS = (
    5_000  # subscriptions queued in one transaction: about 50 ms on PostgreSQL (performance.md §1)
)
PASS_ROWS_MAX = 20_000  # house.md: at most so many rows a pass of the clock
# An update is pushed once the page shows it, or after this time if publishing fails: contract.md, "URLs".
SHOWN_WITHIN = timedelta(seconds=5)
# Older entries are news to nobody; also keeps a restored backup from sending yesterday's (reliability.md, R32).
ENTRY_VALID = timedelta(hours=24)
LEASE_S = 60  # longer than the slowest group of any channel takes: 20 mails at 3 s each
SWEEP_ROWS_MAX = 5_000
# How long an older update waits for a newer one to be fanned out before it goes all the same.
OVERTAKEN_WAIT = timedelta(seconds=30)
RELEASE = timedelta(seconds=1)
_HELD = (DeliveryState.PREPARED, DeliveryState.CALLING)


def database_now() -> datetime:
    """Return the database's clock: leases must not depend on a worker's."""
    if connection.vendor == "sqlite":
        return datetime.now(UTC)  # an embedded database has its host's clock
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment


# --- from an entry to a broadcast -------------------------------------------------------------------------------------


def open_entries(now: datetime) -> int:
    """Give every entry that has none its broadcast; return how many. Two sweeps cannot both win."""
    return _open_updates(now) + _open_calls(now) + _open_letters(now)


def _open_updates(now: datetime) -> int:
    ready = Q(shown_at__isnull=False) | Q(published_at__lte=now - SHOWN_WITHIN)
    waiting = Update.objects.filter(
        ready, published_at__gt=now - ENTRY_VALID, broadcast__isnull=True
    )
    waiting = (
        waiting.exclude(audience=Audience.NOBODY)
        .select_related("incident")
        .order_by("published_at", "id")
    )
    return sum(_open_update(update, now) for update in waiting[:ENTRIES_MAX])


@transaction.atomic
def _open_update(update: Update, now: datetime) -> bool:
    incident = reads.with_all(Incident.objects.filter(pk=update.incident_id)).get()
    fact = reads.incident_fact(incident)
    legs = routing.plan(fact, reads.update_fact(update, fact.uid), settings.CHANNELS)
    older = Broadcast.objects.filter(incident=incident, number__lt=update.number or 0)
    if update.retraction:
        _supersede_waiting(older, now)
    else:
        legs = routing.inherit(_take_over(older, legs, now), _overtaken(older))
    return _create(
        Broadcast(
            update_entry=update, incident=incident, number=update.number or 0, created_at=now
        ),
        legs,
    )


def _take_over(
    older: models.QuerySet[Broadcast], legs: list[routing.Leg], now: datetime
) -> list[routing.Leg]:
    """Whoever an unfinished fan-out had still to queue is queued for the newer update instead."""
    present = {leg.channel for leg in legs}
    for broadcast in older.filter(fanned_out_at__isnull=True).select_for_update():
        theirs = [routing.leg(row) for row in broadcast.plan]
        left = [leg for leg in theirs if leg.role == Role.SOCIAL]
        legs = legs + [leg for leg in theirs if leg not in left and leg.channel not in present]
        present = {leg.channel for leg in legs}
        broadcast.plan = [leg.as_json() for leg in left]
        broadcast.fanned_out_at = None if left else now
        broadcast.save(update_fields=["plan", "fanned_out_at"])
    return legs


def _overtaken(older: models.QuerySet[Broadcast]) -> dict[str, bool]:
    """Return the channels on which messages of older updates still wait, and whether any of those is urgent."""
    waiting = Delivery.objects.filter(
        broadcast__in=older, state__in=[DeliveryState.PENDING, DeliveryState.PREPARED]
    )
    channels: dict[str, bool] = {}
    for channel, urgent in waiting.values_list("channel", "urgent").distinct():
        channels[channel] = channels.get(channel, False) or urgent
    return channels


def _supersede_waiting(older: models.QuerySet[Broadcast], now: datetime) -> None:
    """A retracted alarm goes to nobody who has not heard it yet."""
    Delivery.objects.filter(broadcast__in=older, state=DeliveryState.PENDING).update(
        state=DeliveryState.SUPERSEDED, why="retracted"
    )
    older.filter(fanned_out_at__isnull=True).update(fanned_out_at=now, plan=[])


def _open_calls(now: datetime) -> int:
    calls = Call.objects.filter(broadcast__isnull=True, created_at__gt=now - ENTRY_VALID).order_by(
        "created_at"
    )
    legs = [routing.Leg(channel, role=Role.OPERATOR, urgent=True) for channel in settings.CHANNELS]
    return sum(_create(Broadcast(call=call, created_at=now), legs) for call in calls[:ENTRIES_MAX])


def _open_letters(now: datetime) -> int:
    letters = Letter.objects.filter(
        broadcast__isnull=True, created_at__gt=now - ENTRY_VALID
    ).order_by("created_at")
    return sum(
        _open_letter(letter, now) for letter in letters.select_related("subscription")[:ENTRIES_MAX]
    )


@transaction.atomic
def _open_letter(letter: Letter, now: datetime) -> bool:
    broadcast = Broadcast(letter=letter, created_at=now, fanned_out_at=now)
    if not _create(broadcast, []):
        return False
    Delivery.objects.create(
        broadcast=broadcast, subscription=letter.subscription, channel=letter.subscription.channel, urgent=True,
        due_at=now,
    )  # fmt: skip
    return True


def _create(broadcast: Broadcast, legs: list[routing.Leg]) -> bool:
    broadcast.plan = [leg.as_json() for leg in legs]
    try:
        with transaction.atomic():
            broadcast.save(force_insert=True)
    except IntegrityError:
        return False  # another clock was quicker
    return True


# --- from a broadcast to its deliveries -------------------------------------------------------------------------------


def fan_out(now: datetime, *, rows_max: int = PASS_ROWS_MAX) -> int:
    """Queue deliveries for open broadcasts, at most `rows_max` a pass; resumable, and run twice it queues once."""
    queued = 0
    for broadcast in Broadcast.objects.filter(fanned_out_at__isnull=True).order_by("id")[
        :ENTRIES_MAX
    ]:
        while queued < rows_max and (chunk := _queue_chunk(broadcast.pk, now)) is not None:
            queued += chunk
        if queued >= rows_max:
            break
    return queued


@transaction.atomic
def _queue_chunk(broadcast_id: int, now: datetime) -> int | None:
    """Queue the next chunk; return its rows, or None when the broadcast is all queued."""
    broadcast = Broadcast.objects.select_for_update().get(pk=broadcast_id)
    leg = next(
        (
            leg
            for leg in map(routing.leg, broadcast.plan)
            if broadcast.cursor.get(leg.channel) != "done"
        ),
        None,
    )
    if leg is None:
        Broadcast.objects.filter(pk=broadcast_id, fanned_out_at__isnull=True).update(
            fanned_out_at=now
        )
        return None
    after = int(broadcast.cursor.get(leg.channel, 0))
    people_left = _audience(leg, broadcast).filter(pk__gt=after).order_by("pk")
    last = people_left.values_list("pk", flat=True)[CHUNK_ROWS - 1 : CHUNK_ROWS].first()
    queued = _insert(
        broadcast, leg, people_left if last is None else people_left.filter(pk__lte=last), now
    )
    broadcast.cursor[leg.channel] = "done" if last is None else last
    broadcast.save(update_fields=["cursor"])
    return queued


def _audience(leg: routing.Leg, broadcast: Broadcast) -> models.QuerySet[Subscription]:
    """Return the subscriptions of one leg: what and when is pure (routing), who is this one query."""
    people = Subscription.objects.filter(channel=leg.channel, role=leg.role, state=State.ACTIVE)
    if leg.wake_me:
        people = people.filter(wake_me=True)
    followers = Subscription.incidents.through.objects.filter(
        subscription=OuterRef("pk"), incident=broadcast.incident_id
    )
    people = people.filter(Q(only_incidents=False) | Exists(followers))
    if leg.components:
        chosen = Subscription.components.through.objects.filter(
            subscription=OuterRef("pk"), component__uid__in=leg.components
        )
        people = people.filter(Q(every_component=True) | Exists(chosen) | Exists(followers))
    told = Delivery.objects.filter(
        subscription=OuterRef("pk"),
        broadcast__incident=broadcast.incident_id,
        broadcast__number__lt=broadcast.number,
    )
    if leg.told:
        maybe = [*HANDED_OVER, DeliveryState.CALLING, DeliveryState.UNKNOWN]
        people = people.filter(Exists(told.filter(Q(state__in=maybe) | Q(maybe_sent=True))))
    if leg.answered:
        people = people.filter(Exists(told.filter(answered_at__isnull=False)))
    if leg.heirs:
        people = people.filter(Exists(told.filter(state__in=WAITING)))
    return people


def _insert(
    broadcast: Broadcast, leg: routing.Leg, people: models.QuerySet[Subscription], now: datetime
) -> int:
    """INSERT … SELECT: 40 times cheaper than a Python row each (house.md, "Choices argued")."""
    suppressed = Suppression.objects.filter(
        channel=OuterRef("channel"), address_hash=OuterRef("address_hash")
    )
    columns = {
        "broadcast_id": Value(broadcast.pk, IntegerField()),
        "subscription_id": F("pk"),
        "channel": F("channel"),
        "urgent": Value(leg.urgent, BooleanField()),
        "state": Case(
            When(Exists(suppressed), then=Value(DeliveryState.SUPPRESSED.value)),
            default=Value(DeliveryState.PENDING.value),
            output_field=CharField(),
        ),
        "attempts": Value(0, IntegerField()),
        "maybe_sent": Value(False, BooleanField()),
        "due_at": Value(now, DateTimeField()),
        "lease": Value("", CharField()),
        "provider": Value("", CharField()),
        "provider_id": Value("", CharField()),
        "why": Value("", CharField()),
    }
    aliased = people.annotate(**{f"new_{name}": column for name, column in columns.items()})
    sql, params = aliased.values_list(*(f"new_{name}" for name in columns)).query.sql_with_params()
    table = connection.ops.quote_name(Delivery._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) {sql} ON CONFLICT DO NOTHING", params
        )
        return max(int(cursor.rowcount), 0)


# --- from a waiting delivery to a settled one -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """Deliveries of one broadcast, one channel and one language, under one lease."""

    lease: str
    channel: str
    broadcast: int
    ids: tuple[int, ...]


@transaction.atomic
def claim(channel: str, *, rows: int) -> Claim | None:
    """Lease up to `rows` due deliveries of one broadcast and language, urgent and oldest first; None when none is due.

    Committed before any network call. SKIP LOCKED on PostgreSQL; SQLite has one writer at a time anyway.
    """
    now = database_now()
    due = Delivery.objects.filter(
        channel=channel, state=DeliveryState.PENDING, due_at__lte=now
    ).order_by("-urgent", "due_at", "id")
    # The first row is locked too: another worker may hold the very rows that look due.
    first = _unlocked(due.select_related("subscription"), 1)
    if not first:
        return None
    broadcast, language = first[0].broadcast_id, first[0].subscription.language
    mine = due.filter(broadcast_id=broadcast, subscription__language=language)
    # Two statements: as a sub-query of the UPDATE, PostgreSQL may run the locking SELECT once for each row.
    ids = tuple(delivery.pk for delivery in _unlocked(mine.only("pk"), rows))
    lease = secrets.token_hex(16)
    Delivery.objects.filter(pk__in=ids).update(
        state=DeliveryState.PREPARED,
        lease=lease,
        lease_until=now + timedelta(seconds=LEASE_S),
        attempts=F("attempts") + 1,
    )
    return Claim(lease, channel, broadcast, ids)


def _unlocked(due: models.QuerySet[Delivery], rows: int) -> list[Delivery]:
    return list(due.select_for_update(skip_locked=True, of=("self",))[:rows])


@transaction.atomic
def admit(claimed: Claim, ids: Sequence[int]) -> list[Delivery]:
    """Move those that may still be sent to `calling` and return them; settle or release the others.

    May be asked again for those admitted but not yet handed to the channel.
    Asks again whether the lease is ours, the update the newest, the person subscribed, the address not suppressed.
    """
    now = database_now()
    broadcast = Broadcast.objects.select_related("update_entry", "call", "letter").get(
        pk=claimed.broadcast
    )
    ours = Delivery.objects.filter(pk__in=ids, lease=claimed.lease, state__in=_HELD)
    if why := _stopped(broadcast, now):
        ours.update(state=why, lease="")
        return []
    if _must_wait(broadcast, claimed.channel, now):
        ours.update(
            state=DeliveryState.PENDING, lease="", attempts=F("attempts") - 1, due_at=now + RELEASE
        )
        return []
    _drop(ours, broadcast, claimed.channel)
    sending = list(
        ours.filter(lease_until__gt=now)
        .select_related("subscription")
        .select_for_update(of=("self",))
    )
    Delivery.objects.filter(pk__in=[delivery.pk for delivery in sending]).update(
        state=DeliveryState.CALLING
    )
    return sending


def _stopped(broadcast: Broadcast, now: datetime) -> DeliveryState | None:
    if broadcast.halted_at:
        return DeliveryState.HALTED
    return DeliveryState.EXPIRED if broadcast.created_at < now - ENTRY_VALID else None


def _must_wait(broadcast: Broadcast, channel: str, now: datetime) -> bool:
    """True while a newer update of the incident is on its way to the same people but not queued for them yet."""
    if broadcast.incident_id is None or channel in routing.SOCIAL:
        return False
    newer = Update.objects.filter(
        incident=broadcast.incident_id,
        number__gt=broadcast.number,
        published_at__gt=now - OVERTAKEN_WAIT,
    ).exclude(audience=Audience.NOBODY)
    return newer.filter(
        Q(broadcast__isnull=True) | Q(broadcast__fanned_out_at__isnull=True)
    ).exists()


def _drop(ours: models.QuerySet[Delivery], broadcast: Broadcast, channel: str) -> None:
    """Settle what must not be sent any more: overtaken, unsubscribed, suppressed."""
    if broadcast.incident_id and channel not in routing.SOCIAL:
        newer = Delivery.objects.filter(
            subscription=OuterRef("subscription"),
            broadcast__incident=broadcast.incident_id,
            broadcast__number__gt=broadcast.number,
        )
        ours.filter(Exists(newer)).update(
            state=DeliveryState.SUPERSEDED, lease="", why="overtaken by a newer update"
        )
    suppressed = Suppression.objects.filter(
        channel=OuterRef("channel"), address_hash=OuterRef("subscription__address_hash")
    )
    ours.filter(Exists(suppressed)).update(
        state=DeliveryState.SUPPRESSED, lease="", why="address suppressed"
    )
    gone = Q(subscription__state=State.GONE)
    if broadcast.letter_id is None:
        gone |= Q(subscription__state=State.PENDING)
    left = list(ours.filter(gone).values_list("pk", flat=True))
    Delivery.objects.filter(pk__in=left).update(
        state=DeliveryState.SUPPRESSED, lease="", why="unsubscribed"
    )


def release(claimed: Claim, ids: Sequence[int]) -> None:
    """Give back what was claimed, perhaps admitted, but not handed to the channel."""
    Delivery.objects.filter(pk__in=ids, lease=claimed.lease, state__in=_HELD).update(
        state=DeliveryState.PENDING, lease="", attempts=F("attempts") - 1
    )


@dataclass(frozen=True, slots=True)
class Settlement:
    """One outcome with the instant at which it was known, and what deciding about it needs."""

    delivery: Delivery
    outcome: Outcome
    at: datetime


def settle(settlements: Sequence[Settlement], *, lease: str, provider: str, critical: bool) -> int:
    """Write a group of outcomes in one transaction; return how many were still ours to write."""
    written = 0
    with transaction.atomic():
        for item in settlements:
            fields = _settled(item, provider=provider, critical=critical)
            ours = Delivery.objects.filter(
                pk=item.delivery.pk, lease=lease, state=DeliveryState.CALLING
            )
            written += ours.update(lease="", **fields) or _already_settled(item, provider)
        Attempt.objects.bulk_create(
            Attempt(
                delivery=item.delivery,
                at=item.at,
                result=item.outcome.result,
                why=item.outcome.why[:255],
            )
            for item in settlements
            if item.outcome.result is not Result.ACCEPTED
        )
        for item in settlements:
            if item.outcome.dead:
                _suppress(item)
    return written


def _already_settled(item: Settlement, provider: str) -> int:
    """A receipt can be quicker than the answer it is about: keep its word, add the provider's id."""
    quicker = Delivery.objects.filter(
        pk=item.delivery.pk, state__in=HANDED_OVER, lease="", provider_id=""
    )
    if item.outcome.result is not Result.ACCEPTED:
        return 0
    return quicker.update(provider=provider, provider_id=item.outcome.provider_id[:255])


def _settled(item: Settlement, *, provider: str, critical: bool) -> dict[str, object]:
    """Return the columns that an outcome sets."""
    delivery, outcome = item.delivery, item.outcome
    why = outcome.why[:255]
    match outcome.result:
        case Result.ACCEPTED:
            provider_id = outcome.provider_id[:255]
            return {
                "state": DeliveryState.ACCEPTED, "accepted_at": item.at, "provider": provider,
                "provider_id": provider_id, "why": "",
            }  # fmt: skip
        case Result.REFUSED:
            return {"state": DeliveryState.REFUSED, "why": why, "provider": provider}
        case Result.RETRY:
            again = next_attempt_at(
                delivery.attempts, item.at, outcome.retry_after_s, urgent=delivery.urgent
            )
            if again is None:
                return {"state": DeliveryState.FAILED, "why": why, "provider": provider}
            return {"state": DeliveryState.PENDING, "due_at": again, "why": why}
        case Result.UNKNOWN:
            return _unknown(delivery, item.at, why, critical=critical)


def _unknown(delivery: Delivery, at: datetime, why: str, *, critical: bool) -> dict[str, object]:
    then = after_unknown(delivery.channel, delivery.attempts, critical)
    if not then.resend:
        return {"state": DeliveryState.UNKNOWN, "why": why, "maybe_sent": True}
    due = at + timedelta(seconds=then.after_s)
    return {"state": DeliveryState.PENDING, "due_at": due, "maybe_sent": True, "why": why}


def _suppress(item: Settlement) -> None:
    person = item.delivery.subscription
    people.suppress(
        channel=person.channel,
        address_hash=person.address_hash,
        reason=item.outcome.why[:255] or "refused",
        now=item.at,
    )


def sweep_leases() -> int:
    """Take back what a dead worker held: not yet called is due again, called is unknown. Returns how many."""
    now = database_now()
    lapsed = Delivery.objects.filter(lease_until__lt=now)
    prepared = lapsed.filter(state=DeliveryState.PREPARED)
    # A batch that kills its worker each time must not go round for ever.
    given_up = prepared.filter(attempts__gte=ATTEMPTS_MAX).update(
        state=DeliveryState.FAILED, lease="", why="its worker died each time"
    )
    freed = given_up + prepared.update(state=DeliveryState.PENDING, lease="")
    called = lapsed.filter(state=DeliveryState.CALLING).select_related("broadcast__incident")[
        :SWEEP_ROWS_MAX
    ]
    return freed + sum(_resolve_lapsed(delivery, now) for delivery in called)


def _resolve_lapsed(delivery: Delivery, now: datetime) -> int:
    incident = delivery.broadcast.incident
    critical = incident is None or incident.components.filter(critical=True).exists()
    fields = _unknown(
        delivery, now, "the worker died while the provider was called", critical=critical
    )
    return Delivery.objects.filter(
        pk=delivery.pk, state=DeliveryState.CALLING, lease=delivery.lease, lease_until__lt=now
    ).update(lease="", **fields)


@transaction.atomic
def reserve(channel: str, per_s: float, messages: int) -> float:
    """Book `messages` sends of a rate-limited account; return in how many seconds the first may start."""
    now = database_now()
    Pace.objects.get_or_create(channel=channel, defaults={"free_at": now})
    pace = Pace.objects.select_for_update().get(channel=channel)
    start = max(now, pace.free_at)
    pace.free_at = start + timedelta(seconds=messages / per_s)
    pace.save(update_fields=["free_at"])
    return (start - now).total_seconds()


def waiting_channels(now: datetime) -> Iterable[tuple[str, bool, datetime]]:
    """Return (channel, urgent, oldest due) for what is due and not claimed."""
    due = Delivery.objects.filter(
        state=DeliveryState.PENDING, due_at__lte=now, channel__in=list(settings.CHANNELS)
    )
    return due.values_list("channel", "urgent").annotate(oldest=models.Min("due_at"))


def is_served(channel: str) -> bool:
    """Return True while somebody holds a living lease on `channel`: slow is not the same as alone."""
    held = Delivery.objects.filter(channel=channel, state__in=_HELD, lease_until__gt=database_now())
    return held.exists()


def halt(broadcast: Broadcast, *, now: datetime) -> None:
    """Stop all new sends of a broadcast."""
    Broadcast.objects.filter(pk=broadcast.pk, halted_at__isnull=True).update(halted_at=now)
    Delivery.objects.filter(broadcast=broadcast, state=DeliveryState.PENDING).update(
        state=DeliveryState.HALTED
    )
