"""What every page of people has: its guard, its language, its frame."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext, gettext_noop
from django.utils.translation.trans_real import parse_accept_lang_header
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from incidents import reads
from subscribers import addresses, services

UNPROCESSABLE, GONE, TOO_MANY = 422, 410, 429
TOO_MANY_SENTENCE = gettext_noop(
    "Too many requests came from your network, for this address or range of numbers, or from everywhere at once. "
    "Nothing was sent. Try again in {wait}, or choose another way to be told."
)
WAITS = {
    1: gettext_noop("a minute"),
    3_600: gettext_noop("an hour"),
    14_400: gettext_noop("four hours"),
}
HEADERS = {
    # The link in the address bar is the key to the page: it must not travel on, nor be kept.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "
        "worker-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
}
View = Callable[..., HttpResponseBase]


def guarded(view: View) -> View:
    """Set the headers of a page that holds a key.

    CSRF protection is off on purpose: it guards what a browser's cookie may do, and here no cookie counts. Whoever
    holds the link in the path may do what it says, a mail provider's one-click POST (RFC 8058) among them; whoever
    holds none can only ask for a letter to be sent, which anybody may do without a browser too.
    """

    @csrf_exempt
    @require_http_methods(["GET", "HEAD", "POST"])
    @wraps(view)
    def framed(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponseBase:
        with translation.override(asked_language(request)):
            response = view(request, *args, **kwargs)
        for name, value in HEADERS.items():
            response[name] = value
        return response

    return framed


def languages() -> list[str]:
    """Return the page's languages that we speak; the first one is what people get who choose none."""
    spoken = dict(settings.LANGUAGES)
    return [code for code in reads.the_page().languages if code in spoken] or ["en"]


def language_choices() -> list[tuple[str, str]]:
    names = dict(settings.LANGUAGES)
    return [(code, str(names[code])) for code in languages()]


def asked_language(request: HttpRequest) -> str:
    """Return the language of the page: as its link says, else as the browser prefers, else the page's first."""
    offered = languages()
    asked = request.GET.get("lang") or request.POST.get("language") or ""
    if asked in offered:
        return asked
    accepted = parse_accept_lang_header(request.headers.get("accept-language", "")[:200])
    short = (code.split("-")[0] for code, _ in accepted)
    return next((code for code in short if code in offered), offered[0])


def page(template: str, *, status: int = 200, language: str = "", **context: Any) -> HttpResponse:
    """Render without the request: no context processor runs, so no session and no cookie come into being.

    `language` is a known reader's own; else the page's stays.
    """
    with speaking(language):
        code = translation.get_language() or "en"
        context |= {
            "page_name": reads.the_page().name,
            "language": code,
            "direction": "rtl" if translation.get_language_bidi() else "ltr",
            "versions": language_choices(),
        }
        return HttpResponse(render_to_string(f"subscribers/{template}", context), status=status)


def speaking(language: str) -> AbstractContextManager[None]:
    """Speak a known reader's own language."""
    known = language in dict(settings.LANGUAGES)
    return translation.override(language if known else translation.get_language())


def say(error: ValueError) -> str:
    """Return what is wrong with an address, in the page's language."""
    if isinstance(error, addresses.BadAddress):
        return gettext(error.text).format(**error.values)
    return str(error)


def dead(error: services.DeadLink, *, retry: str, retry_label: str) -> HttpResponse:
    status = 404 if error.why is services.Why.UNKNOWN else GONE
    return page(
        "dead_link.html", status=status, is_expired=status == GONE, retry=retry, retry_label=retry_label
    )  # fmt: skip


def too_many(request: HttpRequest, error: services.TooManyAsks) -> HttpResponse:
    seconds = int(error.retry_after.total_seconds())
    sentence = gettext(TOO_MANY_SENTENCE).format(wait=gettext(WAITS[seconds]))
    if wants_json(request):
        response: HttpResponse = json({"errors": {"address": sentence}}, status=TOO_MANY)
    else:
        response = page("too_many.html", status=TOO_MANY, sentence=sentence)
    response["Retry-After"] = str(max(seconds, 60))
    return response


def wants_json(request: HttpRequest) -> bool:
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def json(answer: dict[str, Any], status: int = 200) -> JsonResponse:
    response = JsonResponse(answer, status=status)
    patch_vary_headers(response, ["Accept"])
    return response


def network_hash(request: HttpRequest) -> str:
    """Return the hash of the network that asks; the address itself is kept nowhere."""
    remote, forwarded = (
        request.META.get("REMOTE_ADDR", ""),
        request.META.get("HTTP_X_FORWARDED_FOR", ""),
    )
    return services.network_hash(addresses.network(remote, forwarded, settings.TRUSTED_PROXIES))
