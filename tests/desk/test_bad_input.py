"""What is wrong is said in one sentence: the field, its value, what is allowed. Nothing is half done."""

import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from desk import keys
from incidents.models import AuditEntry, Component, Incident
from subscribers.models import Subscription
from tests import world
from tests.desk.test_api import Caller

pytestmark = pytest.mark.django_db
LONG = "x" * 25_001
NAMED = {"name": "Down"}


def inc(**words: Any) -> dict[str, Any]:
    return {"incident": NAMED | words}


@pytest.fixture
def call() -> Caller:
    world.component()
    return Caller()


@pytest.mark.parametrize(
    ("method", "path", "body", "sentence"),
    [
        pytest.param("POST", "/incidents", {}, "incident is missing", id="no envelope"),
        pytest.param("POST", "/incidents", {"incident": []}, "incident", id="a list for an object"),
        pytest.param("POST", "/incidents", {"incident": {"name": " "}}, "incident.name is missing", id="no name"),
        pytest.param("POST", "/incidents", inc(name="x" * 256), "incident.name is \"xxx", id="name too long"),
        pytest.param("POST", "/incidents", inc(status="odd"), "incident.status is \"odd\": Input should be 'investigating'", id="status"),
        pytest.param("POST", "/incidents", inc(impact_override="huge"), "incident.impact_override is \"huge\": Input should be", id="impact"),
        pytest.param("POST", "/incidents", inc(body=LONG), "incident.body is", id="body too long"),
        pytest.param("POST", "/incidents", inc(components={"nope": "major_outage"}), "there is no component nope", id="component"),
        pytest.param("POST", "/incidents", inc(component_ids=["nope"]), "there is no component nope", id="component id"),
        pytest.param("POST", "/incidents", inc(scheduled_for="soon"), "incident.scheduled_for is \"soon\"", id="time"),
        pytest.param("POST", "/incidents", inc(scheduled_for="1200-01-01T00:00:00Z"), "expected a year from 1990 to 2200", id="year"),
        pytest.param("POST", "/incidents", inc(scheduled_for="2027-01-02T00:00:00Z", scheduled_until="2027-01-01T00:00:00Z"), "incident.scheduled_until is \"2027-01-01", id="window"),
        pytest.param("POST", "/incidents", inc(deliver_notifications="perhaps"), "incident.deliver_notifications is \"perhaps\"", id="switch"),
        pytest.param("POST", "/incidents", inc(metadata="x"), "incident.metadata is \"x\"", id="metadata"),
        pytest.param("GET", "/incidents?limit=none", None, "limit is \"none\"", id="limit"),
        pytest.param("GET", "/incidents?page=-1", None, "page is \"-1\": Input should be greater than or equal to 0", id="page"),
        pytest.param("GET", "/subscribers?state=odd", None, "state is \"odd\": Input should be 'active'", id="state"),
        pytest.param("GET", "/subscribers?type=pigeon", None, "type is \"pigeon\"", id="type"),
        pytest.param("POST", "/components", {"component": {}}, "component.name is missing", id="component name"),
        pytest.param("POST", "/components", {"component": {"name": "x", "status": "down"}}, "component.status is \"down\"", id="component status"),
        pytest.param("POST", "/components", {"component": {"name": "x", "group_id": "nope"}}, "component.group_id is \"nope\"; there is no such component group", id="group"),
        pytest.param("POST", "/components", {"component": {"name": "x", "start_date": "May"}}, "component.start_date is \"May\"", id="date"),
        pytest.param("POST", "/component-groups", {"component_group": {"name": "g", "components": []}}, "component_group.components is empty; expected the ids", id="empty group"),
        pytest.param("POST", "/subscribers", {"subscriber": {}}, "subscriber has no address; expected email, phone_number or endpoint", id="no address"),
        pytest.param("POST", "/subscribers", {"subscriber": {"email": "nobody"}}, "e-mail address", id="address"),
        pytest.param("POST", "/subscribers", {"subscriber": {"phone_number": "12", "phone_country": "ZZ"}}, "subscriber.phone_number is not a telephone number of ZZ", id="number"),
        pytest.param("POST", "/subscribers/unsubscribe", {"subscribers": ["nope"]}, "there is no subscriber nope", id="subscriber"),
        pytest.param("POST", "/metrics", {"metric": {"name": ""}}, "metric.name", id="metric"),
        pytest.param("POST", "/metrics/data", {"data": {"nope": [{"timestamp": 1, "value": 1}]}}, "there is no metric nope", id="metric id"),
        pytest.param("POST", "/incident_templates", {"template": {"name": "x"}}, "template.title is missing", id="template"),
        pytest.param("PATCH", "/status_embed_config", {"status_embed_config": {"position": "middle"}}, "status_embed_config.position is \"middle\"", id="position"),
        pytest.param("PATCH", "/status_embed_config", {"status_embed_config": {"incident_text_color": "red"}}, "incident_text_color is \"red\"", id="colour"),
        pytest.param("PATCH", "", {"page": {"time_zone": "Mars"}}, "page.time_zone is \"Mars\"; expected a name as America/New_York", id="zone"),
        pytest.param("PATCH", "", {"page": {"name": " "}}, "page.name is empty", id="page name"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_its_value_and_nothing_is_done(
    call: Caller, method: str, path: str, body: Any, sentence: str
) -> None:
    before = (
        Component.objects.count(),
        Incident.objects.count(),
        Subscription.objects.count(),
        AuditEntry.objects.count(),
    )
    answer = call(method, path, body)
    assert answer.status_code == 422, answer.content
    said = answer.json()
    assert sentence in said["message"]
    assert said["error"]
    assert "\n" not in said["message"]
    assert len(said["message"]) < 600
    after = (
        Component.objects.count(),
        Incident.objects.count(),
        Subscription.objects.count(),
        AuditEntry.objects.count(),
    )
    assert after == before


DEEP = "[" * 60 + "]" * 60


@pytest.mark.parametrize(
    ("content", "kind", "status", "sentence"),
    [
        pytest.param(b"{", "application/json", 400, "the body is not JSON: ", id="no JSON"),
        pytest.param(b"[1]", "application/json", 400, "the body is not a JSON object", id="no object"),
        pytest.param(b"", "application/json", 422, "the body is missing; expected a JSON object or a form", id="nothing"),
        pytest.param(b"\xff\xfe{", "application/json", 400, "the body is not JSON: ", id="no UTF-8"),
        pytest.param(b'{"incident": {"name": "a\\u0000"}}', "application/json", 400, "NUL character", id="NUL"),
        pytest.param(b'{"incident": {"name": "\\ud800"}}', "application/json", 400, "half a surrogate pair", id="half a character"),
        pytest.param(b'{"incident": {"name": NaN}}', "application/json", 400, "NaN is not a number of JSON", id="NaN"),
        pytest.param(b'{"incident": {"name": "x", "metadata": {"their": {"number": 1e999}}}}', "application/json", 400, "a number that is too large", id="infinity"),
        pytest.param(f'{{"incident": {DEEP}}}'.encode(), "application/json", 400, "nested deeper than 40 levels", id="depth"),
        pytest.param(b'{"a": "' + b"x" * (2 * 1024 * 1024) + b'"}', "application/json", 413, "the body is larger than 2,097,152 bytes", id="size"),
        pytest.param(b"&".join(b"a%d=1" % n for n in range(1_500)), "application/x-www-form-urlencoded", 400, "1,000", id="fields of a form"),
        pytest.param(b"incident[name]=" + b"x" * 300, "application/x-www-form-urlencoded", 422, "incident.name is", id="a form"),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_taken_is_refused_in_words(
    call: Caller, content: bytes, kind: str, status: int, sentence: str
) -> None:
    answer = call.client.generic(
        "POST", f"{call.page}/incidents", content, kind, headers={"Authorization": f"OAuth {call.key}"}
    )  # fmt: skip
    assert answer.status_code == status, answer.content
    assert sentence in answer.json()["message"]
    assert not Incident.objects.exists()


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        pytest.param("generic", {"status": "odd"}, 422, "status is \"odd\"", id="status"),
        pytest.param("generic", {"labels": {"a": 1}}, 422, "labels.a is \"1\"", id="label"),
        pytest.param("generic", {"summary": "x" * 2_001}, 422, "summary is", id="summary"),
        pytest.param("generic?mapping=lost", {}, 422, "mapping is \"lost\"; expected one of", id="mapping"),
        pytest.param("generic", [], 422, "the body", id="no object"),
        pytest.param("alertmanager", {"alerts": [{"status": "firing"}, {"status": "odd"}]}, 422, "alerts.1.status is \"odd\"", id="second alert"),
        pytest.param("alertmanager", {}, 422, "alerts is missing", id="no alerts"),
    ],
)  # fmt: skip
def test_a_wrong_alert_names_its_field_and_none_is_taken(
    path: str, body: Any, status: int, sentence: str
) -> None:
    key = keys.create(name="alerts", scopes=[], now=timezone.now())
    answer = Client().post(
        f"/intake/{path}", json.dumps(body), "application/json", headers={"Authorization": f"Bearer {key}"}
    )  # fmt: skip
    assert answer.status_code == status
    assert sentence in answer.json()["message"]
    assert not Incident.objects.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(["create_api_key", "--name", " "], "--name is ' '; expected 1 to 255 characters", id="key"),
        pytest.param(["declare", "Down", "--component", "nope"], "--component is 'nope'; expected one of", id="declare"),
        pytest.param(["resolve", "nope"], "nope", id="resolve"),
        pytest.param(["import_statuspage", "nowhere"], "expected an address as https://status.example.com", id="import"),
        pytest.param(["apply", "/nowhere/site.yaml"], "/nowhere/site.yaml", id="apply"),
    ],
)  # fmt: skip
def test_a_wrong_word_in_a_terminal_is_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(CommandError) as caught:
        call_command(*words)
    assert sentence in str(caught.value)
    assert "Traceback" not in str(caught.value)
