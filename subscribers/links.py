"""Links that open one thing for one person, and what they belong to."""

from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings

from subscribers import addresses
from subscribers.models import (
    Letter,
    LetterKind,
    Role,
    State,
    Subscription,
)

# The bounds of security.md, "Links" and "Abuse".
CONFIRM_LIFETIME = timedelta(hours=48)
MANAGE_LIFETIME = timedelta(hours=1)
CODE_LIFETIME = timedelta(minutes=10)


class Why(StrEnum):
    """Why a link leads nowhere."""

    UNKNOWN = "unknown"  # never ours: cut, forged, for something else
    EXPIRED = "expired"  # ours once: too old, or the subscription is gone


class DeadLink(Exception):
    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


def unsubscribe_url(subscription_uid: str) -> str:
    return _url("unsubscribe", subscription_uid)


def manage_url(letter_uid: str = "") -> str:
    """Return the personal link of a letter, or the page that sends one.

    A message that is kept and forwarded for years must carry the latter.
    """
    return _url("manage", letter_uid) if letter_uid else f"{settings.SITE_URL}/manage"


def confirm_url(letter_uid: str) -> str:
    return _url("confirm", letter_uid)


def letter_url(letter: Letter) -> str:
    """Return the link that this letter carries; a test carries none."""
    match letter.kind:
        case LetterKind.CONFIRM:
            return confirm_url(letter.uid)
        case LetterKind.MANAGE:
            return manage_url(letter.uid)
        case _:
            return ""


def letter_code(letter: Letter) -> str:
    """Return the code that confirms by hand at /confirm; only a confirmation has one."""
    is_typed = letter.kind == LetterKind.CONFIRM
    return addresses.code(letter.uid, settings.SECRET_KEY) if is_typed else ""


def _url(purpose: str, uid: str) -> str:
    token = addresses.link_token(purpose, uid, settings.SECRET_KEY)
    return f"{settings.SITE_URL}/{purpose}/{token}"


def letter_of(kind: LetterKind, token: str, *, now: datetime) -> Letter:
    """Return the letter that a link belongs to. Raises DeadLink."""
    uid = addresses.read_link_token(kind, token, settings.SECRET_KEY)
    if uid is None:
        raise DeadLink(Why.UNKNOWN)
    letter = Letter.objects.select_related("subscription__subscriber").filter(uid=uid).first()
    lifetime = CONFIRM_LIFETIME if kind is LetterKind.CONFIRM else MANAGE_LIFETIME
    if letter is None or letter.created_at <= now - lifetime:
        raise DeadLink(Why.EXPIRED)
    if kind is LetterKind.CONFIRM and letter.subscription.state == State.GONE:
        raise DeadLink(Why.EXPIRED)
    return letter


def subscription_of(token: str) -> Subscription:
    """Return the subscription that an unsubscribe link belongs to, gone or not. Raises DeadLink."""
    uid = addresses.read_link_token("unsubscribe", token, settings.SECRET_KEY)
    if uid is None:
        raise DeadLink(Why.UNKNOWN)
    row = Subscription.objects.filter(uid=uid, role=Role.SUBSCRIBER).first()
    if row is None:
        raise DeadLink(Why.EXPIRED)
    return row
