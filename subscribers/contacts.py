"""Further contacts: other humans to try when a person does not answer, each by a subscription that they confirmed themselves."""

from datetime import datetime

from django.db import transaction

from subscribers import leaving
from subscribers.addressing import cleaned, hash_of, kind_of
from subscribers.letters import may_write, write_letter
from subscribers.links import CONFIRM_LIFETIME
from subscribers.models import CONTACTS_MAX, Contact, Invitation, LetterKind, State, Subscriber
from subscribers.rows import choose, record_consent, standing_or_new

NAME_CHARS_MAX = 80


class TooManyContacts(ValueError):
    """The list of contacts is full."""


@transaction.atomic
def name_contact(
    person: Subscriber,
    *,
    channel: str,
    address: str,
    name: str,
    language: str,
    consent_text: str,
    now: datetime,
    network_hash: str = "",
) -> None:
    """Ask the owner of `address` whether they will be called when `person` does not answer.

    A new address hears nothing else; one that is here keeps its choice, and is asked all the same: the list must not tell who
    is known. Raises BadAddress, NotOffered, TooManyContacts.
    """
    kind = kind_of(channel)
    address = cleaned(channel, address)
    asked = person.invitations.filter(
        as_contact=True, letter__used_at__isnull=True, letter__created_at__gt=now - CONFIRM_LIFETIME
    ).exclude(letter__subscription__address_hash=hash_of(kind, address))
    others = asked.values("letter__subscription").distinct().count()
    if person.contacts.count() + others >= CONTACTS_MAX:
        raise TooManyContacts(f"At most {CONTACTS_MAX} further contacts can be named.")
    if not may_write(channel, hash_of(kind, address), now):
        return
    row = standing_or_new(channel, kind, address, "contact", now, wake_me=True, only_incidents=True)
    if row.state == State.PENDING:
        choose(row, None, language=language, time_zone=None, wake_me=None)
    letter = write_letter(row, kind=LetterKind.CONFIRM, now=now)
    if letter:
        Invitation.objects.create(
            letter=letter, person=person, as_contact=True, name=name[:NAME_CHARS_MAX]
        )
        record_consent(row, text=consent_text, source="contact", network=network_hash, now=now)


@transaction.atomic
def drop_contact(contact: Contact, *, now: datetime) -> None:
    """Take a contact from the list; a subscription that was nothing else ends."""
    row = contact.subscription
    contact.delete()
    if row.only_incidents and not row.incidents.exists() and not row.contact_of.exists():
        leaving.leave(row, now=now)


def ready(person: Subscriber) -> list[Contact]:
    """Return the contacts who have confirmed, in order."""
    rows = person.contacts.select_related("subscription").order_by("position", "id")
    return [contact for contact in rows if contact.subscription.state == State.ACTIVE]
