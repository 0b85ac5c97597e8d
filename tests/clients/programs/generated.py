"""atlassian-statuspage, generated from Atlassian's own description: strict about every word and date."""

import json
import os

import atlassian_statuspage as api

configuration = api.Configuration()
configuration.host = f"{os.environ['BASE']}/v1"
configuration.api_key = {"Authorization": os.environ["KEY"]}
configuration.api_key_prefix = {"Authorization": "OAuth"}
client = api.ApiClient(configuration)
page = os.environ["PAGE"]
models = api.models
found = {}

pages = api.PagesApi(client)
found["pages"] = [row.name for row in pages.get_pages()]
found["page"] = [
    pages.get_pages_page_id(page).name,
    str(type(pages.get_pages_page_id(page).created_at).__name__),
]
components = api.ComponentsApi(client)
made = components.post_pages_page_id_components(
    {"component": {"name": "Share", "status": "operational"}}, page
)
found["component"] = [made.name, made.status, made.group_id]
changed = components.patch_pages_page_id_components_component_id(
    {"component": {"status": "partial_outage"}}, page, made.id
)
found["changed"] = changed.status
found["components"] = sorted(row.name for row in components.get_pages_page_id_components(page))
uptime = components.get_pages_page_id_components_component_id_uptime(page, made.id)
found["uptime"] = [
    uptime.name,
    uptime.uptime_percentage <= 100,
    uptime.range_end > uptime.range_start,
]
groups = api.ComponentGroupsApi(client)
found["groups"] = [row.name for row in groups.get_pages_page_id_component_groups(page)]
group = groups.post_pages_page_id_component_groups(
    {"description": "d", "component_group": {"name": "Sharing", "components": [made.id]}}, page
)
found["group"] = [group.name, group.description]
found["group_uptime"] = groups.get_pages_page_id_component_groups_id_uptime(page, group.id).name
incidents = api.IncidentsApi(client)
incident = incidents.post_pages_page_id_incidents(
    {
        "incident": {
            "name": "Sharing fails",
            "body": "We look.",
            "components": {made.id: "major_outage"},
        }
    },
    page,
)
found["incident"] = [
    incident.name,
    incident.status,
    incident.impact,
    incident.incident_updates[0].body,
]
found["listed"] = sorted(
    [row.name, row.status, row.impact] for row in incidents.get_pages_page_id_incidents(page)
)
found["scheduled"] = [row.name for row in incidents.get_pages_page_id_incidents_scheduled(page)]
incident = incidents.patch_pages_page_id_incidents_incident_id(
    {"incident": {"status": "resolved", "body": "Over."}}, page, incident.id
)
found["resolved"] = [
    incident.status,
    len(incident.incident_updates),
    incident.resolved_at is not None,
]
update = api.IncidentUpdatesApi(
    client
).patch_pages_page_id_incidents_incident_id_incident_updates_incident_update_id(
    {"incident_update": {"body": "All over."}}, page, incident.id, incident.incident_updates[0].id
)
found["corrected"] = update.body
postmortems = api.IncidentPostmortemApi(client)
draft = postmortems.put_pages_page_id_incidents_incident_id_postmortem(
    {"postmortem": {"body_draft": "What happened."}}, page, incident.id
)
found["draft"] = [draft.body_draft, draft.published_at]
said = postmortems.put_pages_page_id_incidents_incident_id_postmortem_publish(
    {"postmortem": {"notify_subscribers": False}}, page, incident.id
)
found["published"] = [said.body, said.published_at is not None]
subscribers = api.SubscribersApi(client)
person = subscribers.post_pages_page_id_subscribers(
    {"subscriber": {"email": "a@family.example", "skip_confirmation_notification": True}}, page
)
found["subscriber"] = [person.mode, person.email]
found["count"] = subscribers.get_pages_page_id_subscribers_count(page).email
found["histogram"] = subscribers.get_pages_page_id_subscribers_histogram_by_state(page).email.total
templates = api.TemplatesApi(client)
template = templates.post_pages_page_id_incident_templates(
    {"template": {"name": "Down", "title": "Follow is down", "body": "We look."}}, page
)
found["template"] = [template.name, template.title, template.update_status]
embed = api.StatusEmbedConfigApi(client)
found["embed"] = embed.patch_pages_page_id_status_embed_config(
    {"status_embed_config": {"position": "top-left"}}, page
).position
incidents.delete_pages_page_id_incidents_incident_id(page, incident.id)
components.delete_pages_page_id_components_component_id(page, made.id)
try:
    api.UsersApi(client).get_organizations_organization_id_users("x")
except api.rest.ApiException as error:
    found["users"] = [error.status, sorted(json.loads(error.body))]
print(json.dumps(found, default=str))
