"""How often a key may call: counted per minute in Valkey, in this process alone while that is away."""

import threading
import time
from dataclasses import dataclass

import redis
from django.conf import settings

WINDOW_S = 60
TIMEOUT_S = 0.05  # a call must not wait for a counter
REST_S = 5.0  # after a failure Valkey is not asked for so long
KEYS_MAX = 10_000  # of one process's own count


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a key has left of this minute."""

    limit: int
    remaining: int
    reset_s: int

    @property
    def is_spent(self) -> bool:
        return self.remaining < 0

    @property
    def headers(self) -> dict[str, str]:
        found = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.remaining)),
            "X-RateLimit-Reset": str(self.reset_s),
        }
        return found | ({"Retry-After": str(self.reset_s)} if self.is_spent else {})


class _Counter:
    """Calls of a key in the current minute."""

    def __init__(self) -> None:
        self._client: redis.Redis | None = None
        self._rest_until = 0.0
        self._lock = threading.Lock()
        self._own: dict[tuple[int, int], int] = {}

    def add(self, key: int, minute: int) -> int:
        if time.monotonic() >= self._rest_until:
            try:
                return self._in_valkey(key, minute)
            except (redis.RedisError, OSError):
                self._client, self._rest_until = None, time.monotonic() + REST_S
        return self._here(key, minute)

    def _in_valkey(self, key: int, minute: int) -> int:
        client = self._client or redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )
        self._client = client
        line = client.pipeline()
        name = f"statuspage:calls:{key}:{minute}"
        line.incr(name)
        line.expire(name, 2 * WINDOW_S)
        return int(line.execute()[0])

    def _here(self, key: int, minute: int) -> int:
        with self._lock:
            if len(self._own) >= KEYS_MAX:
                self._own.clear()
            self._own = {place: count for place, count in self._own.items() if place[1] == minute}
            self._own[key, minute] = self._own.get((key, minute), 0) + 1
            return self._own[key, minute]


_counter = _Counter()


def count(key: int, *, limit: int, at_s: float) -> Allowance:
    """Count one call of the key (its row id) at `at_s` (seconds since 1970)."""
    minute, into = divmod(int(at_s), WINDOW_S)
    return Allowance(limit, limit - _counter.add(key, minute), WINDOW_S - into)
