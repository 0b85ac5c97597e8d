"""Looks for channels whose provider takes messages of which nothing more is heard, and calls the operators."""

from datetime import datetime

from django.db.models import Count, Q

from incidents import reads, services
from incidents.lifecycle import CallReason
from notifications import silence
from notifications.models import Delivery, DeliveryState, Hole

# Channels whose provider reports each message; of a mail that arrived most servers say nothing.
WATCHED = ("sms", "voice")


def look(now: datetime) -> list[Hole]:
    """Open and close holes; return those open now."""
    for channel in WATCHED:
        _look_at(channel, now)
    return list(Hole.objects.filter(closed_at__isnull=True))


def _look_at(channel: str, now: datetime) -> None:
    latest = now - silence.PATIENCE
    handed, heard = _counts(channel, now - silence.WINDOW, latest)
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
    return silence.normal(*_counts(channel, now - silence.NORMAL_OVER, now - silence.WINDOW))


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
