"""Twilio's callbacks: status of messages and calls, key presses, replies."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from django.conf import settings
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from twilio.request_validator import RequestValidator
from twilio.twiml.messaging_response import MessagingResponse
from twilio.twiml.voice_response import VoiceResponse

from incidents import reads
from notifications import hearing, replies, waking
from notifications.channels.voice import tongue
from notifications.hearing import PHONE_CHANNELS, Said
from notifications.messages import say
from notifications.models import Delivery, Reply
from notifications.receipts.doors import TurnedAway, Why, door
from notifications.replies import Meaning
from subscribers import addresses
from subscribers import services as people
from subscribers.models import Subscription

BYTES_MAX = 16_384  # Twilio's callbacks are below 2 KB, a text of ten parts included
# A call is over within minutes; its keys were not pressed the next day.
KEYS_LATE_MAX = timedelta(minutes=30)
# Twilio asks again at once, within this time, when our answer is lost.
AGAIN_MAX = timedelta(minutes=10)
STOPS_MAX = 100  # of one number, the newest; nobody says it so often within the month that an address is kept

# https://www.twilio.com/docs/messaging/api/message-resource#message-status-values
MESSAGE = {
    "accepted": Said.TAKEN,
    "scheduled": Said.TAKEN,
    "queued": Said.TAKEN,
    "sending": Said.TAKEN,
    "sent": Said.TAKEN,
    "delivered": Said.DELIVERED,
    "read": Said.DELIVERED,
    "undelivered": Said.FAILED,
    "failed": Said.FAILED,
    "canceled": Said.FAILED,
}
# https://www.twilio.com/docs/voice/api/call-resource#call-status-values
CALL = {
    "queued": Said.TAKEN,
    "initiated": Said.TAKEN,
    "ringing": Said.TAKEN,
    "in-progress": Said.TAKEN,
    "completed": Said.DELIVERED,
    "busy": Said.FAILED,
    "no-answer": Said.FAILED,
    "failed": Said.FAILED,
    "canceled": Said.FAILED,
}
# https://www.twilio.com/docs/api/errors: no such number, and one that no text message reaches.
DEAD = frozenset({"30005", "30006"})
STOPPED = "21610"


@door("twilio", BYTES_MAX)
def status(request: HttpRequest, token: str) -> HttpResponse:
    """Take one status callback or key press. Late, doubled and disordered ones are harmless."""
    _check(request)
    found = _delivery(token)
    if found is None:
        return HttpResponse("no such delivery\n", status=404, content_type="text/plain")
    pk, attempt = found
    now = datetime.now(UTC)
    form = request.POST
    if "MessageStatus" in form:
        _message(pk, form, now)
    elif digit := form.get("Digits"):
        return _pressed(pk, digit, now)
    else:
        _call(pk, attempt, form.get("CallStatus", ""), now)
    return HttpResponse(status=204)


@door("twilio", BYTES_MAX)
def reply(request: HttpRequest) -> HttpResponse:
    """Take a text that somebody wrote to our number: STOP, START, YES, OK and HELP are understood in their words."""
    _check(request)
    now = datetime.now(UTC)
    number_hash = addresses.address_hash("phone", request.POST.get("From", ""), settings.SECRET_KEY)
    meaning = replies.meaning(request.POST.get("Body", ""))
    sid = request.POST.get("MessageSid", "")[:64]
    if not sid:
        raise TurnedAway(Why.UNREADABLE)
    helps = _helps(meaning, number_hash, now)
    with (
        transaction.atomic()
    ):  # taken and acted on, or neither: what Twilio says again is heard then
        if not _keep(sid, number_hash, meaning, now, helped=helps):
            return _answer()
        _understand(meaning, number_hash, now)
    return _answer(_help_text(number_hash) if helps else "")


def _check(request: HttpRequest) -> None:
    """Raise TurnedAway unless Twilio signed this request for our public address; a proxy's own one is another."""
    url = f"{settings.SITE_URL}{request.get_full_path()}"
    signature = request.headers.get("X-Twilio-Signature", "")
    validator = _validator(settings.ENVIRON.raw.get("TWILIO_AUTH_TOKEN", ""))
    if validator is None or not validator.validate(url, request.POST, signature):
        raise TurnedAway(Why.FORGED)


@lru_cache(maxsize=4)
def _validator(token: str) -> RequestValidator | None:
    return RequestValidator(token) if token else None


def _delivery(token: str) -> tuple[int, int | None] | None:
    """Return (row id, attempt) of the address that was given to Twilio; a call's attempts are told apart."""
    uid = addresses.read_link_token("receipt", token, settings.SECRET_KEY)
    if uid is None:
        return None
    pk, _, attempt = uid.partition(".")
    return int(pk), int(attempt) if attempt else None


def _message(pk: int, form: "dict[str, str]", now: datetime) -> None:
    said = MESSAGE.get(form.get("MessageStatus", ""))
    if said is None:
        return
    code = form.get("ErrorCode", "")
    if said is Said.FAILED and code in DEAD:
        said = Said.DEAD
    why = f"Twilio: {form['MessageStatus']} ({code})" if code else ""
    rows = Delivery.objects.filter(pk=pk)
    changed = hearing.note(
        rows, said, now=now, why=why, provider_id=form.get("MessageSid", "")[:64]
    )
    if changed and said in (Said.FAILED, Said.DEAD):
        hearing.came_back(pk, now=now)


def _call(pk: int, attempt: int | None, word: str, now: datetime) -> None:
    said = CALL.get(word)
    if said is None:
        return
    rows = Delivery.objects.filter(pk=pk)
    if attempt is not None:
        # The word is about one call; a later one to the same person may be under way.
        rows = rows.filter(attempts=attempt)
    if word == "in-progress":
        rows.filter(answered_at__isnull=True).update(answered_at=now)
    changed = hearing.note(
        rows, said, now=now, why=f"Twilio: {word}" if said is Said.FAILED else ""
    )
    if changed and said is not Said.TAKEN:
        waking.rang(pk, outcome=word, now=now)


def _pressed(pk: int, digit: str, now: datetime) -> HttpResponse:
    """Key 1 is "heard", 9 is "stop calling me"; any other key reads it once more by hanging up and calling again."""
    delivery = (
        Delivery.objects.select_related("broadcast", "subscription__subscriber")
        .filter(pk=pk)
        .first()
    )
    if delivery is None:
        return HttpResponse("no such delivery\n", status=404, content_type="text/plain")
    if delivery.accepted_at and now - delivery.accepted_at > KEYS_LATE_MAX:
        raise TurnedAway(Why.REPLAYED)
    language = delivery.subscription.language
    answer = VoiceResponse()
    if digit == "1":
        hearing.heard(delivery, by="key", now=now)
        answer.say(say(language, "Thank you. Good bye."), language=tongue(language))
    elif digit == "9":
        waking.rang(pk, outcome="stopped", now=now)
        hearing.stop(
            delivery.subscription.address_hash, why="pressed 9", now=now, channels=("voice",)
        )
        answer.say(
            say(language, "We will not call you again. Good bye."), language=tongue(language)
        )
    answer.hangup()
    return HttpResponse(str(answer), content_type="text/xml")


def _keep(sid: str, number_hash: str, meaning: Meaning, now: datetime, *, helped: bool) -> bool:
    """Note the reply; False when it was taken already. Raises TurnedAway when that was long ago: START must not be replayed."""
    try:
        with transaction.atomic():
            Reply.objects.create(
                sid=sid, number_hash=number_hash, meaning=meaning.value, helped=helped, at=now
            )
    except IntegrityError:
        taken_at = Reply.objects.get(sid=sid).at
        if now - taken_at > AGAIN_MAX:
            raise TurnedAway(Why.REPLAYED) from None
        return False
    return True


def _understand(meaning: Meaning, number_hash: str, now: datetime) -> None:
    match meaning:
        case Meaning.STOP:
            hearing.stop(number_hash, why="said STOP", now=now, channels=PHONE_CHANNELS)
        case Meaning.START | Meaning.YES:
            # Twilio's words for coming back; YES also answers the question whether we may write.
            if meaning is Meaning.YES:
                people.confirm_by_reply(channel="sms", address_hash=number_hash, now=now)
            _start(number_hash, now)
        case Meaning.HEARD:
            hearing.heard_by_number(number_hash, now=now)
        case Meaning.HELP | Meaning.UNCLEAR:
            pass  # the help text is the answer


def _start(number_hash: str, now: datetime) -> None:
    """Bring back what STOP ended; who left by a page, or ended the calls by key 9, asks for it there."""
    stops = Reply.objects.filter(number_hash=number_hash, meaning=Meaning.STOP)
    said_at = list(stops.order_by("-at").values_list("at", flat=True)[:STOPS_MAX])
    for channel in PHONE_CHANNELS:
        people.rejoin(channel=channel, address_hash=number_hash, ended_at=said_at, now=now)
        people.lift(channel=channel, address_hash=number_hash)


def _helps(meaning: Meaning, number_hash: str, now: datetime) -> bool:
    if meaning not in (Meaning.HELP, Meaning.UNCLEAR):
        return False
    last = Reply.objects.filter(number_hash=number_hash, helped=True).order_by("-at").first()
    return replies.may_help(last.at if last else None, now)


def _help_text(number_hash: str) -> str:
    known = Subscription.objects.filter(channel="sms", address_hash=number_hash).first()
    return say(
        known.language if known else "en",
        "{sender}: reply OK if you have heard, STOP to end these messages, START to get them again. More: {url}",
        sender=reads.the_page().name,
        url=f"{settings.SITE_URL}/manage",
    )


def _answer(text: str = "") -> HttpResponse:
    answer = MessagingResponse()
    if text:
        answer.message(text)
    return HttpResponse(str(answer), content_type="text/xml")


urlpatterns = [
    path("receipts/twilio/<str:token>", status),
    path("receipts/twilio", reply),
]
