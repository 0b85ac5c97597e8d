"""Leaving: unsubscribe, stop, be forgotten."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import transaction

from incidents.lifecycle import Impact
from subscribers.links import subscription_of
from subscribers.models import (
    Role,
    State,
    Subscriber,
    Subscription,
    Suppression,
)
from subscribers.rows import standing

LESS = Impact.CRITICAL  # what is still heard after one tap on "only the worst"


def unsubscribe(*, token: str, now: datetime) -> Subscription:
    """End the subscription; again and again without harm. Raises DeadLink."""
    subscription = subscription_of(token)
    leave(subscription, now=now)
    return subscription


def hear_less(*, token: str, now: datetime) -> Subscription:
    """Hear only of the worst from now on: the step before leaving. Raises DeadLink."""
    subscription = subscription_of(token)
    Subscription.objects.filter(pk=subscription.pk).update(least_impact=LESS, digest=True)
    return subscription


def leave(subscription: Subscription, *, now: datetime) -> None:
    """End a subscription; it hears nothing from the next look at the database on."""
    Subscription.objects.filter(pk=subscription.pk).exclude(state=State.GONE).update(
        state=State.GONE, gone_at=now
    )


@transaction.atomic
def suppress(
    *, channel: str, address_hash: str, reason: str, now: datetime, by_owner: bool = False
) -> None:
    """Write to this address no more: it bounced, or (`by_owner`) its owner said stop or complained.

    The owner's word also ends the subscription. After a bounce it stays and is shown as
    undeliverable, so that an operator sees who is not reached.
    """
    row, is_new = Suppression.objects.get_or_create(
        channel=channel,
        address_hash=address_hash,
        defaults={"reason": reason[:255], "by_owner": by_owner, "at": now},
    )
    if by_owner:
        if not is_new:
            row.reason, row.by_owner, row.at = reason[:255], True, now
            row.save(update_fields=["reason", "by_owner", "at"])
        standing(Role.SUBSCRIBER).filter(channel=channel, address_hash=address_hash).update(
            state=State.GONE, gone_at=now
        )


def lift(*, channel: str, address_hash: str) -> bool:
    """Allow writing again: its owner answered START, or an operator knows better. True if it was suppressed."""
    deleted, _ = Suppression.objects.filter(channel=channel, address_hash=address_hash).delete()
    return deleted > 0


def undelivered(pks: Sequence[int], *, why: str, now: datetime) -> None:
    """Note what could not be delivered, so that its owner sees it in the settings."""
    Subscription.objects.filter(pk__in=pks).update(undelivered_at=now, undelivered_why=why[:255])


def suppressions(rows: Iterable[Subscription]) -> dict[int, Suppression]:
    """Return row id -> why it cannot be written to, of those subscriptions where that is so."""
    rows = list(rows)
    hashes = {row.address_hash for row in rows}
    found = {
        (row.channel, row.address_hash): row
        for row in Suppression.objects.filter(address_hash__in=hashes)
    }
    pairs = {row.pk: found.get((row.channel, row.address_hash)) for row in rows}
    return {pk: suppression for pk, suppression in pairs.items() if suppression}


@transaction.atomic
def forget(subscription: Subscription, *, now: datetime) -> None:
    """Erase the person: address, name, consents, letters. The hash stays, so that no import brings them back."""
    leave(subscription, now=now)
    subscription.letters.all().delete()
    subscription.consents.all().delete()
    subscription.components.clear()
    Subscription.objects.filter(pk=subscription.pk).update(
        address_sealed=b"", label="", time_zone="", undelivered_why=""
    )
    subscription.contact_of.all().delete()
    person = subscription.subscriber
    person.contacts.all().delete()
    person.invitations.all().delete()
    Subscriber.objects.filter(pk=person.pk).update(
        time_zone="", language="en", quiet_from=None, quiet_until=None, wake_test_hour=None
    )
