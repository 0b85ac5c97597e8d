"""Rows of people: found, made, and changed as they chose."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import available_timezones

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from incidents.models import Component
from subscribers import addresses
from subscribers.addresses import Kind
from subscribers.addressing import cleaned, hash_of, kind_of
from subscribers.models import (
    Consent,
    Role,
    State,
    Subscriber,
    Subscription,
)

# Raised with every change of the words that are shown (forms.CONSENT_TEXT, WAKE_TEXT).
CONSENT_VERSION = "2"
ROWS_OF_A_PERSON_MAX = 50  # nobody has more channels; bounds the work of one page

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,6})?")


def check_language(language: str) -> None:
    """Raise ValueError unless `language` is empty or a tag as en or pt-BR."""
    if language and not _LANGUAGE.fullmatch(language):
        raise ValueError(f'"{language[:16]}" is not a language; expected a tag as en or pt-BR.')


def check_time_zone(time_zone: str) -> None:
    """Raise ValueError unless `time_zone` is empty or a name of the IANA list."""
    if time_zone and time_zone not in _time_zones():
        raise ValueError(
            f'"{time_zone[:64]}" is not a time zone; expected a name as America/New_York.'
        )


@lru_cache(maxsize=1)
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def find(*, channel: str, address: str, role: Role = Role.SUBSCRIBER) -> Subscription | None:
    """Return the subscription of an address that is not gone. Raises BadAddress, NotOffered."""
    kind = kind_of(channel)
    hashed = hash_of(kind, cleaned(channel, address))
    return standing(role).filter(channel=channel, address_hash=hashed).first()


def of_address(address_hash: str) -> Iterable[Subscription]:
    """Return what stands for one address, on all its channels: text messages and calls share one."""
    return standing(Role.SUBSCRIBER).filter(address_hash=address_hash).order_by("channel", "id")


def of_person(row: Subscription) -> list[Subscription]:
    """Return what stands for the person of `row`, in their own order; rows of the same address are theirs too."""
    mine = Q(subscriber=row.subscriber_id) | Q(address_hash=row.address_hash)
    rows = standing(Role.SUBSCRIBER).filter(mine).select_related("subscriber")
    return list(rows.order_by("position", "id")[:ROWS_OF_A_PERSON_MAX])


def again(row: Subscription) -> Subscription:
    """Return the row as the database has it now."""
    return Subscription.objects.select_related("subscriber").get(pk=row.pk)


def owner(address_hash: str) -> Subscriber | None:
    """Return the person whom an address belongs to: text messages and calls of one number are one person's."""
    row = standing(Role.SUBSCRIBER).filter(address_hash=address_hash).order_by("id").first()
    return prover(address_hash) or (row.subscriber if row else None)


def prover(address_hash: str) -> Subscriber | None:
    """Return who has confirmed an address, on whichever channel."""
    rows = standing(Role.SUBSCRIBER).filter(address_hash=address_hash, state=State.ACTIVE)
    row = rows.order_by("id").first()
    return row.subscriber if row else None


def standing(role: Role) -> QuerySet[Subscription]:
    return Subscription.objects.filter(role=role).exclude(state=State.GONE)


def standing_or_new(
    channel: str,
    kind: Kind,
    address: str,
    source: str,
    now: datetime,
    *,
    wake_me: bool = False,
    only_incidents: bool = False,
) -> Subscription:
    """Return the locked row of this address; a new one is pending, and belongs to whom its address does."""
    rows = standing(Role.SUBSCRIBER).filter(channel=channel, address_hash=hash_of(kind, address))
    # The lock makes two requests for one address count each other's letters.
    locked = rows.select_for_update(of=("self",)).select_related("subscriber")
    if row := locked.first():
        return row
    try:
        with transaction.atomic():
            return new(
                channel,
                kind,
                address,
                role=Role.SUBSCRIBER,
                state=State.PENDING,
                source=source,
                now=now,
                person=owner(hash_of(kind, address)),
                wake_me=wake_me,
                only_incidents=only_incidents,
            )
    except IntegrityError:
        # Asked twice in one moment: the other request made it.
        return locked.get()


def new(
    channel: str, kind: Kind, address: str, *, role: Role, state: State, source: str, now: datetime,
    confirmed_at: datetime | None = None, label: str = "", position: int = 0, wake_me: bool = False,
    only_incidents: bool = False, person: Subscriber | None = None,
) -> Subscription:  # fmt: skip
    return Subscription.objects.create(
        subscriber=person or Subscriber.objects.create(created_at=now),
        channel=channel,
        address_sealed=addresses.seal(address, settings.FIELD_KEYS),
        address_hash=hash_of(kind, address),
        role=role,
        state=state,
        label=label,
        position=position,
        wake_me=wake_me,
        only_incidents=only_incidents,
        every_component=not only_incidents,
        source=source[:32],
        created_at=now,
        confirmed_at=confirmed_at,
        **(shared(person) if person else {}),
    )


def shared(person: Subscriber) -> dict[str, Any]:
    """Return the fields that are the same on all rows of a person, for a further one."""
    rows = list(person.subscriptions.exclude(state=State.GONE)[:ROWS_OF_A_PERSON_MAX])
    return {
        "discreet": any(row.discreet for row in rows),
        "paused_until": max((row.paused_until for row in rows if row.paused_until), default=None),
    }


def choose(
    subscription: Subscription,
    components: Sequence[Component] | None,
    *,
    language: str | None,
    time_zone: str | None,
    wake_me: bool | None,
) -> None:
    person = subscription.subscriber
    # Whoever types an address may not change what its owner, once confirmed, has chosen for all channels.
    theirs = subscription.state == State.ACTIVE or not _is_known(person)
    if language:
        subscription.language = language
        person.language = language if theirs else person.language
    if time_zone is not None:
        subscription.time_zone = time_zone
        person.time_zone = time_zone if theirs else person.time_zone
    if wake_me is not None:
        subscription.wake_me = wake_me
    if components is not None:
        subscription.every_component = not components
        subscription.only_incidents = False
        subscription.components.set(components)
    person.save(update_fields=["language", "time_zone"])
    subscription.save(
        update_fields=["language", "time_zone", "wake_me", "every_component", "only_incidents"]
    )


def _is_known(person: Subscriber) -> bool:
    return person.subscriptions.filter(state=State.ACTIVE).exists()


def record_consent(
    subscription: Subscription, *, text: str, source: str, network: str, now: datetime
) -> None:
    Consent.objects.create(
        subscription=subscription,
        channel=subscription.channel,
        address_hash=subscription.address_hash,
        text=text,
        source=source[:255],
        network_hash=network,
        version=CONSENT_VERSION,
        at=now,
    )
