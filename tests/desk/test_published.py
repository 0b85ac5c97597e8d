"""Every call that Atlassian's description knows: made, and its answer held to what is said of it there and by us."""

import json
import re
from datetime import date, datetime, timedelta
from typing import Any

import jsonschema
import pytest
from django.utils import timezone

from desk.api.v1 import api
from incidents.models import AuditEntry
from tests import world
from tests.desk.published import INSTEAD, MODELS, NOT_OFFERED, OFFERED
from tests.desk.test_api import Caller

pytestmark = pytest.mark.django_db
CHANGES = ("POST", "PATCH", "PUT", "DELETE")
# It checks the ids, and there is nothing to do: desk/api/subscribers.py.
UNAUDITED = "subscribers/reactivate"


def fields(model: str) -> dict[str, str]:
    """Return field -> kind."""
    said = {
        name: kind for kind, names in MODELS[model].items() for name in names.split()
    }  # fmt: skip
    return said | {name: INSTEAD[model, name][0] for name in said if (model, name) in INSTEAD}


def faults(value: Any, kind: str, where: str) -> list[str]:  # Any: JSON
    """Return what is wrong with a value of this kind; the description has no word for null, its answers do."""
    if value is None:
        return []
    if kind.startswith("["):
        if not isinstance(value, list):
            return [f"{where} is no list"]
        inner = kind.strip("[]")
        return [each for row in value for each in faults(row, inner, f"{where}[]")]
    if kind in MODELS:
        if not isinstance(value, dict):
            return [f"{where} is no object"]
        missing = [f"{where}.{name} is not there" for name in fields(kind) if name not in value]
        found = [
            faults(value.get(name), of, f"{where}.{name}") for name, of in fields(kind).items()
        ]
        return missing + [each for row in found for each in row]
    return [] if _is(value, kind) else [f"{where} is {value!r}; expected {kind}"]


def _is(value: Any, kind: str) -> bool:  # Any: JSON
    match kind:
        case "text":
            return isinstance(value, str)
        case "switch":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "object":
            return isinstance(value, dict)
        case "instant":
            return bool(re.search(r"\.\d{3}(Z|[+-]\d\d:\d\d)$", value)) and bool(
                datetime.fromisoformat(value)
            )
        case "day":
            return bool(date.fromisoformat(value))
        case _:
            return value in [
                word.replace("-", "") if word == "-" else word for word in kind.split("|")
            ]


class Round:
    """A caller that goes through the whole table, each call once at least."""

    def __init__(self) -> None:
        self.call = Caller()
        self.rows = [line.split() for line in OFFERED.split("\n") if line]
        self.done: set[str] = set()
        self.wrong: list[str] = []
        self.silent: list[str] = []
        self.described = api.get_openapi_schema()

    def __call__(self, method: str, path: str, body: Any = None, **ids: str) -> Any:  # Any: JSON
        (row,) = (
            row for row in self.rows if row[0] == method and row[1] == f"/pages/{{page_id}}{path}"
        )  # fmt: skip
        name = " ".join(row[:3])
        audited = AuditEntry.objects.count()
        answer = self.call(method, path.format(**ids), body)
        assert answer.status_code == int(row[2]), (name, answer.content)
        found = json.loads(answer.content) if answer.content else None
        if row[3] != "-":
            self.wrong += faults(found, row[3], name)
        self._hold_to_our_own_word(row, found, name)
        if method in CHANGES and AuditEntry.objects.count() == audited:
            self.silent.append(name)
        self.done.add(name)
        return found

    def _hold_to_our_own_word(self, row: list[str], found: Any, name: str) -> None:
        ours = re.sub(r"\{\w+\}", "{}", f"/v1{row[1]}")
        (path,) = (
            path for path in self.described["paths"] if re.sub(r"\{\w+\}", "{}", path) == ours
        )  # fmt: skip
        said = self.described["paths"][path][row[0].lower()]["responses"][row[2]]
        if "content" not in said:
            assert found is None, name
            return
        schema = said["content"]["application/json"]["schema"] | {
            "components": self.described["components"]
        }
        jsonschema.Draft202012Validator(schema).validate(found)


@pytest.fixture
def go() -> Round:
    return Round()


@pytest.mark.slow
def test_every_call_of_the_published_description_is_answered_as_it_says(go: Round) -> None:
    component, group = _components(go)
    incident = _incidents(go, component)
    _people(go, incident)
    _metrics(go)
    _rest(go)
    go("DELETE", "/component-groups/{id}", id=group)
    go("DELETE", "/incidents/{incident_id}", incident_id=incident)
    made = go("POST", "/components", {"component": {"name": "Alone"}})["id"]
    go("DELETE", "/components/{component_id}", component_id=made)
    assert go.wrong == []
    left = {" ".join(row[:3]) for row in go.rows} - go.done
    assert left == {"GET /pages 200", *(f"{word} /pages/{{page_id}} 200" for word in ("GET", "PATCH", "PUT"))} - go.done  # fmt: skip
    assert [name for name in go.silent if UNAUDITED not in name] == []


def test_the_page_is_answered_as_the_description_says(go: Round) -> None:
    for method, body in (("GET", None), ("PATCH", {"page": {"headline": "Hello"}}), ("PUT", {"page": {"city": "Ghent"}})):  # fmt: skip
        go(method, "", body)
    listed = go.call.client.get("/v1/pages", headers={"Authorization": f"OAuth {go.call.key}"})
    assert faults(listed.json(), "[Page]", "pages") == go.wrong == go.silent == []


def _components(go: Round) -> tuple[str, str]:
    made = go(
        "POST",
        "/components",
        {"component": {"name": "Share", "start_date": "2026-01-02", "description": "d"}},
    )
    uid = {"component_id": made["id"]}
    go("GET", "/components")
    go("GET", "/components/{component_id}", **uid)
    go("PATCH", "/components/{component_id}", {"component": {"status": "partial_outage"}}, **uid)
    go("PUT", "/components/{component_id}", {"component": {"name": "Sharing"}}, **uid)
    go("GET", "/components/{component_id}/uptime", **uid)
    words = {
        "component_group": {"name": "App", "components": [made["id"]]},
        "description": "All of it",
    }
    group = go("POST", "/component-groups", words)["id"]
    go("GET", "/component-groups")
    go("GET", "/component-groups/{id}", id=group)
    for method in ("PATCH", "PUT"):
        go(method, "/component-groups/{id}", {"component_group": {"name": method}}, id=group)
    go("GET", "/component-groups/{id}/uptime", id=group)
    return made["id"], group


def _incidents(go: Round, component: str) -> str:
    planned = {
        "name": "Move",
        "scheduled_for": "2027-01-01T00:00:00Z",
        "scheduled_until": "2027-01-01T01:00:00Z",
    }
    later = go("POST", "/incidents", {"incident": planned | {"component_ids": [component]}})
    for list_of in ("/upcoming", "/scheduled"):
        assert [row["id"] for row in go("GET", f"/incidents{list_of}")] == [later["id"]]
    go(
        "PATCH",
        "/incidents/{incident_id}",
        {"incident": {"status": "in_progress"}},
        incident_id=later["id"],
    )
    assert len(go("GET", "/incidents/active_maintenance")) == 1
    words = {"name": "Down", "impact_override": "major", "metadata": {"jira": {"issue": "X-1"}}}
    uid = go(
        "POST", "/incidents", {"incident": words | {"components": {component: "major_outage"}}}
    )["id"]
    assert [row["id"] for row in go("GET", "/incidents/unresolved")] == [uid]
    go("GET", "/incidents")
    go("GET", "/incidents/{incident_id}", incident_id=uid)
    over = go(
        "PUT", "/incidents/{incident_id}", {"incident": {"status": "resolved"}}, incident_id=uid
    )
    update = {"incident_id": uid, "incident_update_id": over["incident_updates"][0]["id"]}
    for method in ("PATCH", "PUT"):
        path = "/incidents/{incident_id}/incident_updates/{incident_update_id}"
        go(method, path, {"incident_update": {"body": f"Said by {method}."}}, **update)
    path = "/incidents/{incident_id}/postmortem"
    go("PUT", path, {"postmortem": {"body_draft": "What happened."}}, incident_id=uid)
    go("GET", path, incident_id=uid)
    go("PUT", f"{path}/publish", {"postmortem": {"notify_twitter": False}}, incident_id=uid)
    assert go("GET", "/incidents/{incident_id}", incident_id=uid)["postmortem_published_at"]
    go("PUT", f"{path}/revert", incident_id=uid)
    go("DELETE", path, incident_id=uid)
    return str(uid)


def _people(go: Round, incident: str) -> None:
    path = "/incidents/{incident_id}/subscribers"
    who = go("POST", path, {"subscriber": {"email": "a@family.example"}}, incident_id=incident)[
        "id"
    ]
    go("GET", path, incident_id=incident)
    both = {"incident_id": incident, "subscriber_id": who}
    go("GET", path + "/{subscriber_id}", **both)
    go("POST", path + "/{subscriber_id}/resend_confirmation", **both)
    go("DELETE", path + "/{subscriber_id}", **both)
    uids = {}
    for name in "bcd":
        words = {"email": f"{name}@family.example", "skip_confirmation_notification": name == "b"}
        uids[name] = go("POST", "/subscribers", {"subscriber": words})["id"]
    go("POST", "/subscribers", {"subscriber": {"phone_number": "206 555 0100", "phone_country": "US", "skip_confirmation_notification": True}})  # fmt: skip
    for list_of in ("", "/count", "/histogram_by_state", "/unsubscribed"):
        go("GET", f"/subscribers{list_of}")
    go("GET", "/subscribers/{subscriber_id}", subscriber_id=uids["b"])
    component = go("GET", "/components")[0]["id"]
    chosen = go(
        "PATCH",
        "/subscribers/{subscriber_id}",
        {"component_ids": [component]},
        subscriber_id=uids["b"],
    )
    assert chosen["components"] == [component]
    go("POST", "/subscribers/{subscriber_id}/resend_confirmation", subscriber_id=uids["c"])
    go("POST", "/subscribers/resend_confirmation", {"subscribers": [uids["d"]]})
    go("POST", "/subscribers/reactivate", {"subscribers": [uids["b"]]})
    go("POST", "/subscribers/unsubscribe", {"subscribers": [uids["b"]]})
    go("DELETE", "/subscribers/{subscriber_id}", subscriber_id=uids["c"])


def _metrics(go: Round) -> None:
    made = go.call("POST", "/metrics", {"metric": {"name": "Delay", "suffix": "s"}}).json()
    uid, at = {"metric_id": made["id"]}, int((timezone.now() - timedelta(hours=1)).timestamp())
    go("POST", "/metrics/{metric_id}/data", {"data": {"timestamp": at, "value": 1.5}}, **uid)
    # The answer's only name in the description stands for the id of each metric.
    (points,) = go(
        "POST", "/metrics/data", {"data": {made["id"]: [{"timestamp": at, "value": 2}]}}
    ).values()
    assert faults(points, "[MetricAddResponse_metric_id]", "data") == []
    go.wrong = [each for each in go.wrong if not each.endswith("202.metric_id is not there")]
    # It says one metric where a list is read: every client reads a list.
    listed = go("GET", "/metrics")
    assert faults(listed, "[Metric]", "metrics") == []
    go.wrong = [
        each
        for each in go.wrong
        if not each.startswith("GET /pages/{page_id}/metrics 200 is no object")
    ]
    go("GET", "/metrics/{metric_id}", **uid)
    go("PATCH", "/metrics/{metric_id}", {"metric": {"y_axis_max": 5}}, **uid)
    go("PUT", "/metrics/{metric_id}", {"metric": {"name": "Lag"}}, **uid)
    go("DELETE", "/metrics/{metric_id}/data", **uid)
    go("DELETE", "/metrics/{metric_id}", **uid)


def _rest(go: Round) -> None:
    words = {
        "name": "Down",
        "title": "It is down",
        "body": "We look.",
        "update_status": "identified",
    }
    go("POST", "/incident_templates", {"template": words})
    go("GET", "/incident_templates")
    go("GET", "/status_embed_config")
    for method in ("PATCH", "PUT"):
        go(method, "/status_embed_config", {"status_embed_config": {"position": "top-left"}})


@pytest.mark.parametrize("line", [line for line in NOT_OFFERED.split("\n") if line])
def test_what_is_not_offered_is_a_404_in_json(line: str) -> None:
    method, path = line.split()
    call = Caller()
    path = path.replace("{page_id}", world.page().uid)
    for ending in ("", ".json"):
        answer = call.client.generic(
            method, f"/v1{path}{ending}", "{}", "application/json", headers={"Authorization": f"OAuth {call.key}"}
        )  # fmt: skip
        assert answer.status_code == 404
        assert set(answer.json()) == {"error", "message"}


def test_an_answer_that_lacks_a_field_or_has_another_kind_is_noticed(go: Round) -> None:
    """The twin of the above."""
    made = go("POST", "/components", {"component": {"name": "Share"}})
    assert faults(made, "Component", "it") == []
    assert faults(made | {"status": "down"}, "Component", "it")
    assert faults(made | {"created_at": "2026-01-02T03:04:05Z"}, "Component", "it")
    assert faults(made | {"position": "1"}, "Component", "it")
    del made["showcase"]
    assert faults(made, "Component", "it") == ["it.showcase is not there"]
