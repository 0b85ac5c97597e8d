"""Webhooks, signed as Standard Webhooks asks; the body is Statuspage's, so its receivers work too."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from standardwebhooks.webhooks import Webhook as Signature

from notifications.channels import (
    AddressKind,
    Outcome,
    Recipient,
    Result,
    _abreast,
    _guard,
)
from notifications.messages import Notice

NAME = "webhook"
LABEL = "Webhook"
ADDRESS_KIND = AddressKind.URL

# A receiver is written for small bodies: Standard Webhooks, "Payload size", under 20 kB.
BODY_BYTES_MAX: Final = 20_000
# A post waits for a place before it begins: both together are within what the lease of a batch leaves.
POST_S: Final = _guard.POST_S - _abreast.PLACE_WAIT_S
_TYPES: Final = {"update": "incident.update", "call": "operators.call", "letter": "letter"}


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    poster: _guard.Poster
    secret_key: str
    name: str = NAME
    label: str = LABEL
    address_kind: AddressKind = ADDRESS_KIND
    provider: str = "webhook"
    group: int = _abreast.ABREAST
    per_s: float | None = None

    def send(self, notice: Notice, batch: Iterator[Recipient]) -> Iterator[tuple[str, Outcome]]:
        return _abreast.send(batch, partial(self._post, notice), host_of=_host_of)

    def preview(self, notice: Notice) -> str:
        return json.dumps(payload(notice), indent=1, ensure_ascii=False)

    def close(self) -> None:
        self.poster.close()

    def _post(self, notice: Notice, recipient: Recipient) -> Outcome:
        secret = signing_secret(recipient.address, self.secret_key)
        words = payload(notice, unsubscribe_url=recipient.unsubscribe_url)
        challenge = _challenge(notice) if notice.confirms else ""
        if challenge:
            words["data"] |= {"challenge": challenge, "secret": secret, "confirm_url": notice.url}
        body = json.dumps(words, ensure_ascii=False)
        # Constant over retries: a receiver drops what it has seen.
        message_id = f"{notice.kind}_{recipient.delivery}"
        now = datetime.now(UTC)
        answer = _guard.attempt(
            self.poster,
            recipient.address,
            body.encode(),
            {
                "Content-Type": "application/json",
                "User-Agent": "statuspage-webhook",
                "webhook-id": message_id,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": Signature(secret).sign(message_id, now, body),
            },
        )
        if isinstance(answer, Outcome):
            return answer
        outcome = _guard.outcome_of(answer, provider_id=message_id)
        if outcome.result is Result.ACCEPTED and challenge and _echoes(answer.body, challenge):
            return replace(outcome, confirms=True)
        return outcome


def configure(environ: Mapping[str, str]) -> WebhookChannel:
    poster = _guard.Poster(allow_private=_guard.allows_private(environ), post_s=POST_S)
    return WebhookChannel(poster, environ.get("SECRET_KEY", ""))


def _host_of(recipient: Recipient) -> str:
    try:
        return urlsplit(recipient.address).hostname or ""
    except ValueError:  # the post says so
        return ""


def signing_secret(url: str, secret_key: str) -> str:
    """Return the secret that signs what goes to `url`: its own, derived, kept nowhere (32 bytes)."""
    key = hmac.new(secret_key.encode(), b"statuspage:webhook", hashlib.sha256).digest()
    made = hmac.new(key, url.encode(), hashlib.sha256).digest()
    return f"whsec_{base64.b64encode(made).decode()}"


def payload(notice: Notice, *, unsubscribe_url: str = "") -> dict[str, Any]:  # Any: JSON.
    """Return the body: Statuspage's keys beside `type`, `timestamp` and `data`.

    Over BODY_BYTES_MAX the oldest updates of the incident are left out; `data` always says it all.
    """
    words: dict[str, Any] = {
        "type": "subscription.confirm" if notice.confirms else _TYPES[notice.kind],
        "timestamp": notice.published_at.astimezone(UTC).isoformat(),
        "data": {
            "incident_id": notice.thread,
            "sequence": notice.sequence,
            "status": notice.status,
            "final": notice.final,
            "headline": notice.headline or notice.subject,
            "state": notice.state,
            "body": notice.body,
            "what_to_do": notice.what_to_do,
            "next_update_by": notice.next_update_by,
            "url": notice.url,
            "language": notice.language,
        },
    }
    if not notice.machine:
        return words
    words |= json.loads(notice.machine)
    words["meta"]["unsubscribe"] = unsubscribe_url
    said = words["incident"]["incident_updates"]
    while len(said) > 1 and len(json.dumps(words, ensure_ascii=False).encode()) > BODY_BYTES_MAX:
        said.pop()
    return words


def _challenge(notice: Notice) -> str:
    """Return what the receiver has to send back; it can be known only from this very message."""
    return hashlib.sha256(b"challenge:" + notice.url.encode()).hexdigest()[:32]


def _echoes(body: bytes, challenge: str) -> bool:
    try:
        said = json.loads(body)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("challenge") == challenge
