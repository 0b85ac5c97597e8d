"""/v1 uptime of components and groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.http import HttpRequest
from django.utils import timezone
from ninja import Router

from desk.api import answers, lookup
from desk.api.entrance import Json, route
from desk.api.paging import Moment
from incidents import reads, uptime, wire
from incidents.facts import PageFact
from incidents.lifecycle import ComponentStatus, Refused
from incidents.models import Component, Incident, StatusChange

router = Router(tags=["uptime"])
USUAL = timedelta(days=90)  # what the bars of the page show
CHANGES_MAX = 50_000  # read at once; beyond it a warning says where counting began
EVENTS_MAX = 100


@dataclass(frozen=True, slots=True)
class _Asked:
    start: datetime
    end: datetime
    warnings: tuple[str, ...]


@route(
    router, ["GET"], "/pages/{page_id}/components/{component_id}/uptime", summary="Uptime of a component",
    answer=answers.Uptime,
)  # fmt: skip
def of_component(
    request: HttpRequest, page_id: str, component_id: str, start: Moment | None = None, end: Moment | None = None,
    skip_related_events: bool = False,
) -> Json:  # fmt: skip
    page = lookup.page(page_id)
    component, fact = lookup.component(page, component_id), reads.page_fact(page)
    asked = _asked(start, end, fact, since=component.created_at)
    row = _counted([component], asked, fact) | {"id": component.uid, "name": component.name}
    events = {} if skip_related_events else _events([component], asked)
    return row | {"related_events": {"incidents": events.get(component.uid, [])}}


@route(
    router, ["GET"], "/pages/{page_id}/component-groups/{group_id}/uptime", summary="Uptime of a group: its components' mean",
    answer=answers.Uptime,
)  # fmt: skip
def of_group(
    request: HttpRequest, page_id: str, group_id: str, start: Moment | None = None, end: Moment | None = None,
    skip_related_events: bool = False,
) -> Json:  # fmt: skip
    page = lookup.page(page_id)
    group, fact = lookup.group(page, group_id), reads.page_fact(page)
    members = list(group.components.all())
    since = min((member.created_at for member in members), default=group.created_at)
    asked = _asked(start, end, fact, since=since)
    events = {} if skip_related_events else _events(members, asked)
    shown = [{"component_id": uid, "incidents": rows} for uid, rows in events.items()]
    row = _counted(members, asked, fact) | {"id": group.uid, "name": group.name}
    return row | {"related_events": shown}


def _asked(
    start: datetime | None, end: datetime | None, page: PageFact, *, since: datetime
) -> _Asked:
    """Return the range that can be answered: not before there was anything, not into the future."""
    now, warnings = timezone.now(), []
    zone = wire.zone_of(page.time_zone)
    until = _aware(end, zone) or now
    begin = _aware(start, zone) or until - USUAL
    if start and end and begin >= until:
        raise Refused("start is not before end")
    if until > now:
        until = now
        warnings.append("end lies ahead; it was set to now")
    if begin < since:
        if start:
            warnings.append("start lies before the component; it was set to when it was created")
        begin = since
    begin = min(begin, until)
    return _Asked(begin, until, tuple(warnings))


def _aware(at: datetime | None, zone: ZoneInfo) -> datetime | None:
    return at if at is None or at.tzinfo else at.replace(tzinfo=zone)


def _counted(components: Sequence[Component], asked: _Asked, page: PageFact) -> Json:
    """Return percent and seconds over all the components; unknown time counts neither way."""
    percents, major, partial, warnings = [], 0.0, 0.0, list(asked.warnings)
    for component in components:
        rows = StatusChange.objects.filter(component=component, at__lte=asked.end)
        newest = list(rows.order_by("-at", "-id").values_list("at", "status")[:CHANGES_MAX])
        if len(newest) == CHANGES_MAX:
            warnings.append(f"counted from {newest[-1][0]:%Y-%m-%d} on: there are too many changes")
        history = uptime.spans(newest[::-1], until=asked.end)
        percent = uptime.uptime_percent(history, since=asked.start, until=asked.end)
        if percent is not None:
            percents.append(percent)
        major += uptime.outage_seconds(
            history, ComponentStatus.MAJOR_OUTAGE, since=asked.start, until=asked.end
        )
        partial += uptime.outage_seconds(
            history, ComponentStatus.PARTIAL_OUTAGE, since=asked.start, until=asked.end
        )
    return {
        "range_start": wire.timestamp(asked.start, page),
        "range_end": wire.timestamp(asked.end, page),
        "uptime_percentage": round(sum(percents) / len(percents), 4) if percents else None,
        "major_outage": round(major),
        "partial_outage": round(partial),
        "warnings": (warnings if percents else [*warnings, "nothing is known of this time"])
        or None,
    }


def _events(components: Sequence[Component], asked: _Asked) -> dict[str, list[str]]:
    """Return component uid -> incidents that touched it within the range, newest first."""
    rows = Incident.objects.filter(
        published_at__isnull=False, components__in=components, started_at__lte=asked.end
    ).exclude(resolved_at__lt=asked.start)
    pairs = rows.order_by("-started_at", "-id").values_list("components__uid", "uid")
    found: dict[str, list[str]] = {component.uid: [] for component in components}
    for component, incident in pairs[: EVENTS_MAX * max(1, len(components))]:
        if component in found and len(found[component]) < EVENTS_MAX:
            found[component].append(incident)
    return found
