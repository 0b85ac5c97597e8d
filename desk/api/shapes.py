"""Facts in the words of Statuspage's management API: what /v1 says beyond /api/v2."""

from collections.abc import Sequence

from django.conf import settings
from django.db.models import QuerySet

from desk.api.entrance import Json
from incidents import reads, wire
from incidents.facts import ComponentFact, GroupFact, IncidentFact, PageFact
from incidents.models import Component, Group, Incident, Page

# statuspage-api.md §5: a page of a list holds at most so many rows.
PER_PAGE_MAX = 100


def cut(rows: QuerySet[Incident], *, page: int, limit: int) -> QuerySet[Incident]:
    """Return one page of a list counted from 1; past the end it is empty."""
    limit = min(max(limit, 1), PER_PAGE_MAX)
    start = (max(page, 1) - 1) * limit
    return rows[start : start + limit]


def page_json(page: Page) -> Json:
    fact = reads.page_fact(page)
    channels = settings.CHANNELS
    return wire.page_json(fact) | {
        "created_at": wire.timestamp(page.created_at, fact),
        "headline": page.headline or None,
        "page_description": None,
        "branding": "basic",
        "subdomain": None,
        "domain": None,
        "support_url": None,
        "hidden_from_search": False,
        "allow_page_subscribers": True,
        "allow_incident_subscribers": False,
        "allow_email_subscribers": "email" in channels,
        "allow_sms_subscribers": "sms" in channels,
        "allow_rss_atom_feeds": True,
        "allow_webhook_subscribers": "webhook" in channels,
        "notifications_from_email": None,
        "notifications_email_footer": None,
        "activity_score": 0,
        "twitter_username": None,
        "viewers_must_be_team_members": False,
        "ip_restrictions": None,
        "city": None,
        "state": None,
        "country": None,
    }


def component_json(component: Component, page: PageFact) -> Json:
    return wire.component_json(reads.component_fact(component), page) | {"automation_email": None}


def group_json(group: GroupFact, children: Sequence[ComponentFact], page: PageFact) -> Json:
    return {
        "id": group.uid,
        "page_id": page.uid,
        "name": group.name,
        "description": group.description or None,
        "components": [child.uid for child in children],
        "position": group.position,
        "created_at": wire.timestamp(group.created_at, page),
        "updated_at": wire.timestamp(group.updated_at, page),
    }


def group_of(group: Group, page: PageFact) -> Json:
    children = [
        reads.component_fact(component, {group.pk: group.uid})
        for component in group.components.all()
    ]
    return group_json(reads.group_fact(group), children, page)


def incident_json(incident: IncidentFact, page: PageFact) -> Json:
    """Return an incident with the keys that only /v1 and webhooks show."""
    row = wire.webhook_incident_json(incident, page)
    maintenance = incident.is_maintenance
    return row | {
        "metadata": dict(incident.metadata),
        "incident_impacts": [],
        "auto_transition_to_maintenance_state": maintenance and incident.auto_in_progress,
        "auto_transition_to_operational_state": maintenance and incident.auto_completed,
        "auto_transition_deliver_notifications_at_start": maintenance,
        "auto_transition_deliver_notifications_at_end": maintenance,
    }


def incident_of(uid: str, page: Page) -> Json:
    """Read an incident anew and return it as /v1 says it."""
    row = reads.with_all(Incident.objects.filter(page=page)).get(uid=uid)
    return incident_json(reads.incident_fact(row), reads.page_fact(page))
