"""Confirming: by link, code, reply or challenge."""

import hmac
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import F, Q

from subscribers import addresses
from subscribers.addresses import Kind
from subscribers.addressing import hash_of
from subscribers.links import CODE_LIFETIME, CONFIRM_LIFETIME, letter_code, letter_of
from subscribers.models import (
    CONTACTS_MAX,
    Contact,
    Invitation,
    Letter,
    LetterKind,
    Role,
    State,
    Subscriber,
    Subscription,
    Suppression,
)
from subscribers.rows import owner, prover, shared

CODE_TRIES_MAX = 5
LETTERS_OF_A_NUMBER_MAX = 20  # open confirmations of one number that a typed code is held against
# Who is active already may still be asked whether they are somebody's contact.
_ASKED = Q(subscription__state=State.PENDING) | Q(
    subscription__state=State.ACTIVE, invitation__as_contact=True
)


@transaction.atomic
def confirm(*, token: str, now: datetime) -> Subscription:
    """Make the subscription active; a second press changes nothing. Raises DeadLink."""
    letter = letter_of(LetterKind.CONFIRM, token, now=now)
    if letter.used_at is None:
        _activate(letter, now)
    return Subscription.objects.get(pk=letter.subscription_id)


@transaction.atomic
def confirm_code(*, phone: str, code: str, now: datetime) -> Subscription | None:
    """Make active what this number was sent `code` for; None for a wrong, late or repeated one.

    Each wrong try counts on every open letter of the number. Raises BadAddress.
    """
    hashed = hash_of(Kind.PHONE, addresses.clean(Kind.PHONE, phone))
    letters = list(
        Letter.objects.select_for_update(of=("self",))
        .select_related("subscription")
        .filter(
            _ASKED,
            kind=LetterKind.CONFIRM,
            used_at__isnull=True,
            tries__lt=CODE_TRIES_MAX,
            created_at__gt=now - CODE_LIFETIME,
            subscription__address_hash=hashed,
        )
        .order_by("id")[:LETTERS_OF_A_NUMBER_MAX]
    )
    typed = "".join(code.split())[:16].encode()
    match = [
        letter for letter in letters if hmac.compare_digest(letter_code(letter).encode(), typed)
    ]
    if not match:
        # An unknown number costs the same statement: 0 is nobody's row.
        pks = [letter.pk for letter in letters] or [0]
        Letter.objects.filter(pk__in=pks).update(tries=F("tries") + 1)
        return None
    _activate(match[0], now)
    return Subscription.objects.get(pk=match[0].subscription_id)


@transaction.atomic
def confirm_by_reply(*, channel: str, address_hash: str, now: datetime) -> bool:
    """Make active what this number answers YES to: its newest open confirmation."""
    letter = (
        Letter.objects.filter(
            _ASKED,
            kind=LetterKind.CONFIRM,
            used_at__isnull=True,
            created_at__gt=now - CONFIRM_LIFETIME,
            subscription__channel=channel,
            subscription__address_hash=address_hash,
        )
        .order_by("-id")
        .first()
    )
    if letter:
        _activate(letter, now)
    return letter is not None


@transaction.atomic
def confirm_by_challenge(letter: Letter, *, now: datetime) -> None:
    """Make active whose endpoint sent our challenge back: only its owner could."""
    if letter.kind == LetterKind.CONFIRM and letter.used_at is None:
        _activate(letter, now)


def _activate(letter: Letter, now: datetime) -> None:
    """Make active what this letter asked about: its own channel, and those of the same address named in the same breath."""
    Letter.objects.filter(pk=letter.pk).update(used_at=now)
    row = letter.subscription
    invitation = Invitation.objects.filter(letter=letter).select_related("person").first()
    asked = Subscription.objects.filter(
        address_hash=row.address_hash, role=Role.SUBSCRIBER, consents__at=letter.created_at
    )
    pks = [row.pk, *asked.values_list("pk", flat=True)]
    waiting = list(
        Subscription.objects.select_for_update()
        .filter(pk__in=pks, state=State.PENDING)
        .order_by("id")
    )
    page = invitation.person if invitation and not invitation.as_contact else None
    # Whoever has confirmed the address before owns it, whatever page asks.
    person = prover(row.address_hash) or page or owner(row.address_hash)
    if person:
        _hand_over(waiting, person)
    Subscription.objects.filter(pk__in=[each.pk for each in waiting]).update(
        state=State.ACTIVE, confirmed_at=now
    )
    # Who once ended the calls and asks for them again has said so now. The letter's own channel was looked at when it was written,
    # and what a provider says (a dead number) is not the owner's to take back.
    further = {each.channel for each in waiting} - {row.channel}
    Suppression.objects.filter(
        channel__in=further, address_hash=row.address_hash, by_owner=True
    ).delete()
    if invitation and invitation.as_contact:
        _take_contact(invitation, row, now)


def _hand_over(rows: Sequence[Subscription], person: Subscriber) -> None:
    """Give rows to a person, to be told as on their others; who was only made for them goes."""
    Subscription.objects.filter(pk__in=[row.pk for row in rows]).update(
        subscriber=person, **shared(person)
    )
    former = {row.subscriber_id for row in rows}
    Subscriber.objects.filter(pk__in=former, subscriptions__isnull=True).delete()


def _take_contact(invitation: Invitation, row: Subscription, now: datetime) -> None:
    """Put who has confirmed at the end of the list; a full one takes nobody."""
    count = invitation.person.contacts.count()
    if count < CONTACTS_MAX:
        Contact.objects.get_or_create(
            person=invitation.person,
            subscription=row,
            defaults={"name": invitation.name, "position": count, "created_at": now},
        )
