"""/v1 metrics and their data."""

import math

from django.http import Http404, HttpRequest
from django.utils import timezone
from ninja import Router, Schema
from ninja import Status as Answer
from pydantic import Field, field_validator

from desk.api import answers, lookup, shapes
from desk.api.entrance import Json, actor, route
from desk.api.paging import PageNumber, PerPage, cut
from incidents import metrics, reads
from incidents.lifecycle import Refused
from incidents.models import NAME_CHARS_MAX, Metric, Page

router = Router(tags=["metrics"])
PATH = "/pages/{page_id}/metrics"
AXIS_MAX = 1e15
SECONDS_MAX = 2**33  # the year 2242


class MetricWords(Schema):
    name: str | None = Field(default=None, min_length=1, max_length=NAME_CHARS_MAX)
    suffix: str | None = Field(default=None, max_length=16)
    display: bool | None = None
    tooltip_description: str | None = Field(default=None, max_length=1000)
    y_axis_min: float | None = Field(default=None, ge=-AXIS_MAX, le=AXIS_MAX)
    y_axis_max: float | None = Field(default=None, ge=-AXIS_MAX, le=AXIS_MAX)
    y_axis_hidden: bool | None = None
    decimal_places: int | None = Field(default=None, ge=0, le=9)
    reference_name: str | None = Field(default=None, max_length=NAME_CHARS_MAX)


class MetricIn(Schema):
    metric: MetricWords


class PointWords(Schema):
    timestamp: float = Field(ge=0, le=SECONDS_MAX, description="Seconds since 1970.")
    value: float = Field(ge=-AXIS_MAX, le=AXIS_MAX)

    @field_validator("value", "timestamp")
    @classmethod
    def _a_number(cls, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError("expected a finite number")
        return value


class PointIn(Schema):
    data: PointWords


class PointsIn(Schema):
    data: dict[str, list[PointWords]] = Field(min_length=1, max_length=metrics.METRICS_MAX)


@route(router, ["GET"], PATH, summary="List the metrics", answer=list[answers.Metric])
def list_metrics(
    request: HttpRequest, page_id: str, page: PageNumber, per_page: PerPage
) -> list[Json]:
    row = lookup.page(page_id)
    rows = list(cut(Metric.objects.filter(page=row), page=page, limit=per_page))
    newest, fact = metrics.newest_points(rows), reads.page_fact(row)
    return [shapes.metric_json(each, newest.get(each.pk), fact) for each in rows]


@route(
    router, ["POST"], PATH, summary="Add a metric (ours: Statuspage has it under a provider)", status=201,
    answer=answers.Metric,
)  # fmt: skip
def create_metric(request: HttpRequest, page_id: str, body: MetricIn) -> Answer[Json]:
    page = lookup.page(page_id)
    fields = _fields(body.metric)
    if "name" not in fields:
        raise Refused("metric.name is missing")
    _check_axis(fields.get("y_axis_min"), fields.get("y_axis_max"))
    row = metrics.add(page, fields=fields, actor=actor(request), now=timezone.now())
    return Answer(201, _shape(page, row))


# Before /metrics/{metric_id}: the first route that fits answers.
@route(
    router, ["POST"], f"{PATH}/data", summary="Add points to many metrics", status=202, answer=answers.PointsAdded
)  # fmt: skip
def add_many(request: HttpRequest, page_id: str, body: PointsIn) -> Answer[Json]:
    page = lookup.page(page_id)
    given = {
        uid: [(each.timestamp, each.value) for each in rows] for uid, rows in body.data.items()
    }
    written = metrics.add_points(given, page=page, actor=actor(request), now=timezone.now())
    return Answer(
        202, {uid: [_point(*point) for point in points] for uid, points in written.items()}
    )


@route(router, ["GET"], f"{PATH}/{{metric_id}}", summary="Read a metric", answer=answers.Metric)
def read_metric(request: HttpRequest, page_id: str, metric_id: str) -> Json:
    page, row = _find(page_id, metric_id)
    return _shape(page, row)


@route(
    router, ["PATCH", "PUT"], f"{PATH}/{{metric_id}}", summary="Change a metric", answer=answers.Metric
)  # fmt: skip
def change_metric(request: HttpRequest, page_id: str, metric_id: str, body: MetricIn) -> Json:
    page, row = _find(page_id, metric_id)
    fields = _fields(body.metric)
    _check_axis(fields.get("y_axis_min", row.y_axis_min), fields.get("y_axis_max", row.y_axis_max))
    if fields:
        metrics.change(row, fields=fields, actor=actor(request), now=timezone.now())
    return _shape(page, row)


@route(
    router, ["DELETE"], f"{PATH}/{{metric_id}}", summary="Delete a metric", answer=answers.Metric
)  # fmt: skip
def delete_metric(request: HttpRequest, page_id: str, metric_id: str) -> Json:
    page, row = _find(page_id, metric_id)
    gone = _shape(page, row)
    metrics.delete(row, actor=actor(request), now=timezone.now())
    return gone


@route(
    router, ["POST"], f"{PATH}/{{metric_id}}/data", summary="Add a point", status=201, answer=answers.PointAdded
)  # fmt: skip
def add_point(request: HttpRequest, page_id: str, metric_id: str, body: PointIn) -> Answer[Json]:
    page, row = _find(page_id, metric_id)
    given = {row.uid: [(body.data.timestamp, body.data.value)]}
    ((point,),) = metrics.add_points(
        given, page=page, actor=actor(request), now=timezone.now()
    ).values()
    return Answer(201, {"data": _point(*point)})


@route(
    router, ["DELETE"], f"{PATH}/{{metric_id}}/data", summary="Delete all its points", answer=answers.Metric
)  # fmt: skip
def clear_metric(request: HttpRequest, page_id: str, metric_id: str) -> Json:
    page, row = _find(page_id, metric_id)
    metrics.clear(row, actor=actor(request), now=timezone.now())
    return _shape(page, row)


def _find(page_id: str, metric_id: str) -> tuple[Page, Metric]:
    page = lookup.page(page_id)
    row = Metric.objects.filter(page=page, uid=metric_id).first()
    if row is None:
        raise Http404(f'there is no metric "{metric_id}"')
    return page, row


def _fields(words: MetricWords) -> Json:
    """Return what was given as columns; null clears a text and an end of the axis."""
    given = words.dict(exclude_unset=True)
    texts = ("suffix", "tooltip_description", "reference_name")
    kept = {
        name: "" if value is None and name in texts else value
        for name, value in given.items()
        if value is not None or name in (*texts, "y_axis_min", "y_axis_max")
    }
    if not str(kept.get("name", "x")).strip():
        raise Refused("metric.name is empty; expected what readers should read")
    return kept


def _check_axis(low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low >= high:
        raise Refused("metric.y_axis_max is not above metric.y_axis_min")


def _point(seconds: int, value: float) -> Json:
    return {"timestamp": seconds, "value": value}


def _shape(page: Page, row: Metric) -> Json:
    newest = metrics.newest_points([row]).get(row.pk)
    return shapes.metric_json(row, newest, reads.page_fact(page))
