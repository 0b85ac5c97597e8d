"""/health, /health/live and /metrics."""

from contextlib import suppress
from datetime import timedelta

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from desk import health
from incidents.lifecycle import Impact
from incidents.models import Incident
from notifications.models import Delivery

# Counting a year of deliveries at every scrape would cost more than it tells.
TOLD_LATELY = timedelta(days=1)


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
    registry = CollectorRegistry()
    _line(registry, health.take(timezone.now()))
    with suppress(
        DatabaseError
    ):  # statuspage_up already says so; the answer must come all the same
        _work(registry)
    return _fresh(HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST))


def _line(registry: CollectorRegistry, state: health.Health) -> None:
    up = Gauge(
        "statuspage_up", "1 while probes, sweep and publisher are all fresh", registry=registry
    )
    up.set(state.is_whole)
    age = Gauge(
        "statuspage_age_seconds", "Since the part last did its work", ["part"], registry=registry
    )
    for part in state.parts:
        if part.age_s is not None:
            age.labels(part.name).set(part.age_s)


def _work(registry: CollectorRegistry) -> None:
    """Labels are bounded: impacts, states and configured channels."""
    incidents = Gauge(
        "statuspage_open_incidents", "Published and not over", ["impact"], registry=registry
    )
    for impact in Impact:
        incidents.labels(impact).set(health.open_incidents().filter(impact=impact).count())
    drafts = Gauge(
        "statuspage_drafts", "Waiting for a person or for their deadline", registry=registry
    )
    drafts.set(Incident.objects.filter(published_at__isnull=True, vetoed_at__isnull=True).count())
    deliveries = Gauge(
        "statuspage_deliveries",
        "Of the last 24 h, by channel and state",
        ["channel", "state"],
        registry=registry,
    )
    for row in health.delivery_counts(
        Delivery.objects.filter(broadcast__created_at__gt=timezone.now() - TOLD_LATELY)
    ):
        deliveries.labels(row["channel"], row["state"]).set(row["number"])


def _fresh(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response
