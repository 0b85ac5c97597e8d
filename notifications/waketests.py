"""Can we still wake you: a call each month to who asked for it, at the hour that they chose, in their zone."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db.models import F, Q, QuerySet

from incidents import reads
from incidents.lifecycle import ACTIVE
from incidents.models import Incident
from subscribers import services as people
from subscribers.models import LetterKind, State, Subscriber, Subscription

EVERY = timedelta(days=28)  # the same day of the week each time
# A test that nobody has answered after so long has failed.
ANSWERED_WITHIN = timedelta(hours=1)
TESTS_MAX = (
    20  # in one pass, every half minute: some 2,400 an hour, which one call a second carries
)


def begin(now: datetime) -> int:
    """Write the test letters of those whose hour it is; return how many. None while something is wrong: alarms go first."""
    if Incident.objects.filter(published_at__isnull=False, status__in=ACTIVE).exists():
        return 0
    begun = 0
    for person in _due(now):
        phone = (
            Subscription.objects.filter(
                subscriber=person, channel="voice", wake_me=True, state=State.ACTIVE
            )
            .order_by("position", "id")
            .first()
        )
        Subscriber.objects.filter(pk=person.pk).update(wake_tested_at=now)
        if phone is not None and people.write_letter(phone, kind=LetterKind.TEST, now=now):
            begun += 1
    return begun


def failed(now: datetime) -> QuerySet[Subscriber]:
    """Return the people whose newest test nobody answered."""
    unheard = Q(wake_heard_at__isnull=True) | Q(wake_heard_at__lt=F("wake_tested_at"))
    return Subscriber.objects.filter(
        unheard, wake_test_hour__isnull=False, wake_tested_at__lt=now - ANSWERED_WITHIN
    )


def _due(now: datetime) -> Iterator[Subscriber]:
    lately = Q(wake_tested_at__isnull=True) | Q(wake_tested_at__lte=now - EVERY)
    asked = Subscriber.objects.filter(
        lately, wake_test_hour__isnull=False, subscriptions__channel="voice",
        subscriptions__wake_me=True, subscriptions__state=State.ACTIVE,
    )  # fmt: skip
    left = TESTS_MAX
    own_zone = reads.the_page().time_zone
    for zone in asked.order_by().values_list("time_zone", flat=True).distinct():
        hour = now.astimezone(ZoneInfo(zone or own_zone)).hour
        rows = asked.filter(time_zone=zone, wake_test_hour=hour).order_by("pk").distinct()[:left]
        for person in rows:
            left -= 1
            yield person
