"""Facts in Statuspage's words: the shapes of statuspage-api.md."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from incidents import wire
from incidents.facts import ComponentFact, GroupFact
from incidents.lifecycle import Audience, ComponentStatus, Impact, Status
from tests.public.cast import (
    FINE,
    HOUR_AGO,
    LONG_AGO,
    MAJOR,
    NOW,
    PAGE,
    PARTIAL,
    SLOW,
    WORKS,
    change,
    component,
    incident,
    maintenance,
    update,
)

UTC_PAGE = replace(PAGE, time_zone="Etc/UTC")


@pytest.mark.parametrize(
    ("zone", "at", "expected"),
    [
        pytest.param(
            "America/New_York",
            datetime(2022, 2, 15, 18, 37, 37, 407999, tzinfo=UTC),
            "2022-02-15T13:37:37.407-05:00",
            id="the page's zone, with three digits cut and not rounded",
        ),
        pytest.param(
            "America/New_York",
            datetime(2022, 7, 1, tzinfo=UTC),
            "2022-06-30T20:00:00.000-04:00",
            id="a whole second still has its fraction, and summer its own offset",
        ),
        pytest.param(
            "Etc/UTC", datetime(2022, 7, 1, tzinfo=UTC), "2022-07-01T00:00:00.000Z", id="UTC is Z"
        ),
        pytest.param(
            "Mars/Olympus",
            datetime(2022, 7, 1, tzinfo=UTC),
            "2022-07-01T00:00:00.000+00:00",
            id="a zone that nobody knows is UTC and silences nothing",
        ),
    ],
)
def test_a_timestamp_has_three_digits_and_an_offset(zone: str, at: datetime, expected: str) -> None:
    assert wire.timestamp(at, replace(PAGE, time_zone=zone)) == expected


def test_a_client_that_insists_on_the_fraction_can_read_it() -> None:
    datetime.strptime(wire.timestamp(LONG_AGO, PAGE), "%Y-%m-%dT%H:%M:%S.%f%z")


def test_the_page_has_its_five_keys() -> None:
    assert wire.page_json(UTC_PAGE) == {
        "id": "page00000001",
        "name": "Follow status",
        "url": "https://status.example.org",
        "time_zone": "Etc/UTC",
        "updated_at": "2019-11-30T07:10:18.000Z",
    }


def test_a_component_has_every_key_of_statuspage() -> None:
    fact = component(description="Readings", start_date=date(2019, 1, 1), group="group0000001")
    assert wire.component_json(fact, UTC_PAGE) == {
        "id": "follow000000",
        "name": "Follow",
        "status": "operational",
        "created_at": "2019-01-02T03:04:05.678Z",
        "updated_at": "2019-11-30T06:10:18.000Z",
        "position": 1,
        "description": "Readings",
        "showcase": True,
        "start_date": "2019-01-01",
        "group_id": "group0000001",
        "page_id": "page00000001",
        "group": False,
        "only_show_if_degraded": False,
    }


@pytest.mark.parametrize("last_known", list(ComponentStatus))
def test_an_unknown_component_is_degraded_and_says_since_when(last_known: ComponentStatus) -> None:
    row = wire.component_json(component(status=last_known, unknown_since=HOUR_AGO), PAGE)
    assert row["status"] == "degraded_performance"
    assert row["description"] == "Status unknown: checks not running since 06:10 UTC"


def test_a_group_is_a_row_with_the_worst_of_its_children() -> None:
    group = GroupFact("group0000001", "Follow app", "", 3, LONG_AGO, LONG_AGO)
    children = [component("login", PARTIAL), component("follow", WORKS)]
    row = wire.group_json(group, children, UTC_PAGE)
    assert row["group"] is True
    assert row["group_id"] is None
    assert row["components"] == ["login0000000", "follow000000"]
    assert row["status"] == "partial_outage"
    assert set(row) - {"components"} == set(wire.component_json(component(), PAGE))


def test_a_group_without_children_is_no_row() -> None:
    empty = GroupFact("group0000001", "Empty", "", 3, LONG_AGO, LONG_AGO)
    assert [row["id"] for row in wire.component_rows([component()], [empty], PAGE)] == [
        "follow000000"
    ]


def test_an_incident_has_every_key_of_statuspage() -> None:
    row = wire.incident_json(incident(component(status=MAJOR)), UTC_PAGE)
    expected = (
        "id name status created_at updated_at monitoring_at resolved_at impact shortlink started_at "
        "page_id incident_updates components reminder_intervals"
    )
    assert set(row) == set(expected.split())
    assert row["status"] == "investigating"
    assert row["impact"] == "critical"
    assert row["resolved_at"] is None
    assert row["shortlink"] == "https://status.example.org/incidents/incident0001"
    assert [one["status"] for one in row["components"]] == ["major_outage"]


def test_a_maintenance_adds_its_window_and_started_when_it_was_announced() -> None:
    row = wire.incident_json(maintenance(started_at=NOW), UTC_PAGE)
    assert row["scheduled_for"] == "2019-12-01T07:10:18.000Z"
    assert row["scheduled_until"] == "2019-12-01T09:10:18.000Z"
    assert row["started_at"] == row["created_at"]
    assert row["impact"] == "maintenance"


def test_a_draft_among_the_updates_is_invisible() -> None:
    fact = incident(updates=(update(2, published_at=None, body="secret"), update(1)))
    assert "secret" not in json.dumps(wire.incident_json(fact, PAGE))
    assert len(wire.incident_json(fact, PAGE)["incident_updates"]) == 1


def test_a_retracted_incident_reads_as_resolved() -> None:
    fact = incident(status=Status.RESOLVED, retracted_at=NOW, resolved_at=NOW)
    text = json.dumps(wire.incident_json(fact, PAGE))
    assert '"status": "resolved"' in text
    assert "retract" not in text


def test_an_update_names_what_changed_by_code() -> None:
    row = wire.update_json(update(changes=(change(),), custom_tweet="Down."), UTC_PAGE)
    assert row == {
        "id": "update000001",
        "status": "investigating",
        "body": "Text 1.",
        "incident_id": "incident0001",
        "created_at": "2019-11-30T06:11:18.000Z",
        "updated_at": "2019-11-30T06:11:18.000Z",
        "display_at": "2019-11-30T06:11:18.000Z",
        "affected_components": [
            {
                "code": "follow000000",
                "name": "Follow",
                "old_status": "operational",
                "new_status": "major_outage",
            }
        ],
        "deliver_notifications": True,
        "custom_tweet": "Down.",
        "tweet_id": None,
    }


def test_an_update_that_changed_nothing_has_null_components() -> None:
    assert wire.update_json(update(), PAGE)["affected_components"] is None


def test_an_update_for_nobody_says_that_it_was_not_delivered() -> None:
    assert (
        wire.update_json(update(audience=Audience.NOBODY), PAGE)["deliver_notifications"] is False
    )


def test_a_body_is_source_and_not_escaped() -> None:
    assert wire.update_json(update(body="<b> & **so**"), PAGE)["body"] == "<b> & **so**"


@pytest.mark.parametrize(
    ("statuses", "indicator", "description"),
    [
        pytest.param([FINE, FINE], "none", "All Systems Operational", id="all well"),
        pytest.param([MAJOR, MAJOR], "critical", "Major System Outage", id="all down"),
        pytest.param([MAJOR, FINE], "major", "Partial System Outage", id="one down"),
        pytest.param([PARTIAL, PARTIAL], "major", "Partial System Outage", id="all partly down"),
        pytest.param([PARTIAL, FINE], "minor", "Minor Service Outage", id="one partly down"),
        pytest.param([SLOW, SLOW], "minor", "Degraded System Service", id="all slow"),
        pytest.param(
            [SLOW, WORKS], "minor", "Partially Degraded Service", id="one slow beats maintenance"
        ),
        pytest.param(
            [WORKS, FINE], "maintenance", "Service Under Maintenance", id="one in maintenance"
        ),
        pytest.param([], "none", "All Systems Operational", id="no components"),
    ],
)
def test_the_page_rolls_up_its_components(
    statuses: list[ComponentStatus], indicator: str, description: str
) -> None:
    components = [component(f"c{number}", status) for number, status in enumerate(statuses)]
    assert wire.status_json(components, [], PAGE) == {
        "indicator": indicator,
        "description": description,
    }


@pytest.mark.parametrize(
    ("impact", "indicator"),
    [
        (Impact.CRITICAL, "critical"),
        (Impact.MAJOR, "major"),
        (Impact.MINOR, "minor"),
        (Impact.NONE, "none"),
    ],
)
def test_without_components_an_open_incident_speaks_for_the_page(
    impact: Impact, indicator: str
) -> None:
    assert wire.status_json([], [incident(impact=impact)], PAGE)["indicator"] == indicator


@pytest.mark.parametrize(
    ("others", "indicator"),
    [
        pytest.param([], "minor", id="at least minor"),
        pytest.param([component("web", WORKS)], "minor", id="graver than maintenance"),
        pytest.param([component("web", MAJOR)], "major", id="an outage elsewhere stays one"),
    ],
)
def test_while_a_component_is_unknown_the_page_never_says_none(
    others: list[ComponentFact], indicator: str
) -> None:
    blind = component(unknown_since=HOUR_AGO)
    assert wire.status_json([blind, *others], [], PAGE) == {
        "indicator": indicator,
        "description": "Status unknown: checks not running since 06:10 UTC",
    }


def test_a_webhook_tells_the_page_and_how_to_unsubscribe() -> None:
    status = wire.status_json([component(status=SLOW)], [], PAGE)
    body = wire.webhook_envelope(
        status, UTC_PAGE, unsubscribe_url="https://x/?unsubscribe=1", generated_at=NOW
    )
    assert body["meta"]["unsubscribe"] == "https://x/?unsubscribe=1"
    assert body["page"] == {
        "id": "page00000001",
        "status_indicator": "minor",
        "status_description": "Degraded System Service",
    }


def test_a_webhook_of_a_component_tells_what_it_was_and_is() -> None:
    fact = component(status=MAJOR)
    body = wire.webhook_component_json(change(), update(), fact, UTC_PAGE)
    assert body["component_update"]["old_status"] == "operational"
    assert body["component_update"]["new_status"] == "major_outage"
    assert body["component_update"]["component_id"] == body["component"]["id"] == fact.uid
    assert "only_show_if_degraded" not in body["component"]


def test_a_webhook_of_an_incident_has_the_keys_of_a_realtime_one_as_null() -> None:
    body = wire.webhook_incident_json(incident(), PAGE)
    assert body["scheduled_for"] is None
    assert body["scheduled_auto_in_progress"] is False
    assert body["incident_updates"][0]["wants_twitter_update"] is True
