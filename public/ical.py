"""A feed as a calendar: planned maintenance, and incidents as they were."""

from datetime import datetime, timedelta

from icalendar import Calendar, Event

from incidents import wire
from incidents.facts import IncidentFact
from incidents.lifecycle import Status
from public.feeds import Feed

# Nobody knows the end of what is open: calendars want one, so it is the next hour.
_OPEN_LASTS = timedelta(hours=1)
_PRODUCT = "-//statuspage//history//EN"
_CONTROLS = {code: None for code in range(32) if code not in (9, 10)}


def calendar(feed: Feed) -> bytes:
    """Return an iCalendar file (RFC 5545): one event per incident, whose UID never changes."""
    found = Calendar()
    found.add("prodid", _PRODUCT)
    found.add("version", "2.0")
    found.add("x-wr-calname", _line(feed.title))
    for one in feed.incidents:
        found.add_component(_event(one, feed))
    return bytes(found.to_ical())


def _event(one: IncidentFact, feed: Feed) -> Event:
    event = Event()
    event.add("uid", f"{one.uid}@{feed.host}")
    event.add("dtstamp", one.updated_at)
    event.add("last-modified", one.updated_at)
    event.add("created", one.created_at)
    event.add("sequence", len(one.updates) + sum(1 for each in one.updates if each.edited_at))
    event.add("summary", _line(one.name))
    event.add("url", wire.incident_url(one.uid, feed.page))
    began_at = one.scheduled_for or one.started_at
    event.add("dtstart", began_at)
    event.add("dtend", _end(one, began_at))
    said = "\n\n".join(
        f"{update.status.replace('_', ' ').capitalize()}: {update.body}" for update in one.updates
    )
    event.add("description", _plain(said))
    event.add("status", "TENTATIVE" if one.status is Status.SCHEDULED else "CONFIRMED")
    event.add("transp", "TRANSPARENT")  # nobody is busy because a server is
    return event


def _end(one: IncidentFact, began_at: datetime) -> datetime:
    ended_at = one.resolved_at or one.scheduled_until
    if ended_at is None or ended_at <= began_at:
        ended_at = max(one.updated_at, began_at) + _OPEN_LASTS
    return ended_at


def _plain(text: str) -> str:
    """RFC 5545 §3.1 allows no control characters but the tab; line ends are escaped by the library."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)


def _line(text: str) -> str:
    return " ".join(_plain(text).split())
