"""Who stands where, without counting: the sums that the database's triggers keep, folded and read."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from django.db import connection, transaction
from django.db.models import Sum

from notifications.models import Counted

FOLD_ROWS_MAX = 20_000  # differences summed up in one pass
_TENTHS = 10
_Key = tuple[int, str, str, int]


@transaction.atomic
def fold() -> set[int]:
    """Sum up the differences that have come since; return the broadcasts that they are about. Safe for two clocks."""
    new = Counted.objects.filter(folded=False).order_by("id").select_for_update(skip_locked=True)
    rows = list(
        new.values_list("pk", "broadcast_id", "channel", "state", "told", "number")[:FOLD_ROWS_MAX]
    )
    sums: dict[_Key, int] = defaultdict(int)
    for _, broadcast, channel, state, told, number in rows:
        sums[broadcast, channel, state, told] += number
    _add({key: number for key, number in sums.items() if number})
    Counted.objects.filter(pk__in=[row[0] for row in rows]).delete()
    return {key[0] for key in sums}


def _add(sums: Mapping[_Key, int]) -> None:
    if not sums:
        return
    table = connection.ops.quote_name(Counted._meta.db_table)
    rows = ", ".join(["(%s, %s, %s, %s, %s, %s)"] * len(sums))
    params = [value for key, number in sorted(sums.items()) for value in (*key, number, True)]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (broadcast_id, channel, state, told, number, folded) VALUES {rows} "
            "ON CONFLICT (broadcast_id, channel, state, told) WHERE folded "
            f"DO UPDATE SET number = {table}.number + excluded.number",
            params,
        )


def states(broadcasts: Collection[int]) -> dict[str, dict[str, int]]:
    """Return channel -> state -> number; `prepared` and `calling` count as `pending`."""
    rows = Counted.objects.filter(broadcast__in=broadcasts).values_list("channel", "state")
    found: dict[str, dict[str, int]] = {}
    for channel, state, number in rows.annotate(total=Sum("number")).order_by("channel", "state"):
        if number:
            found.setdefault(channel, {})[state] = number
    return found


def told(broadcasts: Collection[int]) -> dict[str, list[tuple[datetime, int]]]:
    """Return channel -> (instant, handed over just then), to the tenth of a second."""
    rows = Counted.objects.filter(broadcast__in=broadcasts, told__gt=0)
    found: dict[str, list[tuple[datetime, int]]] = {}
    sums = rows.values_list("channel", "told").annotate(total=Sum("number")).order_by("told")
    for channel, tenths, number in sums:
        if number:
            at = datetime.fromtimestamp(tenths / _TENTHS, UTC)
            found.setdefault(channel, []).append((at, number))
    return found


def is_waiting(broadcast: int) -> bool:
    """Return True while something of a broadcast is still to be sent."""
    rows = Counted.objects.filter(broadcast=broadcast, state="pending")
    return bool(rows.aggregate(total=Sum("number"))["total"])


@transaction.atomic
def forget_when(broadcasts: Collection[int]) -> None:
    """Keep of old broadcasts how many stand where, not when each was told: Informed has the curve."""
    old = Counted.objects.filter(broadcast__in=broadcasts, told__gt=0).select_for_update()
    sums: dict[_Key, int] = defaultdict(int)
    rows = list(old.values_list("pk", "broadcast_id", "channel", "state", "number"))
    for _, broadcast, channel, state, number in rows:
        sums[broadcast, channel, state, 0] += number
    _add({key: number for key, number in sums.items() if number})
    Counted.objects.filter(pk__in=[row[0] for row in rows]).delete()
