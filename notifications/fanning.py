"""From a broadcast to its deliveries: INSERT … SELECT in chunks, each its own transaction; run twice, queued once."""

import logging
import time
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, models, transaction
from django.db.models import (
    BooleanField,
    Case,
    CharField,
    DateTimeField,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    Value,
    When,
)

from incidents import trace
from notifications import holding, mounting, routing
from notifications.models import HANDED_OVER, Broadcast, Delivery, DeliveryState, Lane
from subscribers.models import Role, State, Subscription, Suppression

log = logging.getLogger(__name__)

BROADCASTS_MAX = 200  # looked at in one pass
# Subscriptions queued in one transaction: some 100 ms, the longest that a pass of the clock can overrun by.
CHUNK_ROWS = 10_000
# One pass of the clock queues for so long; the face and a newer update come in between. More is done in the next pass,
# which follows at once.
PASS_S = 0.5
PASS_ROWS_MAX = 100_000
# However slow the machine is, a pass brings small broadcasts so far: a late pass must not do nothing.
TURNS_MIN = 16


def fan_out(now: datetime, *, rows_max: int = PASS_ROWS_MAX, seconds: float = PASS_S) -> int:
    """Queue deliveries for open broadcasts until `rows_max` or `seconds` are over; return how many. Resumable.

    Those with somebody urgent left to queue go first, and within that they take turns.
    """
    ends = time.monotonic() + seconds
    queued = served = 0
    turns = _open_broadcasts()
    while turns and queued < rows_max:
        few = served < TURNS_MIN and queued < CHUNK_ROWS
        if not few and time.monotonic() > ends:
            break
        _, pk = turns.pop(0)
        chunk = queue_chunk(pk, now)
        served += 1
        if chunk is not None:
            queued += chunk.rows
            turns.append((not chunk.urgent_left, pk))
            turns.sort(
                key=lambda turn: turn[0]
            )  # stable: whoever was served waits behind its equals
    return queued


def has_more() -> bool:
    """Return True while a broadcast has still somebody to queue."""
    return Broadcast.objects.filter(fanned_out_at__isnull=True).exists()


def _open_broadcasts() -> list[tuple[bool, int]]:
    """Return (nobody urgent left, row id) of what is to be queued, in the order to serve."""
    found = Broadcast.objects.filter(fanned_out_at__isnull=True).order_by("id")
    rows = found.only("pk", "plan", "cursor")[:BROADCASTS_MAX]
    return sorted((not _urgent_left(broadcast), broadcast.pk) for broadcast in rows)


def _urgent_left(broadcast: Broadcast) -> bool:
    leg = _next_leg(broadcast)
    return leg is not None and leg.urgent


def _next_leg(broadcast: Broadcast) -> routing.Leg | None:
    legs = map(routing.leg, broadcast.plan)
    return next((leg for leg in legs if broadcast.cursor.get(leg.key) != "done"), None)


def _next_leg_with_people(broadcast: Broadcast) -> routing.Leg | None:
    """Return the next leg that anybody may be reached by; those that nobody chose are done (the ladder keeps its own books)."""
    while leg := _next_leg(broadcast):
        people = Subscription.objects.filter(channel=leg.channel, role=leg.role, state=State.ACTIVE)
        if leg.ladder or leg.key in broadcast.cursor or people.exists():
            return leg
        broadcast.cursor[leg.key] = "done"
    return None


@dataclass(frozen=True, slots=True)
class Chunk:
    rows: int
    urgent_left: bool


@transaction.atomic
def queue_chunk(broadcast_id: int, now: datetime) -> Chunk | None:
    """Queue the next chunk; None when the broadcast is all queued, or halted."""
    broadcast = Broadcast.objects.select_for_update().get(pk=broadcast_id)
    leg = None if broadcast.halted_at else _next_leg_with_people(broadcast)
    if leg is None:
        Broadcast.objects.filter(pk=broadcast_id, fanned_out_at__isnull=True).update(
            fanned_out_at=now
        )
        with trace.on(trace_of(broadcast), "queue"):
            log.info("broadcast %s is queued", broadcast.pk)
        return None
    after = int(broadcast.cursor.get(leg.key, 0))
    people_left = holding.wanted(audience(leg, broadcast), broadcast, now)
    people_left = people_left.filter(pk__gt=after).order_by("pk")
    last = people_left.values_list("pk", flat=True)[CHUNK_ROWS - 1 : CHUNK_ROWS].first()
    chunk = people_left if last is None else people_left.filter(pk__lte=last)
    queued = _insert(broadcast, leg, chunk, now)
    if leg.role == Role.SUBSCRIBER:
        within = Subscription.objects.filter(channel=leg.channel, pk__gt=after)
        within = within if last is None else within.filter(pk__lte=last)
        holding.hold(broadcast, within, urgent=leg.urgent, now=now)
    if leg.ladder:
        mounting.take_up(broadcast, chunk, now)
    broadcast.cursor[leg.key] = "done" if last is None else last
    broadcast.save(update_fields=["cursor"])
    return Chunk(queued, _urgent_left(broadcast))


def trace_of(broadcast: Broadcast) -> str:
    """Return the id that log lines about this broadcast carry: its incident's, if it is about one."""
    incident = broadcast.incident
    return trace.of_incident(incident.uid, incident.source) if incident else ""


def audience(leg: routing.Leg, broadcast: Broadcast) -> models.QuerySet[Subscription]:
    """Return the subscriptions of one leg: what and when is pure (routing), who is this one query."""
    people = Subscription.objects.filter(channel=leg.channel, role=leg.role, state=State.ACTIVE)
    if leg.wake_me:
        people = people.filter(wake_me=True)
    followers = Subscription.incidents.through.objects.filter(
        subscription=OuterRef("pk"), incident=broadcast.incident_id
    )
    people = people.filter(Q(only_incidents=False) | Exists(followers))
    if leg.components:
        chosen = Subscription.components.through.objects.filter(
            subscription=OuterRef("pk"), component__uid__in=leg.components
        )
        people = people.filter(Q(every_component=True) | Exists(chosen) | Exists(followers))
    told = Delivery.objects.filter(
        subscription=OuterRef("pk"),
        broadcast__incident=broadcast.incident_id,
        broadcast__number__lt=broadcast.number,
    )
    if leg.told:
        maybe = [*HANDED_OVER, DeliveryState.CALLING, DeliveryState.UNKNOWN]
        people = people.filter(Exists(told.filter(Q(state__in=maybe) | Q(maybe_sent=True))))
    if leg.answered:
        people = people.filter(Exists(told.filter(answered_at__isnull=False)))
    if leg.heirs:
        people = people.filter(Exists(_waiting(leg, broadcast)))
    return people


def _waiting(leg: routing.Leg, broadcast: Broadcast) -> models.QuerySet[Delivery]:
    """Of a subscription, what of the incident's earlier updates still waits; for an urgent leg what of it is urgent.

    Said so that the database goes by the indexes of what waits, whose rows are few, instead of reading the ledger.
    """
    older = Broadcast.objects.filter(
        incident=broadcast.incident_id, number__lt=broadcast.number
    ).values_list("pk", flat=True)
    in_line = Q(channel=leg.channel, state=DeliveryState.PENDING)
    in_hand = Q(state__in=[DeliveryState.PREPARED, DeliveryState.CALLING])
    rows = Delivery.objects.filter(
        in_line | in_hand, subscription=OuterRef("pk"), broadcast__in=list(older)
    )
    return rows.filter(urgent=True) if leg.urgent else rows


def suppressed() -> Exists:
    """Tell of a subscription whether its address must not be written to."""
    return Exists(
        Suppression.objects.filter(
            channel=OuterRef("channel"), address_hash=OuterRef("address_hash")
        )
    )


def _insert(
    broadcast: Broadcast, leg: routing.Leg, people: models.QuerySet[Subscription], now: datetime
) -> int:
    """INSERT … SELECT: 40 times cheaper than a Python row each (house.md, "Choices argued")."""
    lane = Lane.URGENT if leg.urgent else Lane.BULK
    due_at = now + mounting.HELD_FOR if leg.ladder else now
    columns = {
        "broadcast_id": Value(broadcast.pk, IntegerField()),
        "subscription_id": F("pk"),
        "channel": F("channel"),
        "urgent": Value(leg.urgent, BooleanField()),
        "lane": Value(int(Lane.PERSONAL if leg.role == Role.OPERATOR else lane), IntegerField()),
        "state": Case(
            When(suppressed(), then=Value(DeliveryState.SUPPRESSED.value)),
            default=Value(DeliveryState.PENDING.value),
            output_field=CharField(),
        ),
        "attempts": Value(0, IntegerField()),
        "maybe_sent": Value(False, BooleanField()),
        "due_at": Value(due_at, DateTimeField()),
        "lease": Value("", CharField()),
        "provider": Value("", CharField()),
        "provider_id": Value("", CharField()),
        "why": Value("", CharField()),
    }
    aliased = people.annotate(**{f"new_{name}": column for name, column in columns.items()})
    sql, params = aliased.values_list(*(f"new_{name}" for name in columns)).query.sql_with_params()
    table = connection.ops.quote_name(Delivery._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) {sql} ON CONFLICT DO NOTHING", params
        )
        return max(int(cursor.rowcount), 0)
