"""The eight documents of /api/v2, the banner and the badges."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import pytest

from incidents.facts import ComponentFact, IncidentFact
from incidents.lifecycle import ComponentStatus, Impact, Status
from public import badges, statusapi, words
from public.snapshot import Snapshot
from public.words import State
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
    component,
    incident,
    maintenance,
    snapshot,
    update,
)

DOCUMENTS = {
    "api/v2/status.json": {"page", "status"},
    "api/v2/summary.json": {"page", "components", "incidents", "scheduled_maintenances", "status"},
    "api/v2/components.json": {"page", "components"},
    "api/v2/incidents.json": {"page", "incidents"},
    "api/v2/incidents/unresolved.json": {"page", "incidents"},
    "api/v2/scheduled-maintenances.json": {"page", "scheduled_maintenances"},
    "api/v2/scheduled-maintenances/upcoming.json": {"page", "scheduled_maintenances"},
    "api/v2/scheduled-maintenances/active.json": {"page", "scheduled_maintenances"},
}
OVER = incident(uid="incident0002", status=Status.RESOLVED, resolved_at=NOW)
RUNNING = maintenance(Status.IN_PROGRESS, uid="maintenance2")
DONE = maintenance(Status.COMPLETED, uid="maintenance3")


def documents(taken: Snapshot) -> dict[str, Any]:
    pairs = (*statusapi.documents(taken), *statusapi.frequent_documents(taken))
    return {path: json.loads(body) for path, body in pairs}


def test_there_are_eight_documents_with_statuspage_s_keys() -> None:
    assert {path: set(body) for path, body in documents(snapshot()).items()} == DOCUMENTS


def test_an_empty_list_is_a_list() -> None:
    for body in documents(snapshot(components=())).values():
        assert all(body[key] == [] for key in body if key not in ("page", "status"))


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [
        ("incidents", "incidents", ["incident0001", "incident0002"]),
        ("incidents/unresolved", "incidents", ["incident0001"]),
        ("summary", "incidents", ["incident0001"]),
        ("summary", "scheduled_maintenances", ["maintenance1", "maintenance2"]),
        (
            "scheduled-maintenances",
            "scheduled_maintenances",
            ["maintenance1", "maintenance2", "maintenance3"],
        ),
        ("scheduled-maintenances/upcoming", "scheduled_maintenances", ["maintenance1"]),
        ("scheduled-maintenances/active", "scheduled_maintenances", ["maintenance2"]),
    ],
)
def test_each_list_holds_what_its_name_says(path: str, key: str, expected: list[str]) -> None:
    taken = snapshot(incident(), OVER, maintenance(), RUNNING, DONE)
    assert [row["id"] for row in documents(taken)[f"api/v2/{path}.json"][key]] == expected


def test_no_list_holds_more_than_the_fifty_newest() -> None:
    many = [replace(OVER, uid=f"incident{number:04}") for number in range(60)]
    rows = documents(snapshot(*many))["api/v2/incidents.json"]["incidents"]
    assert [row["id"] for row in rows] == [one.uid for one in many[:50]]


def test_the_banner_has_schema_1_exactly() -> None:
    hurt = component(status=MAJOR)
    said = update(what_to_do="Check the wearer.")
    taken = snapshot(
        incident(hurt, updates=(said,), next_update_by=NOW + timedelta(minutes=20)),
        components=(hurt,),
    )
    assert statusapi.banner(taken, "en") == {
        "schema": 1,
        "generated_at": "2019-11-30T07:10:18.000Z",
        "valid_for_s": 300,
        "state": "outage",
        "headline": "Followers may not receive readings",
        "what_to_do": "Check the wearer.",
        "since": "2019-11-30T06:10:18.000Z",
        "next_update_by": "2019-11-30T07:30:18.000Z",
        "incident": {
            "id": "incident0001",
            "name": "Followers may not receive readings",
            "status": "investigating",
            "url": "https://status.example.org/incidents/incident0001",
        },
        "components": [
            {"id": "follow000000", "slug": "follow", "name": "Follow", "status": "major_outage"}
        ],
    }


def test_what_the_sentence_names_is_what_the_rest_is_about() -> None:
    works = maintenance(
        Status.IN_PROGRESS, scheduled_for=LONG_AGO, updates=(update(what_to_do="Nothing to do."),)
    )
    hurt = component(status=MAJOR)
    blind = component("login", unknown_since=LONG_AGO)
    began = (("follow000000", ((HOUR_AGO, "major_outage"),)),)
    taken = replace(snapshot(works, components=(hurt, blind)), history=began)
    banner = statusapi.banner(taken, "en")
    assert banner["headline"] == "Follow: not working"
    assert banner["since"] == "2019-11-30T06:10:18.000Z"
    assert (banner["incident"], banner["what_to_do"]) == (None, None)
    well = statusapi.banner(snapshot(works, components=(component(),)), "en")
    assert well["what_to_do"] == "Nothing to do."


def test_the_banner_of_a_quiet_day_has_nothing_to_do() -> None:
    banner = statusapi.banner(snapshot(), "en")
    assert banner["state"] == "operational"
    assert banner["headline"] == "Everything is working"
    assert [banner[key] for key in ("what_to_do", "since", "next_update_by", "incident")] == [
        None
    ] * 4


def test_an_update_without_advice_does_not_take_the_last_one_back() -> None:
    taken = snapshot(incident(updates=(update(2), update(1, what_to_do="Check the wearer."))))
    assert statusapi.banner(taken, "en")["what_to_do"] == "Check the wearer."


def test_the_banner_s_advice_is_free_of_markdown() -> None:
    said = update(what_to_do="Do **not** [re-install](https://example.org) the `app`. 2 * 3 * 4.")
    banner = statusapi.banner(snapshot(incident(updates=(said,))), "en")
    assert banner["what_to_do"] == "Do not re-install the app. 2 * 3 * 4."


@pytest.mark.parametrize(
    ("components", "incidents", "state"),
    [
        pytest.param([component()], [], State.OPERATIONAL, id="all well"),
        pytest.param([component(status=SLOW)], [], State.DEGRADED, id="slow"),
        pytest.param([component(status=PARTIAL)], [], State.PARTIAL, id="partly"),
        pytest.param([component(status=WORKS)], [], State.MAINTENANCE, id="maintenance"),
        pytest.param([component(unknown_since=NOW)], [], State.UNKNOWN, id="blind"),
        pytest.param(
            [component(unknown_since=NOW), component("web", SLOW)], [], State.UNKNOWN, id="blind beats slow"
        ),
        pytest.param(
            [component(unknown_since=NOW), component("web", MAJOR)], [], State.OUTAGE,
            id="blindness hides no outage",
        ),
        pytest.param([component()], [incident()], State.OUTAGE, id="an incident that names nothing speaks"),
        pytest.param([component()], [incident(component())], State.DEGRADED, id="recovering is not yet well"),
        pytest.param([component()], [incident(impact=Impact.NONE)], State.OPERATIONAL, id="a mere note"),
    ],
)  # fmt: skip
def test_the_state_of_the_page(
    components: list[ComponentFact], incidents: list[IncidentFact], state: State
) -> None:
    assert words.page_state(components, incidents) is state


def test_an_unknown_component_says_why_in_the_banner() -> None:
    why = 'not checked while "log in" fails'
    blind = component(unknown_since=HOUR_AGO, unknown_why=why)
    banner = statusapi.banner(snapshot(components=(blind,)), "en")
    assert banner["state"] == "unknown"
    assert banner["since"] == "2019-11-30T06:10:18.000Z"
    assert f"unknown: {why}" in banner["headline"]
    assert banner["components"][0]["status"] == "unknown"


@pytest.mark.parametrize(
    ("components", "expected"),
    [
        pytest.param([component(status=MAJOR), component("web")], "Follow: not working", id="one"),
        pytest.param(
            [component(status=MAJOR), component("web", SLOW), component("login")],
            "2 of 3 parts are not fully working", id="some",
        ),
        pytest.param(
            [component(unknown_since=NOW), component("web", unknown_since=NOW)],
            "We cannot tell how things are", id="all blind",
        ),
        pytest.param(
            [component(unknown_since=NOW), component("web")], "We cannot tell how “Follow” is", id="one blind"
        ),
        pytest.param([component(status=WORKS)], "Follow: maintenance", id="maintenance"),
    ],
)  # fmt: skip
def test_without_an_incident_the_parts_make_the_sentence(
    components: list[ComponentFact], expected: str
) -> None:
    assert words.headline(components, [], []) == expected


def test_the_gravest_incident_makes_the_sentence_and_the_rest_are_counted() -> None:
    minor = incident(uid="incident0009", name="Slow web site", impact=Impact.MINOR)
    taken = snapshot(minor, incident())
    assert (
        statusapi.banner(taken, "en")["headline"]
        == "Followers may not receive readings (and 1 more)"
    )


def test_the_banner_speaks_spanish_and_falls_back_to_english() -> None:
    taken = snapshot(page=replace(PAGE, languages=("es", "fr")))
    said = {path: json.loads(body)["headline"] for path, body in statusapi.banners(taken)}
    assert said == {
        "banner.json": "Todo funciona",
        "banner.en.json": "Everything is working",
        "banner.es.json": "Todo funciona",
        "banner.fr.json": "Everything is working",
    }


@pytest.mark.parametrize("status", list(ComponentStatus))
def test_a_badge_says_its_state_in_a_word(status: ComponentStatus) -> None:
    found = dict(badges.badges(snapshot(components=(component(status=status),))))
    svg = ElementTree.fromstring(found["badge/follow.svg"])
    word = words.COMPONENT_WORDS["en"][words.component_state(component(status=status))]
    assert svg.attrib["aria-label"] == f"Follow: {word}"
    assert word in "".join(svg.itertext())


def test_a_badge_of_a_hostile_name_is_still_xml() -> None:
    name = '<script>alert("1")</script> & كلمة 🩸'
    found = dict(badges.badges(snapshot(components=(component(name=name, status=FINE),))))
    svg = ElementTree.fromstring(found["badge/follow.svg"])
    assert svg.attrib["aria-label"] == f"{name}: working"
    assert not list(svg.iter("{http://www.w3.org/2000/svg}script"))


def test_the_files_for_silence_are_unknown_and_keep_what_to_do() -> None:
    hurt = component(status=MAJOR)
    taken = snapshot(incident(hurt, updates=(update(what_to_do="Check."),)), components=(hurt,))
    silent = dict(statusapi.silent_documents(taken))
    banner = json.loads(silent["banner.json"])
    assert (banner["state"], banner["what_to_do"]) == ("unknown", "Check.")
    assert banner["components"][0]["status"] == "unknown"
    assert json.loads(silent["api/v2/status.json"])["status"]["description"].endswith(
        f"not running since {words.SINCE_CLOCK} UTC"
    )
    assert (
        json.loads(silent["api/v2/summary.json"])["components"][0]["status"]
        == "degraded_performance"
    )
    assert b"unknown" in silent["badge.svg"]
