"""The routes of the hands: /v1, /intake, /desk, /accounts, /health, /metrics."""

import allauth.account.views
from allauth.socialaccount import views as social
from allauth.socialaccount.providers.openid_connect import urls as oidc
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView

from desk import (
    audit_views,
    buttons,
    checks,
    compose,
    console,
    health_views,
    incident_page,
    intake_views,
    looks,
    reports,
    signing_in,
)
from desk.api import entrance
from desk.api.v1 import api

_FORMS = "declare|schedule|backfill"
_OF_INCIDENT = "update|publish|retract|reopen"
_console: list[URLPattern | URLResolver] = [
    path("", console.console, name="console"),
    path("drafts/<str:uid>/publish", buttons.publish_draft, name="publish"),
    path("drafts/<str:uid>/veto", buttons.veto_draft, name="veto"),
    path("follow-ups/<str:uid>/publish", buttons.publish_follow_up, name="publish_follow_up"),
    path("follow-ups/<str:uid>/veto", buttons.veto_follow_up, name="veto_follow_up"),
    path("updates/<str:uid>/agree", buttons.agree, name="agree"),
    path("broadcasts/<int:pk>/halt", buttons.halt, name="halt"),
    path("broadcasts/<int:pk>/retry", buttons.retry_failed, name="retry"),
    path("broadcasts/<int:pk>.csv", incident_page.export, name="export"),
    path("series/<str:uid>/end", buttons.end_series, name="end_series"),
    path("checks/", checks.checks, name="checks"),
    path("checks/<slug:slug>", checks.check, name="check"),
    path("checks/<slug:slug>/replay", checks.replay, name="replay"),
    path("checks/<slug:slug>/try", checks.try_now, name="try"),
    path("reports/", reports.reports, name="reports"),
    path("reports/report.<str:form>", reports.reports, name="report_as"),
    path("audit.csv", audit_views.export, name="audit"),
    path("look/email", looks.email, name="look_email"),
    path("look/page", looks.page, name="look_page"),
    path("look/banner", looks.banner, name="look_banner"),
    re_path(rf"^(?P<name>{_FORMS})$", compose.act, name="compose"),
    re_path(rf"^(?P<name>{_FORMS})/keep$", compose.keep, name="compose_keep"),
    re_path(rf"^(?P<name>{_FORMS})/clear$", compose.clear, name="compose_clear"),
    path("incidents/<str:uid>/", incident_page.page, name="incident"),
    path("incidents/<str:uid>/merge", buttons.merge, name="merge"),
    path("incidents/<str:uid>/postmortem", incident_page.postmortem, name="postmortem"),
    re_path(rf"^incidents/(?P<uid>\w+)/(?P<name>{_OF_INCIDENT})$", compose.act, name="compose_of"),
    re_path(
        rf"^incidents/(?P<uid>\w+)/(?P<name>{_OF_INCIDENT})/keep$",
        compose.keep,
        name="compose_of_keep",
    ),
    re_path(
        rf"^incidents/(?P<uid>\w+)/(?P<name>{_OF_INCIDENT})/clear$",
        compose.clear,
        name="compose_of_clear",
    ),
]
# Of allauth's pages those that are wanted: accounts are made by owners, and no password is reset by mail.
_account: list[URLPattern | URLResolver] = [
    path(
        "login/", RedirectView.as_view(url="/admin/login/", query_string=True), name="account_login"
    ),
    path("signup/", RedirectView.as_view(url="/admin/login/"), name="account_signup"),
    path("logout/", allauth.account.views.logout, name="account_logout"),
    path("inactive/", allauth.account.views.account_inactive, name="account_inactive"),
    path("reauthenticate/", allauth.account.views.reauthenticate, name="account_reauthenticate"),
    path("password/change/", allauth.account.views.password_change, name="account_change_password"),
    path("password/set/", RedirectView.as_view(url="/admin/login/"), name="account_set_password"),
    path("2fa/", include("allauth.mfa.urls")),
    path("3rdparty/login/cancelled/", social.login_cancelled, name="socialaccount_login_cancelled"),
    path("3rdparty/login/error/", social.login_error, name="socialaccount_login_error"),
    path("3rdparty/signup/", social.signup, name="socialaccount_signup"),
    path("3rdparty/", social.connections, name="socialaccount_connections"),
    path("oidc/sso/login/", signing_in.sso, name="sso"),
    path("oidc/sso/login/callback/", signing_in.sso_callback, name="sso_callback"),
    *oidc.urlpatterns,
]
urlpatterns: list[URLPattern | URLResolver] = [
    path("desk/", include((_console, "desk"))),
    path("accounts/", include(_account)),
    path("intake/alertmanager", intake_views.alertmanager),
    path("intake/generic", intake_views.generic),
    path("health", health_views.whole),
    path("health/live", health_views.live),
    path("metrics", health_views.metrics),
    path("v1/", entrance.routes(api)),
    re_path(r"^v1(?:/.*)?$", entrance.not_found),
]
