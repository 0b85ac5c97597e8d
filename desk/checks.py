"""What people see of a check: its last answers, its latency, its verdicts, a try, and a replay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from desk import access, plot, replays
from desk.access import allowed
from desk.admin import who
from desk.buttons import acting
from desk.console import _SAID
from desk.roles import Right
from desk.words import ago
from incidents import reads, services
from incidents.lifecycle import Refused
from probes import rollups
from probes import services as eyes
from probes.kinds import Outcome
from probes.models import Check, CurrentVerdict, Location, Result, Span, VerdictChange
from probes.replay import Deed, Did
from probes.verdict import Word

CHECKS_MAX: Final = 500
PLACES_MAX: Final = 30
CHANGES_MAX: Final = 50
DEEDS_MAX: Final = 100
PLOTTED: Final = timedelta(hours=24)
HOUR: Final = timedelta(hours=1)
# A stretch of fewer runs says nothing of its slowest.
RUNS_A_STEP: Final = 4
# Stretches of a plot, from fine to coarse: each divides an hour or is whole hours.
STEPS_MIN: Final = (10, 15, 20, 30, 60, 120, 240, 480)
SHADED: Final = (Word.PARTIAL, Word.STALE, Word.OUTAGE)
ANSWER_SHOWN_CHARS_MAX: Final = 2048
OUTCOMES: Final[Mapping[str, str]] = {
    Outcome.OK: "as expected",
    Outcome.SLOW: "slow",
    Outcome.TARGET_FAIL: "failed",
    Outcome.AUTH_SUSPECT: "our account was rejected",
    Outcome.BLOCKED_US: "turned us away",
    Outcome.PROBER_FAULT: "the prober's own fault",
}
# The shapes of desk.css, by what a run said.
SHAPES: Final[Mapping[str, str]] = {
    Outcome.OK: "up",
    Outcome.SLOW: "degraded",
    Outcome.TARGET_FAIL: "outage",
}


@dataclass(frozen=True, slots=True)
class Said:
    """What a check says of one component now."""

    component: str
    word: str
    said: str
    since: datetime | None
    reasoning: str


@dataclass(frozen=True, slots=True)
class Listed:
    check: Check
    says: Sequence[Said]
    newest: str


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    component: str
    shape: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The newest run of one location; `at` is None where none is stored."""

    location: str
    at: datetime | None = None
    ago: str = ""
    shape: str = "none"
    outcome: str = ""
    reason: str = ""
    took: str = ""
    attempts: int = 1
    steps: Sequence[Step] = ()
    answer: str = ""


def said(word: str) -> str:
    """Return a verdict in the console's words."""
    return _SAID.get(word, word)


# ---- pages --------------------------------------------------------------------------------


@allowed(Right.SEE)
@require_safe
def checks(request: HttpRequest) -> HttpResponse:
    """All checks, and what they say."""
    now, page = timezone.now(), reads.the_page()
    shown = {"page": page, "who": who(request), "zone": page.time_zone, "checks": _listed(now)}
    return render(request, "desk/checks.html", shown)


@allowed(Right.SEE)
@require_safe
def check(request: HttpRequest, slug: str) -> HttpResponse:
    """One check: what was answered last, how fast it is, what was said of it."""
    now, page = timezone.now(), reads.the_page()
    found = get_object_or_404(Check, page=page, slug=slug)
    shown = {
        "page": page,
        "who": who(request),
        "zone": page.time_zone,
        "check": found,
        "says": _says(found),
        "answers": _answers(found, now),
        "latency": _latency(found, ZoneInfo(page.time_zone), now),
        "changes": _changes(found),
        "may_act": Right.TRY in access.rights_of(request.user),
    }
    return render(request, "desk/check.html", shown)


@allowed(Right.SEE)
@require_safe
def replay(request: HttpRequest, slug: str) -> HttpResponse:
    """What the rule of today would have done over the last 48 h."""
    now, page = timezone.now(), reads.the_page()
    found = get_object_or_404(Check, page=page, slug=slug)
    taken = replays.take(found, now=now)
    deeds = [deed for deed in taken.loose.deeds if deed.did is not Did.CALLED]
    calls = [deed for deed in taken.as_set.deeds if deed.did is Did.CALLED]
    shown = {
        "page": page,
        "who": who(request),
        "zone": page.time_zone,
        "check": found,
        "replay": taken,
        "hours": round((taken.until - taken.since).total_seconds() / 3600, 1),
        "deeds": [(deed, _shape(deed), deed in taken.false) for deed in deeds[-DEEDS_MAX:]],
        "calls": calls[-DEEDS_MAX:],
    }
    return render(request, "desk/check_replay.html", shown)


def _shape(deed: Deed) -> str:
    return Word.UP if deed.did is Did.RECOVERED else deed.word


@acting(Right.TRY)
def try_now(request: HttpRequest, slug: str) -> HttpResponse:
    """Ask the agents for a run at once."""
    found = get_object_or_404(Check, page=reads.the_page(), slug=slug)
    now = timezone.now()
    try:
        eyes.ask_to_try(found, now=now)
    except Refused as error:
        messages.error(request, str(error))
        return redirect("desk:check", slug)
    services.audit(actor=who(request), action="try", subject=found.slug, now=now)
    messages.success(request, "Asked: agents look within 10 s. Load this page again to see it.")
    return redirect("desk:check", slug)


# ---- what is shown ------------------------------------------------------------------------


def _listed(now: datetime) -> list[Listed]:
    newest = Result.objects.filter(of_check=OuterRef("pk")).order_by("-at").values("at")[:1]
    rows = Check.objects.annotate(newest_at=Subquery(newest)).order_by("-enabled", "slug")
    by_check: dict[int, list[Said]] = {}
    for row in CurrentVerdict.objects.select_related("component").order_by("component__position"):
        by_check.setdefault(row.of_check_id, []).append(_said(row))
    return [
        Listed(each, by_check.get(each.pk, ()), ago(each.newest_at, now) if each.newest_at else "")
        for each in rows[:CHECKS_MAX]
    ]


def _says(found: Check) -> list[Said]:
    rows = CurrentVerdict.objects.filter(of_check=found).select_related("component")
    return [_said(row) for row in rows.order_by("component__position", "pk")]


def _said(row: CurrentVerdict) -> Said:
    return Said(row.component.name, row.word, said(row.word), row.since, row.reasoning)


def _answers(found: Check, now: datetime) -> list[Answer]:
    """Return the newest run of each place that the check names."""
    newest = Result.objects.filter(of_check=found, location=OuterRef("pk")).order_by("-at")
    places = Location.objects.filter(name__in=found.locations).annotate(
        newest=Subquery(newest.values("pk")[:1])
    )
    pks = [each.newest for each in places[:PLACES_MAX] if each.newest]
    rows = Result.objects.filter(pk__in=pks).select_related("location")
    by_name = {row.location.name: row for row in rows}
    return [
        _answer(by_name[name], now) if name in by_name else Answer(name)
        for name in found.locations[:PLACES_MAX]
    ]


def _answer(row: Result, now: datetime) -> Answer:
    return Answer(
        location=row.location.name,
        at=row.at,
        ago=ago(row.at, now),
        shape=SHAPES.get(row.outcome, "none"),
        outcome=OUTCOMES.get(row.outcome, row.outcome),
        reason=row.reason,
        took=plot.span_ms(row.total_ms),
        attempts=row.attempts,
        steps=[_step(each) for each in row.steps],
        answer=row.answer[:ANSWER_SHOWN_CHARS_MAX],
    )


def _step(step: Mapping[str, Any]) -> Step:  # Any: as JSON has it.
    return Step(
        name=step["name"],
        component=step["component"],
        shape=SHAPES.get(step["outcome"], "none"),
        outcome=OUTCOMES.get(step["outcome"], step["outcome"]),
        reason=step["reason"],
    )


def _changes(found: Check) -> list[tuple[VerdictChange, str]]:
    rows = VerdictChange.objects.filter(of_check=found).select_related("component")
    return [(row, said(row.new)) for row in rows[:CHANGES_MAX]]


# ---- latency ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hour:
    """One line of the table behind a drawing."""

    at: datetime
    runs: int
    failed: int
    p50: str
    p95: str
    p99: str


@dataclass(frozen=True, slots=True)
class Latency:
    """The drawing of one place, and the same in figures by the hour."""

    plot: plot.Plot
    hours: Sequence[Hour]


def _latency(found: Check, zone: ZoneInfo, now: datetime) -> list[Latency]:
    step = timedelta(minutes=_step_min(found.interval_s))
    until = _ceil(now, step)
    since = until - PLOTTED
    fine = rollups.series(found, since=since, until=until, step=step)
    first_hour = rollups.begin(since, Span.HOUR)
    hourly = rollups.series(found, since=first_hour, until=until, step=HOUR)
    top = plot.top_ms(list(fine.values()))
    shades = _shades(found, since, now)
    return [
        Latency(
            plot.draw(
                name, fine.get(name, ()), since=since, until=until, step=step, top_ms=top,
                shades=shades, zone=zone,
            ),
            [_hour(each) for each in reversed(hourly.get(name, ()))],
        )
        for name in found.locations[:PLACES_MAX]
    ]  # fmt: skip


def _step_min(interval_s: float) -> int:
    """Return a stretch that holds a few runs: a slow check must not look full of gaps."""
    least_s = RUNS_A_STEP * interval_s
    return next((each for each in STEPS_MIN if each * 60 >= least_s), STEPS_MIN[-1])


def _ceil(at: datetime, step: timedelta) -> datetime:
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + -(-(at - midnight) // step) * step


def _hour(each: rollups.Bucket) -> Hour:
    p50, p95, p99 = (
        "none" if value is None else plot.span_ms(value)
        for value in (each.p50_ms, each.p95_ms, each.p99_ms)
    )
    return Hour(each.at, each.runs, each.failed, p50, p95, p99)


def _shades(found: Check, since: datetime, now: datetime) -> list[plot.Shade]:
    """Return when the check said of any component that it did not work."""
    rows = VerdictChange.objects.filter(of_check=found, at__gte=since).order_by("at", "id")
    began: dict[int, tuple[datetime, str]] = {}
    shades: list[plot.Shade] = []
    for row in rows:
        if row.component_id in began:
            begin, word = began.pop(row.component_id)
            shades.append(plot.Shade(begin, row.at, word))
        elif row.old in SHADED:
            shades.append(plot.Shade(since, row.at, said(row.old)))
        if row.new in SHADED:
            began[row.component_id] = (row.at, said(row.new))
    seen = {row.component_id for row in rows}
    standing = CurrentVerdict.objects.filter(of_check=found, word__in=SHADED)
    for current in standing.exclude(component__in=seen):
        began[current.component_id] = (since, said(current.word))
    shades += [plot.Shade(begin, now, word) for begin, word in began.values()]
    return shades
