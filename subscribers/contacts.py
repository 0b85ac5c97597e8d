"""Further contacts: other humans to try when a person does not answer, each by a subscription that they confirmed themselves."""

from datetime import datetime

from django.db import transaction

from subscribers import leaving, services
from subscribers.models import Contact, State, Subscriber

CONTACTS_MAX = 5  # communication.md §3.6: the ladder stops after four calls anyway
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

    Their subscription hears nothing else. One who is subscribed already is asked by nobody again: they confirmed calls, and
    see on their own page whose contact they are. Raises BadAddress, NotOffered, TooManyContacts.
    """
    if person.contacts.count() >= CONTACTS_MAX:
        raise TooManyContacts(f"At most {CONTACTS_MAX} further contacts can be named.")
    services.subscribe(
        channel=channel, address=address, language=language, wake_me=True, source="contact",
        consent_text=consent_text, network_hash=network_hash, only_incidents=True, now=now,
    )  # fmt: skip
    row = services.find(channel=channel, address=address)
    if row is None:
        return  # its owner said stop
    Contact.objects.get_or_create(
        person=person,
        subscription=row,
        defaults={
            "name": name[:NAME_CHARS_MAX],
            "position": person.contacts.count(),
            "created_at": now,
        },
    )


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
