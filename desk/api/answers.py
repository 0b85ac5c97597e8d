"""What /v1 answers, as types: the description is made of them, and the tests hold every answer to it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Instant = Annotated[
    str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-24T02:25:00.000Z"])
]
Day = Annotated[str, Field(json_schema_extra={"format": "date"})]
Id = Annotated[str, Field(pattern="^[a-z0-9]{12}$", examples=["4kq2xw7mzb1c"])]
Indicated = Literal["none", "maintenance", "minor", "major", "critical"]
# Atlassian's description does not know `postmortem`, and clients made of it refuse unknown words: it is `resolved` here.
Stands = Literal["investigating", "identified", "monitoring", "resolved", "scheduled", "in_progress", "verifying", "completed"]  # fmt: skip
Reads = Literal["operational", "degraded_performance", "partial_outage", "major_outage", "under_maintenance"]  # fmt: skip
Writes = Literal["operational", "degraded_performance", "partial_outage", "major_outage", "under_maintenance", ""]  # fmt: skip


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Error(_Answer):
    """Every 4xx: one sentence, or a list of them in `error`."""

    error: str | list[str]
    message: str


class Page(_Answer):
    id: Id
    created_at: Instant
    updated_at: Instant
    name: str
    page_description: str | None
    headline: str | None
    branding: str
    subdomain: str | None
    domain: str | None
    url: str
    support_url: str | None
    hidden_from_search: bool
    allow_page_subscribers: bool
    allow_incident_subscribers: bool
    allow_email_subscribers: bool
    allow_sms_subscribers: bool
    allow_rss_atom_feeds: bool
    allow_webhook_subscribers: bool
    notifications_from_email: str | None
    notifications_email_footer: str | None
    activity_score: float
    twitter_username: str | None
    viewers_must_be_team_members: bool
    ip_restrictions: str | None
    city: str | None
    state: str | None
    country: str | None
    time_zone: str
    css_body_background_color: str | None
    css_font_color: str | None
    css_light_font_color: str | None
    css_greens: str | None
    css_yellows: str | None
    css_oranges: str | None
    css_blues: str | None
    css_reds: str | None
    css_border_color: str | None
    css_graph_color: str | None
    css_link_color: str | None
    css_no_data: str | None
    favicon_logo: str | None
    transactional_logo: str | None
    hero_cover: str | None
    email_logo: str | None
    twitter_logo: str | None


class Component(_Answer):
    id: Id
    page_id: Id
    group_id: Id | None
    created_at: Instant
    updated_at: Instant
    group: bool
    name: str
    description: str | None
    position: int
    status: Reads
    showcase: bool
    only_show_if_degraded: bool
    automation_email: str | None
    start_date: Day | None


class Group(_Answer):
    id: Id
    page_id: Id
    name: str
    description: str | None
    components: list[Id]
    position: int
    created_at: Instant
    updated_at: Instant


class Uptime(_Answer):
    """Percent of the known time between the instants; a partial outage counts 30 % (seconds: int)."""

    range_start: Instant
    range_end: Instant
    uptime_percentage: float | None
    major_outage: int
    partial_outage: int
    warnings: list[str] | None
    id: Id
    name: str
    related_events: dict[str, list[Id]] | list[dict[str, Any]]  # a list by component for a group


class AffectedComponent(_Answer):
    code: str
    name: str
    old_status: Reads
    new_status: Reads


class IncidentUpdate(_Answer):
    id: Id
    incident_id: Id
    status: Stands
    body: str
    affected_components: list[AffectedComponent] | None
    created_at: Instant
    updated_at: Instant
    display_at: Instant
    deliver_notifications: bool
    custom_tweet: str | None
    tweet_id: str | None
    wants_twitter_update: bool
    twitter_updated_at: Instant | None


class Incident(_Answer):
    id: Id
    page_id: Id
    name: str
    status: Stands
    impact: Indicated
    impact_override: Indicated | None
    shortlink: str
    backfilled: bool
    created_at: Instant
    updated_at: Instant
    started_at: Instant
    monitoring_at: Instant | None
    resolved_at: Instant | None
    scheduled_for: Instant | None
    scheduled_until: Instant | None
    scheduled_remind_prior: bool
    scheduled_reminded_at: Instant | None
    scheduled_auto_in_progress: bool
    scheduled_auto_completed: bool
    auto_transition_to_maintenance_state: bool
    auto_transition_to_operational_state: bool
    auto_transition_deliver_notifications_at_start: bool
    auto_transition_deliver_notifications_at_end: bool
    reminder_intervals: str | None
    metadata: dict[str, Any]
    incident_impacts: list[Any]
    incident_updates: list[IncidentUpdate]
    components: list[Component]
    postmortem_body: str | None
    postmortem_body_last_updated_at: Instant | None
    postmortem_ignored: bool
    postmortem_published_at: Instant | None
    postmortem_notified_subscribers: bool
    postmortem_notified_twitter: bool


class Postmortem(_Answer):
    preview_key: str
    body: str | None
    body_updated_at: Instant | None
    body_draft: str | None
    body_draft_updated_at: Instant | None
    published_at: Instant | None
    notify_subscribers: bool
    notify_twitter: bool
    custom_tweet: str | None
    created_at: Instant
    updated_at: Instant


class Template(_Answer):
    id: Id
    name: str
    title: str
    body: str
    group_id: Id | None
    update_status: Stands | None
    should_tweet: bool
    should_send_notifications: bool
    components: list[Component]


class Subscriber(_Answer):
    id: Id
    mode: Literal["email", "sms", "webhook", "slack", "teams"]
    email: str | None
    endpoint: str | None
    phone_number: str | None
    phone_country: str | None
    display_phone_number: str | None
    obfuscated_channel_name: str | None
    workspace_name: str | None
    skip_confirmation_notification: bool
    quarantined_at: Instant | None
    purge_at: Instant | None
    components: list[Id]
    page_access_user_id: str | None
    created_at: Instant


class Counts(_Answer):
    """Subscribers by mode; with `type` only that one."""

    email: int = 0
    sms: int = 0
    webhook: int = 0
    integration_partner: int = 0
    slack: int = 0
    teams: int = 0


class States(_Answer):
    active: int
    unconfirmed: int
    quarantined: int
    total: int


class Histogram(_Answer):
    email: States
    sms: States
    webhook: States
    integration_partner: States
    slack: States
    teams: States


class Metric(_Answer):
    id: Id
    metrics_provider_id: str | None
    metric_identifier: str | None
    name: str
    display: bool
    tooltip_description: str | None
    backfilled: bool
    y_axis_min: float | None
    y_axis_max: float | None
    y_axis_hidden: bool
    suffix: str | None
    decimal_places: int
    most_recent_data_at: Instant | None
    created_at: Instant
    updated_at: Instant
    last_fetched_at: Instant | None
    backfill_percentage: int | None
    reference_name: str | None


class Point(_Answer):
    timestamp: int
    value: float


class PointAdded(_Answer):
    data: Point


PointsAdded = dict[str, list[Point]]


class EmbedConfig(_Answer):
    page_id: Id
    position: str
    incident_background_color: str
    incident_text_color: str
    maintenance_background_color: str
    maintenance_text_color: str


class Reach(BaseModel):
    """Who was told of an incident (ours, not Statuspage's)."""

    id: Id
    started_at: str | None
    detected_at: str | None
    published_at: str | None
    page_at: str | None
    resolved_at: str | None
    updates: int
    fanned_out: bool
    channels: dict[str, Any]
    all_clear: dict[str, Any]


class RefusedRow(_Answer):
    """A row of a list that was not taken; `row` counts from 0."""

    row: int
    why: str


class Synced(_Answer):
    """What became of a customer list; ours, not Statuspage's."""

    added: int
    waiting: int
    unchanged: int
    left_alone: int
    dropped: int
    refused: list[RefusedRow]
