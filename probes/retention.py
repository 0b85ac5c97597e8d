"""What is old is forgotten, a bounded number of rows a pass; an incident keeps its results longer."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q, QuerySet

from incidents.models import Incident
from probes.models import Check, CurrentVerdict, Result, Rollup, Span, VerdictChange

# contract: raw results 48 h. Plots of a day need minutes, of a quarter hours, of a year days.
KEEP_RESULTS: Final = timedelta(hours=48)
KEEP_ROLLUPS: Final = {
    Span.MINUTE: timedelta(days=8),
    Span.HOUR: timedelta(days=100),
    Span.DAY: timedelta(days=800),
}
# No incident keeps a result longer, also one whose post-mortem is never written.
PINNED_MAX: Final = timedelta(days=30)
# What came shortly before and after is asked for in every post-mortem.
PIN_MARGIN: Final = timedelta(hours=1)
# Of so many incidents at most, the newest.
PINS_MAX: Final = 100
# After a post-mortem its results are looked for so long; what a clock that stood still for longer
# missed goes after PINNED_MAX.
UNPINNED_WITHIN: Final = timedelta(days=1)
# One pass deletes no more: 10,000 rows take under 0.1 s and leave the second to others.
DELETED_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Pin:
    """Results of these checks in this window are kept."""

    checks: frozenset[int]
    begins: datetime
    ends: datetime

    def holds(self, row: Result) -> bool:
        return row.of_check_id in self.checks and self.begins <= row.at <= self.ends

    @property
    def rows(self) -> Q:
        return Q(of_check__in=self.checks, at__range=(self.begins, self.ends))


def forget(now: datetime) -> None:
    """Delete results and roll-ups that are too old; at most DELETED_MAX of each kind."""
    _unpin(now)
    _forget_results(now)
    for span, keep in KEEP_ROLLUPS.items():
        rows = Rollup.objects.filter(span=span, at__lt=now - keep).order_by("at")
        pks = list(rows.values_list("pk", flat=True)[:DELETED_MAX])
        Rollup.objects.filter(pk__in=pks).delete()


# ---- what incidents keep ------------------------------------------------------------------


def pins_at(now: datetime) -> list[Pin]:
    """Return what incidents keep: from an hour before each until an hour after its end.

    An incident pins the results of the checks that watch its components, until its post-mortem is
    published; a maintenance, or a draft that was vetoed, pins nothing.
    """
    recent = Q(resolved_at__isnull=True) | Q(resolved_at__gt=now - PINNED_MAX - PIN_MARGIN)
    incidents = Incident.objects.filter(recent, scheduled_for=None, vetoed_at=None)
    return _pins(incidents.exclude(postmortem__published_at__isnull=False), now)


def _pins(incidents: QuerySet[Incident], now: datetime) -> list[Pin]:
    found = [*incidents.prefetch_related("components").order_by("-started_at")[:PINS_MAX]]
    if not found:
        return []
    checks_of = _checks_of_components(now)
    by_slug = dict(Check.objects.values_list("slug", "pk"))
    pins = []
    for incident in found:
        checks = {pk for each in incident.components.all() for pk in checks_of.get(each.pk, ())}
        # The check that raised the alarm, also when it watches something else by now.
        checks |= {pk for slug, pk in by_slug.items() if slug == incident.source.get("check")}
        ends = (incident.resolved_at or now) + PIN_MARGIN
        pins.append(Pin(frozenset(checks), incident.started_at - PIN_MARGIN, ends))
    return pins


def _checks_of_components(now: datetime) -> dict[int, set[int]]:
    """Return who watches each component, or did of late: a check may be switched off since."""
    # Unordered: SQLite orders no part of a union.
    watching = CurrentVerdict.objects.order_by().values_list("component_id", "of_check_id")
    watched = VerdictChange.objects.order_by().filter(at__gt=now - PINNED_MAX)
    found: dict[int, set[int]] = {}
    for component, check in watching.union(watched.values_list("component_id", "of_check_id")):
        found.setdefault(component, set()).add(check)
    return found


# ---- what goes ----------------------------------------------------------------------------


def _forget_results(now: datetime) -> None:
    """Delete the oldest results, and mark those that a pin holds: each is looked at once."""
    old = Result.objects.filter(is_pinned=False, at__lt=now - KEEP_RESULTS)
    rows = list(old.order_by("at").only("of_check_id", "at")[:DELETED_MAX])
    pins = pins_at(now) if rows else []
    kept: list[int] = []
    gone: list[int] = []
    for row in rows:
        is_kept = row.at >= now - PINNED_MAX and any(pin.holds(row) for pin in pins)
        (kept if is_kept else gone).append(row.pk)
    Result.objects.filter(pk__in=kept).update(is_pinned=True)
    Result.objects.filter(pk__in=gone).delete()


def _unpin(now: datetime) -> None:
    """Let go of what is too old, and of what an incident kept whose post-mortem came out of late."""
    pinned = Result.objects.filter(is_pinned=True)
    _let_go(pinned.filter(at__lt=now - PINNED_MAX))
    told = Incident.objects.filter(postmortem__published_at__gt=now - UNPINNED_WITHIN)
    done = _pins(told, now)
    others = pins_at(now) if done else []
    for pin in done:
        rows = pinned.filter(pin.rows)
        for other in others:
            rows = rows.exclude(other.rows)
        _let_go(rows)


def _let_go(rows: QuerySet[Result]) -> None:
    pks = list(rows.order_by("at").values_list("pk", flat=True)[:DELETED_MAX])
    Result.objects.filter(pk__in=pks).update(is_pinned=False)
