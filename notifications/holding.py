"""What a person asked to get later, or seldomer: quiet hours, and at most one message an hour between first word and end.

Held deliveries lie in a lane of their own that nobody claims from, so that they cost the night's sending nothing; when they
fall due they join the others, unless something newer is on its way to the same person.
"""

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Exists, OuterRef, Q, QuerySet

from incidents import reads
from incidents.lifecycle import Impact
from incidents.models import Incident
from notifications.models import HANDED_OVER, WAITING, Broadcast, Delivery, DeliveryState, Lane
from subscribers.models import Role, Subscriber, Subscription

DIGEST_EVERY = timedelta(hours=1)
RELEASE_ROWS_MAX = 20_000  # in one pass of the clock; the rest a second later
_WEIGHT = (Impact.NONE, Impact.MINOR, Impact.MAJOR, Impact.CRITICAL)


def wanted(
    people: QuerySet[Subscription], broadcast: Broadcast, now: datetime
) -> QuerySet[Subscription]:
    """Leave out who paused, and who asked for nothing so light, unless they heard of it when it was graver."""
    people = people.filter(Q(paused_until__isnull=True) | Q(paused_until__lte=now))
    if broadcast.incident_id is None:
        return people
    impacts = Incident.objects.values_list("impact_override", "impact")
    by_hand, implied = impacts.get(pk=broadcast.incident_id)
    impact = by_hand or implied
    reached = _WEIGHT[: _WEIGHT.index(Impact(impact)) + 1] if impact in _WEIGHT else ()
    hears = Q(least_impact__in=["", *reached]) | ~Q(role=Role.SUBSCRIBER)
    if impact != Impact.CRITICAL and broadcast.number > 1:
        hears |= Q(Exists(_told_before(broadcast)))
    return people.filter(hears)


def _told_before(broadcast: Broadcast) -> QuerySet[Delivery]:
    """Of a subscription, what it heard of the incident or still may: nobody is left with an alarm that has no end."""
    # By the older broadcasts' ids: a person's own history is longer with every incident, theirs is not.
    older = Broadcast.objects.filter(
        incident=broadcast.incident_id, number__lt=broadcast.number
    ).values_list("pk", flat=True)
    return Delivery.objects.filter(
        Q(state__in=[*WAITING, *HANDED_OVER, DeliveryState.UNKNOWN]) | Q(maybe_sent=True),
        subscription=OuterRef("pk"),
        broadcast__in=list(older),
    )


def hold(
    broadcast: Broadcast, chunk: QuerySet[Subscription], *, urgent: bool, now: datetime
) -> None:
    """Put those of a queued chunk aside whose wish it is. A call, and the text before it, comes to who asked to be woken."""
    queued = Delivery.objects.filter(
        broadcast=broadcast,
        state=DeliveryState.PENDING,
        urgent=urgent,
        subscription__in=chunk.order_by().values("pk"),
    )
    if not urgent and Subscription.objects.filter(digest=True).exists():
        _hold_digests(queued.filter(subscription__digest=True), broadcast, now)
    quiet = Subscriber.objects.filter(quiet_from__isnull=False)
    if not quiet.exists():
        return
    own_zone = reads.the_page().time_zone
    spared = queued.exclude(channel="voice")
    if urgent:
        spared = spared.exclude(subscription__wake_me=True)
    for zone, begins, ends in _habits(quiet):
        due_at = quiet_ends(now, zone or own_zone, begins, ends)
        if due_at is not None:
            whose = quiet.filter(time_zone=zone, quiet_from=begins, quiet_until=ends)
            spared.filter(subscription__subscriber__in=whose).update(lane=Lane.HELD, due_at=due_at)


def _habits(quiet: QuerySet[Subscriber]) -> Iterable[tuple[str, time, time]]:
    return quiet.values_list("time_zone", "quiet_from", "quiet_until").distinct().order_by()  # type: ignore[return-value]  # not null: filtered


def _hold_digests(queued: QuerySet[Delivery], broadcast: Broadcast, now: datetime) -> None:
    """Between the first word and the end: an hour after the last message about this incident that was handed over."""
    last = Delivery.objects.filter(
        subscription=OuterRef("subscription"),
        broadcast__incident=broadcast.incident_id,
        broadcast__number__lt=broadcast.number,
        state__in=HANDED_OVER,
        accepted_at__gt=now - DIGEST_EVERY,
    )
    queued.filter(Exists(last)).update(lane=Lane.HELD, due_at=now + DIGEST_EVERY)


def quiet_ends(now: datetime, zone: str, begins: time, ends: time) -> datetime | None:
    """Return when quiet hours that reign at `now` end, None outside of them; by the wall clock, whatever it does at night."""
    local = now.astimezone(ZoneInfo(zone))
    clock = local.time().replace(tzinfo=None)
    is_quiet = begins <= clock < ends if begins < ends else clock >= begins or clock < ends
    if not is_quiet or begins == ends:
        return None
    day = local.date() if clock < ends else local.date() + timedelta(days=1)
    return datetime.combine(day, ends, tzinfo=ZoneInfo(zone))


def release(now: datetime) -> int:
    """Let go what was held and has fallen due; what something newer has overtaken is superseded. Returns how many moved."""
    due = Delivery.objects.filter(lane=Lane.HELD, state=DeliveryState.PENDING, due_at__lte=now)
    pks = list(due.order_by("due_at").values_list("pk", flat=True)[:RELEASE_ROWS_MAX])
    if not pks:
        return 0
    mine = Delivery.objects.filter(pk__in=pks, lane=Lane.HELD, state=DeliveryState.PENDING)
    newer = Delivery.objects.filter(
        subscription=OuterRef("subscription"),
        broadcast__incident=OuterRef("broadcast__incident"),
        broadcast__number__gt=OuterRef("broadcast__number"),
    )
    overtaken = mine.filter(Exists(newer)).update(
        state=DeliveryState.SUPERSEDED, why="overtaken by a newer update"
    )
    return overtaken + mine.update(lane=Lane.BULK)
