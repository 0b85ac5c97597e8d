"""The wake-up on commit: rings the clock over Redis so that it does not sleep out its second; may be lost."""

import time

import redis
from django.conf import settings
from django.db import transaction

LIST = "statuspage:doorbell"
# One ring answers for all that was committed before it; more would only pile up while nobody listens.
RINGS_MAX = 4
# A publish must not wait for a broker that hangs: the sweep finds the update within a second anyway.
TIMEOUT_S = 0.05
REST_S = 5.0  # after a failure nobody tries for so long


class _Bell:
    """One bounded connection per process."""

    def __init__(self) -> None:
        self._client: redis.Redis | None = None
        self._rest_until = 0.0

    def ring(self, what: str) -> None:
        if time.monotonic() < self._rest_until:
            return
        try:
            client = self._client or redis.Redis.from_url(
                settings.REDIS_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
            )
            self._client = client
            line = client.pipeline()
            line.lpush(LIST, what)
            line.ltrim(LIST, 0, RINGS_MAX - 1)
            line.execute()
        except (redis.RedisError, OSError):
            # Lost on purpose: the hint is only speed.
            self._client, self._rest_until = None, time.monotonic() + REST_S


_bell = _Bell()


def ring_on_commit(what: str) -> None:
    """Wake the clock once the current transaction has committed. Off with COMMIT_HINT=off."""
    if settings.COMMIT_HINT:
        transaction.on_commit(lambda: _bell.ring(what))


def wait(client: redis.Redis, timeout_s: float) -> bool:
    """Return True when somebody rang within `timeout_s` (whole seconds at least). Raises redis.RedisError."""
    return client.blpop([LIST], timeout=timeout_s) is not None
