"""Letters to one person, a bounded number a day."""

from datetime import datetime, timedelta

from incidents import doorbell
from subscribers.links import CONFIRM_LIFETIME
from subscribers.models import (
    Invitation,
    Letter,
    LetterKind,
    Subscriber,
    Subscription,
    Suppression,
)

LETTERS_MAX, LETTERS_WINDOW = 3, timedelta(days=1)  # of each kind to one address
# A full mailbox or a mended domain deserves another try, but not more than one bounce a day.
BOUNCE_REST = timedelta(days=1)


def write_letter(
    subscription: Subscription, *, kind: LetterKind, now: datetime, due_at: datetime | None = None
) -> Letter | None:
    """Leave a letter for the voice to send; None when this address had its share of them today."""
    recent = Letter.objects.filter(
        kind=kind,
        created_at__gt=now - LETTERS_WINDOW,
        subscription__channel=subscription.channel,
        subscription__address_hash=subscription.address_hash,
    )
    if recent.count() >= LETTERS_MAX:
        return None
    letter = Letter.objects.create(
        subscription=subscription, kind=kind, created_at=now, due_at=due_at
    )
    doorbell.ring_on_commit("letter")
    return letter


def ask_owner(
    row: Subscription, *, now: datetime, person: Subscriber | None = None
) -> Letter | None:
    """Leave a letter that asks the owner of an address to confirm; None when it had its share of them today.

    Confirmed, the row is `person`'s, on whose page it was asked for. When it is asked for elsewhere too, it is its owner's
    alone, whichever of the letters they press: those look alike.
    """
    waiting = Letter.objects.filter(
        kind=LetterKind.CONFIRM,
        used_at__isnull=True,
        created_at__gt=now - CONFIRM_LIFETIME,
        subscription__address_hash=row.address_hash,
    )
    if person is None or waiting.exclude(invitation__person=person).exists():
        Invitation.objects.filter(letter__in=waiting, as_contact=False).delete()
        person = None
    letter = write_letter(row, kind=LetterKind.CONFIRM, now=now)
    if letter and person:
        Invitation.objects.create(letter=letter, person=person)
    return letter


def may_write(channel: str, address_hash: str, now: datetime) -> bool:
    """Say whether a letter may go to this address; a bounce that has rested is forgiven."""
    row = Suppression.objects.filter(channel=channel, address_hash=address_hash).first()
    if row is None:
        return True
    if row.by_owner or row.at > now - BOUNCE_REST:
        return False
    row.delete()
    return True
