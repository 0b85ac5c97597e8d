"""atlassian-python-api: pages, components, incidents, subscribers, post-mortems, templates, metrics."""

import json
import os

from atlassian.statuspage import StatusPage

client = StatusPage(
    url=os.environ["BASE"],
    header={"Authorization": f"OAuth {os.environ['KEY']}", "Content-Type": "application/json"},
)
page = os.environ["PAGE"]
found = {}
found["pages"] = [row["name"] for row in client.page_list_pages()]
found["page"] = client.get_page(page)["name"]
found["headline"] = client.page_update(page, {"name": "Follow status 2"})["name"]
component = client.page_create_component(page, {"name": "Share", "status": "operational"})
found["component"] = [component["name"], component["status"]]
found["changed"] = client.page_update_component(
    page, component["id"], {"status": "partial_outage"}
)["status"]
found["uptime"] = client.page_get_uptime_component(page, component["id"])["name"]
incident = client.page_create_incident(
    page,
    {
        "name": "Sharing fails",
        "status": "investigating",
        "body": "We look.",
        "component_ids": [component["id"]],
    },
)
found["incident"] = [incident["name"], incident["status"]]
found["unresolved"] = sorted(row["name"] for row in client.page_list_unresolved_incidents(page))
found["searched"] = [row["name"] for row in client.page_list_incidents(page, "Sharing")]
changed = client.page_update_incident(page, incident["id"], {"status": "resolved", "body": "Over."})
found["resolved"] = [row["status"] for row in changed["incident_updates"]]
person = client.page_create_subscriber(
    page, {"email": "a@family.example", "skip_confirmation_notification": True}
)
found["subscriber"] = [person["mode"], person["email"]]
# Its paths of the histogram, of an edited update and of who left are not Statuspage's: nothing to try there.
follower = client.page_create_incident_subscriber(
    page, incident["id"], {"email": "b@family.example", "skip_confirmation_notification": True}
)
found["incident_subscriber"] = follower["email"]
found["incident_subscribers"] = [
    row["email"] for row in client.page_list_incident_subscribers(page, incident["id"])
]
found["embed"] = client.page_get_embed_config_settings(page)["position"]
template = client.page_create_template(
    page,
    {
        "name": "Down",
        "title": "Follow is down",
        "body": "We look.",
        "update_status": "investigating",
    },
)
found["template"] = [template["title"], template["update_status"]]
found["templates"] = [row["name"] for row in client.page_get_templates(page)]
found["metrics"] = client.page_get_list_of_metrics(page)
client.page_delete_incident(page, incident["id"])
client.page_delete_component(page, component["id"])
found["components"] = sorted(row["name"] for row in client.page_get_components(page))
print(json.dumps(found))
