"""One moment of everything the public may read: the only place that queries for the public."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery
from django.utils.dateparse import parse_datetime

from incidents import reads
from incidents.facts import ComponentFact, GroupFact, IncidentFact, PageFact
from incidents.lifecycle import ACTIVE, MAINTENANCE, OPEN, Impact, Status
from incidents.models import Component, Group, Incident, Page, Pulse, StatusChange, Update
from public import measured
from public.measures import Series, Told

BARS = timedelta(days=90)  # what the bars show, as Statuspage's do
PAST = timedelta(days=15)  # past incidents on the index, as Statuspage shows them
NEWEST = 50  # incidents and maintenances in /api/v2: statuspage-api.md §2
ARCHIVE_MAX = 1_000  # rows of /history; older incidents keep their own pages
CHANGES_MAX = 50_000  # changes of status in 90 days: one every 155 s, all components together
UNSHOWN_MAX = 200  # updates that one pass marks as shown; an import's rest follows a second later
PROBES_PULSE = "probes"  # its note: {"locations": {name: ISO time of its last accepted results}}

_GRAVEST = (Impact.CRITICAL, Impact.MAJOR, Impact.MINOR, Impact.NONE, Impact.MAINTENANCE)


@dataclass(frozen=True, slots=True)
class Checked:
    """When the checks last looked, and from how many places within the last `PLACE_IS_FRESH`."""

    at: datetime
    places: int


PLACE_IS_FRESH = timedelta(seconds=90)  # contract.md, "Quorum": no result for 90 s is no result


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One line of the archive."""

    uid: str
    name: str
    status: Status
    impact: Impact
    started_at: datetime
    ended_at: datetime | None
    scheduled_for: datetime | None
    retracted: bool = False

    @property
    def is_maintenance(self) -> bool:
        return self.scheduled_for is not None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Facts only, all read in one pass, so that page, banner, API and feeds cannot disagree."""

    now: datetime
    page: PageFact
    groups: tuple[GroupFact, ...]
    components: tuple[ComponentFact, ...]
    incidents: tuple[IncidentFact, ...]  # realtime and maintenances, newest first
    history: tuple[tuple[str, tuple[tuple[datetime, str], ...]], ...]  # component uid -> changes
    archive: tuple[HistoryRow, ...]
    checked: Checked | None
    unshown: tuple[int, ...]  # row ids of updates in it that the page has not shown yet
    latency: tuple[tuple[str, tuple[Series, ...]], ...] = ()  # component slug -> its checks
    told: tuple[tuple[str, tuple[Told, ...]], ...] = ()  # incident uid -> channels, when allowed

    def told_in(self, language: str) -> "Snapshot":
        """Return the same with the words that operators wrote in `language`, where they wrote some."""
        told = tuple(one.told_in(language) for one in self.incidents)
        changed = any(one is not other for one, other in zip(told, self.incidents, strict=True))
        return replace(self, incidents=told) if changed else self

    @property
    def realtime(self) -> tuple[IncidentFact, ...]:
        return tuple(one for one in self.incidents if not one.is_maintenance)

    @property
    def maintenances(self) -> tuple[IncidentFact, ...]:
        return tuple(one for one in self.incidents if one.is_maintenance)

    @property
    def unresolved(self) -> tuple[IncidentFact, ...]:
        """Open incidents, the gravest first."""
        return tuple(
            sorted(
                (one for one in self.incidents if one.status in OPEN),
                key=lambda one: _GRAVEST.index(one.impact),
            )
        )

    @property
    def running(self) -> tuple[IncidentFact, ...]:
        """Maintenances whose window is open."""
        return tuple(
            one for one in self.incidents if one.status in (Status.IN_PROGRESS, Status.VERIFYING)
        )

    @property
    def planned(self) -> tuple[IncidentFact, ...]:
        """Maintenances to come, the next one first."""
        ahead = [one for one in self.incidents if one.status is Status.SCHEDULED]
        return tuple(sorted(ahead, key=lambda one: one.scheduled_for or one.created_at))


def take(now: datetime) -> Snapshot:
    """Read everything that the public may see now, in a constant number of queries.

    The updates not yet shown are listed before the incidents are read, so that each of them is surely
    in the snapshot that marks it as shown.
    """
    page = reads.the_page()
    unshown = list(
        Update.objects.filter(
            incident__page=page, published_at__isnull=False, shown_at__isnull=True
        )
        .order_by("published_at", "id")
        .values_list("id", "incident_id")[:UNSHOWN_MAX]
    )
    groups = list(Group.objects.filter(page=page))
    uids = {group.pk: group.uid for group in groups}
    rows = list(_components(page, now.replace(minute=0, second=0, microsecond=0) - BARS))
    wanted = _wanted(page, now, {incident for _, incident in unshown})
    incidents = tuple(reads.incident_fact(row) for row in reads.with_all(wanted))
    return Snapshot(
        now=now,
        page=reads.page_fact(page),
        groups=tuple(reads.group_fact(group) for group in groups),
        components=tuple(reads.component_fact(row, uids) for row in rows),
        incidents=incidents,
        history=_history(rows, page, now),
        archive=tuple(_archive(page)),
        checked=_checked(now),
        unshown=tuple(update for update, _ in unshown),
        latency=measured.latency(now.replace(minute=0, second=0, microsecond=0)),
        told=measured.told(incidents, now) if settings.SHOW_TIME_TO_INFORM else (),
    )


def signature() -> tuple[object, ...]:
    """Return what differs as soon as the public should read something else; three small queries."""
    page = Page.objects.order_by("id").values_list("updated_at", "name", "url", "headline").first()
    components = Component.objects.aggregate(Count("id"), Max("updated_at"))
    waiting = Update.objects.filter(published_at__isnull=False, shown_at__isnull=True)
    return page, *components.values(), waiting.order_by("-id").values_list("id", flat=True).first()


def incidents_of(uids: Sequence[str]) -> list[IncidentFact]:
    """Return these published incidents: for pages that a new folder must get back."""
    published = Incident.objects.filter(published_at__isnull=False, uid__in=uids)
    return [reads.incident_fact(row) for row in reads.with_all(published)]


def _components(page: Page, since: datetime) -> QuerySet[Component]:
    """All components, each with the status it had when the bars begin."""
    before = StatusChange.objects.filter(component=OuterRef("pk"), at__lt=since)
    newest = before.order_by("-at", "-id").values("status")[:1]
    return Component.objects.filter(page=page).annotate(status_before=Subquery(newest))


def _wanted(page: Page, now: datetime, with_news: set[int]) -> QuerySet[Incident]:
    published = Incident.objects.filter(page=page, published_at__isnull=False)
    realtime = published.exclude(status__in=MAINTENANCE).order_by("-created_at", "-id")
    planned = published.filter(status__in=MAINTENANCE).order_by("-created_at", "-id")
    return published.filter(
        Q(status__in=[*ACTIVE, Status.SCHEDULED])
        | Q(updated_at__gte=now - PAST)
        | Q(pk__in=with_news)
        | Q(pk__in=realtime.values("pk")[:NEWEST])
        | Q(pk__in=planned.values("pk")[:NEWEST])
    )


def _history(
    rows: Iterable[Component], page: Page, now: datetime
) -> tuple[tuple[str, tuple[tuple[datetime, str], ...]], ...]:
    # From the full hour, so that what bars and pages are made from stays equal for an hour.
    since = now.replace(minute=0, second=0, microsecond=0) - BARS
    changes: dict[int, list[tuple[datetime, str]]] = {}
    in_window = StatusChange.objects.filter(component__page=page, at__gte=since, at__lte=now)
    newest = in_window.order_by("-at", "-id").values_list("component_id", "at", "status")
    for component, at, status in reversed(list(newest[:CHANGES_MAX])):
        changes.setdefault(component, []).append((at, status))
    return tuple((row.uid, (*_before(row, since), *changes.get(row.pk, ()))) for row in rows)


def _before(row: Component, since: datetime) -> tuple[tuple[datetime, str], ...]:
    status: str | None = getattr(row, "status_before", None)
    return ((since, status),) if status else ()


def _archive(page: Page) -> Iterable[HistoryRow]:
    rows = Incident.objects.filter(page=page, published_at__isnull=False)
    columns = ("uid", "name", "status", "impact_override", "impact", "started_at", "resolved_at")
    newest = rows.order_by("-started_at", "-id")
    found = newest.values_list(*columns, "scheduled_for", "retracted_at")[:ARCHIVE_MAX]
    for uid, name, status, override, impact, started_at, ended_at, planned, retracted_at in found:
        yield HistoryRow(
            uid, name, Status(status), Impact(override or impact), started_at, ended_at, planned,
            retracted_at is not None,
        )  # fmt: skip


def _checked(now: datetime) -> Checked | None:
    """Read the probes' pulse; None when nothing was ever checked."""
    pulse = Pulse.objects.filter(name=PROBES_PULSE).first()
    places = pulse.note.get("locations") if pulse and isinstance(pulse.note, dict) else None
    if not isinstance(places, dict):
        return None
    seen = [at for at in (_instant(text) for text in places.values()) if at]
    if not seen:
        return None
    return Checked(max(seen), sum(1 for at in seen if now - at <= PLACE_IS_FRESH))


def _instant(text: object) -> datetime | None:
    try:
        at = parse_datetime(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at and at.tzinfo else None
