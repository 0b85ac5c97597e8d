"""Channels and addresses, with this installation's keys."""

from collections.abc import Collection, Iterable

from django.conf import settings

from subscribers import addresses
from subscribers.addresses import Kind
from subscribers.models import (
    Subscription,
)


class NotOffered(ValueError):
    """This channel is not configured; the text says which are."""


WAKING_CHANNEL = "voice"  # the only channel that rings


def offered() -> dict[str, tuple[str, Kind]]:
    """Return the configured channels that a person can choose on the page: name -> label, kind."""
    kinds = {name: (label, Kind(kind)) for name, (label, kind) in settings.CHANNELS.items()}
    return {name: row for name, row in kinds.items() if row[1] is not Kind.ACCOUNT}


def kind_of(channel: str) -> Kind:
    """Return what an address of `channel` is. Raises NotOffered."""
    if channel in settings.CHANNELS:
        return Kind(settings.CHANNELS[channel][1])
    if channel in addresses.USUAL_KINDS:
        return addresses.USUAL_KINDS[channel]
    known = ", ".join(sorted({*settings.CHANNELS, *addresses.USUAL_KINDS}))
    raise NotOffered(f'There is no channel "{channel[:32]}"; known are {known}.')


def cleaned(channel: str, address: str, *, countries: Collection[str] = ()) -> str:
    """Return the address of a channel in the one form that we store. Raises BadAddress, NotOffered.

    Strangers may name numbers of `countries` only (PHONE_COUNTRIES); empty allows all.
    """
    return addresses.clean(
        kind_of(channel),
        address,
        countries=countries,
        hosts=addresses.HOSTS.get(channel, ()),
        plain_http=settings.ENVIRON.allow_private_hooks,
    )


def hash_of(kind: Kind, address: str) -> str:
    """Return the look-up hash of a cleaned address."""
    return addresses.address_hash(kind, address, settings.SECRET_KEY)


def network_hash(network: str) -> str:
    """Return the hash under which a network's requests are counted."""
    return addresses.address_hash("network", network, settings.SECRET_KEY)


def address_of(subscription: Subscription) -> str | None:
    """Return the address in clear; None when it was purged or no key opens it."""
    return open_addresses([(subscription.pk, bytes(subscription.address_sealed))]).get(
        subscription.pk
    )


def open_addresses(rows: Iterable[tuple[int, bytes]]) -> dict[int, str]:
    """Return row id -> address of `(id, address_sealed)` pairs; those that no key opens are missing."""
    opened = {}
    for pk, sealed in rows:
        try:
            opened[pk] = addresses.unseal(sealed, settings.FIELD_KEYS)
        except addresses.Unreadable:
            continue
    return opened
