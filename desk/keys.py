"""API keys: made, checked."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from django.db.models import Q

from desk.models import ApiKey

KEY_BYTES = 32  # 256 bits: a plain hash is enough, nobody guesses it
# One write a minute and key is precise enough for "last used", and spares a write on every request.
LAST_USED_GRAIN = timedelta(minutes=1)


class Scope(StrEnum):
    """What a key may do; a key without any scope may do everything."""

    READ = "read"
    WRITE = "write"
    INTAKE = "intake"


def create(
    *, name: str, scopes: Sequence[Scope], now: datetime, expires_at: datetime | None = None
) -> str:
    """Make a key and return it; it cannot be read again afterwards."""
    key = new_secret()
    ApiKey.objects.create(
        name=name,
        hash=digest(key),
        scopes=[str(scope) for scope in scopes],
        created_at=now,
        expires_at=expires_at,
    )
    return key


def new_secret() -> str:
    """Return a key that no command line takes for an option: it does not begin with a dash."""
    while (secret := secrets.token_urlsafe(KEY_BYTES)).startswith("-"):
        pass
    return secret


def find(key: str, *, now: datetime) -> ApiKey | None:
    """Return the valid key of this secret, and note its use."""
    if not key:
        return None
    found = (
        ApiKey.objects.filter(hash=digest(key), revoked_at__isnull=True)
        .filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now))
        .first()
    )
    if found and (found.last_used_at is None or now - found.last_used_at > LAST_USED_GRAIN):
        ApiKey.objects.filter(pk=found.pk).update(last_used_at=now)
    return found


def may(key: ApiKey, scope: Scope) -> bool:
    """Say whether the key may do this; who may write may read."""
    granted = set(key.scopes)
    return not granted or scope in granted or (scope is Scope.READ and Scope.WRITE in granted)


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
