"""Tries once more what failed, when a person says so: a provider is back, a key is mended."""

from datetime import datetime

from incidents.lifecycle import Refused
from notifications.models import Broadcast, Delivery, DeliveryState

ROWS_MAX = 20_000  # in one press, so that the press returns; what is left is told

# Refused ones are dead addresses; unknown ones may have arrived: to send those again is to send twice.
AGAIN = (DeliveryState.FAILED, DeliveryState.EXPIRED)


def retry_failed(broadcast: Broadcast, *, now: datetime) -> tuple[int, int]:
    """Put failed deliveries back into the line; return how many, and how many are left. Raises Refused."""
    if broadcast.halted_at:
        raise Refused(
            f"It was halted at {broadcast.halted_at:%H:%M:%S} UTC; what is halted is not tried again."
        )
    failed = Delivery.objects.filter(broadcast=broadcast, state__in=AGAIN)
    ids = list(failed.order_by("id").values_list("pk", flat=True)[:ROWS_MAX])
    again = Delivery.objects.filter(pk__in=ids, state__in=AGAIN).update(
        state=DeliveryState.PENDING, attempts=0, due_at=now, lease="", lease_until=None, why=""
    )
    if again:
        Broadcast.objects.filter(pk=broadcast.pk).update(settled_at=None)
    return again, failed.count()
