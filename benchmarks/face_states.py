"""Every state that the public page can be in, as snapshots: what is looked at by people and judged by machines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from incidents.facts import ComponentFact, GroupFact, IncidentFact, PageFact, UpdateFact
from incidents.lifecycle import Audience, ComponentStatus, Impact, Status
from public.measures import Series, Told
from public.snapshot import Checked, HistoryRow, Snapshot

FINE = ComponentStatus.OPERATIONAL
SLOW = ComponentStatus.DEGRADED_PERFORMANCE
PARTIAL = ComponentStatus.PARTIAL_OUTAGE
MAJOR = ComponentStatus.MAJOR_OUTAGE
WORKS = ComponentStatus.UNDER_MAINTENANCE

LANGUAGES = ("en", "es")
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
ADVICE = "Check the wearer or their own device.\n\nDo not delete or re-install the app."
DOWN = "Followers may not receive readings or alerts"
LONG = "A name without an end " * 14  # 308 characters
# Right to left, marks that turn the direction, emoji of many code points, and markup.
HOSTILE = (
    "قراءات المتابعين \u202eturned\u202c",
    "<script>alert(1)</script> & <b>bold</b>",
    "👩‍👩‍👧‍👦🩸🇪🇸 family",
)


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture of the public page: `path` of `snapshot`, as the publisher or the watchdog left it."""

    name: str
    path: str
    snapshot: Snapshot
    is_silent: bool = False


def scenes(now: datetime) -> list[Scene]:
    """Return every state of the index, and every other page in the state that shows most of it."""
    index = {
        "working": working(now),
        "slow": slow(now),
        "partly": partly(now),
        "down": down(now),
        "overdue": overdue(now),
        "maintenance": maintenance(now),
        "unknown": unknown(now),
        "several": several(now),
        "over": over(now),
        "empty": empty(now),
        "hostile": hostile(now),
    }
    found = [Scene(name, "", taken) for name, taken in index.items()]
    found.append(Scene("silent", "", index["down"], is_silent=True))
    return found + _pages(now, index)


def _pages(now: datetime, index: Mapping[str, Snapshot]) -> list[Scene]:
    past = index["over"]
    month = f"months/{(now - 3 * DAY):%Y-%m}"
    return [
        Scene("component", "components/follow", past),
        Scene("incident-open", "incidents/down00000001", index["down"]),
        Scene("incident-over", "incidents/over00000001", past),
        Scene("planned", "maintenance/plan00000001", index["several"]),
        Scene("history", "history", past),
        Scene("month", month, past),
        Scene("widget", "widget", index["down"]),
        Scene("widget-silent", "widget", index["down"], is_silent=True),
        Scene("thanks", "thanks", index["working"]),
    ]


# --- states of the index ----------------------------------------------------------------------


def working(now: datetime) -> Snapshot:
    return _taken(now)


def slow(now: datetime) -> Snapshot:
    one = _incident(
        now, "slow00000001", "Readings arrive up to 2 minutes late", Impact.MINOR, 25 * MINUTE,
        [(Status.IDENTIFIED, "The servers that hand out readings answer slowly. No reading is lost.", 15 * MINUTE)],
        ["follow"],
    )  # fmt: skip
    return _taken(now, one, follow=SLOW)


def partly(now: datetime) -> Snapshot:
    one = _incident(
        now, "part00000001", "About 4 in 10 people cannot log in", Impact.MAJOR, 12 * MINUTE,
        [(Status.INVESTIGATING, "Who is logged in already still receives readings and alerts.", 11 * MINUTE)],
        ["login"], advice="Stay logged in. If you are logged out, check the wearer or their own device.",
        promised=now + 18 * MINUTE,
    )  # fmt: skip
    return _taken(now, one, login=PARTIAL)


def down(now: datetime, *, promised: timedelta = 20 * MINUTE) -> Snapshot:
    one = _incident(
        now, "down00000001", DOWN, Impact.CRITICAL, 68 * MINUTE,
        [
            (Status.IDENTIFIED, "We have found the overloaded servers and are adding more. Readings do not "
             "arrive yet.", 4 * MINUTE),
            (Status.INVESTIGATING, "Readings and alerts do not reach followers. The wearer's own device is not "
             "affected. We are looking for the cause.", 39 * MINUTE),
            (Status.INVESTIGATING, "No new readings since 01:02.", 66 * MINUTE),
        ],
        ["follow", "login"], advice=ADVICE, promised=now + promised,
    )  # fmt: skip
    return _taken(now, one, follow=MAJOR, login=PARTIAL)


def overdue(now: datetime) -> Snapshot:
    return down(now, promised=-7 * MINUTE)


def maintenance(now: datetime) -> Snapshot:
    return _taken(now, _window(now, Status.IN_PROGRESS, now - 20 * MINUTE), site=WORKS)


def unknown(now: datetime) -> Snapshot:
    taken = _taken(now)
    blind: dict[str, Any] = {
        "unknown_since": now - 4 * MINUTE,
        "unknown_why": "not checked while “log in” fails",
    }
    return replace(
        taken,
        components=tuple(
            replace(one, **blind) if one.slug == "follow" else one for one in taken.components
        ),
        checked=Checked(now - 4 * MINUTE, 0),
    )


def several(now: datetime) -> Snapshot:
    first = down(now).incidents[0]
    second = slow(now).incidents[0]
    window = _window(now, Status.SCHEDULED, now + 2 * DAY)
    return _taken(now, first, second, window, follow=MAJOR, login=PARTIAL, site=SLOW)


def over(now: datetime) -> Snapshot:
    """A quiet day after a bad night: past incidents, one of them looked back on."""
    ended = now - 3 * DAY
    one = _incident(
        now, "over00000001", DOWN, Impact.CRITICAL, 3 * DAY + 10 * HOUR,
        [
            (Status.RESOLVED, "Readings and alerts work again. Open the app and look for a reading from the last ten "
             "minutes. Alerts between 01:02 and 11:00 may have been missed.", 3 * DAY),
            (Status.MONITORING, "Readings arrive again for everyone. We are watching.", 3 * DAY + HOUR),
            (Status.IDENTIFIED, "We have found the overloaded servers and are **adding more**.", 3 * DAY + 8 * HOUR),
            (Status.INVESTIGATING, "Readings and alerts do not reach followers.", 3 * DAY + 10 * HOUR),
        ],
        ["follow", "login"], advice=ADVICE,
    )  # fmt: skip
    updates = (one.updates[0], replace(one.updates[1], edited_at=ended), *one.updates[2:])
    one = replace(
        one, updates=updates, resolved_at=ended, updated_at=ended, component_statuses=(),
        postmortem_body="The servers that hand out readings ran out of connections.\n\n"
        "- We now refuse before we run out.\n- We watch the age of the newest reading from five places.\n",
        postmortem_published_at=now - DAY,
    )  # fmt: skip
    taken_back = _incident(
        now, "over00000002", "Log in may fail", Impact.MAJOR, 9 * DAY + HOUR,
        [(Status.RESOLVED, "This was a false alarm: our own network failed.", 9 * DAY)], ["login"],
    )  # fmt: skip
    taken_back = replace(
        taken_back, resolved_at=now - 9 * DAY, updated_at=now - 9 * DAY, retracted_at=now - 9 * DAY
    )
    done = _window(now, Status.COMPLETED, now - 6 * DAY)
    told = (
        Told("email", 21_480, 21_480, 41.0, 96.0, 131.0, _steps(131.0, 1.0)),
        Told("sms", 1_204, 1_198, 610.0, 1_180.0, 1_320.0, _steps(1_320.0, 1_198 / 1_204)),
    )
    return replace(
        _taken(now, one, replace(done, resolved_at=now - 6 * DAY + 2 * HOUR), taken_back),
        told=((one.uid, told),),
    )


def _steps(last_s: float, share: float) -> tuple[tuple[float, float], ...]:
    return tuple((2 + (last_s - 2) * part / 30, share * (part + 1) / 31) for part in range(31))


def empty(now: datetime) -> Snapshot:
    """A new installation, before its first component."""
    return replace(_taken(now), components=(), groups=(), history=(), latency=(), checked=None)


def hostile(now: datetime) -> Snapshot:
    names = dict(zip(("follow", "login", "site"), HOSTILE, strict=True))
    taken = several(now)
    renamed = {
        one.uid: replace(one, name=names.get(one.slug, LONG), description=LONG)
        for one in taken.components
    }
    incidents = tuple(
        replace(
            one, name=f"{name} {LONG}",
            components=tuple(renamed[each.uid] for each in one.components),
            updates=tuple(replace(said, body=f"{name}\n\n{LONG}{'x' * 300}", speaker=LONG) for said in one.updates),
        )
        for one, name in zip(taken.incidents, HOSTILE, strict=True)
    )  # fmt: skip
    page = replace(taken.page, name=HOSTILE[0] + LONG[:80], headline=HOSTILE[1])
    return replace(taken, components=tuple(renamed.values()), incidents=incidents, page=page)


# --- of what they are made ----------------------------------------------------------------------


def _taken(now: datetime, *incidents: IncidentFact, **statuses: ComponentStatus) -> Snapshot:
    groups = (_group(now, 1, "Follow app"), _group(now, 2, "Sensor"))
    parts = tuple(
        _component(now, number, slug, name, group, statuses.get(slug, FINE))
        for number, (slug, name, group) in enumerate(
            (
                ("follow", "Readings and alerts for followers", groups[0]),
                ("login", "Log in", groups[0]),
                ("site", "Web site", groups[0]),
                ("upload", "Upload from the wearer's phone", groups[1]),
            )
        )
    )
    known = {one.slug: one for one in parts}
    page = PageFact(
        uid="page00000001", name="Follow status", url="https://status.example.org",
        time_zone="America/New_York", languages=LANGUAGES, updated_at=now, created_at=now - 900 * DAY,
    )  # fmt: skip
    with_parts = tuple(
        replace(one, components=tuple(known[each.slug] for each in one.components))
        for one in incidents
    )
    return Snapshot(
        now=now, page=page, groups=groups, components=parts, incidents=with_parts,
        history=tuple((one.uid, _changes(now, one, statuses)) for one in parts),
        archive=tuple(_row(one) for one in with_parts) + _older(now),
        checked=Checked(now - timedelta(seconds=9), 5), unshown=(), latency=_latency(now),
    )  # fmt: skip


def _group(now: datetime, number: int, name: str) -> GroupFact:
    return GroupFact(f"group{number:07}", name, "", number, now, now)


def _component(
    now: datetime, number: int, slug: str, name: str, group: GroupFact, status: ComponentStatus
) -> ComponentFact:
    return ComponentFact(
        uid=f"{slug:0<12.12}", slug=slug, name=name, description="", status=status, position=number,
        critical=number == 0, group=group.uid, created_at=now - 900 * DAY, updated_at=now - HOUR,
    )  # fmt: skip


def _changes(
    now: datetime, one: ComponentFact, statuses: Mapping[str, ComponentStatus]
) -> tuple[tuple[datetime, str], ...]:
    """A quarter with a bad night, a slow week and a planned evening; "upload" is sixty days old."""
    first = now - (60 * DAY if one.slug == "upload" else 120 * DAY)
    found = [(first, "operational")]
    if one.slug in ("follow", "login"):
        found += [(now - 3 * DAY - 10 * HOUR, "major_outage"), (now - 3 * DAY, "operational")]
    if one.slug == "follow":
        found[1:1] = [
            (now - 40 * DAY, "degraded_performance"),
            (now - 37 * DAY, "operational"),
            (now - 20 * DAY, "partial_outage"),
            (now - 20 * DAY + HOUR, "operational"),
        ]
    if one.slug == "site":
        found += [(now - 6 * DAY, "under_maintenance"), (now - 6 * DAY + 2 * HOUR, "operational")]
    if one.slug in statuses:
        found.append((now - 66 * MINUTE, str(statuses[one.slug])))
    return tuple(found)


def _incident(
    now: datetime, uid: str, name: str, impact: Impact, age: timedelta,
    said: list[tuple[Status, str, timedelta]], slugs: list[str],
    advice: str = "", promised: datetime | None = None,
) -> IncidentFact:  # fmt: skip
    updates = tuple(
        _update(now - ago, uid, len(said) - number, status, body, advice if number == len(said) - 1 else "")
        for number, (status, body, ago) in enumerate(said)
    )  # fmt: skip
    components = tuple(_component(now, 0, slug, slug, _group(now, 1, ""), FINE) for slug in slugs)
    return IncidentFact(
        uid=uid, name=name, status=said[0][0], impact=impact, created_at=now - age, updated_at=now - said[0][2],
        started_at=now - age, monitoring_at=None, resolved_at=None, automatic=False, updates=updates,
        components=components, published_at=now - age, next_update_by=promised,
    )  # fmt: skip


def _update(
    at: datetime, incident: str, number: int, status: Status, body: str, advice: str
) -> UpdateFact:
    return UpdateFact(
        uid=f"u{number}{incident[2:]}", incident=incident, number=number, status=status, body=body,
        what_to_do=advice, created_at=at, updated_at=at, display_at=at, published_at=at, next_update_by=None,
        audience=Audience.EVERYONE, automatic=number == 1, speaker="" if number == 1 else "Maria, Follow team",
        changes=(),
    )  # fmt: skip


def _window(now: datetime, status: Status, begins: datetime) -> IncidentFact:
    one = _incident(
        now, "plan00000001", "New servers for the web site", Impact.MAINTENANCE, 8 * DAY,
        [(status, "The web site is away for up to two hours. The app is not touched.", 7 * DAY)], ["site"],
    )  # fmt: skip
    words: dict[str, Any] = {"scheduled_for": begins, "scheduled_until": begins + 2 * HOUR}
    return replace(one, **words)


def _row(one: IncidentFact) -> HistoryRow:
    return HistoryRow(
        one.uid,
        one.name,
        one.status,
        one.impact,
        one.started_at,
        one.resolved_at,
        one.scheduled_for,
        one.retracted_at is not None,
    )


def _older(now: datetime) -> tuple[HistoryRow, ...]:
    """Incidents of former months, whose pages are not in the snapshot any more."""
    return tuple(
        HistoryRow(
            f"older{number:07}",
            name,
            Status.RESOLVED,
            impact,
            now - ago,
            now - ago + 2 * HOUR,
            None,
        )
        for number, (name, impact, ago) in enumerate(
            (
                ("Readings arrive late", Impact.MINOR, 40 * DAY),
                ("The web site shows old values", Impact.MAJOR, 95 * DAY),
                ("Log in does not work", Impact.CRITICAL, 430 * DAY),
            )
        )
    )


def _latency(now: datetime) -> tuple[tuple[str, tuple[Series, ...]], ...]:
    """A week by the hour from two places; one of them measured nothing for half a day."""
    top = now.replace(minute=0, second=0, microsecond=0)
    places: tuple[tuple[str, Callable[[int], float | None]], ...] = (
        ("frankfurt", lambda ago: 180.0 + (ago * 37) % 60 + (900 if 72 <= ago < 82 else 0)),
        ("virginia", lambda ago: None if 30 <= ago < 42 else 90.0 + (ago * 53) % 40),
    )
    series = []
    for place, took in places:
        hours = [(top - ago * HOUR, took(ago)) for ago in range(167, -1, -1)]
        series.append(
            Series("follow-journey", place, tuple((at, ms) for at, ms in hours if ms is not None))
        )
    return (("follow", tuple(series)),)
