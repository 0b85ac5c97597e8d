"""Subscribers as /v1 finds and shows them."""

from datetime import datetime

import phonenumbers
from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404
from ninja import Schema
from pydantic import Field

from desk.api.entrance import Json
from incidents import services, wire
from incidents.facts import PageFact
from incidents.lifecycle import Refused
from incidents.models import Component
from subscribers import addresses
from subscribers import services as people
from subscribers.models import LetterKind, Role, State, Subscription

# Statuspage's list is closed (contract.md, "Telling"); the words of its `mode` that we have as channels.
MODES = ("email", "sms", "webhook", "slack", "teams")
STATES = {
    "active": [State.ACTIVE],
    "unconfirmed": [State.PENDING],
    "quarantined": [],  # an address that may not be written to leaves the list here
    "all": [State.ACTIVE, State.PENDING],
}
ADDRESS_CHARS_MAX = 2_048


class SubscriberWords(Schema):
    """One of email, phone_number and endpoint."""

    email: str | None = Field(default=None, max_length=ADDRESS_CHARS_MAX)
    endpoint: str | None = Field(default=None, max_length=ADDRESS_CHARS_MAX)
    phone_number: str | None = Field(default=None, max_length=40)
    phone_country: str = Field(default="US", max_length=2)
    skip_confirmation_notification: bool = False
    component_ids: list[str] | None = None


def subscribers() -> QuerySet[Subscription]:
    rows = Subscription.objects.filter(role=Role.SUBSCRIBER, channel__in=MODES)
    return rows.prefetch_related("components").order_by("id")


def found(*, state: str, mode: str = "") -> QuerySet[Subscription]:
    """Return the subscribers in a state of Statuspage's, by mode when one is given."""
    rows = subscribers().filter(state__in=STATES[state])
    return rows.filter(channel=mode) if mode else rows


def named(rows: QuerySet[Subscription], q: str) -> QuerySet[Subscription]:
    """Find an address by the whole of it: only its hash can be searched."""
    hashes = []
    for kind in (addresses.Kind.EMAIL, addresses.Kind.PHONE, addresses.Kind.URL):
        try:
            hashes.append(people.hash_of(kind, addresses.clean(kind, q)))
        except addresses.BadAddress:
            continue
    return rows.filter(address_hash__in=hashes)


def ask_again(row: Subscription, *, actor: str, now: datetime) -> None:
    """Send the confirmation again, within the address's share of a day. Raises Refused."""
    if row.state != State.PENDING:
        raise Refused("this subscriber is confirmed already")
    if people.write_letter(row, kind=LetterKind.CONFIRM, now=now) is None:
        raise Refused("this address had its share of confirmations today")
    services.audit(actor=actor, action="resend_confirmation", subject=row.uid, now=now)


def one(uid: str) -> Subscription:
    found = subscribers().filter(uid=uid).exclude(state=State.GONE).first()
    if found is None:
        raise Http404(f'there is no subscriber "{uid}"')
    return found


def address(words: SubscriberWords) -> tuple[str, str]:
    """Return channel and address of what was sent: an endpoint may come with an email beside it."""
    if words.endpoint:
        return "webhook", words.endpoint
    if words.phone_number:
        return "sms", _international(words.phone_number, words.phone_country)
    if words.email:
        return "email", words.email
    raise Refused("subscriber has no address; expected email, phone_number or endpoint")


def _international(number: str, country: str) -> str:
    try:
        parsed = phonenumbers.parse(number, country.upper())
    except phonenumbers.NumberParseException as error:
        raise Refused(
            f"subscriber.phone_number is not a telephone number of {country[:10]}"
        ) from error
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def check_channel(channel: str) -> None:
    if channel not in settings.CHANNELS:
        raise Refused(f'The channel "{channel}" is not configured here.')


def bring_in(
    channel: str, address: str, components: list[Component], *, source: str, now: datetime
) -> None:
    """Confirmed at once: whoever holds the key vouches for the consent."""
    check_channel(channel)
    row = people.Incoming(
        channel=channel, address=address, components=tuple(each.slug for each in components),
        consent_source=source, consent_at=now,
    )  # fmt: skip
    done = people.bring_in([row], source=source, now=now)
    if done.refused:
        raise Refused(done.refused[0].why)


def shape(row: Subscription, page: PageFact) -> Json:
    address = people.address_of(row)
    chosen = [] if row.every_component else [component.uid for component in row.components.all()]
    return {
        "id": row.uid,
        "mode": row.channel,
        "email": address if row.channel == "email" else None,
        "endpoint": address if row.channel in ("webhook", "slack", "teams") else None,
        "phone_number": address if row.channel == "sms" else None,
        "phone_country": _country(address) if row.channel == "sms" else None,
        "display_phone_number": address if row.channel == "sms" else None,
        "obfuscated_channel_name": None,
        "workspace_name": None,
        "skip_confirmation_notification": row.state == State.ACTIVE
        and row.source.startswith("api:"),
        "quarantined_at": None,
        "purge_at": None,
        "components": chosen,
        "page_access_user_id": None,
        "created_at": wire.timestamp(row.created_at, page),
    }


def _country(number: str | None) -> str | None:
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number or ""))
    except phonenumbers.NumberParseException:
        return None
