"""What falls due for people: the unconfirmed, the addresses of those who left, old letters."""

from datetime import datetime, timedelta

from django.db.models import QuerySet

from incidents.models import Pulse
from subscribers import doorstep
from subscribers.models import Ask, Letter, State, Subscriber, Subscription
from subscribers.services import ASKS_WINDOW, CONFIRM_LIFETIME

PULSE = "people-prune"
PASS_EVERY = timedelta(minutes=1)
PASS_MAX = 500  # rows of each kind in one pass; the rest a minute later
# security.md, "Collect", and channels.md §4.2: unconfirmed rows go after a week, addresses a month after leaving.
UNCONFIRMED_KEPT = timedelta(days=7)
ADDRESS_KEPT = timedelta(days=30)
LETTERS_KEPT = timedelta(days=30)


def tick(now: datetime) -> None:
    """Answer what was asked; and at most once a minute forget what is no longer needed, a bounded number of rows."""
    doorstep.answer(now)
    if Pulse.objects.filter(name=PULSE, at__gt=now - PASS_EVERY).exists():
        return
    Pulse.objects.update_or_create(name=PULSE, defaults={"at": now})
    _drop_unconfirmed(now)
    _purge_addresses(now)
    _delete(Letter.objects.filter(created_at__lte=now - LETTERS_KEPT).order_by("created_at"))
    _delete(Ask.objects.filter(at__lte=now - ASKS_WINDOW).order_by("at"))


def _drop_unconfirmed(now: datetime) -> None:
    """Delete those who never confirmed, unless they were asked again so lately that their link still opens."""
    due = Subscription.objects.filter(state=State.PENDING, created_at__lte=now - UNCONFIRMED_KEPT)
    still_asked = Letter.objects.filter(created_at__gt=now - CONFIRM_LIFETIME).values(
        "subscription"
    )
    rows = due.exclude(pk__in=still_asked).order_by("created_at")
    pairs = list(rows.values_list("pk", "subscriber")[:PASS_MAX])
    # The state again: somebody may have confirmed since the list was read.
    Subscription.objects.filter(pk__in=[pk for pk, _ in pairs], state=State.PENDING).delete()
    people = [person for _, person in pairs]
    Subscriber.objects.filter(pk__in=people, subscriptions__isnull=True).delete()


def _purge_addresses(now: datetime) -> None:
    """Empty the addresses of those who left; the hash stays, so that no import brings them back."""
    left = Subscription.objects.filter(state=State.GONE, gone_at__lte=now - ADDRESS_KEPT)
    pks = (
        left.exclude(address_sealed=b"").order_by("gone_at").values_list("pk", flat=True)[:PASS_MAX]
    )
    Subscription.objects.filter(pk__in=list(pks)).update(address_sealed=b"", label="")


def _delete(rows: QuerySet[Letter] | QuerySet[Ask]) -> None:
    """Delete the first rows of a query."""
    pks = list(rows.values_list("pk", flat=True)[:PASS_MAX])
    rows.model.objects.filter(pk__in=pks).delete()
