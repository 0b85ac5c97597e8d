"""Long lists of /v1 cost as few queries as short ones."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from incidents import metrics, services
from incidents.lifecycle import Status
from incidents.models import Component, Group, Page, Template
from tests import world
from tests.desk.test_api import Caller

pytestmark = pytest.mark.django_db
LISTS = (
    "/incidents", "/incidents?q=trouble", "/incidents/unresolved", "/components", "/component-groups", "/subscribers",
    "/incident_templates", "/metrics",
)  # fmt: skip


def more(page: Page, name: str) -> None:
    """Add one of everything that is listed."""
    component = world.component(name)
    group = Group.objects.create(page=page, name=name)
    Component.objects.filter(pk=component.pk).update(group=group)
    incident = world.incident(component, name=f"Trouble {name}")
    for _ in range(3):
        services.publish_update(
            incident, status=Status.IDENTIFIED, body="Trouble.", actor="ann", now=world.NOW
        )
    world.person(address=f"{name}@family.example", only=component)
    template = Template.objects.create(page=page, slug=name, name=name, body="b", group=group)
    template.components.add(component)
    metrics.add(page, fields={"name": name}, actor="ann", now=world.NOW)


def asked(call: Caller, path: str) -> tuple[int, int]:
    """Return how many rows came, and how many queries that took."""
    with CaptureQueriesContext(connection) as queries:
        answer = call("GET", path)
    assert answer.status_code == 200
    return len(answer.json()), len(queries)


@pytest.mark.parametrize("path", LISTS)
def test_a_long_list_takes_the_queries_of_a_short_one(path: str) -> None:
    call, page = Caller(), world.page()
    more(page, "one")
    call("GET", path)  # what is noted once a minute is noted
    rows, queries = asked(call, path)
    assert rows == 1
    for number in range(9):
        more(page, f"more-{number}")
    assert asked(call, path) == (10, queries)
