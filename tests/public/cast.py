"""Facts for tests, each with one word changed where the test says so."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from incidents.facts import ComponentChange, ComponentFact, IncidentFact, PageFact, UpdateFact
from incidents.lifecycle import Audience, ComponentStatus, Impact, Status
from public.snapshot import HistoryRow, Snapshot

# 30 November 2019, 02:10:18 in New York: the night this is for.
NOW = datetime(2019, 11, 30, 7, 10, 18, tzinfo=UTC)
HOUR_AGO = NOW - timedelta(hours=1)
LONG_AGO = datetime(2019, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

PAGE = PageFact(
    uid="page00000001", name="Follow status", url="https://status.example.org",
    time_zone="America/New_York", languages=("en",), updated_at=NOW, created_at=LONG_AGO,
)  # fmt: skip

FINE = ComponentStatus.OPERATIONAL
SLOW = ComponentStatus.DEGRADED_PERFORMANCE
PARTIAL = ComponentStatus.PARTIAL_OUTAGE
MAJOR = ComponentStatus.MAJOR_OUTAGE
WORKS = ComponentStatus.UNDER_MAINTENANCE


def component(slug: str = "follow", status: ComponentStatus = FINE, **words: Any) -> ComponentFact:
    fact = ComponentFact(
        uid=f"{slug:0<12.12}", slug=slug, name=slug.capitalize(), description="", status=status, position=1,
        critical=False, group=None, created_at=LONG_AGO, updated_at=HOUR_AGO,
    )  # fmt: skip
    return replace(fact, **words)


def update(number: int = 1, status: Status = Status.INVESTIGATING, **words: Any) -> UpdateFact:
    at = HOUR_AGO + timedelta(minutes=number)
    fact = UpdateFact(
        uid=f"update{number:06}", incident="incident0001", number=number, status=status,
        body=f"Text {number}.", what_to_do="", created_at=at, updated_at=at, display_at=at, published_at=at,
        next_update_by=None, audience=Audience.EVERYONE, automatic=False, speaker="", changes=(),
    )  # fmt: skip
    return replace(fact, **words)


def change(old: ComponentStatus = FINE, new: ComponentStatus = MAJOR) -> ComponentChange:
    return ComponentChange(component().uid, component().name, old, new)


def incident(*components: ComponentFact, **words: Any) -> IncidentFact:
    fact = IncidentFact(
        uid="incident0001", name="Followers may not receive readings", status=Status.INVESTIGATING,
        impact=Impact.CRITICAL, created_at=HOUR_AGO, updated_at=NOW, started_at=HOUR_AGO, monitoring_at=None,
        resolved_at=None, automatic=False, updates=(update(),), components=components, published_at=HOUR_AGO,
    )  # fmt: skip
    return replace(fact, **words)


def maintenance(status: Status = Status.SCHEDULED, **words: Any) -> IncidentFact:
    planned = {
        "uid": "maintenance1",
        "name": "New servers",
        "impact": Impact.MAINTENANCE,
        "scheduled_for": NOW + timedelta(days=1),
        "scheduled_until": NOW + timedelta(days=1, hours=2),
        "updates": (update(status=status),),
    }
    return incident(status=status, **(planned | words))


def snapshot(
    *incidents: IncidentFact, components: tuple[ComponentFact, ...] = (component(),), **words: Any
) -> Snapshot:
    fact = Snapshot(
        now=NOW, page=PAGE, groups=(), components=components, incidents=incidents, history=(),
        archive=tuple(row(one) for one in incidents), checked=None, unshown=(),
    )  # fmt: skip
    return replace(fact, **words)


def row(one: IncidentFact) -> HistoryRow:
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
