"""What of a person's messages came back or stayed unanswered, and which channel told them all the same."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import Q

from notifications import waketests
from notifications.models import HANDED_OVER, Delivery, DeliveryState
from notifications.passing import CAME_BACK, UNSUBSCRIBED
from subscribers.mishaps import Mishap

SINCE = timedelta(days=30)
ROWS_MAX = 10


def of_person(person: int, now: datetime) -> Sequence[Mishap]:
    """Return the newest of the last thirty days first, a failed wake test before all."""
    found = _messages(person, now)
    tested = waketests.failed(now).filter(pk=person).values_list("wake_tested_at", flat=True)
    tests = [Mishap(at, "voice", "", "", "") for at in tested if at is not None]
    return [*tests, *found]


def _messages(person: int, now: datetime) -> list[Mishap]:
    theirs = Delivery.objects.filter(
        subscription__subscriber=person,
        broadcast__incident__isnull=False,
        broadcast__created_at__gt=now - SINCE,
    )
    came_back = Q(state__in=CAME_BACK) & ~Q(why=UNSUBSCRIBED)
    silent = Q(
        passed_on_at__isnull=False, state__in=[DeliveryState.ACCEPTED, DeliveryState.DELIVERED]
    )
    failed = list(
        theirs.filter(came_back | silent)
        .select_related("broadcast__incident")
        .order_by("-pk")[:ROWS_MAX]
    )
    told: defaultdict[int, list[str]] = defaultdict(list)
    for pk, broadcast, channel in (
        theirs.filter(broadcast__in={one.broadcast_id for one in failed}, state__in=HANDED_OVER)
        .order_by("accepted_at")
        .values_list("pk", "broadcast_id", "channel")
    ):
        if pk not in {one.pk for one in failed}:
            told[broadcast].append(channel)
    rows = []
    for one in failed:
        instead = (told[one.broadcast_id] or [""])[0]
        incident = one.broadcast.incident
        # Silence that nothing followed is no mishap: many read a text and answer nothing.
        if incident is not None and (one.state in CAME_BACK or instead):
            why = one.why if one.state in CAME_BACK else ""
            at = one.passed_on_at or one.accepted_at or one.broadcast.created_at
            rows.append(Mishap(at, one.channel, incident.name, why, instead))
    return rows
