"""Strict headers on every answer of the web process: what a view did not say itself is forbidden."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# An answer that is no page loads nothing and is framed by nobody.
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# django-unfold's Alpine evaluates attributes and its templates carry scripts, so the admin is held to its own origin only.
ADMIN = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# The pages about the API are Swagger's, from our own origin.
DOCUMENTS = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
PERMISSIONS = "camera=(), geolocation=(), microphone=()"


class StrictHeaders:
    """Stands first, so that a refused host and a crash have them too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        response.headers.setdefault("Content-Security-Policy", _policy(request.path_info))
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "same-origin")
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        if "X-Frame-Options" not in response:
            response.headers["X-Frame-Options"] = "DENY"
        return response


def _policy(path: str) -> str:
    if path.startswith("/admin/"):
        return ADMIN
    return DOCUMENTS if path == "/v1/docs" else NOTHING
