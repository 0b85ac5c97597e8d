"""The routes of the hands: /v1, /intake, /desk, /health, /metrics."""

from django.urls import URLPattern, URLResolver, include, path, re_path

from desk import checks, console, health_views, intake_views
from desk.api import entrance
from desk.api.v1 import api

_console = [
    path("", console.console, name="console"),
    path("drafts/<str:uid>/publish", console.publish_draft, name="publish"),
    path("drafts/<str:uid>/veto", console.veto_draft, name="veto"),
    path("follow-ups/<str:uid>/publish", console.publish_follow_up, name="publish_follow_up"),
    path("follow-ups/<str:uid>/veto", console.veto_follow_up, name="veto_follow_up"),
    path("broadcasts/<int:pk>/halt", console.halt, name="halt"),
    path("checks/", checks.checks, name="checks"),
    path("checks/<slug:slug>", checks.check, name="check"),
    path("checks/<slug:slug>/replay", checks.replay, name="replay"),
    path("checks/<slug:slug>/try", checks.try_now, name="try"),
]
urlpatterns: list[URLPattern | URLResolver] = [
    path("desk/", include((_console, "desk"))),
    path("intake/alertmanager", intake_views.alertmanager),
    path("intake/generic", intake_views.generic),
    path("health", health_views.whole),
    path("health/live", health_views.live),
    path("metrics", health_views.metrics),
    path("v1/", entrance.routes(api)),
    re_path(r"^v1(?:/.*)?$", entrance.not_found),
]
