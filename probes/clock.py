"""What falls due in the eyes: blindness, and the way back; then what is old is forgotten."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from django.db.models import OuterRef, Q, QuerySet, Subquery

from incidents import services as core
from incidents.models import Component, Page, Pulse
from probes import acting, heartbeats, judging, retention, tally, verdict
from probes.alone import alone, failing
from probes.models import Check, CurrentVerdict, Location, Result
from probes.verdict import Word

PULSE: Final = "probes"
# Of the page's verdicts, those that time alone can change.
UNQUIET: Final = ~Q(word__in=["", Word.UP.value]) | Q(incident__isnull=False)


def tick(now: datetime) -> None:
    """Judge the checks that fell silent, move on what waits, forget what is old."""
    heartbeats.listen(now)
    tally.count(now)
    for check in _silent(now):
        with alone(f"check {check.slug}"):
            judging.judge_check(check, now=now)
    for page in _unquiet_pages():
        with alone(f"page {page.uid}"):
            acting.act_alone(page, now=now)
    _forget_the_unwatched(now)
    retention.forget(now)
    _beat(now)


def _silent(now: datetime) -> list[Check]:
    """Return the checks that time alone may change: without a result of late, or from somewhere."""
    newest = Result.objects.filter(of_check=OuterRef("pk")).order_by("-at").values("at")[:1]
    checks = Check.objects.filter(enabled=True).annotate(newest=Subquery(newest))
    heard = Location.objects.filter(last_seen_at__isnull=False, revoked_at__isnull=True)
    seen_at = dict(heard.values_list("name", "last_seen_at"))
    return [
        check
        for check in checks.select_related("page", "tally")
        if _is_silent(check, check.newest or check.changed_at, now)
        or _has_fallen_silent(check, seen_at, now)
    ]


def _has_fallen_silent(check: Check, seen_at: Mapping[str, datetime | None], now: datetime) -> bool:
    """Say whether a location fell silent and that is not noted yet; the others go on."""
    tally = getattr(check, "tally", None)
    noted = tally.faults if tally is not None else {}
    return any(
        name not in noted and (at := seen_at.get(name)) is not None and _is_silent(check, at, now)
        for name in check.locations
    )


def _is_silent(check: Check, newest: datetime, now: datetime) -> bool:
    blind_s = verdict.blind_after_s(check.interval_s, judging.patience_of(check))
    return now - newest >= timedelta(seconds=blind_s)


def _unquiet_pages() -> QuerySet[Page]:
    rows = CurrentVerdict.objects.filter(UNQUIET)
    return Page.objects.filter(pk__in=rows.values("of_check__page"))


def _beat(now: datetime) -> None:
    """Leave word of when each location was last heard, for the face, and of what fails here."""
    heard = Location.objects.filter(last_seen_at__isnull=False, revoked_at__isnull=True)
    locations = {each.name: each.last_seen_at.isoformat() for each in heard if each.last_seen_at}
    Pulse.objects.update_or_create(
        name=PULSE,
        defaults={"at": now, "note": {"locations": locations, "failing": failing()}},
    )


def _forget_the_unwatched(now: datetime) -> None:
    """A component that no check watches is never unknown."""
    CurrentVerdict.objects.filter(of_check__enabled=False).delete()
    watched = CurrentVerdict.objects.values("component")
    for component in Component.objects.filter(unknown_since__isnull=False).exclude(pk__in=watched):
        core.clear_unknown(component, now=now)
