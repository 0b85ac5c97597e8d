"""What a later word about a delivery changes: it arrived, it came back, somebody heard it, somebody said stop.

Every word moves a delivery on, never back, and acts only when it does: said again, late or out of order it changes nothing.
"""

from datetime import datetime
from enum import StrEnum

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce

from notifications import waking
from notifications.models import HANDED_OVER, Delivery, DeliveryState
from subscribers import services as people
from subscribers.models import LetterKind, Subscriber

PHONE_CHANNELS = ("sms", "voice")
WHY_CHARS_MAX = 255


class Said(StrEnum):
    """What providers say of a delivery, in their many words."""

    TAKEN = "taken"  # it has our message: an attempt that seemed lost was none
    DELIVERED = "delivered"
    FAILED = "failed"  # this one will not arrive
    DEAD = "dead"  # nor will any other to this address
    COMPLAINED = "complained"  # the owner calls it spam, or left at the provider's


# An attempt that ended unknown, or is to be made again because one did.
_UNSURE = Q(state=DeliveryState.UNKNOWN) | Q(state=DeliveryState.PENDING, maybe_sent=True)
_OPEN = _UNSURE | Q(state__in=[DeliveryState.ACCEPTED, DeliveryState.CALLING])
_HEARABLE = (*HANDED_OVER, DeliveryState.CALLING, DeliveryState.UNKNOWN, DeliveryState.PENDING)


def note(
    rows: QuerySet[Delivery], said: Said, *, now: datetime, why: str = "", provider_id: str = ""
) -> int:
    """Let what was `said` of one delivery change it; return 1 if it did. `rows` selects it, and may ask for more."""
    match said:
        case Said.TAKEN:
            return _move(rows.filter(_UNSURE), DeliveryState.ACCEPTED, now, provider_id=provider_id)
        case Said.DELIVERED:
            # Of two copies one may have come back first.
            came = rows.filter(_OPEN | Q(state=DeliveryState.BOUNCED))
            return _move(came, DeliveryState.DELIVERED, now, provider_id=provider_id)
        case Said.FAILED:
            return _move(rows.filter(_OPEN), DeliveryState.BOUNCED, now, why=why)
        case Said.DEAD:
            return _came_back(rows, now, why)
        case Said.COMPLAINED:
            return _complained(rows, now)


def heard(delivery: Delivery, *, by: str, now: datetime) -> bool:
    """Somebody answered `delivery`: by key, reply or button. Their ladder ends; True if this was news."""
    news = Delivery.objects.filter(
        pk=delivery.pk, answered_at__isnull=True, state__in=_HEARABLE
    ).update(
        state=DeliveryState.ACKNOWLEDGED,
        lease="",
        answered_at=now,
        accepted_at=Coalesce(F("accepted_at"), now),
    )
    # A call that was picked up before the key was pressed has its `answered_at` already.
    news += (
        Delivery.objects.filter(pk=delivery.pk, answered_at__isnull=False, state__in=_HEARABLE)
        .exclude(state=DeliveryState.ACKNOWLEDGED)
        .update(state=DeliveryState.ACKNOWLEDGED, lease="")
    )
    waking.heard(delivery, by=by, now=now)
    letter = delivery.broadcast.letter
    if letter is not None and letter.kind == LetterKind.TEST:
        Subscriber.objects.filter(pk=delivery.subscription.subscriber_id).update(wake_heard_at=now)
    return bool(news)


def heard_by_number(number_hash: str, *, now: datetime) -> bool:
    """OK answers the newest text about an incident that this number was sent."""
    newest = (
        Delivery.objects.filter(
            channel="sms",
            subscription__address_hash=number_hash,
            broadcast__incident__isnull=False,
            state__in=HANDED_OVER,
        )
        .select_related("broadcast", "subscription")
        .order_by("-accepted_at")
        .first()
    )
    return newest is not None and heard(newest, by="sms", now=now)


def came_back(pk: int, *, now: datetime) -> None:
    """Delivery `pk` did not arrive: nobody waits for an answer to it, the next way is tried at once."""
    row = (
        Delivery.objects.filter(pk=pk).values_list("subscription__address_hash", flat=True).first()
    )
    if row:
        waking.look_again(row, now=now)


def stop(number_hash: str, *, why: str, now: datetime, channels: tuple[str, ...]) -> None:
    """The owner of a number wants no more: whichever sender asks, it is not written to."""
    for channel in channels:
        people.suppress(
            channel=channel, address_hash=number_hash, reason=why, now=now, by_owner=True
        )
    waking.look_again(number_hash, now=now)


def _move(
    rows: QuerySet[Delivery],
    state: DeliveryState,
    now: datetime,
    *,
    why: str = "",
    provider_id: str = "",
) -> int:
    fields = {"provider_id": provider_id[:255]} if provider_id else {}
    return rows.update(
        state=state,
        lease="",
        why=why[:WHY_CHARS_MAX],
        accepted_at=Coalesce(F("accepted_at"), now),
        **fields,
    )


def _came_back(rows: QuerySet[Delivery], now: datetime, why: str) -> int:
    """A dead address is suppressed at once, and only by the word that moved the delivery: a replay suppresses nobody."""
    delivery = rows.filter(_OPEN).select_related("subscription").first()
    if delivery is None or not note(
        Delivery.objects.filter(pk=delivery.pk), Said.FAILED, now=now, why=why
    ):
        return 0
    person = delivery.subscription
    people.suppress(
        channel=person.channel,
        address_hash=person.address_hash,
        reason=why[:WHY_CHARS_MAX] or "the address does not exist",
        now=now,
    )
    return 1


def _complained(rows: QuerySet[Delivery], now: datetime) -> int:
    delivery = rows.filter(state__in=HANDED_OVER).select_related("subscription").first()
    if delivery is None:
        return 0
    person = delivery.subscription
    people.suppress(
        channel=person.channel,
        address_hash=person.address_hash,
        reason="complained, or left at the provider's",
        now=now,
        by_owner=True,
    )
    return 1
