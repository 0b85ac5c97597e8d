"""crunch-statuspageio and its fork transity-statuspageio: the whole round they offer."""

import contextlib
import io
import json
import os

import statuspageio

found = {}
# The fork prints every call.
with contextlib.redirect_stdout(io.StringIO()):
    client = statuspageio.Client(
        api_key=os.environ["KEY"], page_id=os.environ["PAGE"], organization_id="abcdefghijkl"
    )
    client.config.base_url = os.environ["BASE"]
    found["page"] = client.pages.get().name
    found["components"] = sorted(row.name for row in client.components.list())
    made = client.components.create(name="Share", description="Sharing", status="operational")
    found["made"] = [made.name, made.status]
    found["changed"] = client.components.update(made.id, status="degraded_performance").status
    if hasattr(client, "component_groups"):  # the fork has none
        group = client.component_groups.create("Sharing", [made.id], "All about sharing")
        found["groups"] = sorted(row.name for row in client.component_groups.list())
        found["group_deleted"] = client.component_groups.delete(group.id)
    incident = client.incidents.create(
        name="Sharing fails",
        status="investigating",
        body="We look.",
        message="We look.",
        component_ids=[made.id],
        components={made.id: "major_outage"},
    )
    found["incident"] = [incident.name, incident.status, incident.impact]
    found["open"] = sorted(row.name for row in client.incidents.list_unresolved())
    changed = client.incidents.update(incident.id, status="resolved", body="Over.", message="Over.")
    found["resolved"] = [getattr(changed, "status", None) or changed[2].status]
    found["listed"] = sorted(row.name for row in client.incidents.list())
    found["scheduled"] = [row.name for row in client.incidents.list_scheduled()]
    found["deleted"] = client.incidents.delete(incident.id)
    person = client.subscribers.create(
        email="parent@family.example", skip_confirmation_notification=True
    )
    found["subscriber"] = [person.email, person.mode]
    found["subscribers"] = [row.email for row in client.subscribers.list()]
    found["unsubscribed"] = client.subscribers.delete(person.id)
    found["component_deleted"] = client.components.delete(made.id)
    try:
        client.components.update("abcdefghijkl", status="operational")
    except statuspageio.RequestError as error:
        found["missing"] = error.http_status
    try:
        client.components.create(name="", status="operational")
    except statuspageio.ResourceError as error:
        found["invalid"] = error.http_status
    try:
        client.users.list()
    except statuspageio.RequestError as error:
        found["users"] = error.http_status
print(json.dumps(found))
