"""Confirming and leaving: what a link or a code opens."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext

from subscribers import addresses, services
from subscribers.addresses import BadAddress
from subscribers.models import Letter, LetterKind, State, Subscription
from subscribers.views import frame, shown


@frame.guarded
def confirm(request: HttpRequest, token: str) -> HttpResponse:
    """Ask on GET (mail scanners follow links), confirm on POST."""
    now = timezone.now()
    try:
        letter = services.letter_of(LetterKind.CONFIRM, token, now=now)
        if request.method == "POST":
            subscription = services.confirm(token=token, now=now)
        else:
            subscription = letter.subscription
    except services.DeadLink as error:
        return frame.dead(error, retry="/subscribe", retry_label=gettext("Subscribe again"))
    return _subscribed(subscription, letter if request.method == "POST" else None)


@frame.guarded
def confirm_code(request: HttpRequest) -> HttpResponse:
    """Take the code from a text message or a call; wrong, late and unknown answer alike."""
    if request.method != "POST":
        return frame.page(
            "code.html", phone=request.GET.get("phone", "")[: addresses.TYPED_CHARS_MAX]
        )
    phone, code = request.POST.get("phone", ""), request.POST.get("code", "")
    try:
        subscription = services.confirm_code(phone=phone, code=code, now=timezone.now())
        if subscription:
            letter = (
                subscription.letters.filter(kind=LetterKind.CONFIRM).order_by("-used_at").first()
            )
            return _subscribed(subscription, letter)
        field = "code"
        problem = gettext(
            "This code is wrong, used, or older than ten minutes. Type it again, or subscribe again for a new one."
        )
    except BadAddress as error:
        problem, field = frame.say(error), "phone"
    typed = phone[: addresses.TYPED_CHARS_MAX]
    return frame.page(
        "code.html", status=frame.UNPROCESSABLE, phone=typed, problem=problem, field=field
    )


def _subscribed(subscription: Subscription, letter: Letter | None) -> HttpResponse:
    """Say that it is active, or ask. Who has just confirmed may go on to the settings without another letter."""
    is_active = subscription.state == State.ACTIVE
    return frame.page(
        "confirm.html",
        language=subscription.language,
        row=shown.row(subscription),
        is_active=is_active,
        settings_url=services.manage_url(letter.uid) if letter and is_active else "",
    )


@frame.guarded
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Ask on GET, end it on POST: 200 without redirect or cookie, as often as a provider repeats it (RFC 8058)."""
    now = timezone.now()
    try:
        if request.method == "POST" and request.POST.get("action") == "less":
            services.hear_less(token=token, now=now)
        elif request.method == "POST":
            services.unsubscribe(token=token, now=now)
        subscription = services.subscription_of(token)
    except services.DeadLink as error:
        return frame.dead(
            error, retry="/manage", retry_label=gettext("Get a link to your settings")
        )
    return frame.page(
        "unsubscribe.html",
        language=subscription.language,
        row=shown.row(subscription),
        is_gone=subscription.state == State.GONE,
        is_less=subscription.least_impact == services.LESS,
    )
