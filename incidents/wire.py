"""Facts in Statuspage's JSON words and shapes, as /api/v2, /v1 and webhooks send them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from incidents.facts import (
    ComponentChange,
    ComponentFact,
    GroupFact,
    IncidentFact,
    PageFact,
    UpdateFact,
)
from incidents.lifecycle import Audience, ComponentStatus, Impact, worst

Json = dict[str, Any]  # what json.dumps takes; the shapes are those of statuspage-api.md §2

_UTC_NAMES = ("UTC", "Etc/UTC", "Etc/UCT", "Zulu", "Etc/Zulu")
# Without components an open incident speaks for the page.
_BY_IMPACT = {
    Impact.CRITICAL: ("critical", "Major System Outage"),
    Impact.MAJOR: ("major", "Partial System Outage"),
    Impact.MINOR: ("minor", "Minor Service Outage"),
}
_INDICATORS = ("none", "maintenance", "minor", "major", "critical")  # ascending


def timestamp(at: datetime, page: PageFact) -> str:
    """Return `at` with exactly three fraction digits and the offset of the page's zone.

    The fraction is not optional: a client of Statuspage parses with `%S.%f%z`.
    """
    if page.time_zone in _UTC_NAMES:
        utc = at if at.tzinfo is UTC else at.astimezone(UTC)
        return f"{utc.isoformat(timespec='milliseconds')[:-6]}Z"
    return at.astimezone(zone_of(page.time_zone)).isoformat(timespec="milliseconds")


@cache
def zone_of(name: str) -> ZoneInfo:
    """Return the zone, UTC for a name that nobody knows: a typing error must not silence the page."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def maybe_timestamp(at: datetime | None, page: PageFact) -> str | None:
    return None if at is None else timestamp(at, page)


def incident_url(incident_uid: str, page: PageFact) -> str:
    return f"{page.url}/incidents/{incident_uid}"


def page_json(page: PageFact) -> Json:
    return {
        "id": page.uid,
        "name": page.name,
        "url": page.url,
        "time_zone": page.time_zone,
        "updated_at": timestamp(page.updated_at, page),
    }


def public_status(component: ComponentFact) -> ComponentStatus:
    """Return one of the five words: a component that nobody can see is never called operational."""
    if component.is_unknown:
        return ComponentStatus.DEGRADED_PERFORMANCE
    return component.status


def unknown_text(since: datetime) -> str:
    return f"Status unknown: checks not running since {since.astimezone(UTC):%H:%M} UTC"


def component_json(component: ComponentFact, page: PageFact) -> Json:
    text: str | None = component.description or None
    if component.unknown_since:
        text = unknown_text(component.unknown_since)
    return {
        "id": component.uid,
        "name": component.name,
        "status": str(public_status(component)),
        "created_at": timestamp(component.created_at, page),
        "updated_at": timestamp(component.updated_at, page),
        "position": component.position,
        "description": text,
        "showcase": component.showcase,
        "start_date": component.start_date.isoformat() if component.start_date else None,
        "group_id": component.group,
        "page_id": page.uid,
        "group": False,
        "only_show_if_degraded": component.only_show_if_degraded,
    }


def group_json(group: GroupFact, children: Sequence[ComponentFact], page: PageFact) -> Json:
    """Return a group as the row among the components that Statuspage makes of it."""
    return {
        "id": group.uid,
        "name": group.name,
        "status": str(worst(public_status(child) for child in children)),
        "created_at": timestamp(group.created_at, page),
        "updated_at": timestamp(group.updated_at, page),
        "position": group.position,
        "description": group.description or None,
        "showcase": False,
        "start_date": None,
        "group_id": None,
        "page_id": page.uid,
        "group": True,
        "only_show_if_degraded": False,
        "components": [child.uid for child in children],
    }


def component_rows(
    components: Sequence[ComponentFact], groups: Sequence[GroupFact], page: PageFact
) -> list[Json]:
    """Return all components, then the groups that have children, in order of position."""
    rows = [component_json(component, page) for component in components]
    for group in groups:
        children = [component for component in components if component.group == group.uid]
        if children:
            rows.append(group_json(group, children, page))
    return rows


def incident_json(incident: IncidentFact, page: PageFact) -> Json:
    """Return an incident, or a maintenance with its window; only what is published, newest first."""
    said = [update for update in incident.updates if update.published_at]
    row: Json = {
        "id": incident.uid,
        "name": incident.name,
        "status": str(incident.status),
        "created_at": timestamp(incident.created_at, page),
        "updated_at": timestamp(incident.updated_at, page),
        "monitoring_at": maybe_timestamp(incident.monitoring_at, page),
        "resolved_at": maybe_timestamp(incident.resolved_at, page),
        "impact": str(incident.impact),
        "shortlink": incident_url(incident.uid, page),
        "started_at": timestamp(_started_at(incident), page),
        "page_id": page.uid,
        "incident_updates": [update_json(update, page) for update in said],
        "components": [component_json(component, page) for component in incident.components],
        "reminder_intervals": None,
    }
    if incident.is_maintenance:
        row["scheduled_for"] = maybe_timestamp(incident.scheduled_for, page)
        row["scheduled_until"] = maybe_timestamp(incident.scheduled_until, page)
    return row


def _started_at(incident: IncidentFact) -> datetime:
    """A maintenance "started" when it was announced: statuspage-api.md §2."""
    return incident.created_at if incident.is_maintenance else incident.started_at


def update_json(update: UpdateFact, page: PageFact) -> Json:
    return {
        "id": update.uid,
        "status": str(update.status),
        "body": update.body,
        "incident_id": update.incident,
        "created_at": timestamp(update.created_at, page),
        "updated_at": timestamp(update.updated_at, page),
        "display_at": timestamp(update.display_at, page),
        "affected_components": [change_json(change) for change in update.changes] or None,
        "deliver_notifications": update.audience is not Audience.NOBODY,
        "custom_tweet": update.custom_tweet or None,
        "tweet_id": None,
    }


def change_json(change: ComponentChange) -> Json:
    return {
        "code": change.uid,
        "name": change.name,
        "old_status": str(change.old),
        "new_status": str(change.new),
    }


def status_json(
    components: Sequence[ComponentFact], incidents: Iterable[IncidentFact], page: PageFact
) -> Json:
    """Return the page's roll-up: `indicator` and `description`.

    Calculated from all components; without any, from the open incidents. An unknown component
    makes it at least minor and says so in the description.
    """
    del page  # the same in every zone; taken so that all shapes are called alike
    indicator, description = _roll_up(components, incidents)
    blind = [component.unknown_since for component in components if component.unknown_since]
    if blind:
        indicator = max(indicator, "minor", key=_INDICATORS.index)
        description = unknown_text(min(blind))
    return {"indicator": indicator, "description": description}


def _roll_up(
    components: Sequence[ComponentFact], incidents: Iterable[IncidentFact]
) -> tuple[str, str]:
    if not components:
        return _by_incidents(incidents)
    count = Counter(public_status(component) for component in components)
    every = len(components)
    if count[ComponentStatus.MAJOR_OUTAGE] == every:
        return "critical", "Major System Outage"
    if count[ComponentStatus.MAJOR_OUTAGE] or count[ComponentStatus.PARTIAL_OUTAGE] == every:
        return "major", "Partial System Outage"
    if count[ComponentStatus.PARTIAL_OUTAGE]:
        return "minor", "Minor Service Outage"
    if count[ComponentStatus.DEGRADED_PERFORMANCE] == every:
        return "minor", "Degraded System Service"
    if count[ComponentStatus.DEGRADED_PERFORMANCE]:
        return "minor", "Partially Degraded Service"
    if count[ComponentStatus.UNDER_MAINTENANCE]:
        return "maintenance", "Service Under Maintenance"
    return "none", "All Systems Operational"


def _by_incidents(incidents: Iterable[IncidentFact]) -> tuple[str, str]:
    impacts = {incident.impact for incident in incidents if incident.is_open}
    for impact, words in _BY_IMPACT.items():
        if impact in impacts:
            return words
    return "none", "All Systems Operational"


# --- webhooks: statuspage-api.md §4 -----------------------------------------------------------


def webhook_envelope(
    status: Json, page: PageFact, *, unsubscribe_url: str, generated_at: datetime
) -> Json:
    """Return what every webhook carries; `status` comes from status_json()."""
    return {
        "meta": {
            "unsubscribe": unsubscribe_url,
            "documentation": "https://support.atlassian.com/statuspage/docs/"
            "enable-webhook-notifications/",
            "generated_at": timestamp(generated_at, page),
        },
        "page": {
            "id": page.uid,
            "status_indicator": status["indicator"],
            "status_description": status["description"],
        },
    }


def webhook_incident_json(incident: IncidentFact, page: PageFact) -> Json:
    """Return the `incident` of a webhook: more keys than /api/v2 shows."""
    row = incident_json(incident, page)
    for update in row["incident_updates"]:
        update |= {"wants_twitter_update": incident.social, "twitter_updated_at": None}
    postmortem_at = maybe_timestamp(incident.postmortem_published_at, page)
    return row | {
        "impact_override": str(incident.impact_override) if incident.impact_override else None,
        "backfilled": incident.backfilled,
        "scheduled_for": maybe_timestamp(incident.scheduled_for, page),
        "scheduled_until": maybe_timestamp(incident.scheduled_until, page),
        "scheduled_remind_prior": False,
        "scheduled_reminded_at": None,
        "scheduled_auto_in_progress": incident.is_maintenance and incident.auto_in_progress,
        "scheduled_auto_completed": incident.is_maintenance and incident.auto_completed,
        "postmortem_body": incident.postmortem_body or None,
        "postmortem_body_last_updated_at": postmortem_at,
        "postmortem_ignored": False,
        "postmortem_published_at": postmortem_at,
        "postmortem_notified_subscribers": False,
        "postmortem_notified_twitter": False,
    }


def webhook_component_json(
    change: ComponentChange, update: UpdateFact, component: ComponentFact, page: PageFact
) -> Json:
    """Return `component_update` and `component` of the event for one changed component."""
    row = component_json(component, page)
    kept = ("id", "name", "status", "created_at", "updated_at", "position", "description")
    return {
        "component_update": {
            "created_at": timestamp(update.created_at, page),
            "old_status": str(change.old),
            "new_status": str(change.new),
            "id": update.uid,
            "component_id": change.uid,
            "component_type": "Component",
        },
        "component": {key: row[key] for key in (*kept, "showcase", "page_id", "group_id")},
    }
