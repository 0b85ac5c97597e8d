"""The management API /v1: shapes, doors, and what it does to the core."""

import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils import timezone

from desk import keys
from incidents import services
from incidents.lifecycle import Audience, ComponentStatus, Status
from incidents.models import Incident, StatusChange, Update
from subscribers.models import State, Subscription
from tests import world

pytestmark = pytest.mark.django_db
Body = dict[str, Any]


class Caller:
    """A program with a key."""

    def __init__(self, *scopes: keys.Scope) -> None:
        self.key = keys.create(name="robot", scopes=scopes, now=timezone.now())
        self.page = f"/v1/pages/{world.page().uid}"
        self.client = Client()

    def __call__(
        self, method: str, path: str, body: Body | None = None, **headers: str
    ) -> Any:  # Any: a test response
        text = "" if body is None else json.dumps(body)
        headers = {"Authorization": f"OAuth {self.key}"} | headers
        return self.client.generic(
            method, self.page + path, text, "application/json", headers=headers
        )


@pytest.fixture
def call() -> Caller:
    return Caller()


# --- doors ------------------------------------------------------------------------------------------------------------


def test_a_number_of_any_length_comes_back_as_it_was(call: Caller) -> None:
    said = {"name": "Down", "metadata": {"their": {"number": 2**64 + 1}}}
    answer = call("POST", "/incidents", {"incident": said})
    assert (answer.status_code, answer.json()["metadata"]) == (201, said["metadata"])


@pytest.mark.parametrize("header", ["OAuth {}", "Oauth {}", "oauth {}"])
def test_the_scheme_may_be_in_any_case(call: Caller, header: str) -> None:
    assert call("GET", "", Authorization=header.format(call.key)).status_code == 200


def test_a_key_may_stand_in_the_query(call: Caller) -> None:
    assert Client().get(f"{call.page}/components?api_key={call.key}").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        pytest.param("GET", "", None, {"Authorization": ""}, 401, id="no key"),
        pytest.param("GET", "", None, {"Authorization": "OAuth wrong"}, 401, id="a wrong key"),
        pytest.param("GET", "/incidents/abcdefghijkl", None, {}, 404, id="no such incident"),
        pytest.param("GET", "/nonsense", None, {}, 404, id="no such path"),
        pytest.param("POST", "/incidents", {"incident": {}}, {}, 422, id="an incident without a name"),
        pytest.param("POST", "/incidents", {}, {}, 422, id="no envelope"),
        pytest.param("POST", "/incidents", {"incident": {"name": "x", "status": "odd"}}, {}, 422, id="no such status"),
        pytest.param("POST", "/incidents", {"incident": {"name": "x", "component_ids": ["nope"]}}, {}, 422, id="no such component"),
        pytest.param("POST", "/subscribers", {"subscriber": {}}, {}, 422, id="a subscriber without an address"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_in_json_with_error_and_message(
    call: Caller, method: str, path: str, body: Body | None, headers: dict[str, str], status: int
) -> None:
    answer = call(method, path, body, **headers)
    assert answer.status_code == status
    assert answer["Content-Type"].startswith("application/json")
    assert answer.json()["error"]
    assert answer.json()["message"]


def test_a_body_that_is_no_json_is_a_400_that_says_so(call: Caller) -> None:
    answer = Client().post(
        f"{call.page}/incidents",
        "{",
        "application/json",
        headers={"Authorization": f"OAuth {call.key}"},
    )
    assert answer.status_code == 400
    assert "not JSON" in answer.json()["message"]


def test_a_key_that_may_only_read_cannot_declare() -> None:
    reader = Caller(keys.Scope.READ)
    assert reader("GET", "/incidents").status_code == 200
    assert reader("POST", "/incidents", {"incident": {"name": "x"}}).status_code == 403
    assert not Incident.objects.exists()


@pytest.mark.parametrize(
    "path",
    ["", "/components", "/component-groups", "/incidents", "/incidents/unresolved", "/incidents/scheduled",
     "/incidents/upcoming", "/incidents/active_maintenance", "/subscribers", "/subscribers/count"],
)  # fmt: skip
def test_every_list_is_there_with_and_without_json(call: Caller, path: str) -> None:
    plain, dotted = call("GET", path), call("GET", f"{path}.json")
    assert plain.status_code == dotted.status_code == 200
    assert plain.json() == dotted.json()


def test_the_description_and_the_documentation_are_open_and_load_nothing_from_elsewhere() -> None:
    assert "/v1/pages/{page_id}/incidents" in Client().get("/v1/openapi.json").json()["paths"]
    page = Client().get("/v1/docs").content.decode()
    assert "incident[name]" in page
    assert "https://" not in page
    assert "<script" not in page


# --- incidents --------------------------------------------------------------------------------------------------------


def test_an_incident_is_declared_and_sets_its_components(call: Caller) -> None:
    follow = world.component()
    answer = call("POST", "/incidents", {
        "incident": {"name": "Down", "body": "We look.", "components": {follow.uid: "major_outage"}}
    })  # fmt: skip
    assert answer.status_code == 201
    row = answer.json()
    assert (row["status"], row["impact"], row["resolved_at"]) == ("investigating", "critical", None)
    assert row["incident_updates"][0]["affected_components"][0]["code"] == follow.uid
    follow.refresh_from_db()
    assert follow.status == ComponentStatus.MAJOR_OUTAGE


def test_a_text_in_a_further_language_is_kept_and_a_wrong_one_refused(call: Caller) -> None:
    words: dict[str, object] = {"name": "Down", "body": "We look."}
    said = {"es": {"body": "Miramos."}}
    answer = call("POST", "/incidents", {"incident": words | {"translations": said}})
    assert answer.status_code == 201
    assert Update.objects.get().translations == said
    answer = call(
        "POST", "/incidents", {"incident": words | {"translations": {"Spanish": said["es"]}}}
    )
    assert answer.status_code == 422
    assert "is not a language" in answer.content.decode()


def test_a_form_declares_as_json_does(call: Caller) -> None:
    follow, login = world.component(), world.component("login")
    form = urlencode(
        [("incident[name]", "Down"), ("incident[body]", "We look."), ("incident[deliver_notifications]", "false"),
         (f"incident[components][{follow.uid}]", "partial_outage"), ("incident[component_ids][]", login.uid)]
    )  # fmt: skip
    answer = Client().post(
        f"{call.page}/incidents.json", form, "application/x-www-form-urlencoded",
        headers={"Authorization": f"OAuth {call.key}"},
    )  # fmt: skip
    assert answer.status_code == 201
    assert {row["id"] for row in answer.json()["components"]} == {follow.uid, login.uid}
    assert Update.objects.get().audience == Audience.NOBODY


def test_components_as_a_list_are_attached(call: Caller) -> None:
    follow = world.component()
    row = call(
        "POST", "/incidents", {"incident": {"name": "Down", "components": [follow.uid]}}
    ).json()
    assert [each["id"] for each in row["components"]] == [follow.uid]
    assert row["impact"] == "none"


def test_status_and_body_in_one_request_make_one_update(call: Caller) -> None:
    incident = world.incident(world.component())
    row = call(
        "PATCH",
        f"/incidents/{incident.uid}",
        {"incident": {"status": "identified", "body": "Found."}},
    ).json()
    assert [each["status"] for each in row["incident_updates"]] == ["identified", "investigating"]


def test_a_new_name_makes_no_update(call: Caller) -> None:
    incident = world.incident(world.component())
    row = call("PATCH", f"/incidents/{incident.uid}", {"incident": {"name": "Better said"}}).json()
    assert (row["name"], len(row["incident_updates"])) == ("Better said", 1)


def test_a_move_that_is_not_allowed_is_refused_in_words(call: Caller) -> None:
    incident = world.incident(world.component())
    answer = call("PATCH", f"/incidents/{incident.uid}", {"incident": {"status": "completed"}})
    assert answer.status_code == 422
    assert 'cannot become "completed"' in answer.json()["message"]


def test_opening_a_resolved_incident_again_reopens_it(call: Caller) -> None:
    incident = world.incident(world.component())
    call("PATCH", f"/incidents/{incident.uid}", {"incident": {"status": "resolved"}})
    row = call(
        "PATCH",
        f"/incidents/{incident.uid}",
        {"incident": {"status": "investigating", "body": "Again."}},
    ).json()
    assert (row["status"], row["resolved_at"]) == ("investigating", None)


def test_what_is_said_on_reopening_is_said_to_those_and_as_it_was_asked(call: Caller) -> None:
    incident = world.incident(world.component(), status=Status.RESOLVED)
    said = {"es": {"body": "Otra vez."}}
    answer = call("PATCH", f"/incidents/{incident.uid}", {"incident": {
        "status": "investigating", "body": "Again.", "deliver_notifications": False, "impact_override": "minor",
        "custom_tweet": "It is back.", "translations": said}})  # fmt: skip
    assert (answer.status_code, answer.json()["impact"]) == (200, "minor")
    update = incident.updates.get(number=2)
    assert (update.audience, update.custom_tweet, update.translations) == (
        Audience.NOBODY,
        "It is back.",
        said,
    )


@pytest.mark.parametrize("published", [True, False], ids=["open", "drafted"])
def test_an_automatic_incident_is_reopened_beside_another_one(
    call: Caller, published: bool
) -> None:
    over = world.incident(automatic=True, status=Status.RESOLVED)
    other = world.incident(world.component(), automatic=True, published=published)
    answer = call("PATCH", f"/incidents/{over.uid}", {"incident": {"status": "investigating"}})
    assert (answer.status_code, answer.json()["status"]) == (200, "investigating")
    assert Incident.objects.get(automatic=True) == other


def test_the_same_idempotency_key_declares_once(call: Caller) -> None:
    words = {"incident": {"name": "Down", "body": "We look."}}
    key = {"Idempotency-Key": "k" * 200}
    first, second = (
        call("POST", "/incidents", words, **key),
        call("POST", "/incidents", words, **key),
    )
    assert first.json()["id"] == second.json()["id"]
    assert Incident.objects.count() == 1


def test_a_maintenance_is_scheduled_and_listed_until_it_begins(call: Caller) -> None:
    follow = world.component()
    answer = call("POST", "/incidents", {"incident": {
        "name": "Move", "status": "scheduled", "scheduled_for": "2031-01-01T01:00:00Z",
        "scheduled_until": "2031-01-01T02:00:00Z", "component_ids": [follow.uid]}})  # fmt: skip
    assert answer.status_code == 201
    assert answer.json()["scheduled_for"] == "2031-01-01T01:00:00.000Z"
    assert [
        len(call("GET", f"/incidents/{name}").json())
        for name in ("scheduled", "upcoming", "unresolved")
    ] == [1, 1, 0]
    call("PATCH", f"/incidents/{answer.json()['id']}", {"incident": {"status": "in_progress"}})
    assert len(call("GET", "/incidents/active_maintenance").json()) == 1


@pytest.mark.parametrize(
    ("days", "reminded_in"),
    [
        pytest.param(10, timedelta(days=9), id="later"),
        pytest.param(3, timedelta(days=2), id="earlier"),
        pytest.param(0.5, None, id="so near that the reminder would be past"),
    ],
)
def test_a_reminder_moves_with_its_window(
    call: Caller, days: float, reminded_in: timedelta | None
) -> None:
    now = timezone.now()
    incident = services.schedule(
        page=world.page(), name="Move", body="x", scheduled_for=now + timedelta(days=5), actor="ann", now=now,
        scheduled_until=now + timedelta(days=11), remind_at=now + timedelta(days=4),
    )  # fmt: skip
    begins = (now + timedelta(days=days)).isoformat()
    answer = call("PATCH", f"/incidents/{incident.uid}", {"incident": {"scheduled_for": begins}})
    assert answer.status_code == 200
    incident.refresh_from_db()
    assert incident.remind_at == (now + reminded_in if reminded_in else None)


def test_a_backfilled_incident_is_over_and_told_to_nobody(call: Caller) -> None:
    row = call(
        "POST", "/incidents", {"incident": {"name": "Old", "backfill_date": "2026-01-02"}}
    ).json()
    assert (row["status"], row["backfilled"], row["created_at"][:10]) == (
        "resolved",
        True,
        "2026-01-02",
    )
    update = Update.objects.get()
    assert update.audience == Audience.NOBODY
    assert row["resolved_at"][:10] == f"{update.display_at:%Y-%m-%d}" == "2026-01-02", "on its day"


def test_a_draft_is_invisible(call: Caller) -> None:
    draft = world.incident(world.component(), published=False)
    assert call("GET", f"/incidents/{draft.uid}").status_code == 404
    assert call("GET", "/incidents").json() == []


def test_lists_are_searched_and_cut_and_end_empty(call: Caller) -> None:
    for name in ("Log in fails", "Readings late", "Log in slow"):
        world.incident(name=name)
    assert len(call("GET", "/incidents?q=log").json()) == 2
    assert [
        len(call("GET", f"/incidents?limit=2&page={page}").json()) for page in (1, 2, 3, 100)
    ] == [2, 1, 0, 0]


def test_a_published_text_is_corrected_and_the_old_one_stays_in_the_audit(call: Caller) -> None:
    incident = world.incident()
    update = incident.updates.get()
    row = call("PATCH", f"/incidents/{incident.uid}/incident_updates/{update.uid}",
               {"incident_update": {"body": "Better."}}).json()  # fmt: skip
    assert row["body"] == "Better."
    update.refresh_from_db()
    assert update.edited_at


def test_a_deleted_incident_is_returned_and_leaves_its_components_well(call: Caller) -> None:
    follow = world.component()
    incident = world.incident(follow)
    assert call("DELETE", f"/incidents/{incident.uid}").json()["id"] == incident.uid
    assert call("GET", f"/incidents/{incident.uid}").status_code == 404
    follow.refresh_from_db()
    assert follow.status == ComponentStatus.OPERATIONAL


# --- components and groups --------------------------------------------------------------------------------------------


def test_a_component_is_made_read_changed_and_deleted(call: Caller) -> None:
    made = call(
        "POST", "/components", {"component": {"name": "Log in", "description": "With a password."}}
    )
    assert made.status_code == 201
    path = f"/components/{made.json()['id']}"
    changed = call(
        "PATCH", path, {"component": {"status": "partial_outage", "description": None}}
    ).json()
    assert (changed["status"], changed["description"]) == ("partial_outage", None)
    assert [row.status for row in StatusChange.objects.all()] == ["operational", "partial_outage"]
    assert not Incident.objects.exists()
    gone = call("DELETE", path)
    assert (gone.status_code, gone.content, gone.headers.get("Content-Type")) == (204, b"", None)
    assert call("GET", path).status_code == 404


def test_a_group_holds_its_components_and_an_emptied_one_disappears(call: Caller) -> None:
    follow = world.component()
    one = call(
        "POST",
        "/component-groups",
        {"component_group": {"name": "App", "components": [follow.uid]}},
    )
    assert one.status_code == 201
    assert call("GET", f"/components/{follow.uid}").json()["group_id"] == one.json()["id"]
    two = call(
        "POST",
        "/component-groups",
        {"component_group": {"name": "Other", "components": [follow.uid]}},
    ).json()
    assert [row["id"] for row in call("GET", "/component-groups").json()] == [two["id"]]


# --- subscribers ------------------------------------------------------------------------------------------------------


@pytest.fixture
def channels(settings: Any) -> None:  # Any: pytest-django's settings
    settings.CHANNELS = {
        "email": ("E-mail", "email"),
        "sms": ("SMS", "phone"),
        "webhook": ("Webhook", "url"),
    }


@pytest.mark.usefixtures("channels")
def test_a_subscriber_without_confirmation_is_active_at_once_and_can_be_removed(
    call: Caller,
) -> None:
    follow = world.component()
    answer = call("POST", "/subscribers", {"subscriber": {
        "email": "a@family.example", "skip_confirmation_notification": True, "component_ids": [follow.uid]}})  # fmt: skip
    assert answer.status_code == 201
    row = answer.json()
    assert (row["mode"], row["email"], row["components"]) == (
        "email",
        "a@family.example",
        [follow.uid],
    )
    assert call("GET", "/subscribers/count").json()["email"] == 1
    assert [each["id"] for each in call("GET", "/subscribers?q=A@family.example").json()] == [
        row["id"]
    ]
    assert call("DELETE", f"/subscribers/{row['id']}").json()["id"] == row["id"]
    assert call("GET", "/subscribers").json() == []
    assert Subscription.objects.get().state == State.GONE


@pytest.mark.usefixtures("channels")
def test_a_subscriber_with_confirmation_waits_for_it(call: Caller) -> None:
    call("POST", "/subscribers", {"subscriber": {"email": "b@family.example"}})
    assert call("GET", "/subscribers").json() == []
    assert len(call("GET", "/subscribers?state=unconfirmed").json()) == 1


@pytest.mark.usefixtures("channels")
def test_a_national_number_is_read_in_its_country(call: Caller) -> None:
    row = call("POST", "/subscribers", {"subscriber": {
        "phone_number": "202 555 0143", "phone_country": "US", "skip_confirmation_notification": True}}).json()  # fmt: skip
    assert (row["mode"], row["phone_number"], row["phone_country"]) == ("sms", "+12025550143", "US")


def test_a_channel_that_is_not_configured_is_refused(call: Caller, settings: Any) -> None:
    settings.CHANNELS = {}
    answer = call("POST", "/subscribers", {
        "subscriber": {"email": "a@family.example", "skip_confirmation_notification": True}})  # fmt: skip
    assert answer.status_code == 422
    assert 'channel "email" is not configured' in answer.json()["message"]


def test_statuses_of_an_incident_are_statuspages_words(call: Caller) -> None:
    incident = world.incident(world.component())
    call("PATCH", f"/incidents/{incident.uid}", {"incident": {"status": "monitoring"}})
    assert Status(call("GET", f"/incidents/{incident.uid}").json()["status"]) is Status.MONITORING


def test_a_method_that_a_path_does_not_have_is_a_405_in_json(call: Caller) -> None:
    answer = call("DELETE", "/components")
    assert answer.status_code == 405
    assert answer.json()["message"]
