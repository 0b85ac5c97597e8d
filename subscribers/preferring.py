"""Preferring: the link to the settings, and what is changed there."""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db import transaction

from incidents.models import Component
from subscribers import addresses
from subscribers.addresses import Kind
from subscribers.addressing import WAKING_CHANNEL, hash_of
from subscribers.letters import may_write, write_letter
from subscribers.limits import count_ask
from subscribers.models import (
    LetterKind,
    State,
    Subscription,
)
from subscribers.rows import choose, of_address, record_consent


@transaction.atomic
def ask_to_manage(*, address: str, network_hash: str, now: datetime) -> None:
    """Send a manage link to the address if it is subscribed; nothing tells whether it is.

    Raises BadAddress, TooManyAsks.
    """
    kind = _kind_typed(address)
    address = addresses.clean(kind, address, plain_http=settings.ENVIRON.allow_private_hooks)
    if network_hash:
        count_ask(kind, address, network_hash, now)
    rows = list(of_address(hash_of(kind, address)))
    # A link cannot be spoken: a call is the last resort.
    rows.sort(key=lambda row: (row.channel == WAKING_CHANNEL, row.state != State.ACTIVE))
    for row in rows:
        if may_write(row.channel, row.address_hash, now):
            is_active = row.state == State.ACTIVE
            write_letter(row, kind=LetterKind.MANAGE if is_active else LetterKind.CONFIRM, now=now)
            return


def _kind_typed(address: str) -> Kind:
    if "://" in address:
        return Kind.URL
    return Kind.EMAIL if "@" in address else Kind.PHONE


@transaction.atomic
def prefer(
    subscription: Subscription,
    *,
    now: datetime,
    components: Sequence[Component] | None = None,
    language: str | None = None,
    time_zone: str | None = None,
    wake_me: bool | None = None,
    consent_text: str = "",
) -> None:
    """Change what is given and leave the rest; an empty `components` means everything."""
    subscription = (
        Subscription.objects.select_for_update(of=("self",))
        .select_related("subscriber")
        .get(pk=subscription.pk)
    )
    is_asked_to_wake = bool(wake_me) and not subscription.wake_me
    choose(subscription, components, language=language, time_zone=time_zone, wake_me=wake_me)
    if is_asked_to_wake and consent_text:
        record_consent(subscription, text=consent_text, source="manage", network="", now=now)
