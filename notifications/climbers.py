"""Where those on the ladder stand, and with whom it runs: what the decisions about a handful of them need.

Every query goes by the few people, broadcasts or numbers it is about, in a form that the database answers through an index
even when it has no statistics yet: an alarm puts thousands of new rows there at once.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Exists, OuterRef

from incidents.lifecycle import FINAL
from incidents.models import Incident
from notifications import ladder
from notifications.ladder import CHANNEL, SOFT, Climb, Phone, Quiet, Rank
from notifications.models import WAITING, Broadcast, Delivery, DeliveryState, Ring, Wake
from subscribers.models import Contact, State, Subscription, Suppression

RUNNING_MAX = 1_000  # broadcasts with a ladder at the same time
LOOK = 0  # a wake's rank while it is to be looked at again
_SOFTLY = (
    *WAITING,
    DeliveryState.ACCEPTED,
    DeliveryState.DELIVERED,
    DeliveryState.UNKNOWN,
)


def running() -> dict[int, bool]:
    """Return the broadcasts that somebody is still on the ladder of -> whether their incident is over or they are halted.

    One probe of an index for each: thousands climb for one broadcast.
    """
    quoted = connection.ops.quote_name
    wakes, told, incidents = (quoted(model._meta.db_table) for model in (Wake, Broadcast, Incident))
    first = f"SELECT MIN(broadcast_id) FROM {wakes} WHERE ended_at IS NULL"
    over = f"told.halted_at IS NOT NULL OR incident.status IN ({', '.join(['%s'] * len(FINAL))})"
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE running(id) AS ({first} UNION ALL "
            f"SELECT ({first} AND broadcast_id > running.id) FROM running WHERE running.id IS NOT NULL) "
            f"SELECT running.id, (SELECT {over} FROM {told} told JOIN {incidents} incident "
            "ON incident.id = told.incident_id WHERE told.id = running.id) "
            f"FROM running WHERE running.id IS NOT NULL LIMIT {RUNNING_MAX}",
            sorted(FINAL),
        )
        return {broadcast: bool(is_over) for broadcast, is_over in cursor.fetchall()}


@dataclass(frozen=True, slots=True)
class Climber:
    """Of one wake what the decisions need."""

    pk: int
    person: int
    incident: int
    broadcast: int
    began_at: datetime
    is_heard: bool
    is_over: bool
    patience: timedelta


def lock(pks: Collection[int]) -> list[Climber]:
    """Return those that are still on the ladder and in nobody else's hands, locked until the transaction ends."""
    rows = Wake.objects.select_for_update(skip_locked=True, of=("self",)).filter(pk__in=pks)
    found = rows.values_list(
        "pk", "person_id", "incident_id", "broadcast_id", "began_at", "heard_at", "ended_at",
        "broadcast__halted_at", "incident__status", "person__fallback_after_s",
    )  # fmt: skip
    return [
        Climber(
            pk, person, incident, broadcast, began_at,
            is_heard=heard_at is not None,
            is_over=halted_at is not None or status in FINAL,
            patience=timedelta(seconds=patience_s),
        )
        for pk, person, incident, broadcast, began_at, heard_at, ended_at, halted_at, status, patience_s in found
        if ended_at is None
    ]  # fmt: skip


class Facts:
    """The telephones, rings and messages of a handful of climbers."""

    def __init__(self, climbers: Sequence[Climber], now: datetime) -> None:
        people = {climber.person for climber in climbers}
        self.hashes: dict[int, str] = {}  # telephone -> its number's
        self.numbers: dict[int, int] = {}  # wake -> its last ring's
        self._phones: defaultdict[int, list[Phone]] = defaultdict(list)
        self._rings: defaultdict[int, list[ladder.Ring]] = defaultdict(list)
        soft = self._find_own(people)
        self._find_contacts(people)
        self._find_rings({climber.pk: climber.began_at for climber in climbers}, now)
        self._softly = self._find_softly(climbers, soft)

    def climb(self, climber: Climber) -> Climb:
        return Climb(
            began_at=climber.began_at,
            softly=(climber.broadcast, climber.person) in self._softly,
            patience=climber.patience,
            phones=self._phones[climber.person],
            rings=self._rings[climber.pk],
            heard=climber.is_heard,
            over=climber.is_over,
        )

    def rank_after_wait(self, climber: Climber) -> int:
        """Who waits for a first call stays in that line; everybody else is looked at again."""
        return LOOK if climber.pk in self.numbers else int(Rank.FIRST)

    def _find_own(self, people: Collection[int]) -> dict[int, int]:
        """Note the telephones on which people asked to be woken; return their texts and pushes, subscription -> person."""
        # Their state is looked at here: asked for, it lets the database read all numbers of a channel instead of theirs.
        rows = Subscription.objects.filter(subscriber__in=people, channel__in=[CHANNEL, *SOFT])
        found = rows.order_by("position", "id").values_list(
            "pk", "subscriber_id", "channel", "wake_me", "state", "address_hash", _is_suppressed()
        )
        soft: dict[int, int] = {}
        for pk, person, channel, wake_me, state, hashed, is_suppressed in found:
            if channel != CHANNEL:
                soft[pk] = person
            elif wake_me and state == State.ACTIVE and not is_suppressed:
                self.hashes[pk] = hashed
                self._phones[person].append(Phone(pk))
        return soft

    def _find_contacts(self, people: Collection[int]) -> None:
        """Add, after a person's own telephones, each contact's who confirmed it themselves."""
        # In two steps: joined, the database reads every number there is to find those of a few contacts.
        contacts = Contact.objects.filter(person__in=people).order_by("position", "id")
        found = list(contacts.values_list("person_id", "subscription_id"))
        if not found:
            return
        allowed = Subscription.objects.filter(
            ~_is_suppressed(),
            pk__in=[subscription for _, subscription in found],
            channel=CHANNEL,
            state=State.ACTIVE,
        )
        theirs = {row.pk: row for row in allowed.select_related("subscriber")}
        for person, subscription in found:
            if its := theirs.get(subscription):
                self.hashes[its.pk] = its.address_hash
                self._phones[person].append(Phone(its.pk, contact=True, quiet=_quiet(its)))

    def _find_rings(self, began_at: Mapping[int, datetime], now: datetime) -> None:
        """Note the rings of each wake since it began."""
        rows = Ring.objects.filter(wake__in=began_at).order_by("number")
        found = list(
            rows.values_list(
                "wake_id", "number", "subscription_id", "at", "ended_at", "delivery_id"
            )
        )
        not_made = _not_made({delivery for *_, ended_at, delivery in found if ended_at is None})
        for wake, number, subscription, at, ended_at, delivery in found:
            self.numbers[wake] = number
            if at >= began_at[wake]:
                # A call that the line has not made yet has just begun, however long it has been due.
                begun_at = now if ended_at is None and delivery in not_made else at
                self._rings[wake].append(ladder.Ring(subscription, begun_at, ended_at))

    def _find_softly(
        self, climbers: Iterable[Climber], soft: Mapping[int, int]
    ) -> set[tuple[int, int]]:
        """Return (broadcast, person) of who has a text or push to answer, among those not called yet."""
        uncalled = {climber.person for climber in climbers if not self._rings[climber.pk]}
        theirs = [subscription for subscription, person in soft.items() if person in uncalled]
        if not theirs:
            return set()
        rows = Delivery.objects.filter(
            broadcast__in={climber.broadcast for climber in climbers},
            subscription__in=theirs,
            state__in=_SOFTLY,
        )
        found = rows.values_list("broadcast_id", "subscription_id")
        return {(broadcast, soft[subscription]) for broadcast, subscription in found}


def busy(hashes: Collection[str]) -> set[str]:
    """Return those of these numbers that are in a call."""
    if not hashes:
        return set()
    rings = Ring.objects.filter(address_hash__in=hashes, ended_at__isnull=True)
    return set(rings.values_list("address_hash", flat=True))


def newest(incident: int) -> int | None:
    """Return the newest update that is on its way: who is called again hears what is known now."""
    told = Broadcast.objects.filter(
        incident=incident, fanned_out_at__isnull=False, halted_at__isnull=True
    )
    return told.order_by("-number").values_list("pk", flat=True).first()


def _not_made(deliveries: Collection[int]) -> set[int]:
    if not deliveries:
        return set()
    rows = Delivery.objects.filter(pk__in=deliveries, state__in=WAITING)
    return set(rows.values_list("pk", flat=True))


def _is_suppressed() -> Exists:
    return Exists(
        Suppression.objects.filter(channel=CHANNEL, address_hash=OuterRef("address_hash"))
    )


def _quiet(row: Subscription) -> Quiet | None:
    """A contact who asked to be woken has no quiet hours; another one's own count."""
    person = row.subscriber
    if row.wake_me or person.quiet_from is None or person.quiet_until is None:
        return None
    return Quiet(person.quiet_from, person.quiet_until, person.time_zone or "UTC")
