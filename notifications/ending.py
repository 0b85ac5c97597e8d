"""When a broadcast is over: nothing waits any more, and its times are kept. And when its rows are forgotten."""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Sum

from notifications import reports, spending, tally
from notifications.models import Broadcast, Counted, Delivery

BROADCASTS_MAX = 500  # looked at in one pass
# Of a broadcast that is over, the second at which each was told is known so long; then the kept curve remains.
TOLD_KEPT = timedelta(days=2)
# What each provider answered about each person: long enough for a complaint, not for ever (docs/operate.md).
DELIVERIES_KEPT = timedelta(days=90)
FORGOTTEN_ROWS = 5_000  # in one pass


def end(now: datetime, changed: Collection[int] = ()) -> int:
    """Mark the broadcasts of which nothing waits any more and keep their times; return how many. `changed` may wait again."""
    _reopen(changed)
    under_way = Broadcast.objects.filter(settled_at__isnull=True, fanned_out_at__isnull=False)
    ids = list(under_way.order_by("id").values_list("pk", flat=True)[:BROADCASTS_MAX])
    over = set(ids) - _waiting(ids)
    if not over:
        return 0
    with transaction.atomic():
        ended = Broadcast.objects.filter(pk__in=over, settled_at__isnull=True)
        count = ended.update(settled_at=now)
        reports.keep(over)
    return count


def _reopen(changed: Collection[int]) -> None:
    """A broadcast of which something was put back in line is under way again."""
    closed = Broadcast.objects.filter(pk__in=changed, settled_at__isnull=False)
    back = _waiting(list(closed.values_list("pk", flat=True)))
    if back:
        Broadcast.objects.filter(pk__in=back).update(settled_at=None)


def _waiting(broadcasts: Collection[int]) -> set[int]:
    if not broadcasts:
        return set()
    rows = Counted.objects.filter(broadcast__in=broadcasts, state="pending").values("broadcast")
    sums = rows.annotate(total=Sum("number")).values_list("broadcast", "total")
    return {broadcast for broadcast, total in sums if total}


def forget(now: datetime) -> int:
    """Forget a bounded number of old rows; return how many. What is kept for ever is Informed."""
    spending.forget(now)
    told = Counted.objects.filter(broadcast=OuterRef("pk"), told__gt=0)
    long_over = Broadcast.objects.filter(Exists(told), settled_at__lt=now - TOLD_KEPT)
    newer = Broadcast.objects.filter(incident=OuterRef("incident")).exclude(
        settled_at__lt=now - TOLD_KEPT
    )
    # An incident's curve is one: as long as it grows, all of it is known.
    ids = long_over.exclude(Exists(newer)).order_by("id").values_list("pk", flat=True)
    tally.forget_when(list(ids[:BROADCASTS_MAX]))
    rows = Delivery.objects.filter(broadcast=OuterRef("pk"))
    old = Broadcast.objects.filter(Exists(rows), settled_at__lt=now - DELIVERIES_KEPT)
    oldest = old.order_by("id").values_list("pk", flat=True)[:1]
    if not oldest:
        return 0
    gone = Delivery.objects.filter(broadcast=oldest[0]).values_list("pk", flat=True)
    return Delivery.objects.filter(pk__in=list(gone[:FORGOTTEN_ROWS])).delete()[0]
