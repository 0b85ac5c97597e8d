"""Metrics: figures that other programs hand in, and their points."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Max

from incidents import services
from incidents.facts import MetricFact
from incidents.lifecycle import Refused
from incidents.models import Metric, MetricPoint, Page

GRAIN_S = 30  # Statuspage casts timestamps to half minutes
BACK_DAYS_MAX = 28  # and takes none that are older
AHEAD_S_MAX = 300  # of a sender's fast clock
KEPT = timedelta(days=BACK_DAYS_MAX + 4)  # a month's plot begins a little before its first day
POINTS_MAX = 3_000  # of one request
METRICS_MAX = 200  # of the page

Points = Sequence[tuple[float, float]]  # seconds since 1970, value


@transaction.atomic
def add(page: Page, *, fields: Mapping[str, Any], actor: str, now: datetime) -> Metric:
    """Create a metric; `fields` are its columns. Raises Refused."""
    if Metric.objects.filter(page=page).count() >= METRICS_MAX:
        raise Refused(f"there are {METRICS_MAX} metrics already; delete one first")
    metric = Metric.objects.create(page=page, created_at=now, updated_at=now, **fields)
    services.audit(
        actor=actor, action="add_metric", subject=metric.uid, after=_plain(fields), now=now
    )
    _touch(metric, now)
    return metric


@transaction.atomic
def change(metric: Metric, *, fields: Mapping[str, Any], actor: str, now: datetime) -> None:
    before = {name: getattr(metric, name) for name in fields}
    for name, value in fields.items():
        setattr(metric, name, value)
    metric.updated_at = now
    metric.save(update_fields=[*fields, "updated_at"])
    services.audit(
        actor=actor, action="change_metric", subject=metric.uid, before=_plain(before), after=_plain(fields), now=now
    )  # fmt: skip
    _touch(metric, now)


@transaction.atomic
def delete(metric: Metric, *, actor: str, now: datetime) -> None:
    services.audit(
        actor=actor, action="delete_metric", subject=metric.uid, before={"name": metric.name}, now=now
    )  # fmt: skip
    _touch(metric, now)
    metric.delete()


@transaction.atomic
def clear(metric: Metric, *, actor: str, now: datetime) -> None:
    """Delete all points of a metric."""
    gone, _ = metric.points.all().delete()
    services.audit(
        actor=actor, action="clear_metric", subject=metric.uid, before={"points": gone}, now=now
    )
    _touch(metric, now)


@transaction.atomic
def add_points(
    given: Mapping[str, Points], *, page: Page, actor: str, now: datetime
) -> dict[str, list[Any]]:
    """Write points by the metric's uid; the last value of a half minute wins. All or nothing; raises Refused.

    Returns what was written: uid -> [(seconds, value)]. The audit has one entry a call, however many points.
    """
    number = sum(len(points) for points in given.values())
    if number > POINTS_MAX:
        raise Refused(f"data holds {number:,} points; allowed are {POINTS_MAX:,} in one request")
    rows = {row.uid: row for row in Metric.objects.filter(page=page, uid__in=given)}
    if missing := [uid for uid in given if uid not in rows]:
        raise Refused(f"there is no metric {', '.join(missing)[:100]}")
    written: dict[str, list[tuple[int, float]]] = {}
    ready: dict[tuple[int, datetime], MetricPoint] = {}
    for uid, points in given.items():
        for seconds, value in points:
            at = _instant(seconds, now)
            written.setdefault(uid, []).append((int(at.timestamp()), value))
            ready[rows[uid].pk, at] = MetricPoint(metric=rows[uid], at=at, value=value)
    MetricPoint.objects.bulk_create(
        ready.values(), update_conflicts=True, unique_fields=["metric", "at"], update_fields=["value"]
    )  # fmt: skip
    MetricPoint.objects.filter(metric__in=rows.values(), at__lt=now - KEPT).delete()
    Metric.objects.filter(pk__in=[row.pk for row in rows.values()]).update(updated_at=now)
    Page.objects.filter(pk=page.pk).update(updated_at=now)
    counted = {uid: len(points) for uid, points in written.items()}
    services.audit(actor=actor, action="add_points", subject=page.uid, after=counted, now=now)
    return written


def shown(page: Page, *, since: datetime) -> list[MetricFact]:
    """Return the metrics that the page plots, with their points from `since` on, oldest first; two queries."""
    rows = list(Metric.objects.filter(page=page, display=True))
    by_metric: dict[int, list[tuple[datetime, float]]] = {row.pk: [] for row in rows}
    points = MetricPoint.objects.filter(metric__in=rows, at__gte=since).order_by("at")
    for pk, at, value in points.values_list("metric_id", "at", "value"):
        by_metric[pk].append((at, value))
    return [
        MetricFact(
            uid=row.uid, name=row.name, suffix=row.suffix, tooltip=row.tooltip_description,
            y_axis_min=row.y_axis_min, y_axis_max=row.y_axis_max, y_axis_hidden=row.y_axis_hidden,
            decimal_places=row.decimal_places, points=tuple(by_metric[row.pk]),
        )
        for row in rows
    ]  # fmt: skip


def newest_points(rows: Sequence[Metric]) -> dict[int, datetime]:
    """Return row id -> time of the newest point; one query."""
    newest = MetricPoint.objects.filter(metric__in=rows).values("metric").annotate(at=Max("at"))
    return {row["metric"]: row["at"] for row in newest}


def _instant(seconds: float, now: datetime) -> datetime:
    oldest = (now - timedelta(days=BACK_DAYS_MAX)).timestamp()
    if not oldest <= seconds <= now.timestamp() + AHEAD_S_MAX:
        raise Refused(
            f"data.timestamp is {seconds:.0f}; expected seconds since 1970, not ahead and at most "
            f"{BACK_DAYS_MAX} days back"
        )
    return datetime.fromtimestamp(int(seconds) // GRAIN_S * GRAIN_S, UTC)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
    return {name: value for name, value in fields.items() if name != "page"}


def _touch(metric: Metric, now: datetime) -> None:
    Page.objects.filter(pk=metric.page_id).update(updated_at=now)
