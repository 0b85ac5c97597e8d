"""The button "I have heard this": a GET shows it, only a POST counts, because mail scanners and previews open links."""

from datetime import UTC, datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from incidents import reads
from notifications import hearing
from notifications.messages import say
from notifications.models import Delivery
from notifications.receipts.doors import TurnedAway, Why, count
from subscribers import addresses

PURPOSE = "heard"
HEADERS = {
    # The link in the address bar is the key: it must not travel on, nor be kept.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}


@csrf_exempt  # no cookie counts here: whoever holds the link may say it
@require_http_methods(["GET", "HEAD", "POST"])
def heard(request: HttpRequest, token: str) -> HttpResponse:
    """Ask on GET, acknowledge on POST; again and again without harm."""
    try:
        delivery = _delivery(token)
    except TurnedAway as turned:
        count("heard", turned.why, datetime.now(UTC))
        return _page(None, status=403)
    if request.method == "POST":
        hearing.heard(delivery, by="button", now=datetime.now(UTC))
        return _page(delivery, done=True)
    return _page(delivery)


def _delivery(token: str) -> Delivery:
    uid = addresses.read_link_token(PURPOSE, token, settings.SECRET_KEY)
    rows = Delivery.objects.select_related("broadcast__incident", "subscription")
    found = rows.filter(pk=int(uid)).first() if uid and uid.isdecimal() else None
    if found is None:
        raise TurnedAway(Why.FORGED)
    return found


def _page(delivery: Delivery | None, *, done: bool = False, status: int = 200) -> HttpResponse:
    language = delivery.subscription.language if delivery else "en"
    incident = delivery.broadcast.incident if delivery else None
    title, what = _WORDS["dead" if delivery is None else "done" if done else "ask"]
    context = {
        "page_name": reads.the_page().name,
        "asks": delivery is not None and not done,
        "name": incident.name if incident else "",
        "url": f"/incidents/{incident.uid}" if incident else "/",
        "words": {
            "title": say(language, title),
            "what": say(language, what),
            "button": say(language, "I have heard this"),
        },
    }
    response = HttpResponse(render_to_string("notifications/heard.html", context), status=status)
    for name, value in HEADERS.items():
        response[name] = value
    return response


_WORDS = {
    "ask": ("Have you heard this?", "Then nobody calls you about it any more."),
    "done": ("Thank you", "You will not be called about this any more, and hear when it is over."),
    "dead": ("This link is not ours", "Nothing was changed."),
}
urlpatterns = [path("receipts/heard/<str:token>", heard)]
