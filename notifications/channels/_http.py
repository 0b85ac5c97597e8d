"""How the libraries of Twilio, X and Facebook reach the network: with timeouts, or a stand-in."""

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from notifications.channels import Misconfigured, Outcome, retry, unknown

# A provider that takes longer than this to take the call is down; the batch must not wait for it.
CONNECT_TIMEOUT_S = 3.05
# Twilio and Graph answer within a second or two; six leave room for a bad night.
READ_TIMEOUT_S = 6.0
# All requests for one delivery together: less than the margin a lease keeps (sending.LEASE_MARGIN_S).
DELIVERY_S = 9.5


@dataclass(frozen=True, slots=True)
class Timeouts:
    connect_s: float = CONNECT_TIMEOUT_S
    read_s: float = READ_TIMEOUT_S
    delivery_s: float = DELIVERY_S


TIMEOUTS = Timeouts()


@dataclass(frozen=True, slots=True)
class Heard:
    """The last answer's status and what it said of waiting: the libraries' own exceptions drop the headers."""

    status: int
    retry_after_s: float | None


class Armed(HTTPAdapter):
    """Adds the timeout that none of the libraries sets, and sends to `base` what was meant for the provider.

    Signatures are made before this point, so they stay the provider's; the stand-in finds its host in X-Original-Host.
    """

    def __init__(self, base: str = "", timeouts: Timeouts = TIMEOUTS) -> None:
        self._base = base.rstrip("/")
        self._timeouts = timeouts
        self._local = threading.local()
        super().__init__()

    @property
    def heard(self) -> Heard | None:
        """What this thread's last request was answered; None when there was no answer."""
        heard: Heard | None = getattr(self._local, "heard", None)
        return heard

    def begin(self) -> None:
        """Start the time that all requests for one delivery have together."""
        self._local.ends = time.monotonic() + self._timeouts.delivery_s

    # The libraries pass whatever requests.Session passes on.
    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        self._local.heard = None
        left_s = getattr(self._local, "ends", math.inf) - time.monotonic()
        if left_s <= 0:
            raise requests.ConnectTimeout("no time left for this delivery")
        connect_s = min(self._timeouts.connect_s, left_s)
        kwargs["timeout"] = (connect_s, min(self._timeouts.read_s, left_s))
        if self._base:
            self._rebase(request)
        response = super().send(request, *args, **kwargs)
        self._local.heard = Heard(response.status_code, retry_after_s(response.headers))
        return response

    def _rebase(self, request: requests.PreparedRequest) -> None:
        parts = urlsplit(request.url or "")
        request.headers["X-Original-Host"] = str(parts.netloc)
        request.url = f"{self._base}{parts.path!s}" + (f"?{parts.query!s}" if parts.query else "")


def arm(session: requests.Session, base: str, timeouts: Timeouts) -> Armed:
    """Put the adapter under everything that `session` sends; the environment's proxies stay out of a stand-in's way."""
    adapter = Armed(base, timeouts)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.trust_env = not base
    return adapter


def unanswered(error: BaseException) -> Outcome:
    """Return the outcome of a request that got no readable answer: only one that never left may be sent again freely."""
    if isinstance(
        error, requests.exceptions.SSLError | requests.exceptions.ProxyError
    ) or _never_left(error):
        return retry("could not connect to the provider")
    if isinstance(error, requests.Timeout):
        return unknown("no answer in time")
    return unknown("the connection broke before an answer came")


def _never_left(error: BaseException) -> bool:
    if isinstance(error, requests.ConnectTimeout):
        return True
    inner: object = error.args[0] if error.args else None
    reason = getattr(inner, "reason", None)
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After (a number, or a date) or of X's x-rate-limit-reset (an instant)."""
    after = headers.get("Retry-After", "").strip()
    if after.isdecimal():
        return float(after)
    if after:
        try:
            return max(0.0, (parsedate_to_datetime(after) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            return None
    reset = headers.get("x-rate-limit-reset", "").strip()
    return max(0.0, float(reset) - datetime.now(UTC).timestamp()) if reset.isdecimal() else None


def required(
    environ: Mapping[str, str], names: tuple[str, ...], what: str
) -> tuple[str, ...] | None:
    """Return the variables' values, or None when none is set. Raises Misconfigured when only some are."""
    values = tuple(environ.get(name, "").strip() for name in names)
    if not any(values):
        return None
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing:
        raise Misconfigured(f"{what} is half configured: {' and '.join(missing)} must be set too.")
    return values


def rate(environ: Mapping[str, str], name: str, default: float) -> float:
    """Return messages per second. Raises Misconfigured for anything but a positive number."""
    text = environ.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise Misconfigured(f"{name} must be a number above 0 (messages a second), not {text!r}.")
    return value


def api_base(environ: Mapping[str, str], name: str) -> str:
    """Return the address that replaces the provider's own, or "". Raises Misconfigured if it is none."""
    base = environ.get(name, "").strip()
    if base and not base.startswith(("http://", "https://")):
        raise Misconfigured(
            f"{name} must be an address such as https://127.0.0.1:8443, not {base!r}."
        )
    return base
