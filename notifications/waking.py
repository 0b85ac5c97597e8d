"""The ladder's rows: who is taken up, called next, heard and let go. What is to be done is decided in ladder.py.

A call goes the way of every message: it is a delivery made due. Until then a ladder's deliveries wait with a due time that
never comes, so that the account's rate is given to whoever must come first.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from django.conf import settings
from django.db import connection, transaction
from django.db.models import (
    Case,
    CharField,
    DateTimeField,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)

from incidents.lifecycle import FINAL
from incidents.models import Update
from notifications import channels, ladder
from notifications.ladder import Call, Climb, Done, Ended, Phone, Quiet, Rank, Wait
from notifications.models import (
    WAITING,
    Broadcast,
    Delivery,
    DeliveryState,
    Lane,
    Ring,
    Wake,
)
from subscribers.models import Contact, State, Subscriber, Subscription, Suppression

CHANNEL = "voice"
SOFT = ("sms", "webpush")  # they can wake and be answered; a mail wakes nobody
HELD_FOR = timedelta(hours=24)  # as long as an entry is valid
# One pass of the clock: so many are looked at, called, let go. Measured: docs/decisions.md, "The ladder".
LOOKS_MAX = 50
CALLS_MAX = 50
ENDS_MAX = 1_000
RINGS_MAX = 300
BUSY_WAIT = timedelta(seconds=15)
_LOOK = 0  # a wake's rank while it is to be looked at again
_SOFTLY = (
    *WAITING,
    DeliveryState.ACCEPTED,
    DeliveryState.DELIVERED,
    DeliveryState.UNKNOWN,
)


# --- onto the ladder --------------------------------------------------------------------------------------------------


def take_up(broadcast: Broadcast, people: QuerySet[Subscription], now: datetime) -> None:
    """Put everybody of these subscriptions onto the ladder of the incident; run twice, once.

    Who has heard of the incident since it was opened last is not woken again. Part of fan-out's transaction.
    """
    final = Update.objects.filter(
        incident=broadcast.incident_id, number__lt=broadcast.number, status__in=FINAL
    )
    reopened_at = final.order_by("-number").values_list("published_at", flat=True).first()
    _insert(broadcast, people, now, reopened_at)
    _hurry(broadcast, now)
    _hold(broadcast)
    _let_sleep(broadcast)


def _insert(
    broadcast: Broadcast,
    people: QuerySet[Subscription],
    now: datetime,
    reopened_at: datetime | None,
) -> None:
    soft = Subscription.objects.filter(
        subscriber=OuterRef("subscriber"), channel__in=SOFT, state=State.ACTIVE
    )
    columns = {
        "person_id": F("subscriber_id"),
        "incident_id": Value(broadcast.incident_id, IntegerField()),
        "broadcast_id": Value(broadcast.pk, IntegerField()),
        "began_at": Value(now, DateTimeField()),
        "rank": Value(int(Rank.FIRST), IntegerField()),
        "due_at": Case(
            When(Exists(soft), then=Value(now + ladder.FIRST_CALL_AFTER)),
            default=Value(now),
            output_field=DateTimeField(),
        ),
        "heard_by": Value("", CharField()),
        "why": Value("", CharField()),
    }
    rows = people.order_by().annotate(**{f"new_{name}": column for name, column in columns.items()})
    sql, params = (
        rows.values_list(*(f"new_{name}" for name in columns)).distinct().query.sql_with_params()
    )
    table = connection.ops.quote_name(Wake._meta.db_table)
    # A new round: the incident was reopened since, or nobody was heard in the last one.
    again = (
        f"({table}.began_at <= %s OR ({table}.ended_at IS NOT NULL AND {table}.heard_at IS NULL))"
    )
    fresh = ("began_at", "rank", "due_at", "heard_at", "heard_by", "ended_at", "why")
    sets = ", ".join(
        f"{name} = CASE WHEN {again} THEN excluded.{name} ELSE {table}.{name} END" for name in fresh
    )
    past = connection.ops.adapt_datetimefield_value(reopened_at or now - timedelta(days=36_500))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) {sql} ON CONFLICT (incident_id, person_id) DO UPDATE SET "
            f"broadcast_id = excluded.broadcast_id, {sets}",
            [*params, *[past] * len(fresh)],
        )


def _hurry(broadcast: Broadcast, now: datetime) -> None:
    """People who chose a shorter time than two minutes are called after theirs."""
    untouched = Wake.objects.filter(broadcast=broadcast, began_at=now, rank=Rank.FIRST)
    soon = untouched.filter(
        due_at__gt=now, person__fallback_after_s__lt=ladder.FIRST_CALL_AFTER.total_seconds()
    )
    for after_s in soon.values_list("person__fallback_after_s", flat=True).distinct():
        theirs = soon.filter(person__fallback_after_s=after_s).values("pk")
        Wake.objects.filter(pk__in=theirs).update(due_at=now + timedelta(seconds=after_s))


def _hold(broadcast: Broadcast) -> None:
    """Calls that a person let go wait for a second one to agree, until their time is over."""
    until = broadcast.update_entry.calls_after if broadcast.update_entry else None
    if until is not None:
        Wake.objects.filter(broadcast=broadcast, rank=Rank.FIRST, due_at__lt=until).update(
            due_at=until
        )


def bring_forward(update: Update, now: datetime) -> int:
    """Let the first calls of an update go now, as far as the ladder lets them; return how many people that is."""
    held = Wake.objects.filter(
        broadcast__update_entry=update, rank=Rank.FIRST, ended_at__isnull=True, due_at__gt=now
    )
    return held.update(due_at=now)


def _let_sleep(broadcast: Broadcast) -> None:
    heard = Wake.objects.filter(
        incident=broadcast.incident_id,
        person=OuterRef("subscription__subscriber"),
        heard_at__isnull=False,
    )
    Delivery.objects.filter(
        Exists(heard), broadcast=broadcast, channel=CHANNEL, state=DeliveryState.PENDING
    ).update(state=DeliveryState.SUPERSEDED, why="has heard already")


def is_climbing(subscription: int, incident: int) -> bool:
    """Whether the owner of `subscription` would be called about `incident` as long as nobody has heard."""
    climbing = Wake.objects.filter(incident=incident, ended_at__isnull=True)
    return climbing.filter(person__subscriptions=subscription).exists()


# --- up the ladder ----------------------------------------------------------------------------------------------------


def climb(now: datetime) -> int:
    """Do what is due on all ladders, a bounded part a pass; return how many calls were handed to the line."""
    _end_what_is_over(now)
    _close_rings(now)
    running = Wake.objects.filter(ended_at__isnull=True, due_at__lte=now)
    looks = running.filter(rank=_LOOK).order_by("due_at", "id").values_list("pk", flat=True)
    free = ladder.room(_per_s(), _calls_waiting(now), most=CALLS_MAX)
    first = running.filter(rank__gt=_LOOK).order_by("rank", "due_at", "id")
    ready = list(first.values_list("pk", flat=True)[:free]) if free else []
    found = [*looks[:LOOKS_MAX], *ready]
    return _act(found, free, now) if found else 0


@transaction.atomic
def _act(pks: Sequence[int], free: int, now: datetime) -> int:
    # Locked: a receipt that comes now waits, and is then acted upon in the next pass instead of being overwritten.
    rows = Wake.objects.select_for_update(skip_locked=True)
    found = list(rows.filter(pk__in=pks, ended_at__isnull=True))
    facts = _Facts(found, now)
    calls: list[tuple[int, Call]] = []
    wakes = {wake.pk: wake for wake in found}
    changed: list[Wake] = []
    done: defaultdict[Ended, list[int]] = defaultdict(list)
    for wake in found:
        match ladder.step(facts.climb(wake), now):
            case Wait(until):
                wake.rank, wake.due_at = facts.rank_after_wait(wake), until
                changed.append(wake)
            case Call() as call:
                wake.rank, wake.due_at = int(call.rank), min(call.since, now)
                calls.append((wake.pk, call))
                changed.append(wake)
            case Done(why):
                done[why].append(wake.pk)
    for why, over in done.items():
        _finish(over, why, now)
    ringing: list[tuple[Wake, Subscription]] = []
    for pk, call in ladder.order(calls):
        if len(ringing) >= free:
            break
        wake, phone = wakes[pk], facts.subscriptions[call.subscription]
        if phone.address_hash in facts.busy:  # in a call already
            wake.rank, wake.due_at = int(call.rank), now + BUSY_WAIT
            continue
        facts.busy.add(phone.address_hash)
        wake.rank, wake.due_at = _LOOK, now + ladder.CALL_LASTS_MAX
        ringing.append((wake, phone))
    _ring(ringing, facts, now)
    Wake.objects.bulk_update(changed, ["rank", "due_at"])
    return len(ringing)


def _ring(ringing: Sequence[tuple[Wake, Subscription]], facts: "_Facts", now: datetime) -> None:
    """Make the deliveries of these telephones due and note the rings, in few queries however many they are."""
    if not ringing:
        return
    pairs = [(facts.newest(wake), phone.pk) for wake, phone in ringing]
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
            wake=wake,
            number=facts.numbers[wake.pk] + 1,
            subscription=phone,
            delivery_id=deliveries[pair],
            address_hash=phone.address_hash,
            at=now,
        )
        for pair, (wake, phone) in zip(pairs, ringing, strict=True)
    )


def _deliveries(pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Return (broadcast, subscription) -> delivery, of those that there are."""
    told, phones = zip(*pairs, strict=True)
    rows = Delivery.objects.filter(broadcast__in=set(told), subscription__in=phones)
    return {
        (broadcast, subscription): pk
        for pk, broadcast, subscription in rows.values_list("pk", "broadcast_id", "subscription_id")
    }


class _Facts:
    """What the decisions about a handful of wakes need, in one query a kind."""

    def __init__(self, wakes: Sequence[Wake], now: datetime) -> None:
        self._now = now
        people = {wake.person_id for wake in wakes}
        self.subscriptions: dict[int, Subscription] = {}
        self._phones = self._find_phones(people)
        self._rings: defaultdict[int, list[Ring]] = defaultdict(list)
        self.numbers: defaultdict[int, int] = defaultdict(int)
        rings = Ring.objects.filter(wake__in=[wake.pk for wake in wakes])
        for ring in rings.select_related("delivery").order_by("number"):
            self._rings[ring.wake_id].append(ring)
            self.numbers[ring.wake_id] = ring.number
        hashes = [row.address_hash for row in self.subscriptions.values()]
        self.busy = set(
            Ring.objects.filter(address_hash__in=hashes, ended_at__isnull=True).values_list(
                "address_hash", flat=True
            )
        )
        self._broadcasts = {
            row.pk: row
            for row in Broadcast.objects.filter(
                pk__in={wake.broadcast_id for wake in wakes}
            ).select_related("incident")
        }
        soft = Delivery.objects.filter(
            broadcast__in=list(self._broadcasts),
            subscription__subscriber__in=people,
            channel__in=SOFT,
            state__in=_SOFTLY,
        )
        self._softly = set(soft.values_list("broadcast_id", "subscription__subscriber_id"))
        self._patience = dict(
            Subscriber.objects.filter(pk__in=people).values_list("pk", "fallback_after_s")
        )
        self._newest: dict[int, int] = {}

    def climb(self, wake: Wake) -> Climb:
        broadcast = self._broadcasts[wake.broadcast_id]
        incident = broadcast.incident
        return Climb(
            began_at=wake.began_at,
            softly=(wake.broadcast_id, wake.person_id) in self._softly,
            patience=timedelta(seconds=self._patience[wake.person_id]),
            phones=self._phones[wake.person_id],
            rings=[self._rung(ring) for ring in self._rings[wake.pk] if ring.at >= wake.began_at],
            heard=wake.heard_at is not None,
            over=bool(broadcast.halted_at) or incident is None or incident.status in FINAL,
        )

    def newest(self, wake: Wake) -> int:
        """Return the newest update of the incident: who is called again hears what is known now."""
        if wake.incident_id not in self._newest:
            told = Broadcast.objects.filter(
                incident=wake.incident_id, fanned_out_at__isnull=False, halted_at__isnull=True
            )
            last = told.order_by("-number").values_list("pk", flat=True).first()
            self._newest[wake.incident_id] = last or wake.broadcast_id
        return self._newest[wake.incident_id]

    def rank_after_wait(self, wake: Wake) -> int:
        """Who waits for a first call stays in that line; everybody else is looked at again."""
        return int(Rank.FIRST) if not self._rings[wake.pk] else _LOOK

    def _rung(self, ring: Ring) -> ladder.Ring:
        """A call that the line has not made yet has just begun, however long it has been due."""
        not_yet = ring.ended_at is None and ring.delivery.state in WAITING
        return ladder.Ring(ring.subscription_id, self._now if not_yet else ring.at, ring.ended_at)

    def _find_phones(self, people: Iterable[int]) -> defaultdict[int, list[Phone]]:
        """Return person -> telephones: their own first, then each contact's who confirmed it themselves."""
        suppressed = Suppression.objects.filter(
            channel=CHANNEL, address_hash=OuterRef("address_hash")
        )
        own = Subscription.objects.filter(
            ~Exists(suppressed),
            channel=CHANNEL,
            state=State.ACTIVE,
            subscriber__in=people,
            wake_me=True,
        ).order_by("position", "id")
        phones: defaultdict[int, list[Phone]] = defaultdict(list)
        for row in own:
            self.subscriptions[row.pk] = row
            phones[row.subscriber_id].append(Phone(row.pk))
        # In two steps: joined, the database reads every number there is to find those of a few contacts.
        contacts = list(Contact.objects.filter(person__in=people).order_by("position", "id"))
        theirs: dict[int, Subscription] = {}
        if contacts:
            allowed = Subscription.objects.filter(
                ~Exists(suppressed),
                pk__in=[contact.subscription_id for contact in contacts],
                channel=CHANNEL,
                state=State.ACTIVE,
            )
            theirs = {row.pk: row for row in allowed.select_related("subscriber")}
        for contact in contacts:
            if its := theirs.get(contact.subscription_id):
                self.subscriptions[its.pk] = its
                phones[contact.person_id].append(Phone(its.pk, contact=True, quiet=_quiet(its)))
        return phones


def _quiet(row: Subscription) -> Quiet | None:
    """A contact who asked to be woken has no quiet hours; another one's own count."""
    person = row.subscriber
    if row.wake_me or person.quiet_from is None or person.quiet_until is None:
        return None
    return Quiet(person.quiet_from, person.quiet_until, person.time_zone or "UTC")


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
    wakes.filter(ended_at__isnull=True).update(rank=_LOOK, due_at=now)


@transaction.atomic
def _close_rings(now: datetime) -> None:
    """End the rings of calls that were refused, dropped or of which no more is heard."""
    under_way = [*WAITING, DeliveryState.ACCEPTED]
    silent = Q(
        delivery__state=DeliveryState.ACCEPTED,
        delivery__accepted_at__lte=now - ladder.CALL_LASTS_MAX,
    )
    # A call that never left is no ring, and leaves no trace of one.
    never = Q(delivery__state__in=[DeliveryState.SUPERSEDED, DeliveryState.HALTED])
    rings = Ring.objects.filter(ended_at__isnull=True)
    over = rings.filter(~Q(delivery__state__in=under_way) | silent).select_related("delivery")
    found = list(over.order_by("id")[:RINGS_MAX])
    if not found:
        return
    gone = set(rings.filter(never, pk__in=[ring.pk for ring in found]).values_list("pk", flat=True))
    Ring.objects.filter(pk__in=gone).delete()
    outcomes: defaultdict[str, list[int]] = defaultdict(list)
    for ring in found:
        if ring.pk not in gone:
            outcomes[ring.delivery.state[:16]].append(ring.pk)
    for outcome, pks in outcomes.items():
        Ring.objects.filter(pk__in=pks).update(ended_at=now, outcome=outcome)
    _look(Wake.objects.filter(pk__in=[ring.wake_id for ring in found]), now)


def _end_what_is_over(now: datetime) -> None:
    running = Wake.objects.filter(ended_at__isnull=True)
    over = running.filter(
        Q(incident__status__in=FINAL) | Q(broadcast__halted_at__isnull=False)
    ).values_list("pk", flat=True)
    if pks := list(over[:ENDS_MAX]):
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
