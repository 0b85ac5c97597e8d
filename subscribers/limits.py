"""How often may be asked for a letter: per address, network, block of numbers and for all; counted before the database.

The counts lie in Valkey, so that a flood is shed without a query. While it is silent each process counts for itself. What
costs money, text messages and calls, is counted once more by rows, which a flushed Valkey does not forget.
"""

import hashlib
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import redis
from django.conf import settings

from subscribers import addresses
from subscribers.addresses import Kind
from subscribers.models import Ask

# Statuspage's own bound for text messages; for mail a school or a carrier's NAT must still fit.
ASKS_OF_A_NETWORK_MAX = {Kind.PHONE: 10, Kind.EMAIL: 200, Kind.PUSH: 200, Kind.URL: 20}
# Who shows no work (addresses.work) gets this share of a network's: people without JavaScript, and floods.
ASKS_WITHOUT_WORK_MAX = {Kind.PHONE: 10, Kind.EMAIL: 40, Kind.PUSH: 40, Kind.URL: 10}
ASKS_WINDOW = timedelta(hours=4)
ASKS_OF_AN_ADDRESS_MAX, ADDRESS_WINDOW = 10, timedelta(hours=1)
# Toll fraud works through blocks of numbers from many networks. For all numbers together: PHONE_ASKS_PER_HOUR.
ASKS_OF_A_PREFIX_MAX, SPEND_WINDOW = 30, timedelta(hours=1)
# More sign-ups a second than this are not people; each costs about 5 ms of a core.
ASKS_PER_S_MAX = 120
# A visit must not wait for a Valkey that hangs.
TIMEOUT_S, REST_S = 0.05, 5.0
KEYS_OF_A_PROCESS_MAX = 50_000  # about 10 MB


class TooManyAsks(Exception):
    """Too many letters were asked for: by one network, for one address or block of numbers, or by all together."""

    def __init__(self, retry_after: timedelta = ASKS_WINDOW) -> None:
        super().__init__("too many asks")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class _Limit:
    scope: str
    key: str
    most: int
    window: timedelta

    def name(self, now: datetime) -> str:
        number = int(now.timestamp() // self.window.total_seconds())
        return f"statuspage:asks:{self.scope}:{self.key}:{number}"


def shed(kind: Kind, address: str, network: str, *, has_worked: bool, now: datetime) -> None:
    """Count a request before the database is asked for anything. Raises TooManyAsks.

    The same for known and unknown addresses: nobody has been looked up yet.
    """
    limits = [_Limit("s", "all", ASKS_PER_S_MAX, timedelta(seconds=1))]
    if network:
        most = (ASKS_OF_A_NETWORK_MAX if has_worked else ASKS_WITHOUT_WORK_MAX).get(kind, 0)
        limits.append(_Limit(f"n-{kind}", network, most, ASKS_WINDOW))
    hashed = addresses.address_hash(kind, address, settings.SECRET_KEY)
    limits.append(_Limit("a", hashed, ASKS_OF_AN_ADDRESS_MAX, ADDRESS_WINDOW))
    if kind is Kind.PHONE:
        prefix = hashlib.sha256(address[: addresses.PREFIX_CHARS].encode()).hexdigest()[:16]
        limits.append(_Limit("p", prefix, ASKS_OF_A_PREFIX_MAX, SPEND_WINDOW))
        limits.append(_Limit("h", "all", settings.ENVIRON.phone_asks_per_hour, SPEND_WINDOW))
    for limit, count in zip(
        limits, _counter.count([(one.name(now), one.window) for one in limits]), strict=True
    ):
        if count > limit.most:
            raise TooManyAsks(limit.window)


def check_spend(address: str, network: str, now: datetime) -> None:
    """Hold a telephone number against the rows of the last hours: a flushed Valkey must not open the purse. Raises TooManyAsks."""
    recent = Ask.objects.filter(kind=Kind.PHONE, at__gt=now - ASKS_WINDOW)
    spent = recent.filter(at__gt=now - SPEND_WINDOW)
    if network and recent.filter(network_hash=network).count() >= ASKS_OF_A_NETWORK_MAX[Kind.PHONE]:
        raise TooManyAsks(ASKS_WINDOW)
    if (
        spent.count() >= settings.ENVIRON.phone_asks_per_hour
        or spent.filter(prefix=address[: addresses.PREFIX_CHARS]).count() >= ASKS_OF_A_PREFIX_MAX
    ):
        raise TooManyAsks(SPEND_WINDOW)


class _Counter:
    """Counts in Valkey; in this process alone while it does not answer."""

    def __init__(self) -> None:
        self._client: redis.Redis | None = None
        self._rest_until = 0.0
        self._own: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def count(self, keys: list[tuple[str, timedelta]]) -> list[int]:
        """Add one to each key, which lives for its window, and return the counts."""
        if time.monotonic() >= self._rest_until:
            try:
                return self._in_valkey(keys)
            except (redis.RedisError, OSError):
                self._client, self._rest_until = None, time.monotonic() + REST_S
        with self._lock:
            return [self._here(key, window) for key, window in keys]

    def _in_valkey(self, keys: list[tuple[str, timedelta]]) -> list[int]:
        self._client = self._client or redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )
        line = self._client.pipeline(transaction=False)
        for key, window in keys:
            line.incr(key)
            line.expire(key, window)
        return [int(count) for count in line.execute()[::2]]

    def _here(self, key: str, window: timedelta) -> int:
        now = time.monotonic()
        if len(self._own) >= KEYS_OF_A_PROCESS_MAX:
            self._own = {name: row for name, row in self._own.items() if row[1] > now}
        if len(self._own) >= KEYS_OF_A_PROCESS_MAX and key not in self._own:
            return (
                KEYS_OF_A_PROCESS_MAX  # full of living counts: nobody new until some have run out
            )
        count, ends = self._own.get(key, (0, now + window.total_seconds()))
        self._own[key] = (count + 1, ends)
        return count + 1


_counter = _Counter()
