"""Who was told of an incident and when, channel by channel: live from the tally, and kept for ever as one small row."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Min

from incidents.lifecycle import FINAL
from incidents.models import Incident
from notifications import reach, tally
from notifications.models import Broadcast, Informed
from notifications.reach import Reach, Step


def of_incident(incident: Incident, *, since: datetime) -> dict[str, Reach]:
    """Return the reach of all updates but the end, seconds counted from `since`."""
    return _reaches(curves(incident), since=since)


def of_all_clear(incident: Incident, *, since: datetime) -> dict[str, Reach]:
    """Return the reach of the updates that ended the incident, seconds counted from `since`."""
    return _reaches(curves(incident, all_clear=True), since=since)


def of_broadcast(broadcast: Broadcast, *, since: datetime) -> dict[str, Reach]:
    found = _counted([broadcast.pk], since)
    return {channel: reach.measure_curve(*parts) for channel, parts in found.items()}


def progress(broadcast: int) -> dict[str, dict[str, int]]:
    """Return how a broadcast stands: channel -> state -> number, `prepared` and `calling` as `pending`. Counts nothing."""
    return tally.states([broadcast])


@dataclass(frozen=True, slots=True)
class Informing:
    """How one channel informed of one incident, live or kept. Draw `curve` as steps: x seconds, y people told by then.

    `curve` counts from `published_at`; `reach(since)` moves the zero, to `fault_at` or `verdict_at` for instance. Both are
    None where nobody knows them, and for the all-clear, whose `published_at` is that of the final update.
    """

    channel: str
    all_clear: bool
    fault_at: datetime | None
    verdict_at: datetime | None
    published_at: datetime
    counts: dict[str, int]
    curve: tuple[Step, ...]

    @property
    def expected(self) -> int:
        """How many were to be told: the height of the drawing."""
        return reach.expected(self.counts)

    def reach(self, since: datetime | None) -> Reach:
        """Return counts and the seconds from `since` (None: from publishing) to the first, 50, 90, 95, 99 and 100 %, and the last."""
        shift = (self.published_at - since).total_seconds() if since else 0.0
        return reach.measure_curve(self.counts, self.curve, shift_s=shift)


def curves(incident: Incident, *, all_clear: bool = False) -> list[Informing]:
    """Return every channel's curve, by name: what the tally still knows by the second, else what was kept."""
    found = _live(incident, all_clear=all_clear)
    kept = Informed.objects.filter(incident=incident, all_clear=all_clear)
    found |= {row.channel: _kept(row) for row in kept if row.channel not in found}
    return [found[channel] for channel in sorted(found)]


@transaction.atomic
def keep(broadcasts: Collection[int]) -> None:
    """Write the curves of these broadcasts' incidents into their small rows."""
    rows = Broadcast.objects.filter(pk__in=broadcasts, incident__isnull=False)
    for incident in Incident.objects.filter(pk__in=rows.values("incident")):
        for all_clear in (False, True):
            for one in _live(incident, all_clear=all_clear).values():
                Informed.objects.update_or_create(
                    incident=incident,
                    channel=one.channel,
                    all_clear=all_clear,
                    defaults={
                        "fault_at": one.fault_at,
                        "verdict_at": one.verdict_at,
                        "published_at": one.published_at,
                        "counts": one.counts,
                        "curve": [list(step) for step in one.curve],
                    },
                )


def _live(incident: Incident, *, all_clear: bool) -> dict[str, Informing]:
    rows = Broadcast.objects.filter(incident=incident, update_entry__isnull=False)
    final = [str(status) for status in FINAL]
    rows = (
        rows.filter(update_entry__status__in=final)
        if all_clear
        else rows.exclude(update_entry__status__in=final)
    )
    broadcasts = list(rows.values_list("pk", flat=True))
    first = rows.aggregate(first=Min("update_entry__published_at"))["first"]
    if not broadcasts or first is None:
        return {}
    published = first if all_clear else incident.published_at or first
    return {
        channel: Informing(
            channel,
            all_clear,
            None if all_clear else incident.started_at,
            None if all_clear else incident.detected_at,
            published,
            counts,
            tuple(reach.thinned(steps, reach.expected(counts))),
        )
        for channel, (counts, steps) in _counted(broadcasts, published).items()
        # Told, but nobody knows any more when: the kept row does.
        if steps or not counts["accepted"]
    }


def _counted(
    broadcasts: Collection[int], zero: datetime
) -> dict[str, tuple[dict[str, int], list[Step]]]:
    told = tally.told(broadcasts)
    return {
        channel: (reach.counted(states), _steps(told.get(channel, ()), zero))
        for channel, states in tally.states(broadcasts).items()
    }


def _steps(told: Iterable[tuple[datetime, int]], zero: datetime) -> list[Step]:
    return reach.curve((round((at - zero).total_seconds(), 3), number) for at, number in told)


def _kept(row: Informed) -> Informing:
    curve = tuple((float(second), int(number)) for second, number in row.curve)
    return Informing(
        row.channel,
        row.all_clear,
        row.fault_at,
        row.verdict_at,
        row.published_at,
        row.counts,
        curve,
    )


def _reaches(found: Iterable[Informing], *, since: datetime) -> dict[str, Reach]:
    return {one.channel: one.reach(since) for one in found}
