"""Reads what was measured for the snapshot: the latency of checks, and how fast people were told."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from incidents.facts import IncidentFact
from incidents.models import Incident
from notifications import reports
from probes.models import Check, Rollup, Span
from public.measures import Series, Told

LATENCY = timedelta(days=7)
ROWS_MAX = 40_000  # hours of all checks and places in a week: 238 series
SERIES_MAX = 12  # pictures on the page of one component
SETTLED = timedelta(minutes=15)  # after the end; what is handed over later is not "told" any more
TOLD_MAX = 100  # past incidents whose curves are remembered
TOLD_PER_PASS = (
    10  # of those, read in one pass: a start with a long history takes a few passes more
)


@lru_cache(maxsize=2)
def latency(hour: datetime) -> tuple[tuple[str, tuple[Series, ...]], ...]:
    """Return per slug of a component what its checks took in the week before `hour`; read once an hour."""
    checks = {row.pk: row for row in Check.objects.filter(enabled=True)}
    hours: dict[tuple[int, str], list[tuple[datetime, float]]] = {}
    rows = Rollup.objects.filter(span=Span.HOUR, at__gte=hour - LATENCY, runs__gt=0)
    ordered = rows.order_by("-at").values_list(
        "of_check_id", "location__name", "at", "total_ms_sum", "runs"
    )
    for check, place, at, total_ms, runs in reversed(list(ordered[:ROWS_MAX])):
        hours.setdefault((check, place), []).append((at, total_ms / runs))
    found: dict[str, list[Series]] = {}
    for (check, place), points in sorted(hours.items()):
        if check not in checks:
            continue
        series = Series(checks[check].slug, place, tuple(points))
        for slug in watched(checks[check].spec):
            found.setdefault(slug, []).append(series)
    return tuple((slug, tuple(series[:SERIES_MAX])) for slug, series in found.items())


def watched(spec: Any) -> set[str]:  # Any: JSON of a check, whatever its kind
    """Return the slugs of all components that a check speaks for."""
    if not isinstance(spec, dict):
        return set()
    own = {spec.get("component"), spec.get("login_component")}
    steps = [step for step in spec.get("steps") or () if isinstance(step, dict)]
    return {slug for slug in (*own, *(step.get("component") for step in steps)) if slug}


_told: dict[tuple[str, datetime], tuple[Told, ...]] = {}


def told(
    incidents: Sequence[IncidentFact], now: datetime
) -> tuple[tuple[str, tuple[Told, ...]], ...]:
    """Return per uid how fast people were told of incidents that are over; each is read once."""
    over = [
        one
        for one in incidents
        if one.resolved_at
        and now - one.resolved_at > SETTLED
        and not one.is_maintenance
        and not one.backfilled
    ][:TOLD_MAX]
    wanted = [(one.uid, one.resolved_at or now) for one in over]
    for key in [key for key in _told if key not in wanted]:
        del _told[key]
    missing = [uid for uid, at in wanted if (uid, at) not in _told][:TOLD_PER_PASS]
    rows = {row.uid: row for row in Incident.objects.filter(uid__in=missing)} if missing else {}
    for uid, at in wanted:
        if uid in rows:
            _told[uid, at] = tuple(_channels(rows[uid]))
    return tuple((uid, _told[uid, at]) for uid, at in wanted if _told.get((uid, at)))


def _channels(incident: Incident) -> Iterator[Told]:
    for one in reports.curves(incident):
        if one.expected <= 0:
            continue
        reach = one.reach(incident.started_at)
        shift_s = (one.published_at - incident.started_at).total_seconds()
        steps = tuple((at + shift_s, min(told / one.expected, 1.0)) for at, told in one.curve)
        accepted = reach.counts["accepted"]
        yield Told(
            one.channel, one.expected, accepted, reach.p50_s, reach.p95_s, reach.last_s, steps
        )


def forget() -> None:
    """Read again what was remembered."""
    latency.cache_clear()
    _told.clear()
