"""What providers call back with. So far Twilio: status of messages and calls, key presses, replies."""

from datetime import UTC, datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import VoiceResponse

from notifications.models import HANDED_OVER, Delivery, DeliveryState
from subscribers import addresses
from subscribers import services as people

BODY_BYTES_MAX = 16_384  # Twilio's callbacks are below 2 KB
# Twilio's default opt-out words and those of the FCC's rule of April 2025: channels.md §4.1.
STOP_WORDS = frozenset(
    {"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"}
)
START_WORDS = frozenset({"start", "unstop", "yes"})
YES_WORDS = frozenset({"yes", "y"})
PHONE_CHANNELS = ("sms", "voice")
_SMS = {
    "delivered": DeliveryState.DELIVERED,
    "undelivered": DeliveryState.BOUNCED,
    "failed": DeliveryState.BOUNCED,
}
_NEVER_CAME = frozenset({"busy", "no-answer", "failed", "canceled"})


@csrf_exempt  # a provider has no session; its signature is checked instead
@require_POST
def twilio_status(request: HttpRequest, token: str) -> HttpResponse:
    """Take one status callback or key press. Forged: 403. Late, doubled and disordered ones are harmless."""
    if not _is_genuine(request):
        return HttpResponse("signature does not match", status=403, content_type="text/plain")
    pk = addresses.read_link_token("receipt", token, settings.SECRET_KEY)
    if pk is None:
        return HttpResponse("no such delivery", status=404, content_type="text/plain")
    now = datetime.now(UTC)
    if digit := request.POST.get("Digits"):
        return _pressed(int(pk), digit, now)
    _merge(int(pk), request.POST.get("MessageStatus", ""), request.POST.get("CallStatus", ""), now)
    return HttpResponse(status=204)


@csrf_exempt  # as above
@require_POST
def twilio_reply(request: HttpRequest) -> HttpResponse:
    """Take an SMS sent to our number: STOP, START, YES and OK are understood in their words."""
    if not _is_genuine(request):
        return HttpResponse("signature does not match", status=403, content_type="text/plain")
    word = request.POST.get("Body", "").strip().strip(".!").lower()
    number_hash = addresses.address_hash("phone", request.POST.get("From", ""), settings.SECRET_KEY)
    _understand(word, number_hash, datetime.now(UTC))
    return HttpResponse("<Response/>", content_type="text/xml")


def _understand(word: str, number_hash: str, now: datetime) -> None:
    if word in STOP_WORDS:
        for channel in PHONE_CHANNELS:
            people.suppress(
                channel=channel,
                address_hash=number_hash,
                reason="said STOP",
                now=now,
                by_owner=True,
            )
    # Twilio's words for coming back; YES also answers the question whether we may write.
    if word in START_WORDS:
        for channel in PHONE_CHANNELS:
            people.lift(channel=channel, address_hash=number_hash)
    if word in YES_WORDS:
        people.confirm_by_reply(channel="sms", address_hash=number_hash, now=now)
    if word == "ok":
        _acknowledge_newest(number_hash, now)


def _acknowledge_newest(number_hash: str, now: datetime) -> None:
    """OK answers the newest text that this number was sent about an incident."""
    sent = Delivery.objects.filter(
        channel="sms",
        subscription__address_hash=number_hash,
        broadcast__incident__isnull=False,
        state__in=HANDED_OVER,
    )
    newest = sent.order_by("-accepted_at").first()
    if newest is not None:
        Delivery.objects.filter(pk=newest.pk).update(
            state=DeliveryState.ACKNOWLEDGED, answered_at=newest.answered_at or now
        )


def _is_genuine(request: HttpRequest) -> bool:
    token = settings.ENVIRON.raw.get("TWILIO_AUTH_TOKEN", "")
    if not token or int(request.headers.get("Content-Length") or 0) > BODY_BYTES_MAX:
        return False
    # The public address, as Twilio knows it: behind a proxy the request's own host is another one.
    url = f"{settings.SITE_URL}{request.get_full_path()}"
    signature = request.headers.get("X-Twilio-Signature", "")
    return bool(RequestValidator(token).validate(url, request.POST.dict(), signature))


def _merge(pk: int, message: str, call: str, now: datetime) -> None:
    """Let a later word of the provider move the delivery forward, never back."""
    row = Delivery.objects.filter(pk=pk)
    if call == "in-progress":
        row.filter(answered_at__isnull=True).update(answered_at=now)
    came = _SMS.get(message) or (DeliveryState.BOUNCED if call in _NEVER_CAME else None)
    if call == "completed":
        came = DeliveryState.DELIVERED
    if came is None:
        return
    open_ones = [DeliveryState.ACCEPTED, DeliveryState.CALLING, DeliveryState.UNKNOWN]
    row.filter(state__in=open_ones, accepted_at__isnull=True).update(accepted_at=now)
    row.filter(state__in=open_ones).update(state=came, lease="")


def _pressed(pk: int, digit: str, now: datetime) -> HttpResponse:
    """Key 1 is "heard", 9 is "stop calling me"."""
    answer = VoiceResponse()
    delivery = Delivery.objects.select_related("subscription").filter(pk=pk).first()
    if delivery is None:
        return HttpResponse("no such delivery", status=404, content_type="text/plain")
    if digit == "1":
        heard = [*HANDED_OVER, DeliveryState.CALLING, DeliveryState.UNKNOWN]
        Delivery.objects.filter(pk=pk, accepted_at__isnull=True).update(accepted_at=now)
        Delivery.objects.filter(pk=pk, state__in=heard).update(
            state=DeliveryState.ACKNOWLEDGED, lease=""
        )
        Delivery.objects.filter(pk=pk, answered_at__isnull=True).update(answered_at=now)
        answer.say("Thank you. Good bye.")
    elif digit == "9":
        person = delivery.subscription
        people.suppress(
            channel="voice",
            address_hash=person.address_hash,
            reason="pressed 9",
            now=now,
            by_owner=True,
        )
        answer.say("We will not call you again. Good bye.")
    answer.hangup()
    return HttpResponse(str(answer), content_type="text/xml")


urlpatterns = [
    path("receipts/twilio/<str:token>", twilio_status),
    path("receipts/twilio", twilio_reply),
]
