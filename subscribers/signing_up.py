"""Signing up: the owner of an address is asked, and whoever asked learns nothing."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from incidents.models import Component
from subscribers.addressing import cleaned, hash_of, kind_of
from subscribers.letters import ask_owner, may_write, write_letter
from subscribers.models import LetterKind, State, Subscriber
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
    person: Subscriber | None = None,
    also: Sequence[str] = (),
    only_incidents: bool = False,
) -> None:
    """Ask the owner of `address` whether they want this; without `components`, everything.

    With `only_incidents` a new address hears of what it will follow and of nothing else, and one that is here keeps its choice.

    Returns nothing on purpose: an unknown address gets a confirmation, a subscribed one a manage link, one that said stop
    nothing. `person` takes the address in once it is confirmed; `also` names further channels of the same address, which the same answer
    confirms. Raises BadAddress, NotOffered.
    """
    kind = kind_of(channel)
    address = cleaned(channel, address)
    if not may_write(channel, hash_of(kind, address), now):
        return
    rows = [
        standing_or_new(
            name, kind, address, source, now, wake_me=wake_me, only_incidents=only_incidents
        )
        for name in (channel, *also)
        if kind_of(name) is kind
    ]
    asked = [row for row in rows if row.state != State.ACTIVE]
    if not asked:
        write_letter(rows[0], kind=LetterKind.MANAGE, now=now)
        return
    for row in asked:
        if only_incidents:
            choose(row, None, language=language, time_zone=None, wake_me=None)
        else:
            choose(row, components, language=language, time_zone=time_zone, wake_me=wake_me)
    # The first channel carries the question, also when only a further one is new.
    if ask_owner(asked[0], now=now, person=person):
        # One proof for each letter at most: a stranger's repeated clicks must not fill the table.
        for row in asked:
            record_consent(row, text=consent_text, source=source, network=network_hash, now=now)
