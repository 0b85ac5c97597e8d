"""A snapshot as feeds: RSS and Atom in the shapes of Statuspage's history feeds, and a JSON Feed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from html import escape
from urllib.parse import urlsplit
from xml.etree import ElementTree as xml
from zoneinfo import ZoneInfo

from incidents import wire
from incidents.facts import ComponentFact, IncidentFact, PageFact, UpdateFact
from incidents.lifecycle import Status
from public import statusapi, words
from public.snapshot import Snapshot

ENTRIES_MAX = 50  # Statuspage shows at least 25: statuspage-api.md §3
UPDATES_MAX = 1_024  # kept as they were written: what was said before stays, and each feed says it
ATOM = "http://www.w3.org/2005/Atom"
JSON_FEED = "https://jsonfeed.org/version/1.1"


@dataclass(frozen=True, slots=True)
class Feed:
    """What a feed tells: its name, where its page and its files lie, and its incidents, the newest first."""

    page: PageFact
    title: str
    home: str  # the page that it accompanies, as an address
    stem: str  # its files without their endings, as an address
    name: str  # in its id, which never changes
    incidents: tuple[IncidentFact, ...]
    hub: str = ""  # WebSub's, which tells readers of news; empty without one
    silent: bool = False  # watchdog.py's: an entry on top says that nothing is known

    @property
    def host(self) -> str:
        return urlsplit(self.page.url).hostname or "localhost"

    @property
    def updated_at(self) -> datetime:
        """The newest change of what it tells: an unchanged feed is an unchanged file."""
        return max((one.updated_at for one in self.incidents), default=self.page.created_at)


def of_page(snapshot: Snapshot, hub: str = "", *, silent: bool = False) -> Feed:
    """Return the feed of everything: /history.rss and /history.atom."""
    page = snapshot.page
    title = f"{page.name} - Incident History"
    stem = f"{page.url}/history"
    return Feed(page, title, page.url, stem, "history", _newest(snapshot.incidents), hub, silent)


def of_component(one: ComponentFact, snapshot: Snapshot, hub: str = "") -> Feed:
    """Return the feed of what concerns one component: /components/{slug}.rss and the others."""
    page = snapshot.page
    own = [
        incident
        for incident in snapshot.incidents
        if any(named.uid == one.uid for named in incident.components)
    ]
    home = f"{page.url}/components/{one.slug}"
    title = f"{page.name} - {one.name}"
    return Feed(page, title, home, home, f"components/{one.uid}", _newest(own), hub)


def rss(feed: Feed) -> bytes:
    page = feed.page
    xml.register_namespace("atom", ATOM)
    root = xml.Element("rss", {"version": "2.0", "xmlns:dc": "http://purl.org/dc/elements/1.1/"})
    channel = xml.SubElement(root, "channel")
    _text(channel, "title", feed.title)
    _text(channel, "link", feed.home)
    _text(channel, "description", "Statuspage")
    _text(channel, "pubDate", _rfc822(feed.updated_at, page))
    own = {"rel": "self", "type": "application/rss+xml", "href": f"{feed.stem}.rss"}
    xml.SubElement(channel, f"{{{ATOM}}}link", own)
    if feed.hub:
        xml.SubElement(channel, f"{{{ATOM}}}link", {"rel": "hub", "href": feed.hub})
    if feed.silent:
        item = xml.SubElement(channel, "item")
        _text(item, "title", words.silent_headline())
        _text(item, "description", words.silent_headline())
        _text(item, "link", page.url)
        _text(item, "guid", _silent_id(feed)).set("isPermaLink", "false")
    for incident in feed.incidents:
        item = xml.SubElement(channel, "item")
        url = wire.incident_url(incident.uid, page)
        _text(item, "title", incident.name)
        _text(item, "description", body_html(incident, page))
        _text(item, "pubDate", _rfc822(_said_at(incident), page))
        _text(item, "link", url)
        _text(item, "guid", url)
    return _document(root)


def atom(feed: Feed) -> bytes:
    page = feed.page
    root = xml.Element("feed", {"xml:lang": "en-US", "xmlns": ATOM})
    _text(root, "id", f"tag:{feed.host},2005:/{feed.name}")
    _link(root, "alternate", "text/html", feed.home)
    _link(root, "self", "application/atom+xml", f"{feed.stem}.atom")
    if feed.hub:
        xml.SubElement(root, "link", {"rel": "hub", "href": feed.hub})
    _text(root, "title", feed.title)
    _text(root, "updated", _silent_at(feed) or wire.timestamp(feed.updated_at, page))
    _text(xml.SubElement(root, "author"), "name", page.name)
    if feed.silent:
        entry = xml.SubElement(root, "entry")
        _text(entry, "id", _silent_id(feed))
        _text(entry, "updated", words.SINCE_ISO)
        _link(entry, "alternate", "text/html", page.url)
        _text(entry, "title", words.silent_headline())
        _text(entry, "content", words.silent_headline())
    for incident in feed.incidents:
        entry = xml.SubElement(root, "entry")
        _text(entry, "id", f"tag:{feed.host},2005:Incident/{incident.uid}")
        _text(entry, "published", wire.timestamp(incident.created_at, page))
        _text(entry, "updated", wire.timestamp(incident.updated_at, page))
        _link(entry, "alternate", "text/html", wire.incident_url(incident.uid, page))
        _text(entry, "title", incident.name)
        _text(entry, "content", body_html(incident, page)).set("type", "html")
    return _document(root)


def json_feed(feed: Feed, path: str) -> bytes:
    """Return a JSON Feed with an item for each update: its id never changes, an edit moves `date_modified`."""
    page = feed.page
    told = [(update, incident) for incident in feed.incidents for update in incident.updates]
    told.sort(key=lambda pair: pair[0].display_at, reverse=True)
    items: list[statusapi.Json] = [
        {
            "id": f"tag:{feed.host},2005:Update/{update.uid}",
            "url": f"{wire.incident_url(incident.uid, page)}#{update.uid}",
            "title": incident.name,
            "content_html": _update_html(update, None, wire.zone_of(page.time_zone)),
            "content_text": "\n\n".join(part for part in (update.body, update.what_to_do) if part),
            "date_published": statusapi.iso(update.display_at),
            "date_modified": statusapi.iso(update.edited_at or update.display_at),
            "tags": [str(update.status)],
        }
        for update, incident in told[:ENTRIES_MAX]
    ]
    if feed.silent:
        note = words.silent_headline()
        items.insert(
            0,
            {
                "id": _silent_id(feed),
                "url": page.url,
                "title": note,
                "content_text": note,
                "date_published": words.SINCE_ISO,
            },
        )
    document: statusapi.Json = {
        "version": JSON_FEED,
        "title": feed.title,
        "home_page_url": feed.home,
        "feed_url": f"{page.url}/{path}",
        "authors": [{"name": page.name, "url": page.url}],
        "items": items,
    }
    if feed.hub:
        document["hubs"] = [{"type": "WebSub", "url": feed.hub}]
    return statusapi.encode(document)


def _silent_id(feed: Feed) -> str:
    return f"tag:{feed.host},2005:Silence/{words.SINCE_ISO}"


def _silent_at(feed: Feed) -> str:
    return words.SINCE_ISO if feed.silent else ""


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


@lru_cache(maxsize=UPDATES_MAX)
def _update_html(update: UpdateFact, before: Status | None, zone: ZoneInfo) -> str:
    label = "Update" if update.status == before else update.status.replace("_", " ").capitalize()
    text = escape(update.body).replace("\r\n", "\n").replace("\n", "<br>")
    advice = f"<br>{escape(update.what_to_do)}" if update.what_to_do else ""
    when = _moment(update.display_at, zone)
    edited = (
        f" <small>(edited {_moment(update.edited_at, zone)})</small>" if update.edited_at else ""
    )
    return f"<p><small>{when}</small><br><strong>{label}</strong> - {text}{advice}{edited}</p>"


def _moment(at: datetime, zone: ZoneInfo) -> str:
    local = at.astimezone(zone)
    return (
        f"{local:%b} <var data-var='date'>{local.day}</var>, "
        f"<var data-var='time'>{local:%H:%M}</var> {local:%Z}"
    )


def _newest(incidents: Sequence[IncidentFact]) -> tuple[IncidentFact, ...]:
    return tuple(sorted(incidents, key=_said_at, reverse=True)[:ENTRIES_MAX])


def _said_at(incident: IncidentFact) -> datetime:
    return incident.updates[0].display_at if incident.updates else incident.created_at


def _rfc822(at: datetime, page: PageFact) -> str:
    return format_datetime(at.astimezone(wire.zone_of(page.time_zone)))


def _text(parent: xml.Element, tag: str, text: str) -> xml.Element:
    element = xml.SubElement(parent, tag)
    element.text = words.for_xml(text)
    return element


def _link(parent: xml.Element, rel: str, kind: str, href: str) -> None:
    xml.SubElement(parent, "link", {"rel": rel, "type": kind, "href": href})


def _document(root: xml.Element) -> bytes:
    text: bytes = xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return text
