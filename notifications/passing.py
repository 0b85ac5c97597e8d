"""What did not arrive is passed on: to the person's next verified channel, at once, unless another one has reached them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from incidents.lifecycle import FINAL
from notifications.models import (
    WAITING,
    Broadcast,
    Delivery,
    DeliveryState,
    Hole,
    Lane,
)
from notifications.routing import CALLS, SOCIAL
from subscribers.models import Role, State, Subscription, Suppression

# One pass of the clock; the rest a second later.
ROWS_MAX = 300
# What failed longer ago is news to nobody by another way.
FRESH = timedelta(hours=2)
# The longest that a person may wait for an answer (subscribers/forms.py, FALLBACK_MIN_MAX), and how late the clock may be.
PATIENCE_MAX = timedelta(hours=2)
LATE_MAX = timedelta(minutes=30)
CAME_BACK = (
    DeliveryState.BOUNCED,
    DeliveryState.REFUSED,
    DeliveryState.FAILED,
    DeliveryState.SUPPRESSED,  # it came back an earlier time
)
UNSUBSCRIBED = "unsubscribed"  # claiming.py's word: who left a channel is not followed to another
# States in which a delivery has reached its person, or still may.
_HOPEFUL = (
    *WAITING,
    DeliveryState.ACCEPTED,
    DeliveryState.DELIVERED,
    DeliveryState.ACKNOWLEDGED,
    DeliveryState.UNKNOWN,
)
# Of these the database finds what was handed over when: models.py, delivery_by_handover.
INDEXED = ("sms", "voice", "webpush")
# People can answer these, so silence is a word; calls have a ladder of their own.
_ANSWERABLE = ("sms", "webpush")


def pass_on(now: datetime) -> int:
    """Queue the next channel for those whose message came back or stayed unanswered; return how many were queued."""
    return (
        _pass(_came_back(), now)
        + _pass(_unanswered(now), now, fresh=FRESH + PATIENCE_MAX)
        + _pass(_in_a_hole(now), now)
    )


def _came_back() -> QuerySet[Delivery]:
    return Delivery.objects.filter(state__in=CAME_BACK, passed_on_at__isnull=True).order_by("id")


def _unanswered(now: datetime) -> QuerySet[Delivery]:
    """The first word of something critical that is not over, and silence for as long as the person chose."""
    rows = Delivery.objects.filter(
        channel__in=_ANSWERABLE,
        urgent=True,
        accepted_at__gt=now - PATIENCE_MAX - LATE_MAX,
        state__in=[DeliveryState.ACCEPTED, DeliveryState.DELIVERED],
        passed_on_at__isnull=True,
        broadcast__incident__components__critical=True,
        subscription__role=Role.SUBSCRIBER,
    ).exclude(
        Q(broadcast__incident__status__in=FINAL) | Q(broadcast__update_entry__status__in=FINAL)
    )
    patience = "subscription__subscriber__fallback_after_s"
    found: list[int] = []
    # Each patience by itself: who waits long, and stands first in line for as long, keeps nobody else waiting.
    for after_s in rows.values_list(patience, flat=True).distinct().order_by(patience):
        over = rows.filter(**{patience: after_s}, accepted_at__lte=now - timedelta(seconds=after_s))
        oldest = over.order_by("accepted_at").values_list("pk", "accepted_at").distinct()
        found += [pk for pk, _ in oldest[: ROWS_MAX - len(found)]]
    return Delivery.objects.filter(pk__in=found).order_by("id")


def _in_a_hole(now: datetime) -> QuerySet[Delivery]:
    """What a provider took since it stopped to deliver, and of which no more is heard."""
    holes = list(Hole.objects.filter(closed_at__isnull=True))
    if not holes:
        return Delivery.objects.none()
    silent = Q(pk__in=[])
    for hole in holes:
        since = hole.opened_at - FRESH
        if hole.channel in INDEXED:
            silent |= Q(channel=hole.channel, accepted_at__gt=since)
        else:  # mail, the bulk: only what is urgent, found by its broadcast
            told = list(
                Broadcast.objects.filter(created_at__gt=since, incident__isnull=False).values_list(
                    "pk", flat=True
                )
            )
            silent |= Q(channel=hole.channel, urgent=True, broadcast__in=told)
    return Delivery.objects.filter(
        silent, state=DeliveryState.ACCEPTED, passed_on_at__isnull=True
    ).order_by("accepted_at")


def _pass(rows: QuerySet[Delivery], now: datetime, *, fresh: timedelta = FRESH) -> int:
    found = list(
        rows.filter(broadcast__incident__isnull=False).select_related("broadcast", "subscription")[
            :ROWS_MAX
        ]
    )
    # Letters and calls to operators have no next channel; their rows must not be looked at for ever.
    others = rows.filter(broadcast__incident__isnull=True).values_list("pk", flat=True)
    done = [*others[:ROWS_MAX], *(delivery.pk for delivery in found)]
    if not done:
        return 0
    with transaction.atomic():
        queued = _queue(_next_ways(found, now - fresh), now)
        Delivery.objects.filter(pk__in=done).update(passed_on_at=now)
    return queued


def _next_ways(
    found: Sequence[Delivery], since: datetime
) -> Iterable[tuple[Delivery, Subscription]]:
    """Yield (what failed of the news since then, the person's next channel), in the order that the person chose."""
    fresh = [
        one
        for one in found
        if one.channel not in SOCIAL and one.broadcast.created_at > since
        and not one.broadcast.halted_at and one.why != UNSUBSCRIBED
    ]  # fmt: skip
    people = {one.subscription.subscriber_id for one in fresh}
    ways: defaultdict[int, list[Subscription]] = defaultdict(list)
    suppressed = Suppression.objects.filter(
        channel=OuterRef("channel"), address_hash=OuterRef("address_hash")
    )
    for row in (
        Subscription.objects.filter(
            ~Exists(suppressed), subscriber__in=people, role=Role.SUBSCRIBER, state=State.ACTIVE
        )
        .exclude(channel__in=CALLS)
        .order_by("position", "id")
    ):
        ways[row.subscriber_id].append(row)
    sent: defaultdict[tuple[int, int], dict[int, str]] = defaultdict(dict)
    for broadcast, person, way, state in Delivery.objects.filter(
        broadcast__in={one.broadcast_id for one in fresh}, subscription__subscriber__in=people
    ).values_list("broadcast_id", "subscription__subscriber_id", "subscription_id", "state"):
        sent[broadcast, person][way] = state
    for one in fresh:
        person = one.subscription.subscriber_id
        so_far = sent[one.broadcast_id, person]
        reached = any(
            state in _HOPEFUL for way, state in so_far.items() if way != one.subscription_id
        )
        following = _after(ways[person], one.subscription_id)
        untried = next((row for row in following if row.pk not in so_far), None)
        if untried is not None and not reached:
            so_far[untried.pk] = DeliveryState.PENDING
            yield one, untried


def _after(ways: Sequence[Subscription], failed: int) -> list[Subscription]:
    """Return the person's channels from the one after `failed` on, then those before it."""
    index = next((number for number, row in enumerate(ways) if row.pk == failed), -1)
    return [*ways[index + 1 :], *ways[: max(index, 0)]]


def _queue(ways: Iterable[tuple[Delivery, Subscription]], now: datetime) -> int:
    rows = [
        Delivery(
            broadcast=failed.broadcast,
            subscription=way,
            channel=way.channel,
            urgent=failed.urgent,
            lane=Lane.URGENT if failed.urgent else Lane.BULK,
            due_at=now,
            why=f"instead of {failed.channel}",
        )
        for failed, way in ways
    ]
    Delivery.objects.bulk_create(rows, ignore_conflicts=True)
    # A broadcast that was through has somebody waiting again.
    Broadcast.objects.filter(pk__in={row.broadcast_id for row in rows}).update(settled_at=None)
    return len(rows)
