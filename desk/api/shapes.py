"""Facts in the words of Statuspage's management API: what /v1 says beyond /api/v2."""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings

from desk.api.entrance import Json
from incidents import reads, wire
from incidents.facts import ComponentFact, GroupFact, IncidentFact, PageFact
from incidents.lifecycle import Status
from incidents.models import Component, Group, Incident, Metric, Page, PostMortem, Template

# What /v1 keeps of a page beyond its name: words that describe it, and change nothing here.
PROFILE = ("page_description", "support_url", "city", "state", "country", "twitter_username")
_NULLS = (
    "css_body_background_color", "css_font_color", "css_light_font_color", "css_greens", "css_yellows", "css_oranges",
    "css_blues", "css_reds", "css_border_color", "css_graph_color", "css_link_color", "css_no_data", "favicon_logo",
    "transactional_logo", "hero_cover", "email_logo", "twitter_logo",
)  # fmt: skip
EMBED = {
    "position": "bottom-left",
    "incident_background_color": "#B00020",
    "incident_text_color": "#FFFFFF",
    "maintenance_background_color": "#1F4E8C",
    "maintenance_text_color": "#FFFFFF",
}


def page_json(page: Page) -> Json:
    fact = reads.page_fact(page)
    channels = settings.CHANNELS
    kept = {name: page.profile.get(name) for name in PROFILE}
    return (
        wire.page_json(fact)
        | kept
        | dict.fromkeys(_NULLS)
        | {
            "created_at": wire.timestamp(page.created_at, fact),
            "headline": page.headline or None,
            "branding": "basic",
            "subdomain": None,
            "domain": None,
            "hidden_from_search": False,
            "allow_page_subscribers": True,
            "allow_incident_subscribers": True,
            "allow_email_subscribers": "email" in channels,
            "allow_sms_subscribers": "sms" in channels,
            "allow_rss_atom_feeds": True,
            "allow_webhook_subscribers": "webhook" in channels,
            "notifications_from_email": None,
            "notifications_email_footer": None,
            "activity_score": 0,
            "viewers_must_be_team_members": False,
            "ip_restrictions": None,
        }
    )


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
    for said in (row, *row["incident_updates"]):
        # answers.Stands: why the word does not leave by this door.
        if said["status"] == Status.POSTMORTEM:
            said["status"] = str(Status.RESOLVED)
    for component in row["components"]:
        component["automation_email"] = None
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


def postmortem_json(row: PostMortem, page: PageFact) -> Json:
    return {
        "preview_key": row.preview_key,
        "body": row.body or None,
        "body_updated_at": wire.maybe_timestamp(row.body_updated_at, page),
        "body_draft": row.body_draft or None,
        "body_draft_updated_at": wire.maybe_timestamp(row.body_draft_updated_at, page),
        "published_at": wire.maybe_timestamp(row.published_at, page),
        "notify_subscribers": row.notify_subscribers,
        "notify_twitter": row.notify_twitter,
        "custom_tweet": row.custom_tweet or None,
        "created_at": wire.timestamp(row.created_at, page),
        "updated_at": wire.timestamp(row.updated_at, page),
    }


def template_json(row: Template, page: PageFact) -> Json:
    """Return a template; its `title` is our name of it, which becomes the incident's."""
    return {
        "id": row.uid,
        "name": row.label or row.slug,
        "title": row.name,
        "body": row.body,
        "group_id": row.group.uid if row.group else None,
        "update_status": row.update_status or None,
        "should_tweet": row.should_tweet,
        "should_send_notifications": row.should_send_notifications,
        "components": [component_json(component, page) for component in row.components.all()],
    }


def metric_json(row: Metric, newest: datetime | None, page: PageFact) -> Json:
    at = wire.maybe_timestamp(newest, page)
    return {
        "id": row.uid,
        "metrics_provider_id": None,
        "metric_identifier": None,
        "name": row.name,
        "display": row.display,
        "tooltip_description": row.tooltip_description or None,
        "backfilled": False,
        "y_axis_min": row.y_axis_min,
        "y_axis_max": row.y_axis_max,
        "y_axis_hidden": row.y_axis_hidden,
        "suffix": row.suffix or None,
        "decimal_places": row.decimal_places,
        "most_recent_data_at": at,
        "created_at": wire.timestamp(row.created_at, page),
        "updated_at": wire.timestamp(row.updated_at, page),
        "last_fetched_at": at,
        "backfill_percentage": None,
        "reference_name": row.reference_name or None,
    }


def embed_json(page: Page) -> Json:
    look: Json = EMBED | page.embed
    return {"page_id": page.uid} | look
