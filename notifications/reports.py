"""Who was told of an incident and when, channel by channel, read from the ledger."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from django.db.models import Count

from incidents.lifecycle import FINAL
from incidents.models import Incident
from notifications import reach
from notifications.models import HANDED_OVER, Broadcast, Delivery
from notifications.reach import Reach

# What a percentile reads: more stamps than this are thinned by the database first ("Voice").
STAMPS_MAX = 2_000_000


def of_incident(incident: Incident, *, since: datetime) -> dict[str, Reach]:
    """Return the reach of all updates but the end, seconds counted from `since`."""
    broadcasts = Broadcast.objects.filter(incident=incident).exclude(update_entry__status__in=FINAL)
    return _by_channel(broadcasts.values_list("pk", flat=True), since=since)


def of_all_clear(incident: Incident, *, since: datetime) -> dict[str, Reach]:
    """Return the reach of the updates that ended the incident, seconds counted from `since`."""
    broadcasts = Broadcast.objects.filter(incident=incident, update_entry__status__in=FINAL)
    return _by_channel(broadcasts.values_list("pk", flat=True), since=since)


def of_broadcast(broadcast: Broadcast, *, since: datetime) -> dict[str, Reach]:
    return _by_channel([broadcast.pk], since=since)


def _by_channel(broadcasts: Iterable[int], *, since: datetime) -> dict[str, Reach]:
    rows = Delivery.objects.filter(broadcast__in=list(broadcasts))
    states: dict[str, dict[str, int]] = defaultdict(dict)
    for channel, state, count in rows.values_list("channel", "state").annotate(count=Count("pk")):
        states[channel][state] = count
    told: dict[str, list[datetime]] = defaultdict(list)
    stamps = rows.filter(state__in=HANDED_OVER, accepted_at__isnull=False)
    for channel, at in stamps.values_list("channel", "accepted_at")[:STAMPS_MAX]:
        told[channel].append(at)  # type: ignore[arg-type]  # not null: filtered
    return {
        channel: reach.measure(counts, told[channel], since=since)
        for channel, counts in sorted(states.items())
    }
