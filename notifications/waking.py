"""The ladder's rows: who is called next, heard and let go. What is to be done is decided in ladder.py.

A call goes the way of every message: it is a delivery made due. Until then a ladder's deliveries wait with a due time that
never comes (mounting.py), so that the account's rate is given to whoever must come first.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from incidents.lifecycle import FINAL
from notifications import channels, climbers, ladder
from notifications.climbers import LOOK, Climber, Facts
from notifications.ladder import CHANNEL, Call, Done, Ended, Wait
from notifications.models import WAITING, Delivery, DeliveryState, Lane, Ring, Wake
from subscribers.models import Subscription

# One pass of the clock: so many are looked at, called, let go. Measured: docs/decisions.md, "The ladder".
LOOKS_MAX = 50
CALLS_MAX = 50
ENDS_MAX = 1_000
RINGS_MAX = 300
BUSY_WAIT = timedelta(seconds=15)
_Move = tuple[int, datetime]  # to this rank, due then


# --- up the ladder ----------------------------------------------------------------------------------------------------


def climb(now: datetime) -> int:
    """Do what is due on all ladders, a bounded part a pass; return how many calls were handed to the line."""
    running = climbers.running()
    _end([broadcast for broadcast, is_over in running.items() if is_over], now)
    _close_rings(now)
    if not running:
        return 0
    due = Wake.objects.filter(ended_at__isnull=True, due_at__lte=now)
    looks = due.filter(rank=LOOK).order_by("due_at", "id").values_list("pk", flat=True)
    free = ladder.room(_per_s(), _calls_waiting(now), most=CALLS_MAX)
    first = due.filter(rank__gt=LOOK).order_by("rank", "due_at", "id")
    ready = list(first.values_list("pk", flat=True)[:free]) if free else []
    found = [*looks[:LOOKS_MAX], *ready]
    return _act(found, free, now) if found else 0


@transaction.atomic
def _act(pks: Sequence[int], free: int, now: datetime) -> int:
    # Locked: a receipt that comes now waits, and is then acted upon in the next pass instead of being overwritten.
    found = climbers.lock(pks)
    facts = Facts(found, now)
    calls: list[tuple[int, Call]] = []
    moves: dict[int, _Move] = {}
    done: defaultdict[Ended, list[int]] = defaultdict(list)
    for climber in found:
        match ladder.step(facts.climb(climber), now):
            case Wait(until):
                moves[climber.pk] = facts.rank_after_wait(climber), until
            case Call() as call:
                moves[climber.pk] = int(call.rank), min(call.since, now)
                calls.append((climber.pk, call))
            case Done(why):
                done[why].append(climber.pk)
    for why, over in done.items():
        _finish(over, why, now)
    busy = climbers.busy({facts.hashes[call.subscription] for _, call in calls})
    ringing: dict[int, int] = {}  # wake -> telephone
    for pk, call in ladder.order(calls):
        if len(ringing) >= free:
            break
        number = facts.hashes[call.subscription]
        if number in busy:  # in a call already
            moves[pk] = int(call.rank), now + BUSY_WAIT
            continue
        busy.add(number)
        moves[pk] = LOOK, now + ladder.CALL_LASTS_MAX
        ringing[pk] = call.subscription
    by_pk = {climber.pk: climber for climber in found}
    _ring([by_pk[pk] for pk in ringing], ringing, facts, now)
    _move(moves)
    return len(ringing)


def _ring(
    ringing: Sequence[Climber], phones: Mapping[int, int], facts: Facts, now: datetime
) -> None:
    """Make the deliveries of these people's `phones` due and note the rings, in few queries however many they are."""
    if not ringing:
        return
    newest = {incident: climbers.newest(incident) for incident in {one.incident for one in ringing}}
    pairs = [(newest[one.incident] or one.broadcast, phones[one.pk]) for one in ringing]
    deliveries = _deliveries(pairs)
    if missing := [pair for pair in pairs if pair not in deliveries]:
        new = [
            Delivery(
                broadcast_id=told,
                subscription_id=phone,
                channel=CHANNEL,
                urgent=True,
                lane=Lane.URGENT,
                due_at=now,
            )
            for told, phone in missing
        ]
        Delivery.objects.bulk_create(new, ignore_conflicts=True)
        deliveries |= _deliveries(missing)
    Delivery.objects.filter(pk__in=[deliveries[pair] for pair in pairs]).update(
        state=DeliveryState.PENDING, due_at=now, lease="", why="", maybe_sent=False
    )
    Ring.objects.bulk_create(
        Ring(
            wake_id=one.pk,
            number=facts.numbers.get(one.pk, 0) + 1,
            subscription_id=phones[one.pk],
            delivery_id=deliveries[pair],
            address_hash=facts.hashes[phones[one.pk]],
            at=now,
        )
        for pair, one in zip(pairs, ringing, strict=True)
    )


def _deliveries(pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Return (broadcast, subscription) -> delivery, of those that there are."""
    told, phones = zip(*pairs, strict=True)
    rows = Delivery.objects.filter(broadcast__in=set(told), subscription__in=phones)
    return {
        (broadcast, subscription): pk
        for pk, broadcast, subscription in rows.values_list("pk", "broadcast_id", "subscription_id")
    }


def _move(moves: Mapping[int, _Move]) -> None:
    """Write everybody's new place in one plain statement; bulk_update's took a fifth of the tick."""
    if not moves:
        return
    table = connection.ops.quote_name(Wake._meta.db_table)
    rows = ", ".join(["(%s, %s, %s)"] * len(moves))
    params = [
        value
        for pk, (rank, due_at) in moves.items()
        for value in (pk, rank, connection.ops.adapt_datetimefield_value(due_at))
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH moved(id, rank, due_at) AS (VALUES {rows}) "
            f"UPDATE {table} SET rank = moved.rank, due_at = moved.due_at FROM moved WHERE {table}.id = moved.id",
            params,
        )


def _calls_waiting(now: datetime) -> int:
    due = Delivery.objects.filter(channel=CHANNEL, state=DeliveryState.PENDING, due_at__lte=now)
    held = Delivery.objects.filter(
        channel=CHANNEL, state=DeliveryState.PREPARED, lease_until__isnull=False
    )
    return due.count() + held.count()


@lru_cache(maxsize=1)
def _per_s() -> float | None:
    opened = channels.modules()[CHANNEL].configure(settings.ENVIRON.raw)
    return opened.per_s if opened else None


# --- off the ladder ---------------------------------------------------------------------------------------------------


def heard(delivery: Delivery, *, by: str, now: datetime) -> None:
    """Somebody answered: the ladders of that person, and of whoever they were called for, are over."""
    incident = delivery.broadcast.incident_id
    if incident is None:
        return
    theirs = Q(person=delivery.subscription.subscriber_id, incident=incident)
    called_for = Q(pk__in=Ring.objects.filter(delivery=delivery).values("wake"))
    rows = Wake.objects.filter(theirs | called_for, heard_at__isnull=True)
    pks = list(rows.values_list("pk", flat=True))
    if pks:
        Wake.objects.filter(pk__in=pks).update(heard_at=now, heard_by=by[:16])
        _finish(pks, Ended.HEARD, now)


def rang(delivery: int, *, outcome: str, now: datetime) -> None:
    """A call is over: its number is free again, and its ladder is looked at."""
    rows = Ring.objects.filter(delivery=delivery, ended_at__isnull=True)
    wakes = list(rows.values_list("wake_id", flat=True))
    if wakes:
        rows.update(ended_at=now, outcome=outcome[:16])
        _look(Wake.objects.filter(pk__in=wakes), now)


def look_again(address_hash: str, *, now: datetime) -> None:
    """Something about an address has changed (it bounced, its owner said stop): nobody waits for it any longer."""
    people = Subscription.objects.filter(address_hash=address_hash).values("subscriber")
    _look(Wake.objects.filter(person__in=people), now)


def _look(wakes: QuerySet[Wake], now: datetime) -> None:
    wakes.filter(ended_at__isnull=True).update(rank=LOOK, due_at=now)


def _close_rings(now: datetime) -> None:
    """End the rings of calls that were refused, dropped or of which no more is heard."""
    under_way = [*WAITING, DeliveryState.ACCEPTED]
    silent = Q(
        delivery__state=DeliveryState.ACCEPTED,
        delivery__accepted_at__lte=now - ladder.CALL_LASTS_MAX,
    )
    rings = Ring.objects.filter(ended_at__isnull=True)
    over = rings.filter(~Q(delivery__state__in=under_way) | silent).order_by("id")
    found = list(over.values_list("pk", "wake_id", "delivery__state")[:RINGS_MAX])
    if found:
        _close(found, now)


@transaction.atomic
def _close(found: Sequence[tuple[int, int, str]], now: datetime) -> None:
    outcomes: defaultdict[str, list[int]] = defaultdict(list)
    for pk, _, state in found:
        outcomes[state].append(pk)
    for outcome, pks in outcomes.items():
        rings = Ring.objects.filter(pk__in=pks, ended_at__isnull=True)
        if outcome in (DeliveryState.SUPERSEDED, DeliveryState.HALTED):
            rings.delete()  # a call that never left is no ring, and leaves no trace of one
        else:
            rings.update(ended_at=now, outcome=outcome[:16])
    _look(Wake.objects.filter(pk__in=[wake for _, wake, _ in found]), now)


def _end(over: Collection[int], now: datetime) -> None:
    """Let everybody down from the ladder of these broadcasts, a part a pass."""
    if not over:
        return
    wakes = Wake.objects.filter(broadcast__in=over, ended_at__isnull=True)
    if pks := list(wakes.values_list("pk", flat=True)[:ENDS_MAX]):
        _finish(pks, Ended.OVER, now)


def _finish(wakes: Sequence[int], why: Ended, now: datetime) -> None:
    """End these ladders, and take back every call of theirs that has not been made."""
    Wake.objects.filter(pk__in=wakes, ended_at__isnull=True).update(ended_at=now, why=why.value)
    ended = Wake.objects.filter(
        pk__in=wakes,
        person=OuterRef("subscription__subscriber"),
        incident=OuterRef("broadcast__incident"),
    )
    rung = Ring.objects.filter(wake__in=wakes, ended_at__isnull=True, delivery=OuterRef("pk"))
    waiting = Delivery.objects.filter(
        Exists(ended) | Exists(rung), channel=CHANNEL, state=DeliveryState.PENDING
    )
    # The all-clear is no part of the ladder: it calls who answered.
    alarms = waiting.exclude(broadcast__update_entry__status__in=FINAL)
    alarms.update(state=DeliveryState.SUPERSEDED, why=_WHYS[why])


_WHYS = {
    Ended.HEARD: "has heard already",
    Ended.OVER: "over before the call",
    Ended.UNHEARD: "not heard in four calls",
    Ended.NOBODY: "no number that may be called",
}
