"""What Atlassian's published description of Statuspage's management API says, as tables: kinds of fields, calls, codes.

Read from its OpenAPI (v1, as published in 2026). `text`, `switch`, `int`, `float`, `instant` (RFC 3339) and `day` are kinds
of values, words with | between them are the only ones allowed (- is the empty one), other names are models below.
"""

MODELS = {
    "Page": {
        "text": (
            "id name page_description headline branding subdomain domain url support_url notifications_from_email "
            "notifications_email_footer twitter_username ip_restrictions city state country time_zone "
            "css_body_background_color css_font_color css_light_font_color css_greens css_yellows css_oranges "
            "css_blues css_reds css_border_color css_graph_color css_link_color css_no_data favicon_logo "
            "transactional_logo hero_cover email_logo twitter_logo"
        ),
        "instant": "created_at updated_at",
        "switch": (
            "hidden_from_search allow_page_subscribers allow_incident_subscribers allow_email_subscribers "
            "allow_sms_subscribers allow_rss_atom_feeds allow_webhook_subscribers viewers_must_be_team_members"
        ),
        "float": "activity_score",
    },
    "Component": {
        "text": "id page_id group_id name description automation_email",
        "instant": "created_at updated_at",
        "switch": "group showcase only_show_if_degraded",
        "int": "position",
        "operational|under_maintenance|degraded_performance|partial_outage|major_outage|-": "status",
        "day": "start_date",
    },
    "Metric": {
        "text": "id metrics_provider_id metric_identifier name tooltip_description suffix reference_name",
        "switch": "display backfilled y_axis_hidden",
        "float": "y_axis_min y_axis_max",
        "int": "decimal_places backfill_percentage",
        "instant": "most_recent_data_at created_at updated_at last_fetched_at",
    },
    "SubscriberCountByTypeAndState": {
        "SubscriberCountByState": "email sms webhook integration_partner slack",
    },
    "SubscriberCountByState": {
        "int": "active unconfirmed quarantined total",
    },
    "SubscriberCountByType": {
        "int": "email sms webhook integration_partner slack",
    },
    "Subscriber": {
        "text": (
            "id mode email endpoint phone_number phone_country display_phone_number obfuscated_channel_name "
            "workspace_name components page_access_user_id"
        ),
        "switch": "skip_confirmation_notification",
        "instant": "quarantined_at purge_at created_at",
    },
    "IncidentTemplate": {
        "text": "id name title body group_id",
        "[Component]": "components",
        "investigating|identified|monitoring|resolved|scheduled|in_progress|verifying|completed": "update_status",
        "switch": "should_tweet should_send_notifications",
    },
    "Incident": {
        "text": "id name page_id postmortem_body shortlink",
        "[Component]": "components",
        "instant": (
            "created_at monitoring_at postmortem_body_last_updated_at resolved_at scheduled_for "
            "scheduled_reminded_at scheduled_until updated_at"
        ),
        "none|maintenance|minor|major|critical": "impact impact_override",
        "[IncidentUpdate]": "incident_updates",
        "object": "metadata",
        "switch": (
            "postmortem_ignored postmortem_notified_subscribers postmortem_notified_twitter "
            "postmortem_published_at scheduled_auto_completed scheduled_auto_in_progress "
            "auto_transition_deliver_notifications_at_end auto_transition_deliver_notifications_at_start "
            "auto_transition_to_maintenance_state auto_transition_to_operational_state scheduled_remind_prior"
        ),
        "investigating|identified|monitoring|resolved|scheduled|in_progress|verifying|completed": "status",
    },
    "IncidentUpdate": {
        "text": "id incident_id body custom_tweet tweet_id",
        "[object]": "affected_components",
        "instant": "created_at display_at twitter_updated_at updated_at",
        "switch": "deliver_notifications wants_twitter_update",
        "investigating|identified|monitoring|resolved|scheduled|in_progress|verifying|completed": "status",
    },
    "Postmortem": {
        "text": "preview_key body body_draft custom_tweet",
        "instant": "body_updated_at body_draft_updated_at published_at created_at updated_at",
        "switch": "notify_subscribers notify_twitter",
    },
    "ComponentUptime": {
        "instant": "range_start range_end",
        "float": "uptime_percentage",
        "int": "major_outage partial_outage",
        "text": "warnings id name",
        "ComponentUptime_related_events": "related_events",
    },
    "ComponentUptime_related_events": {
        "text": "id",
    },
    "GroupComponent": {
        "text": "id page_id name description components position",
        "instant": "created_at updated_at",
    },
    "ComponentGroupUptime": {
        "instant": "range_start range_end",
        "float": "uptime_percentage",
        "int": "major_outage partial_outage",
        "text": "warnings id name",
        "ComponentGroupUptime_related_events": "related_events",
    },
    "ComponentGroupUptime_related_events": {
        "text": "component_id",
        "ComponentUptime_related_events": "incidents",
    },
    "MetricAddResponse": {
        "[MetricAddResponse_metric_id]": "metric_id",
    },
    "MetricAddResponse_metric_id": {
        "int": "timestamp",
        "float": "value",
    },
    "SingleMetricAddResponse": {
        "MetricAddResponse_metric_id": "data",
    },
    "StatusEmbedConfig": {
        "text": (
            "page_id position incident_background_color incident_text_color maintenance_background_color "
            "maintenance_text_color"
        ),
    },
}

# Method, path, status, answer: - is no body that matters, [X] a list of X.
OFFERED = """
GET /pages 200 [Page]
GET /pages/{page_id} 200 Page
PATCH /pages/{page_id} 200 Page
PUT /pages/{page_id} 200 Page
POST /pages/{page_id}/subscribers/resend_confirmation 201 -
POST /pages/{page_id}/subscribers/unsubscribe 201 -
POST /pages/{page_id}/subscribers/reactivate 201 -
GET /pages/{page_id}/subscribers/histogram_by_state 200 SubscriberCountByTypeAndState
GET /pages/{page_id}/subscribers/count 200 SubscriberCountByType
GET /pages/{page_id}/subscribers/unsubscribed 200 [Subscriber]
GET /pages/{page_id}/subscribers 200 [Subscriber]
POST /pages/{page_id}/subscribers 201 Subscriber
POST /pages/{page_id}/subscribers/{subscriber_id}/resend_confirmation 201 -
DELETE /pages/{page_id}/subscribers/{subscriber_id} 200 Subscriber
GET /pages/{page_id}/subscribers/{subscriber_id} 200 Subscriber
PATCH /pages/{page_id}/subscribers/{subscriber_id} 200 Subscriber
GET /pages/{page_id}/incident_templates 200 [IncidentTemplate]
POST /pages/{page_id}/incident_templates 201 IncidentTemplate
GET /pages/{page_id}/incidents 200 [Incident]
POST /pages/{page_id}/incidents 201 Incident
GET /pages/{page_id}/incidents/active_maintenance 200 [Incident]
GET /pages/{page_id}/incidents/upcoming 200 [Incident]
GET /pages/{page_id}/incidents/scheduled 200 [Incident]
GET /pages/{page_id}/incidents/unresolved 200 [Incident]
DELETE /pages/{page_id}/incidents/{incident_id} 200 Incident
GET /pages/{page_id}/incidents/{incident_id} 200 Incident
PATCH /pages/{page_id}/incidents/{incident_id} 200 Incident
PUT /pages/{page_id}/incidents/{incident_id} 200 Incident
PATCH /pages/{page_id}/incidents/{incident_id}/incident_updates/{incident_update_id} 200 IncidentUpdate
PUT /pages/{page_id}/incidents/{incident_id}/incident_updates/{incident_update_id} 200 IncidentUpdate
GET /pages/{page_id}/incidents/{incident_id}/subscribers 200 [Subscriber]
POST /pages/{page_id}/incidents/{incident_id}/subscribers 201 Subscriber
DELETE /pages/{page_id}/incidents/{incident_id}/subscribers/{subscriber_id} 200 Subscriber
GET /pages/{page_id}/incidents/{incident_id}/subscribers/{subscriber_id} 200 Subscriber
POST /pages/{page_id}/incidents/{incident_id}/subscribers/{subscriber_id}/resend_confirmation 201 -
DELETE /pages/{page_id}/incidents/{incident_id}/postmortem 204 -
GET /pages/{page_id}/incidents/{incident_id}/postmortem 200 Postmortem
PUT /pages/{page_id}/incidents/{incident_id}/postmortem 200 Postmortem
PUT /pages/{page_id}/incidents/{incident_id}/postmortem/publish 200 Postmortem
PUT /pages/{page_id}/incidents/{incident_id}/postmortem/revert 200 Postmortem
GET /pages/{page_id}/components 200 [Component]
POST /pages/{page_id}/components 201 Component
DELETE /pages/{page_id}/components/{component_id} 204 -
GET /pages/{page_id}/components/{component_id} 200 Component
PATCH /pages/{page_id}/components/{component_id} 200 Component
PUT /pages/{page_id}/components/{component_id} 200 Component
GET /pages/{page_id}/components/{component_id}/uptime 200 ComponentUptime
GET /pages/{page_id}/component-groups 200 [GroupComponent]
POST /pages/{page_id}/component-groups 201 GroupComponent
DELETE /pages/{page_id}/component-groups/{id} 200 GroupComponent
GET /pages/{page_id}/component-groups/{id} 200 GroupComponent
PATCH /pages/{page_id}/component-groups/{id} 200 GroupComponent
PUT /pages/{page_id}/component-groups/{id} 200 GroupComponent
GET /pages/{page_id}/component-groups/{id}/uptime 200 ComponentGroupUptime
POST /pages/{page_id}/metrics/data 202 MetricAddResponse
GET /pages/{page_id}/metrics 200 Metric
DELETE /pages/{page_id}/metrics/{metric_id} 200 Metric
GET /pages/{page_id}/metrics/{metric_id} 200 Metric
PATCH /pages/{page_id}/metrics/{metric_id} 200 Metric
PUT /pages/{page_id}/metrics/{metric_id} 200 Metric
DELETE /pages/{page_id}/metrics/{metric_id}/data 200 Metric
POST /pages/{page_id}/metrics/{metric_id}/data 201 SingleMetricAddResponse
GET /pages/{page_id}/status_embed_config 200 StatusEmbedConfig
PATCH /pages/{page_id}/status_embed_config 200 StatusEmbedConfig
PUT /pages/{page_id}/status_embed_config 200 StatusEmbedConfig
"""
NOT_OFFERED = """
GET /pages/{page_id}/page_access_users
POST /pages/{page_id}/page_access_users
DELETE /pages/{page_id}/page_access_users/{page_access_user_id}
GET /pages/{page_id}/page_access_users/{page_access_user_id}
PATCH /pages/{page_id}/page_access_users/{page_access_user_id}
PUT /pages/{page_id}/page_access_users/{page_access_user_id}
DELETE /pages/{page_id}/page_access_users/{page_access_user_id}/components
GET /pages/{page_id}/page_access_users/{page_access_user_id}/components
PATCH /pages/{page_id}/page_access_users/{page_access_user_id}/components
POST /pages/{page_id}/page_access_users/{page_access_user_id}/components
PUT /pages/{page_id}/page_access_users/{page_access_user_id}/components
DELETE /pages/{page_id}/page_access_users/{page_access_user_id}/components/{component_id}
DELETE /pages/{page_id}/page_access_users/{page_access_user_id}/metrics
GET /pages/{page_id}/page_access_users/{page_access_user_id}/metrics
PATCH /pages/{page_id}/page_access_users/{page_access_user_id}/metrics
POST /pages/{page_id}/page_access_users/{page_access_user_id}/metrics
PUT /pages/{page_id}/page_access_users/{page_access_user_id}/metrics
DELETE /pages/{page_id}/page_access_users/{page_access_user_id}/metrics/{metric_id}
GET /pages/{page_id}/page_access_groups
POST /pages/{page_id}/page_access_groups
DELETE /pages/{page_id}/page_access_groups/{page_access_group_id}
GET /pages/{page_id}/page_access_groups/{page_access_group_id}
PATCH /pages/{page_id}/page_access_groups/{page_access_group_id}
PUT /pages/{page_id}/page_access_groups/{page_access_group_id}
DELETE /pages/{page_id}/page_access_groups/{page_access_group_id}/components
GET /pages/{page_id}/page_access_groups/{page_access_group_id}/components
PATCH /pages/{page_id}/page_access_groups/{page_access_group_id}/components
POST /pages/{page_id}/page_access_groups/{page_access_group_id}/components
PUT /pages/{page_id}/page_access_groups/{page_access_group_id}/components
DELETE /pages/{page_id}/page_access_groups/{page_access_group_id}/components/{component_id}
DELETE /pages/{page_id}/components/{component_id}/page_access_users
POST /pages/{page_id}/components/{component_id}/page_access_users
DELETE /pages/{page_id}/components/{component_id}/page_access_groups
POST /pages/{page_id}/components/{component_id}/page_access_groups
GET /pages/{page_id}/metrics_providers
POST /pages/{page_id}/metrics_providers
DELETE /pages/{page_id}/metrics_providers/{metrics_provider_id}
GET /pages/{page_id}/metrics_providers/{metrics_provider_id}
PATCH /pages/{page_id}/metrics_providers/{metrics_provider_id}
PUT /pages/{page_id}/metrics_providers/{metrics_provider_id}
GET /pages/{page_id}/metrics_providers/{metrics_provider_id}/metrics
POST /pages/{page_id}/metrics_providers/{metrics_provider_id}/metrics
GET /organizations/{organization_id}/permissions/{user_id}
PUT /organizations/{organization_id}/permissions/{user_id}
DELETE /organizations/{organization_id}/users/{user_id}
GET /organizations/{organization_id}/users
POST /organizations/{organization_id}/users
"""

# Where the description contradicts its own examples, or every client that was read; what is answered instead, and why.
INSTEAD = {
    ("GroupComponent", "components"): ("[text]", "its example is a list of ids"),
    ("GroupComponent", "position"): ("int", "a component's position is a number"),
    ("Subscriber", "components"): ("[text]", "its example is a list of ids"),
    ("Incident", "postmortem_published_at"): (
        "instant",
        "a time by its name, and null while there is none",
    ),
    ("ComponentUptime", "warnings"): ("[text]", "its example is a list of sentences"),
    ("ComponentUptime", "related_events"): ("object", "the schema has room for one id only"),
    ("ComponentGroupUptime", "warnings"): ("[text]", "its example is a list of sentences"),
    ("ComponentGroupUptime", "related_events"): (
        "[object]",
        "it has a component's id, so there are several",
    ),
}
