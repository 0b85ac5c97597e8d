"""Which content security policy a page of the operators' has, and what is said when a form is refused."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from desk import saved
from desk.access import CSP, LOGIN

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
