"""Which content security policy a page of the operators' has, and what is said when a form or a record is refused."""

from collections.abc import Callable

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.defaults import permission_denied

from desk import access, roles, saved
from desk.access import CSP, LOGIN
from desk.roles import Right

# Unfold runs on Alpine, whose expressions stand in attributes and are evaluated: docs/decisions.md, "Two policies".
ADMIN = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "connect-src 'self'; img-src 'self' data:; font-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def policies(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Give the pages of others (log-in, second factor, admin) their policy; the desk's own views set theirs."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.path == LOGIN or request.path.startswith("/accounts/"):
            response.headers.setdefault("Content-Security-Policy", CSP)
        elif request.path.startswith("/admin/"):
            response.headers.setdefault("Content-Security-Policy", ADMIN)
        return response

    return answer


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Say that a form is older than the log-in; what was typed is kept."""
    if request.user.is_authenticated and request.path.startswith("/desk/"):
        saved.hold(request)
    back = saved.way_back(request.path)
    answer = render(request, "desk/stale_form.html", {"back": back}, status=403)
    answer.headers["Content-Security-Policy"] = CSP
    return answer


# The last word of an admin address's name: what it does to the record, and the permission that it takes.
_DOES = {
    "changelist": ("see the list of", "view"), "history": ("see the history of", "view"), "add": ("add to", "add"),
    "change": ("change", "change"), "delete": ("delete", "delete"), "schedule": ("add to", "add"),
    "update": ("publish an update of", "change"), "retract": ("retract", "change"), "veto": ("veto", "change"),
}  # fmt: skip


def refused(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say of a record what was refused, why, and what would be allowed; elsewhere as Django does."""
    if not (request.path.startswith("/admin/") and request.user.is_authenticated):
        return permission_denied(request, exception)
    what, permission = _asked_of_a_record(request)
    # Who has the permission and is refused all the same stands before a ledger.
    mine = roles.allows(access.rights_of(request.user), permission)
    who = "" if mine else roles.who_has(permission)
    shown = access.standing(request) | {"what": what, "who_may": who, "is_record": True}
    answer = render(request, "desk/forbidden.html", shown, status=403)
    answer.headers["Content-Security-Policy"] = CSP
    return answer


def _asked_of_a_record(request: HttpRequest) -> tuple[str, str]:
    """Return what the address would do, in words, and the permission for it."""
    name = (request.resolver_match.url_name or "") if request.resolver_match else ""
    for model in admin.site._registry:
        app, word = model._meta.app_label, model._meta.model_name
        if name.startswith(f"{app}_{word}_"):
            does, verb = _DOES.get(name.removeprefix(f"{app}_{word}_"), ("change", "change"))
            return f"{does} {model._meta.verbose_name_plural}", f"{app}.{verb}_{word}"
    return "do that among the records", Right.OWN
