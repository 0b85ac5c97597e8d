"""Confirming and leaving: what a link or a code opens."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext

from subscribers import addresses, services
from subscribers.addresses import BadAddress
from subscribers.models import Invitation, Letter, LetterKind, State, Subscription
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
    if request.method == "POST":
        return _subscribed(subscription, letter)
    return _asks(letter)


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
            used = subscription.letters.filter(kind=LetterKind.CONFIRM, used_at__isnull=False)
            letter = used.order_by("-used_at").first()
            # A code is short: it opens the settings only to whom it made active just now.
            is_first = letter is not None and letter.used_at == subscription.confirmed_at
            return _subscribed(subscription, letter if is_first else None)
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


def _asks(letter: Letter) -> HttpResponse:
    """Ask, or say that it is active. Who is subscribed may still be asked whether they are somebody's contact."""
    row = letter.subscription
    named = Invitation.objects.filter(letter=letter, letter__used_at=None, as_contact=True).exists()
    is_active = row.state == State.ACTIVE and not named
    what = shown.row(row)
    if named and (row.state == State.ACTIVE or row.only_incidents):
        what |= {"is_contact": True, "is_only_incidents": True}
    return frame.page("confirm.html", language=row.language, row=what, is_active=is_active)


def _subscribed(subscription: Subscription, letter: Letter | None) -> HttpResponse:
    """Say that it is active. Who has just confirmed may go on to the settings without another letter."""
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
