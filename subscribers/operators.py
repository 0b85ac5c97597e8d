"""Operators, who hear Calls, and the page's own accounts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import IntegrityError, transaction

from subscribers import addresses
from subscribers.addresses import BadAddress, Kind
from subscribers.addressing import WAKING_CHANNEL, cleaned, hash_of, kind_of
from subscribers.leaving import leave
from subscribers.models import (
    Role,
    State,
    Subscription,
)
from subscribers.rows import new, standing


@dataclass(frozen=True, slots=True)
class Operator:
    """One entry of site.yaml's `operators`."""

    name: str
    channel: str
    address: str = field(repr=False)


@transaction.atomic
def set_operators(operators: Sequence[Operator], *, now: datetime) -> bool:
    """Make this list, in this order, the ones who hear Calls; True when that changed anything.

    Raises BadAddress, NotOffered.
    """
    cleaned = [(entry, kind_of(entry.channel), _clean_operator(entry)) for entry in operators]
    former = {
        (row.channel, row.address_hash): row for row in standing(Role.OPERATOR).order_by("id")
    }
    is_changed = False
    for position, (entry, kind, address) in enumerate(cleaned):
        row = former.pop((entry.channel, hash_of(kind, address)), None)
        if row is None:
            new(
                entry.channel, kind, address, role=Role.OPERATOR, state=State.ACTIVE, source="site.yaml", now=now,
                confirmed_at=now, label=entry.name[:255], position=position, wake_me=entry.channel == WAKING_CHANNEL,
            )  # fmt: skip
            is_changed = True
        elif (row.position, row.label) != (position, entry.name[:255]):
            Subscription.objects.filter(pk=row.pk).update(position=position, label=entry.name[:255])
            is_changed = True
    for row in former.values():
        leave(row, now=now)
    return is_changed or bool(former)


def _clean_operator(entry: Operator) -> str:
    try:
        return cleaned(entry.channel, entry.address)
    except BadAddress as error:
        raise BadAddress('Operator "{name}": {why}', name=entry.name, why=str(error)) from error


def ensure_social(*, channel: str, label: str, now: datetime) -> Subscription:
    """Return the subscription of the page's own account on `channel`, made when it is not there."""
    row = standing(Role.SOCIAL).filter(channel=channel).order_by("id").first()
    if row:
        return row
    address = addresses.clean(Kind.ACCOUNT, label)
    try:
        with transaction.atomic():
            return new(
                channel, Kind.ACCOUNT, address, role=Role.SOCIAL, state=State.ACTIVE, source="settings", now=now,
                confirmed_at=now, label=address,
            )  # fmt: skip
    except IntegrityError:
        # Another process was quicker with the same account.
        return standing(Role.SOCIAL).get(
            channel=channel, address_hash=hash_of(Kind.ACCOUNT, address)
        )
