"""Strangers' clients of Statuspage, unmodified, against this installation: only the address is another."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from playwright.sync_api import sync_playwright

from incidents.models import AuditEntry, Component, Incident, Metric, Template
from subscribers.models import State, Subscription
from tests import world
from tests.clients.conftest import Cast, House
from tests.clients.strangers import Node, Stranger

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

GENERATED = Stranger("atlassian-statuspage", "1.0.2", "generated")
ATLASSIAN = Stranger("atlassian-python-api", "5.0.5", "atlassian_api")
CRUNCH = Stranger("crunch-statuspageio", "0.7", "crunch")
TRANSITY = Stranger("transity-statuspageio", "0.0.3", "crunch")
AREZ = Stranger("aRez", "0.2.4", "arez_page")
STATUSCHECK = Stranger("statuscheck", "3.11.0", "statuscheck_page")
READ = ["Follow", "Login"]


@pytest.fixture
def say(record_property: Any) -> Any:
    """Have it printed after the tests (tests/conftest.py): which client it was is part of the result."""

    def aloud(*words: object) -> None:
        record_property("said", " ".join(map(str, ("client:", *words))))

    return aloud


def called(stranger: Stranger, house: House, say: Any) -> Any:  # Any: JSON
    stranger.install()
    found = stranger.run(**house.words)
    told = _told(found, house)
    say(stranger.name, stranger.version, "sha256", stranger.fingerprint(), *told)
    return found


def _told(found: Any, house: House) -> tuple[object, ...]:  # Any: JSON
    """Return how many calls it made, and how many of its values are compared below."""
    return "calls", house.calls, "values", _leaves(found)


def _leaves(value: Any) -> int:  # Any: JSON
    if isinstance(value, dict | list):
        return sum(_leaves(each) for each in (value.values() if isinstance(value, dict) else value))
    return 1


def test_the_generated_client_manages_the_whole_page(house: House, cast: Cast, say: Any) -> None:
    found = called(GENERATED, house, say)
    assert found["pages"] == ["Follow status"]
    assert found["page"] == ["Follow status", "datetime"]
    assert found["component"] == ["Share", "operational", None]
    assert found["changed"] == "partial_outage"
    assert found["components"] == [*READ, "Share"]
    assert found["uptime"] == ["Share", True, True]
    assert found["groups"] == ["Follow app"]
    assert found["group"] == ["Sharing", "d"]
    assert found["group_uptime"] == "Sharing"
    assert found["incident"] == ["Sharing fails", "investigating", "critical", "We look."]
    assert found["listed"] == [
        ["Database move", "scheduled", "maintenance"],
        ["Log in was slow", "resolved", "critical"],
        ["Readings are late", "investigating", "major"],
        ["Sharing fails", "investigating", "critical"],
    ]
    assert found["scheduled"] == ["Database move"]
    assert found["resolved"] == ["resolved", 2, True]
    assert found["corrected"] == "All over."
    assert found["draft"] == ["What happened.", None]
    assert found["published"] == ["What happened.", True]
    assert found["subscriber"] == ["email", "a@family.example"]
    assert (found["count"], found["histogram"]) == (1, 1)
    assert found["template"] == ["Down", "Follow is down", None]
    assert found["embed"] == "top-left"
    assert found["users"] == [404, ["error", "message"]]
    assert set(Component.objects.values_list("name", flat=True)) == set(READ)
    assert Template.objects.get().name == "Follow is down"
    assert {entry.actor for entry in AuditEntry.objects.filter(action="add_template")} == {
        "api:stranger"
    }


def test_the_atlassian_python_api_goes_its_round(house: House, cast: Cast, say: Any) -> None:
    found = called(ATLASSIAN, house, say)
    assert found["pages"] == ["Follow status"]
    assert found["headline"] == "Follow status 2"
    assert found["component"] == ["Share", "operational"]
    assert found["changed"] == "partial_outage"
    assert found["uptime"] == "Share"
    assert found["incident"] == ["Sharing fails", "investigating"]
    assert found["unresolved"] == ["Readings are late", "Sharing fails"]
    assert found["searched"] == ["Sharing fails"]
    assert found["resolved"] == ["resolved", "investigating"]
    assert found["subscriber"] == ["email", "a@family.example"]
    assert found["incident_subscriber"] == "b@family.example"
    assert found["incident_subscribers"] == ["b@family.example"]
    assert found["embed"] == "bottom-left"
    assert found["template"] == ["Follow is down", "investigating"]
    assert found["templates"] == ["Down"]
    assert found["metrics"] == []
    assert found["components"] == READ


@pytest.mark.parametrize("stranger", [CRUNCH, TRANSITY], ids=lambda each: each.name)
def test_the_oldest_clients_go_their_round(
    house: House, cast: Cast, say: Any, stranger: Stranger
) -> None:
    found = called(stranger, house, say)
    assert found["page"] == "Follow status"
    assert found["components"] == READ
    assert found["made"] == ["Share", "operational"]
    assert found["changed"] == "degraded_performance"
    if stranger is CRUNCH:
        assert found["groups"] == ["Follow app", "Sharing"]
        assert found["group_deleted"] == 200
    assert found["incident"][:2] == ["Sharing fails", "investigating"]
    assert found["open"] == ["Readings are late", "Sharing fails"]
    assert found["resolved"] == ["resolved"]
    everything = ["Database move", "Log in was slow", "Readings are late", "Sharing fails"]
    assert found["listed"] == everything
    assert found["scheduled"] == ["Database move"]
    assert found["subscriber"] == ["parent@family.example", "email"]
    assert found["subscribers"] == ["parent@family.example"]
    assert (found["deleted"], found["unsubscribed"]) == (200, 200)
    assert found["component_deleted"] == 204
    assert (found["missing"], found["invalid"], found["users"]) == (404, 422, 404)
    assert set(Component.objects.values_list("name", flat=True)) == set(READ)
    assert not Incident.objects.filter(name="Sharing fails").exists()
    assert Subscription.objects.get().state == State.GONE


def test_arez_reads_the_summary_with_every_date(house: House, cast: Cast, say: Any) -> None:
    house.publish()
    found = called(AREZ, house, say)
    assert found == {
        "name": "Follow status",
        "status": ["Minor", "Minor Service Outage"],
        "components": READ,
        "group": ["Follow app", "Partial Outage", READ],
        "incidents": [["Readings are late", "Investigating", "Major", "We are looking."]],
        "of_component": ["Readings are late"],
        "maintenances": [["Database move", "Scheduled", 3600]],
    }


def test_statuscheck_reads_the_summary(house: House, cast: Cast, say: Any) -> None:
    house.publish()
    found = called(STATUSCHECK, house, say)
    assert found["status"][0] == "minor"
    assert found["status"][2:] == ["Minor Service Outage", False]
    assert [name for name, _ in found["components"]] == ["Follow", "Follow app", "Login"]
    assert found["incidents"] == [
        ["Database move", "scheduled"],
        ["Readings are late", "investigating"],
    ]


def test_statuspage_io_of_npm_reads_all_there_is(house: House, cast: Cast, say: Any) -> None:
    Node.install()
    house.publish()
    version, hashed = Node.fingerprint("statuspage.io")
    assert version == "3.3.8"
    found = Node.run("statuspage_io.js", **house.words)
    say("statuspage.io", version, "sha256", hashed, *_told(found, house))
    assert found == {
        "page": "Follow status",
        "status": ["minor", "Minor Service Outage"],
        "summary": [["Readings are late"], ["Database move"]],
        "components": ["Follow", "Follow app", "Login"],
        "incidents": ["Log in was slow", "Readings are late"],
        "unresolved": ["Readings are late"],
        "upcoming": ["Database move"],
    }


@pytest.fixture
def chromium(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    path = (
        os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    )
    if path is None:
        pytest.fail("no Chromium on the PATH")
    # Playwright keeps a loop of its own in this thread; Django would take it for ours.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        # Inside of Playwright's loop Django keeps connections apart from those it closes itself.
        connections.close_all()
        browser.close()


@pytest.mark.browser
def test_statuspages_own_widget_shows_the_page(
    house: House, cast: Cast, say: Any, chromium: Any, tmp_path: Path
) -> None:
    Node.install()
    house.publish()
    version, hashed = Node.fingerprint("@statuspage/status-widget")
    script = Node.home / "node_modules/@statuspage/status-widget/dist/index.js"
    shown = f'<!doctype html><statuspage-widget src="{house.url}"></statuspage-widget>'
    (house.folder / "app").write_text(shown)
    page = chromium.new_context(bypass_csp=True).new_page()
    # Another origin than the status page's, as an app of its readers is.
    page.goto(house.url.replace("127.0.0.1", "localhost") + "/app")
    page.add_script_tag(path=str(script))
    page.wait_for_function(
        "document.querySelector('statuspage-widget').shadowRoot?.textContent.includes('Minor Service Outage')"
    )
    say("@statuspage/status-widget", version, "sha256", hashed, "calls", house.calls, "values", 1)
    assert world.page().name == "Follow status"


def test_an_answer_that_lacks_what_a_client_needs_is_noticed(house: House, cast: Cast) -> None:
    """The twin of the above: aRez breaks on a date without its fraction, as the tests would."""
    house.publish()
    file = house.folder / "api/v2/summary.json"
    file.write_text(file.read_text().replace(".000Z", "Z").replace(".000+00:00", "+00:00"))
    (house.folder / "api/v2/summary.json.gz").unlink(missing_ok=True)
    AREZ.install()
    with pytest.raises(AssertionError, match="does not match format"):
        AREZ.run(**house.words)
    assert not Metric.objects.exists()
