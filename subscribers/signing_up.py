"""Signing up: the owner of an address is asked, and whoever asked learns nothing."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from incidents.models import Component
from subscribers.addressing import cleaned, hash_of, kind_of
from subscribers.letters import may_write, write_letter
from subscribers.limits import count_ask
from subscribers.models import (
    LetterKind,
    State,
)
from subscribers.rows import choose, record_consent, standing_or_new


@transaction.atomic
def subscribe(
    *,
    channel: str,
    address: str,
    now: datetime,
    components: Sequence[Component] = (),
    language: str = "en",
    time_zone: str = "",
    wake_me: bool = False,
    source: str = "page",
    consent_text: str = "",
    network_hash: str = "",
) -> None:
    """Ask the owner of `address` whether they want this; without `components`, everything.

    Returns nothing on purpose: an unknown address gets a confirmation, a subscribed one a manage
    link, one that said stop nothing, and whoever asked cannot tell. An empty `network_hash` is
    counted against nobody (an operator's own request). Raises BadAddress, NotOffered, TooManyAsks.
    """
    kind = kind_of(channel)
    address = cleaned(channel, address)
    if network_hash:
        count_ask(kind, address, network_hash, now)
    if not may_write(channel, hash_of(kind, address), now):
        return
    subscription = standing_or_new(channel, kind, address, source, now)
    if subscription.state == State.ACTIVE:
        write_letter(subscription, kind=LetterKind.MANAGE, now=now)
        return
    choose(subscription, components, language=language, time_zone=time_zone, wake_me=wake_me)
    if write_letter(subscription, kind=LetterKind.CONFIRM, now=now):
        # One proof for each letter at most: a stranger's repeated clicks must not fill the table.
        record_consent(
            subscription, text=consent_text, source=source, network=network_hash, now=now
        )
