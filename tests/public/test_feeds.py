"""The feeds, read back with real parsers."""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from xml.etree import ElementTree

import pytest
from icalendar import Calendar

from incidents.lifecycle import Status
from public import feeds, ical
from public.snapshot import Snapshot
from tests.public.cast import HOUR_AGO, NOW, PAGE, incident, maintenance, snapshot, update

ATOM = "{http://www.w3.org/2005/Atom}"


def items(taken: Snapshot) -> list[dict[str, str]]:
    channel = ElementTree.fromstring(feeds.rss(feeds.of_page(taken))).find("channel")
    assert channel is not None
    return [{part.tag: part.text or "" for part in item} for item in channel.findall("item")]


def entries(taken: Snapshot) -> list[ElementTree.Element]:
    return ElementTree.fromstring(feeds.atom(feeds.of_page(taken))).findall(f"{ATOM}entry")


def test_rss_says_whose_history_it_is() -> None:
    root = ElementTree.fromstring(feeds.rss(feeds.of_page(snapshot())))
    assert root.tag == "rss"
    assert root.attrib["version"] == "2.0"
    assert root.findtext("channel/title") == "Follow status - Incident History"
    assert root.findtext("channel/link") == PAGE.url
    assert root.findtext("channel/description") == "Statuspage"


def test_an_item_is_dated_by_its_newest_update_in_the_page_s_zone() -> None:
    said = incident(updates=(update(2, display_at=NOW), update(1)))
    (item,) = items(snapshot(said))
    assert item["title"] == said.name
    assert item["guid"] == item["link"] == f"{PAGE.url}/incidents/{said.uid}"
    assert item["pubDate"] == "Sat, 30 Nov 2019 02:10:18 -0500"
    assert parsedate_to_datetime(item["pubDate"]) == NOW


def test_the_body_is_statuspage_s_html_newest_first() -> None:
    said = incident(updates=(update(3, Status.MONITORING), update(2), update(1)))
    lines = items(snapshot(said))[0]["description"].split("\n")
    assert lines == [
        "<p><small>Nov <var data-var='date'>30</var>, <var data-var='time'>01:13</var> EST</small><br>"
        "<strong>Monitoring</strong> - Text 3.</p>",
        "<p><small>Nov <var data-var='date'>30</var>, <var data-var='time'>01:12</var> EST</small><br>"
        "<strong>Update</strong> - Text 2.</p>",
        "<p><small>Nov <var data-var='date'>30</var>, <var data-var='time'>01:11</var> EST</small><br>"
        "<strong>Investigating</strong> - Text 1.</p>",
    ]


def test_a_maintenance_to_come_says_that_it_is_scheduled() -> None:
    text = items(snapshot(maintenance()))[0]["description"]
    assert text.startswith(
        "<p><strong>THIS IS A SCHEDULED EVENT Dec <var data-var='date'>1</var>, "
    )


def test_a_maintenance_in_progress_is_labelled_in_plain_letters() -> None:
    text = items(snapshot(maintenance(Status.IN_PROGRESS)))[0]["description"]
    assert "<strong>In progress</strong>" in text
    assert "SCHEDULED EVENT" not in text


def test_atom_has_what_rfc_4287_wants() -> None:
    root = ElementTree.fromstring(feeds.atom(feeds.of_page(snapshot(incident()))))
    assert root.findtext(f"{ATOM}id") == "tag:status.example.org,2005:/history"
    assert datetime.fromisoformat(root.findtext(f"{ATOM}updated") or "") == NOW
    assert root.findtext(f"{ATOM}author/{ATOM}name") == PAGE.name
    links = {link.attrib["rel"]: link.attrib["href"] for link in root.findall(f"{ATOM}link")}
    assert links == {"self": f"{PAGE.url}/history.atom", "alternate": PAGE.url}


def test_an_entry_keeps_its_id_when_the_incident_moves_on() -> None:
    (before,) = entries(snapshot(incident()))
    (after,) = entries(snapshot(incident(status=Status.RESOLVED, name="Renamed", updated_at=NOW)))
    assert before.findtext(f"{ATOM}id") == "tag:status.example.org,2005:Incident/incident0001"
    assert after.findtext(f"{ATOM}id") == before.findtext(f"{ATOM}id")
    assert datetime.fromisoformat(after.findtext(f"{ATOM}updated") or "") == NOW
    assert datetime.fromisoformat(after.findtext(f"{ATOM}published") or "") == HOUR_AGO


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("<script>alert(1)</script> & ]]>", id="markup"),
        pytest.param("مقياس \u202e السكر 🩸", id="right to left and emoji"),
        pytest.param("tab\tand\x0bbell\x07\x00", id="letters that XML forbids"),
    ],
)
def test_a_hostile_text_stays_text(text: str) -> None:
    taken = snapshot(incident(name=text, updates=(update(body=text, what_to_do=text),)))
    allowed = text.translate({0x0B: None, 0x07: None, 0x00: None})
    assert items(taken)[0]["title"] == allowed
    assert entries(taken)[0].findtext(f"{ATOM}title") == allowed
    assert "<script" not in items(taken)[0]["description"]


def test_a_feed_holds_the_fifty_newest() -> None:
    many = [
        incident(
            uid=f"incident{number:04}", updates=(update(display_at=NOW - timedelta(hours=number)),)
        )
        for number in reversed(range(60))
    ]
    found = [item["guid"].rpartition("/")[2] for item in items(snapshot(*many))]
    assert found == [f"incident{number:04}" for number in range(50)]


@pytest.mark.parametrize(
    ("words", "status", "ends"),
    [
        pytest.param({"status": Status.SCHEDULED}, "TENTATIVE", 4, id="ahead"),
        pytest.param({"status": Status.IN_PROGRESS}, "CONFIRMED", 4, id="under way"),
        pytest.param({"resolved_at": 3}, "CONFIRMED", 3, id="over earlier"),
        pytest.param({"resolved_at": 1}, "CANCELLED", 4, id="closed before it opened"),
        pytest.param({"resolved_at": 3, "retracted_at": 3}, "CANCELLED", 4, id="taken back"),
    ],
)
def test_a_window_that_was_called_off_is_cancelled_in_calendars(
    words: dict[str, Any], status: str, ends: int
) -> None:
    at = {hours: NOW + timedelta(hours=hours) for hours in (1, 2, 3, 4)}
    told = {name: at.get(value, value) for name, value in words.items()}
    window: dict[str, Any] = {"scheduled_for": at[2], "scheduled_until": at[4]}
    window |= {"status": Status.COMPLETED} | told
    feed = feeds.of_page(snapshot(maintenance(**window)))
    [event] = Calendar.from_ical(ical.calendar(feed)).walk("VEVENT")
    assert event["STATUS"] == status
    assert event.decoded("DTSTART") == at[2]
    assert event.decoded("DTEND") == at[ends]
