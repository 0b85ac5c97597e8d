"""Onto the ladder: who of a broadcast's people is taken up, when their first call falls due, and who may sleep on."""

from datetime import datetime, timedelta

from django.db import connection
from django.db.models import (
    Case,
    CharField,
    DateTimeField,
    Exists,
    F,
    IntegerField,
    OuterRef,
    QuerySet,
    Value,
    When,
)

from incidents.lifecycle import FINAL
from incidents.models import Update
from notifications import ladder
from notifications.ladder import CHANNEL, SOFT, Rank
from notifications.models import Broadcast, Delivery, DeliveryState, Wake
from subscribers.models import State, Subscription

# A ladder's deliveries wait with a due time that never comes, as long as an entry is valid, until waking.py calls them.
HELD_FOR = timedelta(hours=24)


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
