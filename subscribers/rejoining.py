"""Coming back after STOP."""

from collections.abc import Collection
from datetime import datetime

from django.db import transaction

from subscribers.models import Role, State, Subscription
from subscribers.rows import standing


@transaction.atomic
def rejoin(
    *, channel: str, address_hash: str, ended_at: Collection[datetime], now: datetime
) -> bool:
    """Make active again what this address's word ended at one of these instants; True if something was.

    What is active stays as it is, and what nobody confirmed gives way. An erased address cannot come back.
    """
    mine = {"channel": channel, "address_hash": address_hash}
    ended = Subscription.objects.filter(
        role=Role.SUBSCRIBER, state=State.GONE, gone_at__in=ended_at, confirmed_at__isnull=False, **mine
    ).exclude(address_sealed=b"")  # fmt: skip
    newest = ended.order_by("-gone_at", "-id").first()
    there = standing(Role.SUBSCRIBER).filter(**mine)
    if newest is None or there.filter(state=State.ACTIVE).exists():
        return False
    there.update(state=State.GONE, gone_at=now)
    return bool(ended.filter(pk=newest.pk).update(state=State.ACTIVE, gone_at=None))
