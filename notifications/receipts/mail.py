"""Events of mail providers, read by Anymail: delivered, bounced, complained, unsubscribed."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from anymail.exceptions import AnymailError, AnymailNotSupportedWarning
from anymail.signals import EventType, RejectReason
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.urls import path
from standardwebhooks.webhooks import Webhook as Signature
from standardwebhooks.webhooks import WebhookVerificationError

from notifications import hearing
from notifications.channels import _esp
from notifications.hearing import Said
from notifications.models import Delivery
from notifications.receipts.doors import TurnedAway, Why, door
from subscribers import addresses

# SendGrid's batches have at most 768 KB; SparkPost's are the largest, and are sent again in full when refused.
BYTES_MAX = 2_000_000
EVENTS_MAX = 5_000
# A mail server gives up after five days at the latest; older events were recorded and are played back.
LATE_MAX = timedelta(days=7)
WHY_CHARS_MAX = 200
# https://docs.svix.com/receiving/verifying-payloads/how-manual
SVIX_KEY = "whsec_"

WORDS = {
    EventType.QUEUED: Said.TAKEN,
    EventType.SENT: Said.TAKEN,
    EventType.DEFERRED: Said.TAKEN,
    EventType.DELIVERED: Said.DELIVERED,
    # Who opens a mail has it, and many providers' "delivered" is lost behind it.
    EventType.OPENED: Said.DELIVERED,
    EventType.CLICKED: Said.DELIVERED,
    EventType.REJECTED: Said.FAILED,
    EventType.FAILED: Said.FAILED,
    EventType.BOUNCED: Said.FAILED,
    EventType.COMPLAINED: Said.COMPLAINED,
    EventType.UNSUBSCRIBED: Said.COMPLAINED,
}
# Mandrill and SendGrid give no reason at all.
_DEAD = frozenset({RejectReason.BOUNCED, RejectReason.INVALID, None})
# Where providers write in their own words that a bounce is one for today only.
_KIND_KEYS = frozenset(
    {"type", "event", "record_type", "bounce_type", "severity", "status", "delivery_status"}
)
_SOFT = (
    "soft",
    "transient",
    "temporary",
    "undetermined",
    "blocked",
    "err_mailbox_full",
    "err_will",
)
# https://support.sparkpost.com/docs/deliverability/bounce-classification-codes: all but no such address.
_SOFT_CLASSES = frozenset({"1", "20", "21", "22", "23", "24", "40", "70", "100"})
_DEPTH_MAX = 4
# What Anymail's readers come to on JSON of another shape, endless depth or a time that no calendar has.
_MISSHAPEN = (LookupError, TypeError, AttributeError, RecursionError, OverflowError)


@dataclass(frozen=True, slots=True)
class Signed:
    """How one provider proves that it is the provider: `option` is Anymail's name for its own key, "" HTTP's basic password."""

    view: str
    option: str = ""


PROVIDERS = {
    "brevo": Signed("BrevoTrackingWebhookView"),
    "mailersend": Signed("MailerSendTrackingWebhookView", "signing_secret"),
    "mailgun": Signed("MailgunTrackingWebhookView", "webhook_signing_key"),
    "mailjet": Signed("MailjetTrackingWebhookView"),
    "mailtrap": Signed("MailtrapTrackingWebhookView", "tracking_secret"),
    "mandrill": Signed("MandrillCombinedWebhookView", "webhook_key"),
    "postal": Signed("PostalTrackingWebhookView", "webhook_key"),
    "postmark": Signed("PostmarkTrackingWebhookView"),
    "resend": Signed("ResendTrackingWebhookView"),
    "sendgrid": Signed("SendGridTrackingWebhookView", "tracking_webhook_verification_key"),
    "sparkpost": Signed("SparkPostTrackingWebhookView"),
    "unisender_go": Signed("UnisenderGoTrackingWebhookView", "api_key"),
}


@door("email", BYTES_MAX)
def events(request: HttpRequest, provider: str) -> HttpResponse:
    """Take a provider's events; only one that EMAIL_URL or EMAIL_FALLBACK_URL names, with the secret agreed upon."""
    view = _view(provider, _secret())
    if view is None or provider not in _ours():
        raise TurnedAway(Why.FORGED)
    try:
        if _is_svix(provider):
            _check_svix(request)
        else:
            view.run_validators(request)
    except (SuspiciousOperation, AnymailError, KeyError, ValueError, WebhookVerificationError):
        raise TurnedAway(Why.FORGED) from None
    except _MISSHAPEN:
        raise TurnedAway(Why.UNREADABLE) from None
    now = datetime.now(UTC)
    try:
        found = list(view.parse_events(request))
        fresh = [
            event for event in found if event.timestamp is None or now - event.timestamp < LATE_MAX
        ]
    except (AnymailError, ValueError, AssertionError, *_MISSHAPEN):
        raise TurnedAway(Why.UNREADABLE) from None
    if found and not fresh:
        raise TurnedAway(Why.REPLAYED)
    _take(fresh[:EVENTS_MAX], now)
    return HttpResponse()


def _secret() -> str:
    return settings.ENVIRON.raw.get("EMAIL_WEBHOOK_SECRET", "").strip()


def _is_svix(provider: str) -> bool:
    """Whether Resend signs: its key begins so. What is not such a key is a password in the address."""
    return provider == "resend" and _secret().startswith(SVIX_KEY)


def _check_svix(request: HttpRequest) -> None:
    """Check Svix's signature, which is that of Standard Webhooks under other names; it is good for five minutes."""
    names = ("id", "timestamp", "signature")
    heads = {f"webhook-{name}": request.headers.get(f"svix-{name}", "") for name in names}
    Signature(_secret()).verify(request.body, heads)


def said(event: Any) -> Said | None:
    """Return what an AnymailTrackingEvent (untyped) means for its delivery; None for what changes nothing."""
    word = WORDS.get(event.event_type)
    if (
        event.event_type == EventType.BOUNCED
        and event.reject_reason in _DEAD
        and not is_soft(event.esp_event)
    ):
        return Said.DEAD
    if word is Said.FAILED and event.reject_reason in (
        RejectReason.SPAM,
        RejectReason.UNSUBSCRIBED,
    ):
        return Said.COMPLAINED
    return word


def is_soft(words: object, depth: int = 0) -> bool:
    """Whether a provider's own event says of a bounce that it was one for today: a full mailbox, a server away."""
    if depth > _DEPTH_MAX:
        return False
    if isinstance(words, Mapping):
        said = any(_says_soft(str(key).lower(), value) for key, value in words.items())
        return said or any(is_soft(value, depth + 1) for value in words.values())
    return isinstance(words, list) and any(is_soft(value, depth + 1) for value in words)


def _says_soft(key: str, value: object) -> bool:
    if key == "hard_bounce":
        return value is False
    if key == "bounce_class":
        return value in _SOFT_CLASSES
    return key in _KIND_KEYS and isinstance(value, str) and value.lower().startswith(_SOFT)


def _take(found: Iterable[Any], now: datetime) -> None:
    """Find each event's delivery by the provider's id and the reader's address, and let it change."""
    known = {
        (_bare(event.message_id), _hash(event.recipient)): event for event in found if said(event)
    }
    if not known:
        return
    rows = Delivery.objects.filter(
        channel="email", subscription__address_hash__in={reader for _, reader in known}
    ).values_list("pk", "provider_id", "subscription__address_hash")
    deliveries = {(_bare(sent), reader): pk for pk, sent, reader in rows.order_by("pk") if sent}
    for event in found:
        word = said(event)
        pk = deliveries.get((_bare(event.message_id), _hash(event.recipient)))
        if word is not None and pk is not None:
            changed = hearing.note(Delivery.objects.filter(pk=pk), word, now=now, why=_why(event))
            if changed and word in (Said.FAILED, Said.DEAD):
                hearing.came_back(pk, now=now)


def _bare(message_id: object) -> str:
    return str(message_id or "").strip("<>")[:255]


def _hash(recipient: object) -> str:
    return addresses.address_hash("email", _plain(recipient), settings.SECRET_KEY)


def _plain(words: object) -> str:
    """Return as text what a database takes: no NUL, no half of a surrogate pair."""
    return str(words or "").replace("\x00", "").encode(errors="replace").decode()


def _why(event: Any) -> str:
    """Return the provider's words without the reader's address."""
    words = " ".join(_plain(event.mta_response or event.description or event.reject_reason).split())
    return words.replace(str(event.recipient), "the address")[:WHY_CHARS_MAX]


def _ours() -> dict[str, str]:
    """Return the providers that mail goes through here -> the keys in their addresses."""
    raw = settings.ENVIRON.raw
    urls = [urlsplit(raw.get(name, "")) for name in ("EMAIL_URL", "EMAIL_FALLBACK_URL")]
    return {
        url.scheme.removeprefix("anymail+").replace("-", "_"): url.netloc.rstrip("@")
        for url in urls
        if url.scheme.startswith("anymail+")
    }


def _view(provider: str, secret: str) -> Any:
    """Return Anymail's view (untyped) of a provider, or None where it cannot tell a forgery."""
    signed = PROVIDERS.get(provider)
    if provider == "unisender_go":
        # It signs with the very key that we send with.
        secret = _ours().get(provider, "")
    return _made(provider, secret) if signed and secret else None


@lru_cache(maxsize=8)
def _made(provider: str, secret: str) -> Any:
    signed = PROVIDERS[provider]
    module = import_module(f"anymail.webhooks.{provider}")
    view = getattr(module, signed.view)
    options = {signed.option: secret} if signed.option else {"webhook_secret": secret}
    if provider == "mandrill":
        options["webhook_url"] = f"{settings.SITE_URL}/receipts/email/mandrill"
    with warnings.catch_warnings():
        # Anymail no longer promises SendGrid; its events are in the tests.
        warnings.simplefilter("ignore", AnymailNotSupportedWarning)
        return view(**options)


assert set(PROVIDERS) <= set(_esp.PROVIDERS)

urlpatterns = [path("receipts/email/<str:provider>", events)]
