"""A snapshot as feeds: RSS and Atom in the shapes of Statuspage's history feeds."""

import re
from datetime import datetime
from email.utils import format_datetime
from html import escape
from urllib.parse import urlsplit
from xml.etree import ElementTree as xml
from zoneinfo import ZoneInfo

from incidents import wire
from incidents.facts import IncidentFact, PageFact, UpdateFact
from incidents.lifecycle import Status
from public.snapshot import Snapshot

ENTRIES_MAX = 50  # Statuspage shows at least 25: statuspage-api.md §3
ATOM = "http://www.w3.org/2005/Atom"
# XML 1.0 forbids these even as references: https://www.w3.org/TR/xml/#charsets
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def documents(snapshot: Snapshot) -> tuple[tuple[str, bytes], ...]:
    return (("history.rss", rss(snapshot)), ("history.atom", atom(snapshot)))


def rss(snapshot: Snapshot) -> bytes:
    page = snapshot.page
    root = xml.Element("rss", {"version": "2.0", "xmlns:dc": "http://purl.org/dc/elements/1.1/"})
    channel = xml.SubElement(root, "channel")
    _text(channel, "title", f"{page.name} - Incident History")
    _text(channel, "link", page.url)
    _text(channel, "description", "Statuspage")
    _text(channel, "pubDate", _rfc822(page.updated_at, page))
    for incident in _newest(snapshot):
        item = xml.SubElement(channel, "item")
        url = wire.incident_url(incident.uid, page)
        _text(item, "title", incident.name)
        _text(item, "description", body_html(incident, page))
        _text(item, "pubDate", _rfc822(_said_at(incident), page))
        _text(item, "link", url)
        _text(item, "guid", url)
    return _document(root)


def atom(snapshot: Snapshot) -> bytes:
    page = snapshot.page
    host = urlsplit(page.url).hostname or "localhost"
    root = xml.Element("feed", {"xml:lang": "en-US", "xmlns": ATOM})
    _text(root, "id", f"tag:{host},2005:/history")
    _link(root, "alternate", "text/html", page.url)
    _link(root, "self", "application/atom+xml", f"{page.url}/history.atom")
    _text(root, "title", f"{page.name} - Incident History")
    _text(root, "updated", wire.timestamp(page.updated_at, page))
    _text(xml.SubElement(root, "author"), "name", page.name)
    for incident in _newest(snapshot):
        entry = xml.SubElement(root, "entry")
        _text(entry, "id", f"tag:{host},2005:Incident/{incident.uid}")
        _text(entry, "published", wire.timestamp(incident.created_at, page))
        _text(entry, "updated", wire.timestamp(incident.updated_at, page))
        _link(entry, "alternate", "text/html", wire.incident_url(incident.uid, page))
        _text(entry, "title", incident.name)
        _text(entry, "content", body_html(incident, page)).set("type", "html")
    return _document(root)


def body_html(incident: IncidentFact, page: PageFact) -> str:
    """Return all updates as Statuspage words them in feeds, newest first; everything escaped."""
    zone = wire.zone_of(page.time_zone)
    before = [*(update.status for update in incident.updates[1:]), None]
    parts = [
        _update_html(update, was, zone)
        for update, was in zip(incident.updates, before, strict=True)
    ]
    if incident.status is Status.SCHEDULED and incident.scheduled_for:
        until = incident.scheduled_until
        end = f" - {_moment(until, zone)}" if until else ""
        when = f"{_moment(incident.scheduled_for, zone)}{end}"
        parts.insert(0, f"<p><strong>THIS IS A SCHEDULED EVENT {when}</strong></p>")
    return "\n".join(parts)


def _update_html(update: UpdateFact, before: Status | None, zone: ZoneInfo) -> str:
    label = "Update" if update.status == before else update.status.replace("_", " ").capitalize()
    text = escape(update.body).replace("\r\n", "\n").replace("\n", "<br>")
    advice = f"<br>{escape(update.what_to_do)}" if update.what_to_do else ""
    when = _moment(update.display_at, zone)
    return f"<p><small>{when}</small><br><strong>{label}</strong> - {text}{advice}</p>"


def _moment(at: datetime, zone: ZoneInfo) -> str:
    local = at.astimezone(zone)
    return (
        f"{local:%b} <var data-var='date'>{local.day}</var>, "
        f"<var data-var='time'>{local:%H:%M}</var> {local:%Z}"
    )


def _newest(snapshot: Snapshot) -> list[IncidentFact]:
    return sorted(snapshot.incidents, key=_said_at, reverse=True)[:ENTRIES_MAX]


def _said_at(incident: IncidentFact) -> datetime:
    return incident.updates[0].display_at if incident.updates else incident.created_at


def _rfc822(at: datetime, page: PageFact) -> str:
    return format_datetime(at.astimezone(wire.zone_of(page.time_zone)))


def _text(parent: xml.Element, tag: str, text: str) -> xml.Element:
    element = xml.SubElement(parent, tag)
    element.text = _NOT_XML.sub("", text)
    return element


def _link(parent: xml.Element, rel: str, kind: str, href: str) -> None:
    xml.SubElement(parent, "link", {"rel": rel, "type": kind, "href": href})


def _document(root: xml.Element) -> bytes:
    text: bytes = xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return text
