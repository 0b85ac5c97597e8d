"""From a waiting delivery to one that may be sent now: claim a batch under a lease, admit a group of it."""

import random
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from django.conf import settings
from django.db import models, transaction
from django.db.models import Exists, F, OuterRef, Q

from incidents.lifecycle import Audience
from incidents.models import Update
from notifications import routing
from notifications.dbtime import database_now
from notifications.models import Broadcast, Delivery, DeliveryState, Lane
from notifications.opening import ENTRY_VALID
from subscribers.models import State, Suppression

LEASE_S = 60  # longer than the slowest group of any channel takes
# How long an older update waits for a newer one to be fanned out before it goes all the same.
OVERTAKEN_WAIT = timedelta(seconds=30)
RELEASE = timedelta(seconds=1)
# Broadcasts of one lane that take turns; more than so many at once are served as the first of them end.
TURNS_MAX = 16
HELD = (DeliveryState.PREPARED, DeliveryState.CALLING)
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Claim:
    """Deliveries of one broadcast, one channel and one language, under one lease."""

    lease: str
    channel: str
    broadcast: int
    ids: tuple[int, ...]
    language: str = "en"


@transaction.atomic
def claim(channel: str, *, rows: int) -> Claim | None:
    """Lease up to `rows` due deliveries of one broadcast and language, the longest due first; None when none is due.

    Urgent before the rest; broadcasts of equal urgency take turns, so that no incident waits for all of another.
    Committed before any network call. SKIP LOCKED on PostgreSQL; SQLite has one writer at a time anyway.
    """
    now = database_now()
    for lane in _lanes():
        for broadcast in _turns(channel, lane):
            if claimed := _claim_of(broadcast, channel, lane, rows, now):
                return claimed
    return None


def _lanes() -> tuple[Lane, ...]:
    # A storm of confirmations must not hold up an alarm, nor the alarm a call to operators: they share evenly.
    if random.random() < 0.5:
        return (Lane.PERSONAL, Lane.URGENT, Lane.BULK)
    return (Lane.URGENT, Lane.PERSONAL, Lane.BULK)


def _turns(channel: str, lane: Lane) -> list[int]:
    """Return the broadcasts that wait in a lane, in the order to try them: letters oldest first, others at random."""
    found = list(broadcasts_in(channel, lane))
    if lane is not Lane.PERSONAL:
        random.shuffle(found)
    return found


def broadcasts_in(channel: str, lane: Lane) -> Iterator[int]:
    """Yield the broadcasts with waiting deliveries, one probe of the index each, at most TURNS_MAX."""
    waiting = Delivery.objects.filter(channel=channel, lane=lane, state=DeliveryState.PENDING)
    waiting = waiting.order_by("broadcast_id").values_list("broadcast_id", flat=True)
    after = 0
    for _ in range(TURNS_MAX):
        found = waiting.filter(broadcast_id__gt=after).first()
        if found is None:
            return
        yield found
        after = found


def _claim_of(broadcast: int, channel: str, lane: Lane, rows: int, now: datetime) -> Claim | None:
    due = Delivery.objects.filter(
        channel=channel,
        lane=lane,
        broadcast_id=broadcast,
        state=DeliveryState.PENDING,
        due_at__lte=now,
    ).order_by("due_at", "id")
    # The first row is locked too: another worker may hold the very rows that look due.
    first = _unlocked(due.select_related("subscription"), 1)
    if not first:
        return None
    language = first[0].subscription.language
    mine = due.filter(subscription__language=language)
    # Two statements: as a sub-query of the UPDATE, PostgreSQL may run the locking SELECT once for each row.
    ids = tuple(_unlocked(mine.values_list("pk", flat=True), rows))
    lease = secrets.token_hex(16)
    Delivery.objects.filter(pk__in=ids).update(
        state=DeliveryState.PREPARED,
        lease=lease,
        lease_until=now + timedelta(seconds=LEASE_S),
        attempts=F("attempts") + 1,
    )
    return Claim(lease, channel, broadcast, ids, language)


def _unlocked(due: models.QuerySet[Delivery, _Row], rows: int) -> list[_Row]:
    return list(due.select_for_update(skip_locked=True, of=("self",))[:rows])


@transaction.atomic(savepoint=False)
def admit(claimed: Claim, ids: Sequence[int]) -> list[Delivery]:
    """Move those that may still be sent to `calling` and return them; settle or release the others.

    May be asked again for those admitted but not yet handed to the channel.
    Asks again whether the lease is ours, the update the newest, the person subscribed, the address not suppressed.
    """
    now = database_now()
    broadcast = Broadcast.objects.only(
        "halted_at", "created_at", "incident", "number", "letter"
    ).get(pk=claimed.broadcast)
    ours = Delivery.objects.filter(pk__in=ids, lease=claimed.lease, state__in=HELD)
    if why := _stopped(broadcast, now):
        ours.update(state=why, lease="")
        return []
    if _must_wait(broadcast, claimed.channel, now):
        ours.update(
            state=DeliveryState.PENDING, lease="", attempts=F("attempts") - 1, due_at=now + RELEASE
        )
        return []
    _drop_overtaken(ours, broadcast, claimed.channel)
    sending = list(
        ours.filter(lease_until__gt=now)
        .select_related("subscription")
        .annotate(is_suppressed=Exists(_suppressed()))
        .select_for_update(of=("self",))
    )
    sending = _drop_unwelcome(sending, broadcast)
    Delivery.objects.filter(pk__in=[delivery.pk for delivery in sending]).exclude(
        state=DeliveryState.CALLING
    ).update(state=DeliveryState.CALLING)
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


def _drop_overtaken(ours: models.QuerySet[Delivery], broadcast: Broadcast, channel: str) -> None:
    if broadcast.incident_id is None or channel in routing.SOCIAL:
        return
    newer = list(
        Broadcast.objects.filter(
            incident=broadcast.incident_id, number__gt=broadcast.number
        ).values_list("pk", flat=True)
    )
    if not newer:
        return
    # By the newer broadcasts' ids: a person's own history is longer with every incident, theirs is not.
    theirs = Delivery.objects.filter(subscription=OuterRef("subscription"), broadcast__in=newer)
    ours.filter(Exists(theirs)).update(
        state=DeliveryState.SUPERSEDED, lease="", why="overtaken by a newer update"
    )


def _suppressed() -> models.QuerySet[Suppression]:
    return Suppression.objects.filter(
        channel=OuterRef("channel"), address_hash=OuterRef("subscription__address_hash")
    )


def _drop_unwelcome(sending: list[Delivery], broadcast: Broadcast) -> list[Delivery]:
    """Settle those suppressed or unsubscribed since; return the others. A letter may go to who has not confirmed."""
    left = {State.GONE} if broadcast.letter_id is not None else {State.GONE, State.PENDING}
    whys = {
        delivery.pk: "address suppressed" if delivery.is_suppressed else "unsubscribed"  # type: ignore[attr-defined]  # annotated
        for delivery in sending
        if delivery.is_suppressed or delivery.subscription.state in left  # type: ignore[attr-defined]  # as above
    }
    for why in set(whys.values()):
        dropped = [pk for pk, reason in whys.items() if reason == why]
        Delivery.objects.filter(pk__in=dropped).update(
            state=DeliveryState.SUPPRESSED, lease="", why=why
        )
    return [delivery for delivery in sending if delivery.pk not in whys]


def release(claimed: Claim, ids: Sequence[int]) -> None:
    """Give back what was claimed, perhaps admitted, but not handed to the channel."""
    if ids:
        Delivery.objects.filter(pk__in=ids, lease=claimed.lease, state__in=HELD).update(
            state=DeliveryState.PENDING, lease="", attempts=F("attempts") - 1
        )


def waiting_channels(now: datetime) -> Iterable[tuple[str, bool, datetime]]:
    """Yield (channel, urgent, oldest due) for what is due and not claimed, a few index probes each."""
    for channel in settings.CHANNELS:
        for lane in Lane:
            due = Delivery.objects.filter(
                channel=channel, lane=lane, state=DeliveryState.PENDING, due_at__lte=now
            ).order_by("due_at")
            oldest = [
                first
                for broadcast in broadcasts_in(channel, lane)
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
