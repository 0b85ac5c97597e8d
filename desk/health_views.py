"""/health, /health/live and /metrics."""

from contextlib import suppress

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from desk import health, meters


@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """The process answers; nothing else is asked."""
    return _fresh(JsonResponse({"status": "ok"}))


@require_safe
def whole(request: HttpRequest) -> HttpResponse:
    state = health.take(timezone.now())
    return _fresh(JsonResponse(state.as_json(), status=200 if state.is_whole else 503))


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Gauges read at the moment of asking: every process tells the same."""
    now = timezone.now()
    found = meters.Meters(now)
    found.line(health.take(now))
    # statuspage_up already says that the database is away; the answer must come all the same.
    with suppress(DatabaseError):
        for stage in (found.clocks, found.eyes, found.core, found.face, found.voice):
            stage()
    return _fresh(HttpResponse(generate_latest(found.registry), content_type=CONTENT_TYPE_LATEST))


def _fresh(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response
