"""Phone calls that wake people, through Twilio."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from twilio.twiml.voice_response import (
    Gather,
    VoiceResponse,
)

from notifications.channels import (
    AddressKind,
    Outcome,
    Recipient,
    _http,
    _twilio,
    accepted,
    unknown,
)
from notifications.messages import Notice, cut, say

NAME = "voice"
LABEL = "Phone call"
ADDRESS_KIND = AddressKind.PHONE

# Twilio starts one outgoing call a second unless the account has bought more (communication.md §3.6).
PER_S = 1.0
# Long enough to wake somebody, short enough for a second ring within three minutes, which passes Do Not Disturb.
RING_S = 40
# After each reading, for somebody who has to find the key first.
KEY_WAIT_S = 6
READINGS = 3
# A voice reads about 15 characters a second; nobody half awake listens longer than half a minute.
SPOKEN_CHARS_MAX = 400
EVENTS = ["initiated", "ringing", "answered", "completed"]
# Twilio speaks a region's language: https://www.twilio.com/docs/voice/twiml/say
_TONGUES = {
    "en": "en-US",
    "es": "es-MX",
    "fr": "fr-FR",
    "de": "de-DE",
    "it": "it-IT",
    "pt": "pt-BR",
    "ar": "arb",
}


@dataclass(frozen=True, slots=True)
class Voice:
    account: _twilio.Account
    per_s: float | None = PER_S
    name: str = NAME
    label: str = LABEL
    address_kind: AddressKind = ADDRESS_KIND
    provider: str = "twilio"
    group: int = 1

    def send(self, notice: Notice, batch: Iterator[Recipient]) -> Iterator[tuple[str, Outcome]]:
        for recipient in batch:
            yield recipient.delivery, self._call(notice, recipient)

    def preview(self, notice: Notice) -> str:
        return f"{spoken(notice)}\n{_keys(notice)}"

    def close(self) -> None:
        self.account.line.close()

    def _call(self, notice: Notice, recipient: Recipient) -> Outcome:
        self.account.line.begin()
        try:
            call = self.account.client.calls.create(
                to=recipient.address,
                from_=self.account.sender,
                twiml=twiml(notice, recipient.receipt_url),
                timeout=RING_S,
                **_callback(recipient.receipt_url),
            )
        except _twilio.FAILURES as error:
            return self.account.outcome(error)
        if not isinstance(call.sid, str) or not call.sid:
            return unknown("Twilio answered without an id")
        return accepted(call.sid)


def configure(
    environ: Mapping[str, str], *, timeouts: _http.Timeouts = _http.TIMEOUTS
) -> Voice | None:
    """Return the channel; a messaging service alone cannot call, and then this channel is off."""
    account = _twilio.open_account(environ, timeouts=timeouts)
    per_s = _http.rate(environ, "TWILIO_CALLS_PER_S", PER_S)
    return Voice(account, per_s=per_s) if account and account.sender else None


def spoken(notice: Notice) -> str:
    """Return what is read aloud: who calls, what is, what to do, when we speak next."""
    headline = (notice.headline or notice.subject).rstrip(".")
    promise = notice.next_update_by.split(" (")[0]
    parts = [
        say(notice.language, "This is {sender}.", sender=notice.sender),
        say(notice.language, "This is an automatic call.") if notice.automatic else "",
        f"{headline}.",
        notice.body if notice.kind == "call" else "",
        notice.what_to_do or notice.state,
        say(notice.language, "Next update by {time}.", time=promise) if promise else "",
    ]
    return cut(" ".join(part for part in parts if part), SPOKEN_CHARS_MAX)


def tongue(language: str) -> str:
    """Return the language that Twilio reads `language` in."""
    return _TONGUES.get(language.split("-")[0].lower(), "en-US")


def twiml(notice: Notice, receipt_url: str) -> str:
    """Return the call's script; keys go to `receipt_url`, and silence there counts as not heard."""
    response = VoiceResponse()
    for _ in range(READINGS):
        _reading(response, notice, receipt_url, tongue(notice.language))
    response.hangup()
    return str(response)


def _reading(response: VoiceResponse, notice: Notice, receipt_url: str, spoken_in: str) -> None:
    if not receipt_url:
        response.say(spoken(notice), language=spoken_in)
        return
    gather = Gather(
        num_digits=1, action=receipt_url, method="POST", timeout=KEY_WAIT_S, input="dtmf"
    )
    gather.say(spoken(notice), language=spoken_in)
    gather.say(_keys(notice), language=spoken_in)
    response.append(gather)


def _keys(notice: Notice) -> str:
    return say(notice.language, "Press 1 if you have heard this. Press 9 to stop these calls.")


def _callback(receipt_url: str) -> dict[str, object]:
    if not receipt_url:
        return {}
    return {"status_callback": receipt_url, "status_callback_event": EVENTS}
