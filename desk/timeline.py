"""What happened and when, out of the records, as the first draft of a post-mortem in Markdown."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from desk.words import span
from incidents import promises
from incidents.models import AuditEntry, Call, Incident, Page
from notifications import reports
from probes.models import VerdictChange

ROWS_MAX = 500
BEFORE, AFTER = timedelta(minutes=30), timedelta(minutes=30)
LINE_CHARS_MAX = 300
_ACTED = {"halt": "halted message", "veto": "vetoed", "retry_failed": "had failed messages tried again", "merge": "merged",
          "edit": "corrected a text", "break_glass": "used the break-glass account"}  # fmt: skip

Entry = tuple[datetime, str]


def markdown(incident: Incident, *, now: datetime) -> str:
    """Return headings to fill in, and the timeline whole."""
    page = incident.page
    rows = sorted(_entries(incident, now), key=lambda row: row[0])[:ROWS_MAX]
    lines = [f"- **{_time(at, page)}** {_one_line(said)}" for at, said in rows]
    score = promises.score(promises.newest_first(incident), now=now)
    return "\n".join(
        [
            "## What people noticed", "", "…", "", "## What happened", "", "…", "", "## In figures", "",
            *_figures(incident, now),
            f"- Promises of a next update: {score.kept} kept, {score.covered} covered by the machine, {score.late} late",
            "", "## Timeline", "", f"Times in {page.time_zone}.", "", *lines, "", "## What we change", "", "…", "",
        ]
    )  # fmt: skip


def _figures(incident: Incident, now: datetime) -> Iterator[str]:
    end = incident.resolved_at or now
    yield f"- Lasted {span(end - incident.started_at)}"
    if incident.detected_at:
        yield f"- Detected after {span(incident.detected_at - incident.started_at)}"
    if incident.published_at:
        yield f"- First word in public after {span(incident.published_at - incident.started_at)}"
    for one in reports.curves(incident):
        told = one.reach(incident.started_at)
        if told.last_s is not None:
            half = "" if told.p50_s is None else f", half within {told.p50_s:g} s"
            yield f"- Told by {one.channel}: {told.counts['accepted']:,} of {one.expected:,} people{half}, the last after {told.last_s:g} s, from the beginning"


def _entries(incident: Incident, now: datetime) -> Iterator[Entry]:
    since, until = incident.started_at - BEFORE, (incident.resolved_at or now) + AFTER
    yield incident.started_at, "It began."
    changes = VerdictChange.objects.filter(
        component__in=incident.components.all(), at__gte=since, at__lte=until
    ).select_related("component", "of_check")
    for change in changes[:ROWS_MAX]:
        yield (
            change.at,
            f"The check {change.of_check.slug} says “{change.new}” of {change.component.name}. {change.reasoning}",
        )
    for update in incident.updates.filter(published_at__isnull=False)[:ROWS_MAX]:
        by = "Automatically" if update.automatic else update.speaker or "Somebody"
        assert update.published_at is not None, "filtered"
        yield update.published_at, f"{by} said ({update.status}): “{update.body}”"
    for call in Call.objects.filter(incident=incident)[:ROWS_MAX]:
        yield call.created_at, f"Operators were called: {call.text}"
    uids = [incident.uid, *incident.updates.values_list("uid", flat=True)]
    for entry in AuditEntry.objects.filter(subject__in=uids, action__in=list(_ACTED)).order_by(
        "id"
    )[:ROWS_MAX]:
        yield entry.at, f"{entry.actor} {_ACTED[entry.action]}."


def _time(at: datetime, page: Page) -> str:
    return f"{at.astimezone(ZoneInfo(page.time_zone)):%d %b %H:%M:%S}"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LINE_CHARS_MAX else line[: LINE_CHARS_MAX - 1] + "…"
