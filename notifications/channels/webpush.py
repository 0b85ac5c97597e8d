"""Web push: encrypted for one browser, signed by our VAPID key, the newest word of an incident only."""

import base64
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02
from pywebpush import WebPusher

from notifications.channels import (
    AddressKind,
    Misconfigured,
    Outcome,
    Recipient,
    _abreast,
    _guard,
    accepted,
    refused,
    retry,
    unknown,
)
from notifications.messages import Notice, cut, say

NAME = "webpush"
LABEL = "Notification in this browser"
ADDRESS_KIND = AddressKind.PUSH

# How long a push service keeps it for a phone that is off: an outage's word is stale after a night,
# an answer to a person's own click after ten minutes.
TTL_S: Final = {"update": 12 * 3600, "call": 3600, "letter": 600}
# RFC 8292 §2: at most 24 h; half of it leaves room for clocks that are off.
SIGNED_FOR_S: Final = 12 * 3600
# RFC 8291 §4 has services take 4,096 bytes; encryption adds 103, and padding is ours to save.
TEXT_CHARS_MAX: Final = 600
# RFC 8030 §5.4: a Topic has at most 32 characters of the URL-safe alphabet.
TOPIC_CHARS_MAX: Final = 32
SIGNATURES_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class WebPush:
    poster: _guard.Poster
    vapid: Vapid02
    contact: str
    name: str = NAME
    label: str = LABEL
    address_kind: AddressKind = ADDRESS_KIND
    provider: str = "webpush"
    group: int = _abreast.ABREAST
    per_s: float | None = None

    @property
    def public_key(self) -> str:
        """Return the key that a browser subscribes with (RFC 8292: applicationServerKey)."""
        return public_key(self.vapid)

    def send(self, notice: Notice, batch: Iterator[Recipient]) -> Iterator[tuple[str, Outcome]]:
        plain = _text(notice)

        def push(one: Recipient) -> Outcome:
            return self._push(notice, _text(notice, one.heard_url) if one.heard_url else plain, one)

        return _abreast.send(batch, push)

    def preview(self, notice: Notice) -> str:
        words = message(notice)
        return f"{words['title']}\n{words['body']}"

    def close(self) -> None:
        self.poster.close()

    def _push(self, notice: Notice, text: bytes, recipient: Recipient) -> Outcome:
        try:
            subscription = json.loads(recipient.address)
            sealed = WebPusher(subscription).encode(text, content_encoding="aes128gcm")
            endpoint = str(subscription["endpoint"])
        except (ValueError, KeyError, TypeError):
            return refused("the browser's keys cannot be read", dead=True)
        answer = _guard.attempt(
            self.poster, endpoint, bytes(sealed["body"]), self._headers(notice, endpoint)
        )
        return answer if isinstance(answer, Outcome) else _outcome(answer)

    def _headers(self, notice: Notice, endpoint: str) -> dict[str, str]:
        headers = {
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(TTL_S[notice.kind]),
            "Urgency": "high" if notice.critical or notice.kind != "update" else "normal",
            "Authorization": self._signed(endpoint),
        }
        if notice.thread:
            headers["Topic"] = topic(notice.thread)
        return headers

    def _signed(self, endpoint: str) -> str:
        parts = urlsplit(endpoint)
        # One signature serves all of a service's subscribers for an hour: signing costs most of a push.
        return _signature(
            self.vapid, f"{parts.scheme}://{parts.netloc}", self.contact, int(time.time() // 3600)
        )


@lru_cache(maxsize=SIGNATURES_KEPT)
def _signature(vapid: Vapid02, audience: str, contact: str, hour: int) -> str:
    claims = {"aud": audience, "sub": contact, "exp": hour * 3600 + SIGNED_FOR_S}
    return str(vapid.sign(claims)["Authorization"])


def configure(environ: Mapping[str, str]) -> WebPush | None:
    key = environ.get("VAPID_PRIVATE_KEY", "").strip()
    if not key:
        return None
    try:
        vapid = Vapid02.from_string(key)
    except ValueError:
        raise Misconfigured(
            "VAPID_PRIVATE_KEY must be a private key of the curve P-256 in URL-safe base64 (32 bytes)."
        ) from None
    poster = _guard.Poster(allow_private=_guard.allows_private(environ), keep=True)
    return WebPush(poster, vapid, _contact(environ))


def _contact(environ: Mapping[str, str]) -> str:
    contact = environ.get("VAPID_CONTACT", "").strip()
    if not contact:
        # RFC 8292 §2.1: a push service writes there when something is wrong with our pushes.
        site = environ.get("SITE_URL", "").strip()
        return site if site.startswith("https://") else "mailto:status@localhost"
    if not contact.startswith(("mailto:", "https://")):
        raise Misconfigured("VAPID_CONTACT must begin with mailto: or https://.")
    return contact


def public_key(vapid: Vapid02) -> str:
    """Return the public half, 65 bytes uncompressed, in URL-safe base64 without padding."""
    key: ec.EllipticCurvePublicKey = vapid.public_key
    raw = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def topic(thread: str) -> str:
    """Return the Topic of an incident: a phone that slept gets its newest push only."""
    digest = hashlib.sha256(thread.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()[:TOPIC_CHARS_MAX]


def _text(notice: Notice, heard_url: str = "") -> bytes:
    said = message(notice, heard_url)
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def message(notice: Notice, heard_url: str = "") -> dict[str, Any]:  # Any: JSON.
    """Return what the service worker shows; `tag` makes a second copy invisible, `heard` is where its button posts to."""
    return {
        "title": notice.subject,
        "body": cut(notice.short, TEXT_CHARS_MAX),
        "url": notice.url,
        "sequence": notice.sequence,
        "tag": topic(notice.thread) if notice.thread else notice.kind,
        "lang": notice.language,
        "urgent": notice.critical and not notice.final,
        "confirm": notice.url if notice.confirms else "",
        "heard": heard_url,
        "heard_label": say(notice.language, "I have heard this") if heard_url else "",
    }


def _outcome(answer: _guard.Answer) -> Outcome:
    if answer.status in (404, 410):
        return refused("the browser has ended this subscription", dead=True)
    if 200 <= answer.status < 300:
        where = {name.lower(): value for name, value in answer.headers.items()}.get("location", "")
        return accepted(where[-255:])
    if answer.status in (400, 401, 403, 413):
        return refused(f"the push service answered {answer.status}")
    if answer.status >= 500:
        return unknown(f"the push service answered {answer.status}")
    outcome = _guard.outcome_of(answer)
    return retry(outcome.why, after_s=outcome.retry_after_s)
