"""Text messages, through Twilio."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta

from notifications.channels import (
    AddressKind,
    Checked,
    Outcome,
    Recipient,
    _http,
    _twilio,
    accepted,
    unknown,
)
from notifications.messages import N_, Notice, cut, gsm7, say, sentences, sms_segments

NAME = "sms"
LABEL = "Text message"
ADDRESS_KIND = AddressKind.PHONE
CHECKED = True  # the account can be asked whether it is good; calls go by the same

# Twilio keeps a message for up to ten hours; an alarm that old would mislead (channels.md §4.1).
ALARM_VALIDITY_S = 20 * 60
FINAL_VALIDITY_S = 2 * 3600
# A text that cannot be told in two parts is cut: Twilio advises 320 characters,
# https://support.twilio.com/hc/en-us/articles/360033806753
PARTS_MAX = 2
SMS_CHARS_MAX = 320
# A number's newest messages, among which an uncertain one is looked for; one incident sends far fewer.
LOOK_BACK_MESSAGES = 20
# One message a second is what Twilio lets an ordinary number send.
PER_S = 1.0


@dataclass(frozen=True, slots=True)
class Sms:
    account: _twilio.Account
    per_s: float | None = PER_S
    name: str = NAME
    label: str = LABEL
    address_kind: AddressKind = ADDRESS_KIND
    provider: str = "twilio"
    group: int = 1

    def send(self, notice: Notice, batch: Iterator[Recipient]) -> Iterator[tuple[str, Outcome]]:
        plain = sms_text(notice)
        for recipient in batch:
            text = sms_text(notice, recipient.heard_url) if recipient.heard_url else plain
            yield recipient.delivery, self._send_one(notice, text, recipient)

    def check(self) -> Checked:
        return self.account.check()

    def preview(self, notice: Notice) -> str:
        text = sms_text(notice)
        encoding, parts = sms_segments(text)
        return f"{text}\n({len(text)} characters, {encoding}, {parts} part{'s' * (parts > 1)})"

    def close(self) -> None:
        self.account.line.close()

    def _send_one(self, notice: Notice, text: str, recipient: Recipient) -> Outcome:
        self.account.line.begin()
        try:
            sid = self._earlier(notice, text, recipient) or self._create(notice, text, recipient)
        except _twilio.FAILURES as error:
            return self.account.outcome(error)
        return accepted(sid) if sid else unknown("Twilio answered without an id")

    def _create(self, notice: Notice, text: str, recipient: Recipient) -> str:
        message = self.account.client.messages.create(
            to=recipient.address,
            body=text,
            validity_period=FINAL_VALIDITY_S if notice.final else ALARM_VALIDITY_S,
            **_optional(
                from_=self.account.sender if not self.account.messaging_service else "",
                messaging_service_sid=self.account.messaging_service,
                status_callback=recipient.receipt_url,
            ),
        )
        return _sid(message)

    def _earlier(self, notice: Notice, text: str, recipient: Recipient) -> str:
        """Return the id of this very message, if an attempt that seemed lost had reached Twilio after all."""
        if not recipient.maybe_sent:
            return ""
        messages = self.account.client.messages.list(
            to=recipient.address, limit=LOOK_BACK_MESSAGES, page_size=LOOK_BACK_MESSAGES
        )
        # Twilio rounds to seconds and its clock is not ours.
        since = notice.published_at.astimezone(UTC) - timedelta(minutes=1)
        same = (m for m in messages if m.body == text and m.status not in ("failed", "canceled"))
        return next((_sid(m) for m in same if m.date_created and m.date_created >= since), "")


def configure(
    environ: Mapping[str, str], *, timeouts: _http.Timeouts = _http.TIMEOUTS
) -> Sms | None:
    account = _twilio.open_account(environ, timeouts=timeouts)
    per_s = _http.rate(environ, "TWILIO_SMS_PER_S", PER_S)
    return Sms(account, per_s=per_s) if account else None


def parts(notice: Notice) -> int:
    """Return in how many parts the text is sent, and billed."""
    return sms_segments(sms_text(notice))[1]


def sms_text(notice: Notice, heard_url: str = "") -> str:
    """Return the text: state, what to do, when we speak next, link; in one part where the words allow it.

    Left out first is what the page says as well: how to stop, then further sentences of what to do. The state, the first
    thing to do, the promise and the link stay, if need be in two parts. With `heard_url` its reader is told how to
    answer, by a word and by that link; by the word alone where both do not fit.
    """
    for answer in _answers(notice, heard_url):
        if text := _fitting(notice, answer):
            return text
    shortest = [*_answers(notice, heard_url)][-2:][0]
    return _cut_to_fit(notice, shortest)


def _answers(notice: Notice, heard_url: str) -> Iterator[str]:
    """Return how to say "heard", from the longest to nothing."""
    if heard_url:
        yield gsm7(say(notice.language, N_("Heard? Reply OK, or: {link}"), link=heard_url))
        yield gsm7(say(notice.language, N_("Heard? Reply OK.")))
    yield ""


def _fitting(notice: Notice, answer: str) -> str:
    """Return the fullest text with `answer` in the fewest parts, "" where none fits."""
    if notice.discreet:
        return _joined(f"{gsm7(notice.subject)}.", notice.url, answer)
    texts = [_joined(text, answer) for text in _from_full_to_short(notice)]
    for parts in range(1, PARTS_MAX + 1):
        for text in texts:
            if sms_segments(text)[1] <= parts:
                return text
    return ""


def _from_full_to_short(notice: Notice) -> Iterator[str]:
    head = _head(notice)
    actions = _actions(notice)
    if notice.kind == "update":
        yield _joined(head, *actions, *_promise(notice), notice.url, "STOP=end")
    for count in range(len(actions), 0, -1):
        yield _joined(head, *actions[:count], *_promise(notice), notice.url)
    if not actions:
        yield _joined(head, *_promise(notice), notice.url)


def _actions(notice: Notice) -> list[str]:
    """Return what is said between state and promise, sentence by sentence, in the order of weight.

    An operator is told first what is; an all-clear also tells what may have been missed.
    """
    what_is = sentences(gsm7(notice.body or notice.state))
    what_to_do = sentences(gsm7(notice.what_to_do))
    if notice.kind == "call":
        return what_is[:1] + what_to_do
    return what_to_do + what_is if notice.final else what_to_do or what_is[:1]


def _cut_to_fit(notice: Notice, answer: str) -> str:
    """Return head and action cut short, the link whole: a text in a script of 67 characters a part, or a wordy one."""
    words = _joined(_head(notice), gsm7(notice.what_to_do))
    for limit in range(min(len(words), SMS_CHARS_MAX), 0, -5):
        text = _joined(gsm7(cut(words, limit)), notice.url, answer)
        if sms_segments(text)[1] <= PARTS_MAX:
            return text
    return notice.url


def _head(notice: Notice) -> str:
    head = gsm7(notice.headline or notice.subject).rstrip(".")
    return f"{head} ({say(notice.language, 'automatic')})." if notice.automatic else f"{head}."


def _promise(notice: Notice) -> list[str]:
    # The page's own time alone: the same instant in UTC costs twelve characters.
    time = gsm7(notice.next_update_by).split(" (")[0]
    return [say(notice.language, "Next update by {time}.", time=time)] if time else []


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _sid(message: object) -> str:
    sid = getattr(message, "sid", None)
    return sid if isinstance(sid, str) else ""


def _optional(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}
