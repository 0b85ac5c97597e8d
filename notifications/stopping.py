"""Stops: one broadcast by hand, a channel that spends too much, and all that a restored backup would say again."""

from datetime import datetime

from notifications.models import Broadcast, Delivery, DeliveryState

HALT_ROWS = 5_000  # settled as halted in one statement

HALTED_MAX = 20  # broadcasts looked at in one pass


def halt(broadcast: Broadcast, *, now: datetime) -> None:
    """Stop all new sends of a broadcast: workers ask within a second, so nothing starts later than that.

    The mark alone stops; the rows are settled by and by, so that a million of them hold up neither caller nor clock.
    """
    Broadcast.objects.filter(pk=broadcast.pk, halted_at__isnull=True).update(halted_at=now)
    settle_halted(broadcast.pk)


def settle_halted(broadcast: int) -> int:
    """Settle one chunk of what a halted broadcast still had waiting; return how many rows."""
    waiting = Delivery.objects.filter(broadcast_id=broadcast, state=DeliveryState.PENDING)
    ids = list(waiting.values_list("pk", flat=True)[:HALT_ROWS])
    return Delivery.objects.filter(pk__in=ids, state=DeliveryState.PENDING).update(
        state=DeliveryState.HALTED, why="halted by an operator"
    )


def settle_what_is_halted() -> int:
    """Settle one chunk of each halted broadcast that has still something waiting; return how many rows."""
    halted = Broadcast.objects.filter(settled_at__isnull=True, halted_at__isnull=False)
    return sum(map(settle_halted, halted.values_list("pk", flat=True)[:HALTED_MAX]))
