"""How fast, and whether at all, a channel's account may be used: its rate, and waits that its provider asked for.

The rate is a bucket in Valkey that all workers share; with Valkey away, a row of the database is. A provider's wait is kept
in the database only: it must outlive a flush.
"""

import logging
from datetime import timedelta
from functools import lru_cache
from typing import Any

import redis
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from notifications.dbtime import database_now
from notifications.models import Pace

log = logging.getLogger(__name__)

VALKEY_S = 0.5  # a bucket that hangs must not hold up a batch
AWAY_S = 30  # after a failure the database is asked for so long
HOLD_S_MAX = 86_400  # retry.RETRY_AFTER_S_MAX: who asks for more has mistaken the units

# A level further ahead than this and one booking is no booking's: a clock was set back, or the rate was raised. Above what
# anybody waits for, which a lease of 60 s bounds.
AHEAD_S_MAX = 60

# The bucket's level is the instant at which it is empty again (GCRA); the server's clock counts, in microseconds.
_BUCKET = """
local now = redis.call('TIME')
local at = now[1] * 1000000 + now[2]
local span, within, ahead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local free = math.max(at, tonumber(redis.call('GET', KEYS[1]) or 0))
free = math.min(free, at + ahead + span)
local waits = free - at
if waits <= within then free = free + span else waits = false end
redis.call('SET', KEYS[1], string.format('%.0f', free), 'PX', ARGV[4])
return waits
"""


@lru_cache(maxsize=1)
def _valkey() -> Any:
    """Return the client with its bucket script. Any: redis-py types its answers as maybe awaitable."""
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=VALKEY_S, socket_timeout=VALKEY_S
    )
    return client.register_script(_BUCKET)


class _Away:
    """Remembers until when Valkey is not asked again."""

    until = 0.0


def reserve(channel: str, per_s: float, messages: int, *, within_s: float) -> float | None:
    """Book `messages` sends of an account with `per_s` a second; return in how many seconds the first may start.

    None, and nothing is booked, when that is not `within_s`.
    """
    now = database_now().timestamp()
    if now >= _Away.until:
        try:
            return _reserve_in_valkey(channel, messages / per_s, within_s)
        except (redis.RedisError, OSError) as error:
            _Away.until = now + AWAY_S
            log.warning("rates are kept in the database: Valkey %s", type(error).__name__)
    return _reserve_in_database(channel, messages / per_s, within_s)


def _reserve_in_valkey(channel: str, span_s: float, within_s: float) -> float | None:
    times_us = [int(seconds * 1e6) for seconds in (span_s, within_s, AHEAD_S_MAX)]
    lives_ms = int(span_s * 1000) + 3_600_000
    waits_us = _valkey()(keys=[f"statuspage:pace:{channel}"], args=[*times_us, lives_ms])
    return None if waits_us is None else float(waits_us) / 1e6


@transaction.atomic
def _reserve_in_database(channel: str, span_s: float, within_s: float) -> float | None:
    now, span = database_now(), timedelta(seconds=span_s)
    Pace.objects.get_or_create(channel=channel, defaults={"free_at": now})
    pace = Pace.objects.select_for_update().get(channel=channel)
    start = min(max(now, pace.free_at), now + timedelta(seconds=AHEAD_S_MAX) + span)
    waits_s = (start - now).total_seconds()
    is_soon = waits_s <= within_s
    pace.free_at = start + span if is_soon else start
    pace.save(update_fields=["free_at"])
    return waits_s if is_soon else None


def hold(channel: str, *, seconds: float, why: str) -> None:
    """Let nobody try `channel` for so long: its provider asked for it (429, Retry-After). A longer hold stays."""
    now = database_now()
    until = now + timedelta(seconds=min(max(seconds, 0), HOLD_S_MAX))
    Pace.objects.get_or_create(channel=channel, defaults={"free_at": now})
    shorter = Q(held_until__isnull=True) | Q(held_until__lt=until)
    Pace.objects.filter(shorter, channel=channel).update(held_until=until, why=why[:255])


def held_s(channel: str) -> float:
    """Return for how many seconds more `channel` is held; 0 when it is not."""
    until = Pace.objects.filter(channel=channel).values_list("held_until", flat=True).first()
    return max(0.0, (until - database_now()).total_seconds()) if until else 0.0


def let_go(channel: str) -> None:
    """End a hold: the account is mended."""
    Pace.objects.filter(channel=channel).update(held_until=None, why="")
