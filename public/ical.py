"""A feed as a calendar: planned maintenance, and incidents as they were."""

from datetime import datetime, timedelta
from functools import lru_cache

from icalendar import Calendar, Event

from incidents import wire
from incidents.facts import IncidentFact
from incidents.lifecycle import Status
from public.feeds import Feed

# Nobody knows the end of what is open: calendars want one, so it is the next hour.
_OPEN_LASTS = timedelta(hours=1)
EVENTS_MAX = 256  # kept as they were written; a feed has 50, and those of components tell the same
_END = b"END:VCALENDAR\r\n"
_PRODUCT = "-//statuspage//history//EN"
_CONTROLS = {code: None for code in range(32) if code not in (9, 10)}


def calendar(feed: Feed) -> bytes:
    """Return an iCalendar file (RFC 5545): one event per incident, whose UID never changes."""
    found = Calendar()
    found.add("prodid", _PRODUCT)
    found.add("version", "2.0")
    found.add("x-wr-calname", _line(feed.title))
    empty = bytes(found.to_ical())
    events = b"".join(_event_of(one, feed) for one in feed.incidents)
    return empty.removesuffix(_END) + events + _END


def _event_of(one: IncidentFact, feed: Feed) -> bytes:
    began_at = one.scheduled_for or one.started_at
    said = "\n\n".join(
        f"{update.status.replace('_', ' ').capitalize()}: {update.body}" for update in one.updates
    )
    return _event(
        f"{one.uid}@{feed.host}",
        (one.created_at, one.updated_at, began_at, _end(one, began_at)),
        len(one.updates) + sum(1 for each in one.updates if each.edited_at),
        _line(one.name),
        wire.incident_url(one.uid, feed.page),
        _plain(said),
        _status(one),
    )


@lru_cache(maxsize=EVENTS_MAX)  # of an update's events all but one are as they were
def _event(
    uid: str,
    times: tuple[datetime, datetime, datetime, datetime],
    sequence: int,
    name: str,
    url: str,
    said: str,
    status: str,
) -> bytes:
    created_at, updated_at, began_at, ended_at = times
    event = Event()
    event.add("uid", uid)
    event.add("dtstamp", updated_at)
    event.add("last-modified", updated_at)
    event.add("created", created_at)
    event.add("sequence", sequence)
    event.add("summary", name)
    event.add("url", url)
    event.add("dtstart", began_at)
    event.add("dtend", ended_at)
    event.add("description", said)
    event.add("status", status)
    event.add("transp", "TRANSPARENT")  # nobody is busy because a server is
    return bytes(event.to_ical())


def _status(one: IncidentFact) -> str:
    if _is_called_off(one):
        return "CANCELLED"
    return "TENTATIVE" if one.status is Status.SCHEDULED else "CONFIRMED"


def _is_called_off(one: IncidentFact) -> bool:
    """Say whether a window was taken back, or closed before it opened."""
    if one.scheduled_for is None:
        return False
    return bool(one.retracted_at or (one.resolved_at and one.resolved_at < one.scheduled_for))


def _end(one: IncidentFact, began_at: datetime) -> datetime:
    ended_at = one.scheduled_until if _is_called_off(one) else None
    ended_at = ended_at or one.resolved_at or one.scheduled_until
    if ended_at is None or ended_at <= began_at:
        ended_at = max(one.updated_at, began_at) + _OPEN_LASTS
    return ended_at


def _plain(text: str) -> str:
    """RFC 5545 §3.1 allows no control characters but the tab; line ends are escaped by the library."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)


def _line(text: str) -> str:
    return " ".join(_plain(text).split())
