"""A Twilio account: how it is configured, reached, and what its refusals mean."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import requests
from twilio.base.exceptions import TwilioException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from notifications.channels import Checked, Misconfigured, Outcome, _http, refused, retry, unknown

# Codes: https://www.twilio.com/docs/api/errors
STOPPED = 21610
NO_SUCH_NUMBER = frozenset({21211, 21214, 21217, 21614, 21635})
# The account or its sender is at fault, not the person: they must not lose the message for it.
ACCOUNT_AT_FAULT = frozenset({20003, 20005, 20008, 21603, 21606, 21659, 21660, 21703, 21705})
SLOW_DOWN = frozenset({20429, 14107, 21611, 63038})
# Somebody has to mend the account; asking more often only fills the log.
ACCOUNT_WAIT_S = 3600.0
# What creating or listing may raise; the last four are how the library takes an answer that is not what Twilio describes.
FAILURES = (TwilioException, OSError, ValueError, KeyError, TypeError, AttributeError)
# Outcomes are shown and logged; a person's number is not.
_NUMBER = re.compile(r"\+?\d{7,}")


@dataclass(frozen=True, slots=True)
class Account:
    client: Client
    line: _http.Armed
    sender: str  # a number, or "" with a messaging service
    messaging_service: str

    def outcome(self, error: Exception) -> Outcome:
        """Return what a failed POST means. Twilio has no idempotency key: after a 5xx it may have the message."""
        match error:
            case TwilioException():
                return self._answered(error)
            case requests.RequestException() if not isinstance(error, ValueError):
                return _http.unanswered(error)
            case _:
                return unknown("Twilio's answer could not be read")

    def check(self) -> Checked:
        """Ask for the balance: a wrong token is refused, and an account without money sends nothing."""
        self.line.begin()
        try:
            balance = self.client.api.v2010.accounts(self.client.account_sid).balance.fetch()
            amount = float(balance.balance)
        except FAILURES as error:
            return Checked(False, self.outcome(error).why)
        if amount <= 0:
            return Checked(False, f"Twilio: the balance is {amount:.2f} {balance.currency}")
        return Checked(True)

    def _answered(self, error: TwilioException) -> Outcome:
        heard = self.line.heard
        status, wait_s = (heard.status, heard.retry_after_s) if heard else (0, None)
        # The library has two exceptions, for Twilio's older and newer error bodies.
        code = getattr(error, "code", None)
        reason = getattr(error, "msg", None) or getattr(error, "detail", None) or "no reason given"
        message = _NUMBER.sub("the number", str(reason))
        if status == 429 or code in SLOW_DOWN:
            return retry(f"Twilio asks to slow down ({code})", after_s=wait_s)
        if status >= 500:
            return unknown(f"Twilio answered {status}")
        if code in ACCOUNT_AT_FAULT or status in (401, 402):
            return retry(f"Twilio refuses the account ({code}: {message})", after_s=ACCOUNT_WAIT_S)
        if code == STOPPED:
            return refused("stopped: the person answered STOP", dead=True)
        return refused(f"Twilio: {message} ({code})", dead=code in NO_SUCH_NUMBER)


def open_account(
    environ: Mapping[str, str], *, timeouts: _http.Timeouts = _http.TIMEOUTS
) -> Account | None:
    """Return the account that `environ` names, or None. Raises Misconfigured when it is half named."""
    sender = environ.get("TWILIO_FROM", "").strip()
    service = environ.get("TWILIO_MESSAGING_SERVICE_SID", "").strip()
    keys = _http.required(environ, ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"), "Twilio")
    if keys is None:
        if sender or service:
            raise Misconfigured(
                "Twilio is half configured: TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN must be set too."
            )
        return None
    if not sender and not service:
        raise Misconfigured(
            "Twilio is half configured: TWILIO_FROM or TWILIO_MESSAGING_SERVICE_SID must be set too."
        )
    http = TwilioHttpClient()
    line = _http.arm(http.session, _http.api_base(environ, "TWILIO_API_URL"), timeouts)
    return Account(Client(keys[0], keys[1], http_client=http), line, sender, service)
