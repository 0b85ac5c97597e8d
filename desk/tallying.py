"""How far messages have come, counted in the background while they run; screens read the kept numbers."""

import logging
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta

from django.db import DatabaseError, close_old_connections, connection
from django.db.models import CharField, Count, DateTimeField, F
from django.db.models.functions import Cast, Substr, TruncSecond
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from desk.models import Tally
from notifications.models import HANDED_OVER, WAITING, Broadcast, Delivery

log = logging.getLogger(__name__)

LOOKED_BACK = timedelta(hours=48)  # an entry is valid for 24 h; receipts come for a day after it
AT_ONCE = 20  # broadcasts in one pass
# Counting may take a tenth of the time at most: a count that took 2 s is made again after 20 s.
SHARE = 10
LEAST_S = 1.0
SETTLED_EVERY = timedelta(minutes=5)  # receipts still come in when nothing waits any more
STEPS_MAX = 120  # of a curve; a screen of 360 px shows no more


def due(now: datetime) -> list[Broadcast]:
    """Return the running broadcasts whose count is old enough, the newest first."""
    rows = (
        Broadcast.objects.filter(update_entry__isnull=False, created_at__gt=now - LOOKED_BACK)
        .select_related("tally")
        .order_by("-id")[:AT_ONCE]
    )
    return [row for row in rows if _is_due(row, now)]


def _is_due(row: Broadcast, now: datetime) -> bool:
    tally = getattr(row, "tally", None)
    if tally is None:
        return True
    every = timedelta(seconds=max(LEAST_S, tally.took_ms / 1000 * SHARE))
    rest = max(every, SETTLED_EVERY) if tally.is_final else every
    return bool(now - tally.counted_at >= rest)


def count(broadcast: Broadcast, *, now: datetime) -> Tally:
    """Count one broadcast by channel, state and second, in one query, and keep that."""
    began = time.monotonic()
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    seconds: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for channel, state, at, number in _grouped(broadcast):
        counts[channel][state] = counts[channel].get(state, 0) + number
        if at is not None and state in HANDED_OVER:
            seconds[channel][max(0, int((at - broadcast.created_at).total_seconds()))] += number
    is_final = broadcast.fanned_out_at is not None and not any(
        states.get(state) for states in counts.values() for state in WAITING
    )
    tally, _ = Tally.objects.update_or_create(
        broadcast=broadcast,
        defaults={
            "counts": counts,
            "curve": {channel: curve(steps) for channel, steps in seconds.items()},
            "counted_at": now,
            "took_ms": int((time.monotonic() - began) * 1000),
            "is_final": is_final,
        },
    )
    return tally


def _grouped(broadcast: Broadcast) -> list[tuple[str, str, datetime | None, int]]:
    rows = Delivery.objects.filter(broadcast=broadcast).order_by()
    if connection.vendor == "sqlite":
        # TruncSecond would call Python for every row there.
        second = Substr(Cast("accepted_at", CharField()), 1, 19)
        found = rows.annotate(second=second).values_list("channel", "state", "second")
        return [
            (channel, state, _instant(at), number)
            for channel, state, at, number in found.annotate(number=Count("id"))
        ]
    truncated = TruncSecond(F("accepted_at"), output_field=DateTimeField())
    found = rows.annotate(second=truncated).values_list("channel", "state", "second")
    return list(found.annotate(number=Count("id")))


def _instant(text: str | None) -> datetime | None:
    at = parse_datetime(text) if text else None
    return at.replace(tzinfo=UTC) if at else None


def curve(seconds: dict[int, int]) -> list[list[int]]:
    """Return steps of [seconds, people told by then], thinned to STEPS_MAX; the last one is exact."""
    told, steps = 0, []
    for second in sorted(seconds):
        told += seconds[second]
        steps.append([second, told])
    if len(steps) <= STEPS_MAX:
        return steps
    every = len(steps) / STEPS_MAX
    chosen = [steps[int(index * every)] for index in range(STEPS_MAX - 1)]
    return [*chosen, steps[-1]]


class Counter:
    """Counts from a thread of its own: a million rows must not hold up the clock."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def tick(self, now: datetime) -> None:
        """Begin to count what is due, unless the last count is still under way."""
        if self._thread is not None and self._thread.is_alive():
            return
        rows = due(now)
        if rows:
            self._thread = threading.Thread(
                target=self._run, args=(rows,), name="tally", daemon=True
            )
            self._thread.start()

    def _run(self, rows: list[Broadcast]) -> None:
        try:
            for row in rows:
                count(row, now=timezone.now())
        except DatabaseError as error:
            log.warning("the messages under way cannot be counted: %s", str(error).split("\n")[0])
        finally:
            close_old_connections()
            connection.close()
