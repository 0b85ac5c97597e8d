"""/intake, /health and /metrics."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from desk import health, keys
from desk.models import AlertRule, IntakeAlert, IntakeMapping
from incidents.models import Call, Incident, Pulse
from probes.models import Check, Location
from tests import world

pytestmark = pytest.mark.django_db
MARK = "\N{REPLACEMENT CHARACTER}"


def send(path: str, body: Any, key: str | None = None) -> Any:  # Any: JSON; a test response
    key = key or keys.create(name="alerts", scopes=[], now=timezone.now())
    return Client().post(
        path, json.dumps(body), "application/json", headers={"Authorization": f"Bearer {key}"}
    )


def firing(**labels: str) -> dict[str, Any]:  # Any: JSON
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": "Followers see nothing"},
        "fingerprint": "f1",
    }
    return {"version": "4", "status": "firing", "alerts": [alert]}


def test_an_alert_without_a_rule_is_a_draft_that_names_no_component() -> None:
    assert send("/intake/alertmanager", firing(severity="critical")).json() == {
        "received": 1,
        "new": 1,
    }
    draft = Incident.objects.get()
    assert draft.published_at is None
    assert draft.publish_at is None
    assert not draft.affected.exists()
    assert Call.objects.get().incident == draft


def test_an_alert_of_a_rule_is_a_draft_that_goes_out_by_itself() -> None:
    follow = world.component()
    AlertRule.objects.create(
        position=0, match={"severity": "critical"}, component=follow, publish="auto", veto_s=120
    )
    send("/intake/alertmanager", firing(severity="critical"))
    draft = Incident.objects.get()
    assert draft.publish_at
    assert draft.affected.get().component == follow


def test_the_same_alert_again_is_no_second_draft() -> None:
    for _ in range(3):
        send("/intake/alertmanager", firing(severity="critical"))
    assert Incident.objects.count() == Call.objects.count() == 1


def test_a_draft_whose_alert_is_over_does_not_go_out() -> None:
    send("/intake/alertmanager", firing(severity="critical"))
    over = firing(severity="critical")
    over["alerts"][0]["status"] = "resolved"
    send("/intake/alertmanager", over)
    assert Incident.objects.get().vetoed_at


def test_two_rules_widen_one_automatic_incident() -> None:
    for position, slug in enumerate(("follow", "login")):
        AlertRule.objects.create(
            position=position,
            match={"component": slug},
            component=world.component(slug),
            publish="auto",
            veto_s=60,
        )
    for slug in ("follow", "login"):
        send("/intake/generic", {"labels": {"component": slug}, "summary": f"{slug} fails"})
    assert Incident.objects.get().affected.count() == 2


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        pytest.param("/intake/alertmanager", {"alerts": "x"}, 422, id="alerts is no list"),
        pytest.param("/intake/generic", {"status": "odd"}, 422, id="no such status"),
    ],
)
def test_a_wrong_alert_is_refused_in_words(path: str, body: Any, status: int) -> None:  # Any: JSON
    answer = send(path, body)
    assert answer.status_code == status
    assert answer.json()["message"]


@pytest.mark.parametrize("strange", ["\x00", "\ud800", "a\udfffb"])
def test_an_alert_with_what_no_database_takes_is_taken_with_a_mark_in_its_place(
    strange: str,
) -> None:
    shown = strange.replace("\x00", MARK).replace("\ud800", MARK).replace("\udfff", MARK)
    alert = {
        "labels": {"alertname": "Down", strange: strange, "whole": "\N{SNOWMAN}\N{GRINNING FACE}"},
        "annotations": {"summary": f"Down {strange}"},
        "fingerprint": f"f{strange}",
    }
    for status, new in (("firing", 1), ("firing", 0), ("resolved", 0)):
        answer = send("/intake/alertmanager", {"alerts": [alert | {"status": status}]})
        assert (answer.status_code, answer.json()) == (200, {"received": 1, "new": new})
    taken = IntakeAlert.objects.get()
    assert (taken.fingerprint, taken.summary) == (f"f{shown}", f"Down {shown}")
    assert taken.labels == {
        "alertname": "Down",
        shown: shown,
        "whole": "\N{SNOWMAN}\N{GRINNING FACE}",
    }
    assert taken.ended_at is not None


@pytest.mark.parametrize("strange", ["\x00", "\ud800"])
def test_a_mapped_alert_with_what_no_database_takes_is_taken(strange: str) -> None:
    paths = {"labels": "tags", "summary": "text", "fingerprint": "id"}
    IntakeMapping.objects.create(name="cloud", paths=paths)
    body = {"tags": {strange: strange}, "text": strange, "id": strange}
    assert send("/intake/generic?mapping=cloud", body).status_code == 200
    assert IntakeAlert.objects.get().labels == {MARK: MARK}


def test_words_that_only_look_like_an_escape_stay_as_they_are() -> None:
    assert send("/intake/generic", {"summary": "C:\\u0000 \\ud800"}).status_code == 200
    assert IntakeAlert.objects.get().summary == "C:\\u0000 \\ud800"


def test_half_a_character_in_bytes_is_taken_too() -> None:
    body = b'{"summary": "a\xed\xa0\x80b"}'
    key = keys.create(name="alerts", scopes=[], now=timezone.now())
    headers = {"Authorization": f"Bearer {key}"}
    answer = Client().post("/intake/generic", body, "application/json", headers=headers)
    assert answer.status_code == 200
    assert IntakeAlert.objects.get().summary == f"a{MARK}b"


def test_a_mapping_with_nul_is_none_of_ours() -> None:
    answer = send("/intake/generic?mapping=%00", {"summary": "x"})
    assert answer.status_code == 422
    assert answer.json()["message"].startswith(f'mapping is "{MARK}"; expected one of')


def test_a_wrong_key_hands_in_nothing() -> None:
    assert send("/intake/generic", {"summary": "x"}, key="wrong").status_code == 401
    reader = keys.create(name="reader", scopes=[keys.Scope.READ], now=timezone.now())
    assert send("/intake/generic", {"summary": "x"}, key=reader).status_code == 403
    assert not Incident.objects.exists()


def beat(*, clock_s: float = 1, publisher_s: float = 1) -> None:
    now = timezone.now()
    Pulse.objects.create(name=health.SWEEP, at=now - timedelta(seconds=clock_s))
    Pulse.objects.create(name=health.PUBLISHER, at=now - timedelta(seconds=publisher_s))


@pytest.mark.parametrize(
    ("ages", "status"),
    [
        pytest.param({}, 200, id="all fresh"),
        pytest.param({"clock_s": 60}, 503, id="the clock stands still"),
        pytest.param({"publisher_s": 120}, 503, id="the publisher is silent"),
    ],
)
def test_health_is_503_when_a_part_is_silent(ages: dict[str, float], status: int) -> None:
    beat(**ages)
    answer = Client().get("/health")
    assert answer.status_code == status
    assert answer.json()["sweep"]["age_s"] is not None


@pytest.mark.parametrize(
    ("seen_s", "status"), [pytest.param(5, 200, id="fresh"), pytest.param(600, 503, id="silent")]
)
def test_probes_count_as_soon_as_there_is_a_check(seen_s: int, status: int) -> None:
    beat()
    Check.objects.create(page=world.page(), slug="c", kind="http", locations=["local"])
    Location.objects.create(
        name="local", token_hash="x", last_seen_at=timezone.now() - timedelta(seconds=seen_s)
    )
    assert Client().get("/health").status_code == status


def test_live_and_metrics_answer_before_anything_has_run() -> None:
    assert Client().get("/health/live").status_code == 200
    text = Client().get("/metrics").content.decode()
    assert "statuspage_up 0.0" in text
    assert 'statuspage_open_incidents{impact="critical"} 0.0' in text
