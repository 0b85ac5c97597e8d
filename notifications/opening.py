"""From an entry to its broadcast: an update, a call or a letter that nobody has begun to send."""

from dataclasses import replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.db.models import Q

from incidents import reads
from incidents.lifecycle import Audience
from incidents.models import Call, Incident, Update
from notifications import routing
from notifications.models import Broadcast, Delivery, DeliveryState, Lane
from subscribers.models import Letter, Role

ENTRIES_MAX = 200  # entries opened in one pass; the rest a second later
# An update is pushed once the page shows it, or after this time if publishing fails: contract.md, "URLs".
SHOWN_WITHIN = timedelta(seconds=5)
# Older entries are news to nobody.
ENTRY_VALID = timedelta(hours=24)


def open_entries(now: datetime) -> int:
    """Give every entry that has none its broadcast; return how many. Two sweeps cannot both win."""
    return _open_updates(now) + _open_calls(now) + _open_letters(now)


def _open_updates(now: datetime) -> int:
    ready = Q(shown_at__isnull=False) | Q(published_at__lte=now - SHOWN_WITHIN)
    waiting = Update.objects.filter(
        ready, published_at__gt=now - ENTRY_VALID, broadcast__isnull=True
    )
    waiting = (
        waiting.exclude(audience=Audience.NOBODY)
        .select_related("incident")
        .order_by("published_at", "id")
    )
    return sum(_open_update(update, now) for update in waiting[:ENTRIES_MAX])


@transaction.atomic
def _open_update(update: Update, now: datetime) -> bool:
    incident = reads.with_all(Incident.objects.filter(pk=update.incident_id)).get()
    fact = reads.incident_fact(incident)
    legs = routing.plan(fact, reads.update_fact(update, fact.uid), settings.CHANNELS)
    older = Broadcast.objects.filter(incident=incident, number__lt=update.number or 0)
    if update.retraction:
        _supersede_waiting(older, now)
    else:
        legs = routing.inherit(_take_over(older, legs, now), _overtaken(older))
    return _create(
        Broadcast(
            update_entry=update, incident=incident, number=update.number or 0, created_at=now
        ),
        legs,
    )


def _take_over(
    older: models.QuerySet[Broadcast], legs: list[routing.Leg], now: datetime
) -> list[routing.Leg]:
    """Whoever an unfinished fan-out had still to queue is queued for the newer update instead."""
    present = {leg.channel for leg in legs}
    for broadcast in older.filter(fanned_out_at__isnull=True).select_for_update():
        theirs = [routing.leg(row) for row in broadcast.plan]
        left = [leg for leg in theirs if leg.role == Role.SOCIAL]
        # Their first word is no slower for coming with the second.
        hurried = {leg.channel for leg in theirs if leg.urgent and leg not in left}
        legs = [replace(leg, urgent=leg.urgent or leg.channel in hurried) for leg in legs]
        legs = legs + [leg for leg in theirs if leg not in left and leg.channel not in present]
        present = {leg.channel for leg in legs}
        broadcast.plan = [leg.as_json() for leg in left]
        broadcast.fanned_out_at = None if left else now
        broadcast.save(update_fields=["plan", "fanned_out_at"])
    return legs


def _overtaken(older: models.QuerySet[Broadcast]) -> set[tuple[str, bool]]:
    """Return the (channel, urgent) of messages of older updates that still wait."""
    waiting = Delivery.objects.filter(
        broadcast__in=older, state__in=[DeliveryState.PENDING, DeliveryState.PREPARED]
    )
    return set(waiting.values_list("channel", "urgent").distinct())


def _supersede_waiting(older: models.QuerySet[Broadcast], now: datetime) -> None:
    """A retracted alarm goes to nobody who has not heard it yet."""
    Delivery.objects.filter(broadcast__in=older, state=DeliveryState.PENDING).update(
        state=DeliveryState.SUPERSEDED, why="retracted"
    )
    older.filter(fanned_out_at__isnull=True).update(fanned_out_at=now, plan=[])


def _open_calls(now: datetime) -> int:
    calls = Call.objects.filter(broadcast__isnull=True, created_at__gt=now - ENTRY_VALID).order_by(
        "created_at"
    )
    legs = [routing.Leg(channel, role=Role.OPERATOR, urgent=True) for channel in settings.CHANNELS]
    return sum(_create(Broadcast(call=call, created_at=now), legs) for call in calls[:ENTRIES_MAX])


def _open_letters(now: datetime) -> int:
    # A test may be asked for at an hour to come.
    at_once = Q(due_at__isnull=True, created_at__gt=now - ENTRY_VALID)
    now_due = Q(due_at__lte=now, due_at__gt=now - ENTRY_VALID)
    letters = Letter.objects.filter(at_once | now_due, broadcast__isnull=True).order_by(
        "created_at"
    )
    return sum(
        _open_letter(letter, now) for letter in letters.select_related("subscription")[:ENTRIES_MAX]
    )


@transaction.atomic
def _open_letter(letter: Letter, now: datetime) -> bool:
    broadcast = Broadcast(letter=letter, created_at=now, fanned_out_at=now)
    if not _create(broadcast, []):
        return False
    Delivery.objects.create(
        broadcast=broadcast, subscription=letter.subscription, channel=letter.subscription.channel, urgent=True,
        lane=Lane.PERSONAL, due_at=now,
    )  # fmt: skip
    return True


def _create(broadcast: Broadcast, legs: list[routing.Leg]) -> bool:
    broadcast.plan = [leg.as_json() for leg in legs]
    try:
        with transaction.atomic():
            broadcast.save(force_insert=True)
    except IntegrityError:
        return False  # another clock was quicker
    return True
