"""What a month came to: incidents, time to inform, promises kept, uptime; as a page, as CSV, as JSON."""

import csv
import io
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from desk import tables
from desk.access import allowed
from desk.models import Drill
from desk.roles import Right
from desk.words import span
from incidents import promises, reads, uptime
from incidents.models import Component, Incident, Page, StatusChange
from incidents.promises import Score
from notifications import reports as informing

MONTHS_MAX = 24
ROWS_MAX = 500


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """Seconds from the beginning; None = it did not come to that, or nobody had to be told."""

    uid: str
    name: str
    impact: str
    started_at: datetime
    detected_s: float | None
    published_s: float | None
    told_half_s: float | None
    told_last_s: float | None
    people: int
    lasted_s: float | None
    kept: int
    covered: int
    late: int


@dataclass(frozen=True, slots=True)
class UptimeRow:
    component: str
    percent: float | None


@dataclass(frozen=True, slots=True)
class Report:
    month: date
    incidents: tuple[IncidentRow, ...]
    uptime: tuple[UptimeRow, ...]
    promises: Score


@allowed(Right.SEE)
@require_safe
def reports(request: HttpRequest, form: str = "") -> HttpResponse:
    page, now = reads.the_page(), timezone.now()
    month = _month(request.GET.get("month", ""), page, now)
    report = take(page, month, now=now)
    if form == "csv":
        return _csv(report)
    if form == "json":
        return JsonResponse(as_json(report))
    shown = {
        "page": page, "zone": page.time_zone, "report": report, "months": _months(page, now),
        "rows": [(row, _words(row)) for row in report.incidents], "drills": Drill.objects.all()[:10],
    }  # fmt: skip
    return render(request, "desk/reports.html", shown)


def take(page: Page, month: date, *, now: datetime) -> Report:
    """Return the report of one month, in the page's own time."""
    start, end = bounds(month, page)
    rows = Incident.objects.filter(
        page=page,
        published_at__isnull=False,
        scheduled_for__isnull=True,
        started_at__gte=start,
        started_at__lt=end,
    ).order_by("started_at")[:ROWS_MAX]
    incidents = tuple(_incident(row, now) for row in rows)
    total = sum((Score(row.kept, row.covered, row.late) for row in incidents), Score())
    return Report(month, incidents, _uptime(page, start, min(end, now)), total)


def bounds(month: date, page: Page) -> tuple[datetime, datetime]:
    zone = ZoneInfo(page.time_zone)
    later = (month.replace(day=1) + timedelta(days=32)).replace(day=1)
    return (
        datetime(month.year, month.month, 1, tzinfo=zone).astimezone(UTC),
        datetime(later.year, later.month, 1, tzinfo=zone).astimezone(UTC),
    )


def _incident(row: Incident, now: datetime) -> IncidentRow:
    score = promises.score(promises.newest_first(row), now=now)
    half, last, people = _told(row)
    end = row.resolved_at
    return IncidentRow(
        uid=row.uid, name=row.name, impact=row.impact_override or row.impact, started_at=row.started_at,
        detected_s=_since(row.started_at, row.detected_at), published_s=_since(row.started_at, row.published_at),
        told_half_s=half, told_last_s=last, people=people, lasted_s=_since(row.started_at, end), kept=score.kept,
        covered=score.covered, late=score.late,
    )  # fmt: skip


def _told(row: Incident) -> tuple[float | None, float | None, int]:
    """Return when half and the last of those told before the all-clear were told, all channels together, and how many."""
    steps: list[tuple[float, int]] = []
    for one in informing.curves(row):
        shift, before = (one.published_at - row.started_at).total_seconds(), 0
        for second, told in one.curve:
            steps.append((round(second + shift, 1), told - before))
            before = told
    people, running = sum(count for _, count in steps), 0
    for second, count in sorted(steps):
        running += count
        if running * 2 >= people:
            return second, max(at for at, _ in steps), people
    return None, None, 0


def _since(start: datetime, at: datetime | None) -> float | None:
    return None if at is None else round((at - start).total_seconds(), 1)


def _uptime(page: Page, start: datetime, end: datetime) -> tuple[UptimeRow, ...]:
    if end <= start:
        return ()
    rows = Component.objects.filter(page=page)
    return tuple(UptimeRow(row.name, percent(row, start, end)) for row in rows)


def percent(component: Component, start: datetime, end: datetime) -> float | None:
    """Return the share of the time in which it was not down, by the rules of incidents/uptime."""
    before = (
        StatusChange.objects.filter(component=component, at__lte=start)
        .order_by("-at", "-id")
        .first()
    )
    changes = [(start, before.status)] if before else []
    changes += [
        (change.at, change.status)
        for change in StatusChange.objects.filter(
            component=component, at__gt=start, at__lt=end
        ).order_by("at", "id")
    ]
    history = uptime.spans(changes, until=end)
    share = uptime.uptime_percent(history, since=start, until=end)
    return None if share is None else round(share, 4)


def _month(text: str, page: Page, now: datetime) -> date:
    """Return the month asked for; what is no month is this one."""
    try:
        year, month = text.split("-")
        return date(int(year), int(month), 1)
    except ValueError:
        return now.astimezone(ZoneInfo(page.time_zone)).date().replace(day=1)


def _months(page: Page, now: datetime) -> list[date]:
    newest = now.astimezone(ZoneInfo(page.time_zone)).date().replace(day=1)
    numbers = [newest.year * 12 + newest.month - 1 - back for back in range(MONTHS_MAX)]
    return [date(number // 12, number % 12 + 1, 1) for number in numbers]


def _words(row: IncidentRow) -> dict[str, str]:
    spans = {
        name: getattr(row, name)
        for name in ("detected_s", "published_s", "told_half_s", "told_last_s", "lasted_s")
    }
    return {
        name: "–" if value is None else span(timedelta(seconds=value))
        for name, value in spans.items()
    }


def as_json(report: Report) -> dict[str, Any]:  # Any: JSON
    return {
        "month": f"{report.month:%Y-%m}",
        "incidents": [asdict(row) for row in report.incidents],
        "uptime": [asdict(row) for row in report.uptime],
        "promises": asdict(report.promises),
    }


def _csv(report: Report) -> HttpResponse:
    out = io.StringIO()
    writer = csv.writer(out)
    names = list(IncidentRow.__dataclass_fields__)
    writer.writerow(["kind", *names, "component", "percent"])
    for row in report.incidents:
        writer.writerow(["incident", *(tables.cell(getattr(row, name)) for name in names), "", ""])
    for each in report.uptime:
        writer.writerow(
            ["uptime", *([""] * len(names)), tables.cell(each.component), tables.cell(each.percent)]
        )
    answer = HttpResponse(out.getvalue(), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="report-{report.month:%Y-%m}.csv"'
    return answer
