"""What the status server says, read from its database: verdicts, runs, incidents. Import once Django is set up."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from incidents.lifecycle import OPEN
from incidents.models import Call, Incident, StatusChange, Update
from probes.models import CurrentVerdict, Result, VerdictChange


@dataclass(frozen=True, slots=True)
class Said:
    """From `at` on a check said `word` of a component."""

    check: str
    component: str
    word: str
    at: datetime
    reasoning: str


def changes(since: datetime) -> list[Said]:
    """Return the changes of verdicts from `since` on, oldest first."""
    rows = VerdictChange.objects.filter(at__gte=since).select_related("of_check", "component")
    return [
        Said(row.of_check.slug, row.component.slug, row.new, row.at, row.reasoning)
        for row in rows.order_by("at", "id")
    ]


def current() -> dict[tuple[str, str], str]:
    """Return the verdicts as they stand, by check and component."""
    rows = CurrentVerdict.objects.select_related("of_check", "component")
    return {(row.of_check.slug, row.component.slug): row.word for row in rows}


def are_clean() -> bool:
    """Return True when no quorum of any check sees a failure in its newest runs."""
    return not CurrentVerdict.objects.filter(clean_since__isnull=True).exists()


def runs(since: datetime, *, location: str = "", check: str = "") -> list[Result]:
    """Return the runs that arrived from `since` on, oldest first."""
    rows = Result.objects.filter(received_at__gte=since).order_by("received_at", "id")
    if location:
        rows = rows.filter(location__name=location)
    if check:
        rows = rows.filter(of_check__slug=check)
    return list(rows)


def locations_heard(since: datetime) -> set[str]:
    """Return which locations handed in a run that began after `since`."""
    rows = Result.objects.filter(at__gte=since, received_at__gte=since)
    return set(rows.values_list("location__name", flat=True))


def newest(location: str, check: str) -> Result | None:
    """Return the newest run of a check at a location, of those that began in the last three seconds."""
    since = datetime.now(UTC) - timedelta(seconds=3)
    rows = Result.objects.filter(location__name=location, of_check__slug=check, at__gte=since)
    return rows.order_by("-at").first()


def open_incidents() -> list[Incident]:
    """Return what is open in public."""
    return list(Incident.objects.filter(published_at__isnull=False, status__in=list(OPEN)))


def incidents(since: datetime) -> list[Incident]:
    """Return the incidents made from `since` on."""
    return list(Incident.objects.filter(created_at__gte=since).order_by("id"))


def updates(since: datetime) -> list[Update]:
    """Return what was published from `since` on, oldest first."""
    return list(Update.objects.filter(published_at__gte=since).order_by("published_at", "id"))


def calls(since: datetime) -> list[Call]:
    """Return the words to the operators from `since` on."""
    return list(Call.objects.filter(created_at__gte=since).order_by("id"))


def public_changes(since: datetime) -> list[tuple[str, str]]:
    """Return (component, status) of each change that the public saw, oldest first."""
    rows = StatusChange.objects.filter(at__gte=since).select_related("component").order_by("id")
    return [(row.component.slug, row.status) for row in rows]
