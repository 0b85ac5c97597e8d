"""The line to a mail provider's API, through Anymail: one call for many readers, each with its own outcome."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from typing import Any

from anymail.exceptions import (
    AnymailError,
    AnymailRecipientsRefused,
    AnymailRequestsAPIError,
)
from anymail.message import AnymailMessage

from notifications.channels import (
    Outcome,
    Recipient,
    _http,
    _mail,
    accepted,
    refused,
    retry,
    unknown,
)
from notifications.messages import Notice, clean_line

# Keys revoked, sender not confirmed: somebody has to act, and nobody may be lost meanwhile.
ACCOUNT_WAIT_S = 3600.0
# A call that may take less than this would only end unknown.
CALL_S_MIN = 0.5


@dataclass(frozen=True, slots=True)
class Provider:
    """`keys` are what stands for KEY (or KEY:SECRET) in the address; `chunk` readers go into one call."""

    keys: tuple[str, ...]
    chunk: int


# Readers per call, by the providers' own documents: https://postmarkapp.com/developer/api/email-api (500),
# https://resend.com/docs/api-reference/emails/send-batch-emails (100), https://dev.mailjet.com/email/guides/send-api-v31 (50).
# Mailgun and SendGrid take 1000 (https://documentation.mailgun.com, https://www.twilio.com/docs/sendgrid/api-reference/mail-send);
# Brevo takes 2000, and 1000 is what one claim has at most (sending.CLAIM_ROWS_MAX). 500 is our own bound where no figure is known.
# One per call where Anymail cannot give each reader headers of their own.
PROVIDERS = {
    "brevo": Provider(("api_key",), 1000),
    "mailersend": Provider(("api_token",), 1),
    "mailgun": Provider(("api_key",), 1000),
    "mailjet": Provider(("api_key", "secret_key"), 50),
    "mailtrap": Provider(("api_token",), 500),
    "mandrill": Provider(("api_key",), 1),
    "postal": Provider(("api_key",), 1),
    "postmark": Provider(("server_token",), 500),
    "resend": Provider(("api_key",), 100),
    "scaleway": Provider(("secret_key",), 1),
    "sendgrid": Provider(("api_key",), 1000),
    "sparkpost": Provider(("api_key",), 500),
    "unisender_go": Provider(("api_key",), 1),
}
# Who tells of each mail that arrived; Mandrill says only "sent" (docs/reference.md, "What mail providers tell").
REPORTING = frozenset(PROVIDERS) - {"mandrill", "scaleway"}


class EspLine:
    def __init__(
        self, name: str, options: Mapping[str, str], sender: str, timeouts: _http.Timeouts
    ) -> None:
        self.provider = name
        self.chunk = self.group = PROVIDERS[name].chunk
        self._options = dict(options)
        self._sender = sender
        self._timeouts = timeouts
        self._backend: Any = None  # Anymail's, untyped

    def send(self, notice: Notice, batch: Iterable[Recipient]) -> Iterator[tuple[str, Outcome]]:
        waiting = iter(batch)
        while chunk := list(islice(waiting, self.chunk)):
            for call in _calls(chunk):
                yield from self._call(notice, call)

    def check(self) -> str:
        """A provider's API tells nothing of a key without a message."""
        return ""

    def close(self) -> None:
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()

    def _call(
        self, notice: Notice, recipients: dict[str, Recipient]
    ) -> Iterator[tuple[str, Outcome]]:
        possible: dict[str, Recipient] = {}
        for recipient in recipients.values():
            try:
                _mail.check_links(recipient)
                possible[_mail.clean_address(recipient.address)] = recipient
            except ValueError as error:
                yield recipient.delivery, refused(str(error))
        if possible:
            yield from self._post(notice, possible, time.monotonic() + self._timeouts.delivery_s)

    def _post(
        self, notice: Notice, recipients: dict[str, Recipient], ends: float
    ) -> Iterator[tuple[str, Outcome]]:
        left_s = ends - time.monotonic()
        if left_s < CALL_S_MIN:
            late = retry("the provider was too slow for the rest of this call")
            yield from ((recipient.delivery, late) for recipient in recipients.values())
            return
        message = self._message(notice, recipients)
        try:
            self._open(left_s).send_messages([message])
        except AnymailRecipientsRefused:
            pass  # The statuses below say it of each.
        except (AnymailError, ValueError, KeyError, TypeError, AttributeError) as error:
            if _is_about_the_content(error) and len(recipients) > 1:
                # One of them spoils the call for all: halve until that one stands alone.
                yield from self._halved(notice, recipients, ends)
                return
            outcome = _failed(error)
            yield from ((recipient.delivery, outcome) for recipient in recipients.values())
            return
        statuses = message.anymail_status.recipients
        for address, recipient in recipients.items():
            yield recipient.delivery, _settled(statuses.get(address))

    def _halved(
        self, notice: Notice, recipients: dict[str, Recipient], ends: float
    ) -> Iterator[tuple[str, Outcome]]:
        items = list(recipients.items())
        middle = len(items) // 2
        yield from self._post(notice, dict(items[:middle]), ends)
        yield from self._post(notice, dict(items[middle:]), ends)

    def _message(self, notice: Notice, recipients: Mapping[str, Recipient]) -> Any:
        # AnymailMessage is untyped.
        alone = next(iter(recipients.values())) if self.chunk == 1 else None
        foot = _foot(notice, alone)
        text, html = _mail.bodies(notice, foot, foot)
        message = AnymailMessage(
            clean_line(notice.subject),
            text,
            _mail.sender_header(notice, self._sender),
            list(recipients),
            headers=_mail.headers(notice, self._sender),
        )
        message.attach_alternative(html, "text/html")
        if alone is not None:
            message.extra_headers |= _own_headers(alone)
        else:
            # Empty merge data is Anymail's sign that each of `to` gets a message of their own.
            message.merge_data = {}
            message.merge_headers = {to: _own_headers(r) for to, r in recipients.items()}
        return message

    def _open(self, left_s: float) -> Any:
        """Return Anymail's backend for a call of at most `left_s`; made at first use, for the settings load after the channels."""
        if self._backend is None:
            module = import_module(f"anymail.backends.{self.provider}")
            self._backend = module.EmailBackend(**self._options)
            self._backend.open()
        connect_s = min(self._timeouts.connect_s, left_s / 2)
        self._backend.timeout = (connect_s, min(self._timeouts.read_s, left_s - connect_s))
        return self._backend


def _calls(batch: Iterable[Recipient]) -> Iterator[dict[str, Recipient]]:
    """Split `batch` so that no address stands twice in one call: Anymail answers by address."""
    waiting = list(batch)
    while waiting:
        call: dict[str, Recipient] = {}
        again = [r for r in waiting if call.setdefault(r.address, r) is not r]
        yield call
        waiting = again


def _foot(notice: Notice, alone: Recipient | None) -> _mail.Foot:
    """Return the quiet line. In one call for many the body is the same for all: personal links are in the headers."""
    if alone is not None:
        return _mail.Foot(alone.manage_url, alone.unsubscribe_url)
    if notice.kind != "update" or not notice.url.startswith("http"):
        return _mail.Foot()
    scheme, _, rest = notice.url.partition("://")
    return _mail.Foot(manage=f"{scheme}://{rest.split('/')[0]}/subscribe")


def _own_headers(recipient: Recipient) -> dict[str, str]:
    link = recipient.unsubscribe_url
    return _mail.unsubscribe_headers(link) if link else {}


def _settled(status: Any) -> Outcome:
    # AnymailRecipientStatus is untyped; None when the answer did not name this address.
    word = status.status if status is not None else None
    match word:
        case "sent" | "queued":
            return accepted(str(status.message_id or ""))
        case "invalid":
            return refused("the provider says that there is no such address", dead=True)
        case "rejected":
            return refused("the provider will not send to this address")
        case "failed":
            return retry("the provider failed to send")
        case _:
            return unknown("the provider did not say what became of this address")


def _is_about_the_content(error: Exception) -> bool:
    """Whether the provider, or Anymail before it, refused what was in the call, so that nobody got anything."""
    if isinstance(error, AnymailRequestsAPIError):
        return error.status_code in (400, 413, 422)
    return isinstance(error, AnymailError)


def _failed(error: Exception) -> Outcome:
    if not isinstance(error, AnymailError):
        return unknown("the provider's answer could not be read")
    if not isinstance(error, AnymailRequestsAPIError):
        return refused(f"Anymail: {clean_line(str(error.args[0] if error.args else ''))}")
    status = error.status_code
    if status is None:
        return _http.unanswered(error.__cause__ or error)
    if status == 429:
        return retry(
            "the provider asks to slow down", after_s=_http.retry_after_s(error.response.headers)
        )
    if status in (401, 402, 403):
        return retry(f"the provider refuses the account ({status})", after_s=ACCOUNT_WAIT_S)
    if status >= 500 or status < 300:
        return unknown(f"the provider answered {status}")
    return refused(f"the provider refuses the message ({status})")
