"""Before anything is published: how many will be written to, what it costs, and how long it takes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db.models import Sum

from notifications import channels, routing, spending
from notifications.channels import Notice
from notifications.fanning import audience, suppressed
from notifications.models import Broadcast, Counted, Informed
from notifications.tariffs import Tariff, currency

# From how many people on a past broadcast says something about the pace of the next one.
TELLING = 100
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """One channel's part of what would be published.

    `people` are to be written to, `ahead` waits on the channel already. `cost` is None where no price is set. `eta_s` is when
    the last one is handed over, counted from publishing; None where neither a rate is set nor anything was measured.
    `hours` tells in how many hours the brake lets all of it through: 1 is this one.
    """

    channel: str
    people: int
    ahead: int
    parts: int
    cost: Decimal | None
    currency: str
    per_s: float | None
    eta_s: float | None
    hours: int


def estimate(
    leg: routing.Leg, broadcast: Broadcast, *, now: datetime, notice: Notice | None = None
) -> Estimate:
    """Return what one leg of `routing.plan` would take; `broadcast` need not be saved, `notice` tells the parts of a text."""
    tariff: Tariff = settings.TARIFFS.get(leg.channel, Tariff())
    people = audience(leg, broadcast).exclude(suppressed()).count()
    parts = _parts(leg.channel, notice)
    ahead = _ahead(leg.channel)
    per_s = settings.OPEN_CHANNELS[leg.channel].per_s or _pace(leg.channel)
    hours, brake_s = _brake(leg.channel, ahead + people, now)
    return Estimate(
        channel=leg.channel,
        people=people,
        ahead=ahead,
        parts=parts,
        cost=None if tariff.price is None else tariff.price * people * parts,
        currency=currency(settings.ENVIRON.raw),
        per_s=per_s,
        eta_s=None if per_s is None else max(brake_s, (ahead + people) / per_s),
        hours=hours,
    )


def _parts(channel: str, notice: Notice | None) -> int:
    """Return in how many parts a message is billed: what a channel's file says, else one."""
    count = getattr(channels.modules()[channel], "parts", None)
    return int(count(notice)) if count is not None and notice is not None else 1


def _ahead(channel: str) -> int:
    waiting = Counted.objects.filter(channel=channel, state="pending")
    return max(0, waiting.aggregate(total=Sum("number"))["total"] or 0)


def _pace(channel: str) -> float | None:
    """Return how many a second the last larger broadcast handed over, without its last 5 %: the latest are the retried."""
    for row in Informed.objects.filter(channel=channel).order_by("-published_at")[:5]:
        people = row.curve[-1][1] if row.curve else 0
        if people >= TELLING:
            first_s = row.curve[0][0]
            most_s, most = next(step for step in row.curve if step[1] >= 0.95 * people)
            return float(most / max(most_s - first_s, 0.1))
    return None


def _brake(channel: str, messages: int, now: datetime) -> tuple[int, float]:
    """Return in how many hours the brake lets `messages` through, and after how many seconds the last of those begins."""
    cap, left = spending.hour_max(channel), spending.left(channel, now)
    if cap is None or left is None or messages <= left:
        return 1, 0.0
    more = -(-(messages - left) // cap)
    next_hour = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return 1 + more, (next_hour - now).total_seconds() + (more - 1) * _HOUR_S
