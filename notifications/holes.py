"""Looks for channels whose provider takes messages of which nothing more is heard, and calls the operators."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Q, QuerySet, Sum

from incidents import reads, services
from incidents.lifecycle import CallReason
from notifications import silence
from notifications.channels import _esp
from notifications.models import HANDED_OVER, Counted, Delivery, DeliveryState, Hole

# Channels whose provider reports each message, whoever it is. Of mails it depends on the provider; push services and
# social networks report nothing.
REPORTED = ("sms", "voice")
MAIL = "email"
# A mail may wait a day to be handed over.
MAIL_VALID = timedelta(days=1)


def look(now: datetime) -> list[Hole]:
    """Open and close holes; return those open now."""
    for channel in REPORTED:
        handed, heard = _counts(channel, now - silence.WINDOW, now - silence.PATIENCE)
        _judge(channel, handed, heard, now)
    if _mail_is_reported():
        handed, heard = _mails(now - silence.WINDOW, now - silence.PATIENCE)
        _judge(MAIL, handed, heard, now)
    return list(Hole.objects.filter(closed_at__isnull=True))


def _judge(channel: str, handed: int, heard: int, now: datetime) -> None:
    hole = Hole.objects.filter(channel=channel, closed_at__isnull=True).first()
    if handed < silence.MESSAGES_MIN:
        return
    usual = hole.normal if hole else _usual(channel, now)
    if hole is None and silence.is_hole(handed, heard, usual):
        Hole.objects.create(channel=channel, opened_at=now, share=heard / handed, normal=usual)
        _call(channel, handed, heard, now)
    elif hole is not None and silence.has_closed(handed, heard, usual):
        Hole.objects.filter(pk=hole.pk).update(closed_at=now)


def _usual(channel: str, now: datetime) -> float:
    if channel == MAIL:
        handed, heard = _mails_of_a_week(now)
        # Nobody is woken because a provider was never told where to report: what is normal must have been seen.
        return silence.normal(handed, heard) if handed >= silence.NORMAL_MESSAGES_MIN else 0.0
    return silence.normal(*_counts(channel, now - silence.NORMAL_OVER, now - silence.WINDOW))


def _mail_is_reported() -> bool:
    """Whether every way that mails go by tells of each mail that arrived."""
    raw = settings.ENVIRON.raw
    ways = [raw[name] for name in ("EMAIL_URL", "EMAIL_FALLBACK_URL") if raw.get(name)]
    return bool(ways and raw.get("EMAIL_WEBHOOK_SECRET")) and all(
        way.partition("://")[0].removeprefix("anymail+").replace("-", "_") in _esp.REPORTING
        for way in ways
    )


def _mails(since: datetime, until: datetime) -> tuple[int, int]:
    """As _counts, of mails: read from the kept sums, for there may be a million."""
    rows = Counted.objects.filter(
        channel=MAIL,
        broadcast__created_at__gt=since - MAIL_VALID,
        told__gt=int(since.timestamp() * 10),
        told__lte=int(until.timestamp() * 10),
    )
    return _summed(rows)


def _mails_of_a_week(now: datetime) -> tuple[int, int]:
    return _summed(
        Counted.objects.filter(
            channel=MAIL,
            state__in=HANDED_OVER,
            broadcast__created_at__gt=now - silence.NORMAL_OVER,
            broadcast__created_at__lte=now - silence.WINDOW,
        )
    )


def _summed(rows: QuerySet[Counted]) -> tuple[int, int]:
    sums = rows.aggregate(
        handed=Sum("number"), heard=Sum("number", filter=~Q(state=DeliveryState.ACCEPTED))
    )
    return sums["handed"] or 0, sums["heard"] or 0


def _counts(channel: str, since: datetime, until: datetime) -> tuple[int, int]:
    """Return how many were handed over in a span, and of how many of them more was heard."""
    rows = Delivery.objects.filter(
        channel=channel, accepted_at__gt=since, accepted_at__lte=until
    ).aggregate(handed=Count("pk"), heard=Count("pk", filter=~Q(state=DeliveryState.ACCEPTED)))
    return rows["handed"], rows["heard"]


def _call(channel: str, handed: int, heard: int, now: datetime) -> None:
    text = (
        f"The provider of {channel} takes our messages, but of {handed} handed over in the last ten minutes only {heard} "
        "were heard of. Their readers are told by their next channel; look at the provider's own status."
    )
    services.call_operators(
        page=reads.the_page(),
        reason=CallReason.PROBLEM,
        text=text,
        key=f"hole-{channel}-{now:%Y-%m-%dT%H}",
        now=now,
    )
