"""The brake: a channel that has handed over as much as an hour may see stands still, but for calls to operators."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from incidents import reads, services
from incidents.lifecycle import CallReason
from notifications.dbtime import database_now
from notifications.models import Pace, Spent
from notifications.tariffs import Tariff

log = logging.getLogger(__name__)

HOUR = timedelta(hours=1)
LIFT_S_MAX = 3600.0  # a brake let go for longer would be none
SPENT_KEPT = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Brake:
    """A channel that stands still until `until`, unless somebody lets it go with lift()."""

    channel: str
    hour_max: int
    until: datetime

    def __str__(self) -> str:
        return (
            f"{self.channel}: the {self.hour_max:,} messages that an hour may see are used up; "
            f"it goes on at {self.until:%H:%M} UTC."
        )


def hour_max(channel: str) -> int | None:
    tariffs: dict[str, Tariff] = settings.TARIFFS
    return tariffs[channel].hour_max if channel in tariffs else None


def left(channel: str, now: datetime | None = None) -> int | None:
    """Return how many messages this hour may still see; None where there is no brake, or it was let go."""
    cap = hour_max(channel)
    now = now or database_now()
    if cap is None or _is_lifted(channel, now):
        return None
    spent = Spent.objects.filter(channel=channel, hour=_hour(now)).values_list(
        "messages", flat=True
    )
    return max(0, cap - (spent.first() or 0))


def braked(now: datetime) -> list[Brake]:
    """Return the channels that stand still, for the desk."""
    until = _hour(now) + HOUR
    return [
        Brake(channel, hour_max(channel) or 0, until)
        for channel in settings.CHANNELS
        if left(channel, now) == 0
    ]


def lift(channel: str, *, seconds: float, now: datetime) -> None:
    """Let the brake go for so long, an hour at most: a person has looked, and the messages are meant."""
    until = now + timedelta(seconds=min(seconds, LIFT_S_MAX))
    Pace.objects.get_or_create(channel=channel, defaults={"free_at": now})
    Pace.objects.filter(channel=channel).update(lifted_until=until)


def book(channel: str, rows: int) -> int:
    """Take up to `rows` messages from this hour and return how many were had: all of them where there is no brake."""
    cap = hour_max(channel)
    if cap is None:
        return rows
    now = database_now()
    if _is_lifted(channel, now):
        cap = 2**31 - 1 - rows
    had = _book(channel, rows, cap, _hour(now))
    if had == 0:
        _call(channel, cap, _hour(now), now)
    return had


@transaction.atomic
def _book(channel: str, rows: int, cap: int, hour: datetime) -> int:
    Spent.objects.get_or_create(channel=channel, hour=hour)
    spent = Spent.objects.select_for_update().get(channel=channel, hour=hour)
    had = max(0, min(rows, cap - spent.messages))
    if had:
        spent.messages += had
        spent.save(update_fields=["messages"])
    return had


@transaction.atomic
def give_back(channel: str, rows: int) -> None:
    """Return what was booked and not handed over."""
    if rows <= 0 or hour_max(channel) is None:
        return
    spent = Spent.objects.filter(channel=channel).order_by("-hour").select_for_update().first()
    if spent is not None:
        spent.messages = max(0, spent.messages - rows)
        spent.save(update_fields=["messages"])


def forget(now: datetime) -> None:
    Spent.objects.filter(hour__lt=now - SPENT_KEPT).delete()


def _call(channel: str, cap: int, hour: datetime, now: datetime) -> None:
    label = settings.CHANNELS[channel][0] if channel in settings.CHANNELS else channel
    text = f"{label} stands still: {cap:,} messages in one hour"
    called = services.call_operators(
        page=reads.the_page(),
        reason=CallReason.PROBLEM,
        text=text,
        key=f"brake {channel} {hour:%Y-%m-%dT%H}",
        now=now,
    )
    if called is not None:
        log.error("%s; it goes on with the next hour, or when somebody lets the brake go", text)


def _is_lifted(channel: str, now: datetime) -> bool:
    return Pace.objects.filter(channel=channel, lifted_until__gt=now).exists()


def _hour(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0)
