"""From a waiting delivery to one that may be sent now: claim a batch under a lease, admit a group of it."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Exists, F, OuterRef, Q

from incidents.lifecycle import Audience
from incidents.models import Update
from notifications import routing
from notifications.dbtime import by_ids, by_index_only, database_now
from notifications.models import SENT_FROM, Broadcast, Delivery, DeliveryState, Lane
from notifications.opening import ENTRY_VALID
from subscribers.models import State, Suppression

LEASE_S = 60  # longer than the slowest group of any channel takes
# How long an older update waits for a newer one to be fanned out before it goes all the same.
OVERTAKEN_WAIT = timedelta(seconds=30)
RELEASE = timedelta(seconds=1)
# Broadcasts of one lane that take turns; more than so many due at once are served as the first of them end.
TURNS_MAX = 16
# Broadcasts of one lane that are looked at for those, mostly letters that wait for their next attempt: 10,000 take 70 ms,
# nineteen 0.2 ms (measured 27 November 2026).
LOOKS_MAX = 10_000
HELD = (DeliveryState.PREPARED, DeliveryState.CALLING)
# How a person is spoken to: deliveries of one batch share it, because they share the words.
_MANNER = ("subscription__language", "subscription__time_zone", "subscription__discreet")
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Claim:
    """Deliveries of one broadcast, one channel, one language and one time zone, under one lease."""

    lease: str
    channel: str
    broadcast: int
    ids: tuple[int, ...]
    language: str = "en"
    time_zone: str = ""
    discreet: bool = False


@transaction.atomic
def claim(channel: str, *, rows: int, calls_only: bool = False) -> Claim | None:
    """Lease up to `rows` due deliveries of one broadcast and language, the longest due first; None when none is due.

    `calls_only`: nothing but calls to operators. Urgent before the rest; broadcasts of equal urgency take turns, so that no incident waits for all of another.
    Committed before any network call. SKIP LOCKED on PostgreSQL; SQLite has one writer at a time anyway.
    """
    now = database_now()
    for lane in _lanes(calls_only):
        for broadcast in _turns(channel, lane, now, calls_only):
            if claimed := _claim_of(broadcast, channel, lane, rows, now):
                return claimed
    return None


def _lanes(calls_only: bool) -> tuple[Lane, ...]:
    if calls_only:
        return (Lane.PERSONAL,)
    # A storm of confirmations must not hold up an alarm, nor the alarm a call to operators: they share evenly.
    if random.random() < 0.5:
        return (Lane.PERSONAL, Lane.URGENT, Lane.BULK)
    return (Lane.URGENT, Lane.PERSONAL, Lane.BULK)


def _turns(channel: str, lane: Lane, now: datetime, calls_only: bool) -> list[int]:
    """Return the broadcasts that are due in a lane, in the order to try them: letters oldest first, others at random."""
    found = broadcasts_in(channel, lane, now, calls_only=calls_only)
    if lane is not Lane.PERSONAL:
        random.shuffle(found)
    return found


def broadcasts_in(
    channel: str, lane: Lane, now: datetime, *, calls_only: bool = False
) -> list[int]:
    """Return the broadcasts with deliveries that are due, at most TURNS_MAX, the oldest first.

    One probe of delivery_in_line for each that waits, which finds its longest due: where that is a retry's or a ladder's
    and not due yet, the broadcast takes nobody's turn.
    """
    quoted = connection.ops.quote_name
    rows, broadcasts = (quoted(model._meta.db_table) for model in (Delivery, Broadcast))
    # In the whole order of delivery_in_line: by the broadcast alone, PostgreSQL may prefer the ledger's other index.
    line = f"SELECT id FROM {rows} WHERE channel = %s AND lane = %s AND state = %s"
    first = "ORDER BY broadcast_id, due_at, id LIMIT 1"
    place: list[str | int] = [channel, int(lane), DeliveryState.PENDING.value]
    of_turn = f"FROM {rows} one WHERE one.id = turn.first"
    calls = (
        f"(SELECT call_id FROM {broadcasts} WHERE id = (SELECT broadcast_id {of_turn})) IS NOT NULL"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE turn(first, looks) AS (SELECT ({line} {first}), 1 UNION ALL "
            f"SELECT ({line} AND broadcast_id > (SELECT broadcast_id {of_turn}) {first}), looks + 1 "
            f"FROM turn WHERE first IS NOT NULL AND looks < {LOOKS_MAX}) "
            f"SELECT (SELECT broadcast_id {of_turn}) FROM turn WHERE (SELECT due_at {of_turn}) <= %s "
            f"{f'AND {calls}' if calls_only else ''} LIMIT {TURNS_MAX}",
            [*place, *place, connection.ops.adapt_datetimefield_value(now)],
        )
        return [broadcast for (broadcast,) in cursor.fetchall()]


def _claim_of(broadcast: int, channel: str, lane: Lane, rows: int, now: datetime) -> Claim | None:
    due = _due(broadcast, channel, lane, now)
    # The first row is locked too: another worker may hold the very rows that look due.
    first = _unlocked(due.values_list(*_MANNER), 1)
    if not first:
        return None
    manner = first[0]
    mine = due.filter(**dict(zip(_MANNER, manner, strict=True)))
    # Two statements: as a sub-query of the UPDATE, PostgreSQL may run the locking SELECT once for each row.
    ids = tuple(_unlocked(mine.values_list("pk", flat=True), rows))
    claimed = Claim(secrets.token_hex(16), channel, broadcast, ids, *manner)
    _lease(ids, claimed, DeliveryState.PREPARED, now)
    return claimed


def _due(broadcast: int, channel: str, lane: Lane, now: datetime) -> models.QuerySet[Delivery]:
    return Delivery.objects.filter(
        channel=channel,
        lane=lane,
        broadcast_id=broadcast,
        state=DeliveryState.PENDING,
        due_at__lte=now,
    ).order_by("due_at", "id")


def _unlocked(due: models.QuerySet[Delivery, _Row], rows: int) -> list[_Row]:
    return list(due.select_for_update(skip_locked=True, of=("self",))[:rows])


@transaction.atomic(savepoint=False)
def take(channel: str, *, rows: int, calls_only: bool = False) -> tuple[Claim, list[Due]] | None:
    """Claim and admit in one: lease up to `rows` and move those that may be sent to `calling`; None when none is due.

    For channels that send at once what they hold: it writes each row once less. The first that waits in line decides, as
    in claim().
    """
    now = database_now()
    by_index_only()
    for lane in _lanes(calls_only):
        for broadcast in _turns(channel, lane, now, calls_only):
            if taken := _take_of(broadcast, channel, lane, rows, now):
                return taken
    return None


def _take_of(
    broadcast: int, channel: str, lane: Lane, rows: int, now: datetime
) -> tuple[Claim, list[Due]] | None:
    due = _due(broadcast, channel, lane, now)
    first = _unlocked(due.values_list(*_MANNER), 1)
    if not first:
        return None
    manner = first[0]
    mine = _with_people(due.filter(**dict(zip(_MANNER, manner, strict=True))))
    found = [Due(*row) for row in _unlocked(mine, rows)]
    claimed = Claim(
        secrets.token_hex(16), channel, broadcast, tuple(one.pk for one in found), *manner
    )
    standing = _standing(claimed, now)
    if standing.is_clear:
        sending = [one for one in found if one.is_welcome(standing.is_letter)]
    else:
        sending = []
    _lease([one.pk for one in sending], claimed, DeliveryState.CALLING, now)
    clear = {one.pk for one in sending}
    left = [pk for pk in claimed.ids if pk not in clear]
    if left:
        # The rare ones go the long way, which says why of each.
        _lease(left, claimed, DeliveryState.PREPARED, now)
        sending += admit(claimed, left)
    for one in sending:
        one.attempts += one.is_new
        one.is_new = False
    return claimed, sending


def _lease(ids: Sequence[int], claimed: Claim, state: DeliveryState, now: datetime) -> None:
    if ids:
        by_ids(Delivery.objects.all(), ids).update(
            state=state,
            lease=claimed.lease,
            lease_until=now + timedelta(seconds=LEASE_S),
            attempts=F("attempts") + 1,
        )


@transaction.atomic(savepoint=False)
def admit(claimed: Claim, ids: Sequence[int]) -> list[Due]:
    """Move those that may still be sent to `calling` and return them; settle or release the others.

    May be asked again for those admitted but not yet handed to the channel.
    Asks again whether the lease is ours, the update the newest and not taken back, the person subscribed, the address not
    suppressed.
    """
    now = database_now()
    ours = Delivery.objects.filter(pk__in=ids, lease=claimed.lease)
    standing = _standing(claimed, now)
    if standing.stopped:
        ours.update(state=standing.stopped, lease="")
        return []
    if standing.is_retracted:
        # Who may have got it all the same hears the retraction: fanning.audience, `told`.
        ours.update(state=DeliveryState.SUPERSEDED, lease="", why="retracted")
        return []
    if standing.must_wait:
        ours.update(
            state=DeliveryState.PENDING, lease="", attempts=F("attempts") - 1, due_at=now + RELEASE
        )
        return []
    if standing.is_overtaken:
        _drop_overtaken(ours, claimed.broadcast)
    locked = _with_people(ours.filter(lease_until__gt=now)).select_for_update(of=("self",))
    found = [Due(*row) for row in locked]
    for one in found:
        one.is_new = False
    sending = [one for one in found if one.is_welcome(standing.is_letter)]
    _drop_unwelcome(found, standing.is_letter)
    Delivery.objects.filter(pk__in=[one.pk for one in sending]).exclude(
        state=DeliveryState.CALLING
    ).update(state=DeliveryState.CALLING)
    return sending


def _with_people(due: models.QuerySet[Delivery]) -> models.QuerySet[Delivery, Any]:
    """Return the columns of Due, in its order."""
    suppressed = Suppression.objects.filter(
        channel=OuterRef("channel"), address_hash=OuterRef("subscription__address_hash")
    )
    return due.values_list(
        "pk", "channel", "urgent", "attempts", "maybe_sent", "provider", "subscription_id",
        "subscription__uid", "subscription__address_sealed", "subscription__address_hash",
        "subscription__state", Exists(suppressed),
    )  # fmt: skip


@dataclass(slots=True)
class Person:
    """Of a subscription what sending needs."""

    pk: int
    uid: str
    channel: str
    address_sealed: bytes
    address_hash: str


class Due:
    """One delivery on its way, and its person: lean, because there may be a million of them."""

    __slots__ = (
        *("attempts", "channel", "is_new", "maybe_sent", "pk", "provider", "state"),
        *("subscription", "subscription_id", "suppressed", "urgent"),
    )

    def __init__(
        self,
        pk: int,
        channel: str,
        urgent: bool,
        attempts: int,
        maybe_sent: bool,
        provider: str,
        subscription_id: int,
        uid: str,
        sealed: bytes,
        hashed: str,
        state: str,
        suppressed: bool,
        is_new: bool = True,
    ) -> None:
        self.pk = pk
        self.channel = channel
        self.urgent = urgent
        self.attempts = attempts
        self.maybe_sent = maybe_sent
        self.provider = provider
        self.subscription_id = subscription_id
        self.subscription = Person(subscription_id, uid, channel, sealed, hashed)
        self.state = state  # the subscription's
        self.suppressed = suppressed
        self.is_new = is_new

    def is_welcome(self, is_letter: bool) -> bool:
        """Subscribed still, not suppressed. A letter may go to who has not confirmed."""
        gone = self.state == State.GONE or (self.state == State.PENDING and not is_letter)
        return not gone and not self.suppressed


@dataclass(frozen=True, slots=True)
class _Standing:
    """How a broadcast stands at this moment, asked in one query."""

    stopped: DeliveryState | None
    is_retracted: bool
    must_wait: bool
    is_overtaken: bool
    is_letter: bool

    @property
    def is_clear(self) -> bool:
        return not (self.stopped or self.is_retracted or self.must_wait or self.is_overtaken)


def _standing(claimed: Claim, now: datetime) -> _Standing:
    newer = Broadcast.objects.filter(
        incident=OuterRef("incident"), number__gt=OuterRef("number")
    ).order_by()
    later = Update.objects.filter(
        incident=OuterRef("incident"), number__gt=OuterRef("number")
    ).order_by()
    # A newer update of the incident that is on its way to the same people but not queued for them yet.
    coming = later.filter(
        Q(broadcast__isnull=True) | Q(broadcast__fanned_out_at__isnull=True),
        published_at__gt=now - OVERTAKEN_WAIT,
    ).exclude(audience=Audience.NOBODY)
    row = Broadcast.objects.filter(pk=claimed.broadcast).values_list(
        "halted_at", "created_at", "letter_id",
        Exists(later.filter(retraction=True)), Exists(newer), Exists(coming),
    )  # fmt: skip
    halted_at, created_at, letter, is_retracted, is_overtaken, must_wait = row.get()
    stopped = DeliveryState.HALTED if halted_at else None
    if not stopped and created_at < now - ENTRY_VALID:
        stopped = DeliveryState.EXPIRED
    is_social = claimed.channel in routing.SOCIAL
    return _Standing(
        stopped,
        is_retracted=is_retracted,
        must_wait=must_wait and not is_social,
        is_overtaken=is_overtaken and not is_social,
        is_letter=letter is not None,
    )


def _drop_overtaken(ours: models.QuerySet[Delivery], broadcast: int) -> None:
    this = Broadcast.objects.get(pk=broadcast)
    newer = list(
        Broadcast.objects.filter(incident=this.incident_id, number__gt=this.number).values_list(
            "pk", flat=True
        )
    )
    # By the newer broadcasts' ids: a person's own history is longer with every incident, theirs is not.
    theirs = Delivery.objects.filter(subscription=OuterRef("subscription"), broadcast__in=newer)
    ours.filter(Exists(theirs)).update(
        state=DeliveryState.SUPERSEDED, lease="", why="overtaken by a newer update"
    )


def _drop_unwelcome(found: list[Due], is_letter: bool) -> None:
    """Settle those suppressed or unsubscribed since."""
    for why, is_suppressed in (("address suppressed", True), ("unsubscribed", False)):
        dropped = [
            one.pk
            for one in found
            if not one.is_welcome(is_letter) and one.suppressed is is_suppressed
        ]
        if dropped:
            Delivery.objects.filter(pk__in=dropped).update(
                state=DeliveryState.SUPPRESSED, lease="", why=why
            )


def release(claimed: Claim, ids: Sequence[int]) -> None:
    """Give back what was claimed, perhaps admitted, but not handed to the channel."""
    if ids:
        Delivery.objects.filter(pk__in=ids, lease=claimed.lease).update(
            state=DeliveryState.PENDING, lease="", attempts=F("attempts") - 1
        )


def waiting_channels(now: datetime) -> Iterable[tuple[str, bool, datetime]]:
    """Yield (channel, urgent, oldest due) for what is due and not claimed, a few index probes each."""
    for channel in settings.CHANNELS:
        for lane in SENT_FROM:
            due = Delivery.objects.filter(
                channel=channel, lane=lane, state=DeliveryState.PENDING, due_at__lte=now
            ).order_by("due_at")
            oldest = [
                first
                for broadcast in broadcasts_in(channel, lane, now)
                if (
                    first := due.filter(broadcast_id=broadcast)
                    .values_list("due_at", flat=True)
                    .first()
                )
            ]
            if oldest:
                yield channel, lane is not Lane.BULK, min(oldest)


def is_served(channel: str) -> bool:
    """Return True while somebody holds a living lease on `channel`: slow is not the same as alone."""
    held = Delivery.objects.filter(channel=channel, state__in=HELD, lease_until__gt=database_now())
    return held.exists()
