"""What falls due for people: the unconfirmed, the addresses of those who left, old letters."""

from datetime import datetime, timedelta

from django.db.models import QuerySet

from incidents import reads, services
from incidents.lifecycle import CallReason
from incidents.models import Pulse
from subscribers import doorstep
from subscribers.models import Ask, Letter, LetterKind, State, Subscriber, Subscription
from subscribers.services import ASKS_WINDOW, CODE_LIFETIME, CONFIRM_LIFETIME

PULSE = "people-prune"
PASS_EVERY = timedelta(minutes=1)
PASS_MAX = 500  # rows of each kind in one pass; the rest a minute later
# security.md, "Collect", and channels.md §4.2: unconfirmed rows go after a week, addresses a month after leaving.
UNCONFIRMED_KEPT = timedelta(days=7)
ADDRESS_KEPT = timedelta(days=30)
# One sample of verification requests in 2025 had 11.8 % fraudulent ones; below 30 % something is wrong.
CONVERSION_MIN, CONVERSION_WINDOW, CONVERSION_LETTERS_MIN = 0.3, timedelta(hours=4), 20
PHONE_CHANNELS = ("sms", "voice")
LETTERS_KEPT = timedelta(days=30)


def tick(now: datetime) -> None:
    """Answer what was asked; and at most once a minute forget what is no longer needed, a bounded number of rows."""
    doorstep.answer(now)
    if Pulse.objects.filter(name=PULSE, at__gt=now - PASS_EVERY).exists():
        return
    Pulse.objects.update_or_create(name=PULSE, defaults={"at": now})
    _watch_conversion(now)
    _drop_unconfirmed(now)
    _purge_addresses(now)
    _delete(Letter.objects.filter(created_at__lte=now - LETTERS_KEPT).order_by("created_at"))
    _delete(Ask.objects.filter(at__lte=now - ASKS_WINDOW).order_by("at"))


def _watch_conversion(now: datetime) -> None:
    """Call the operators when hardly anybody confirms what costs money: so toll fraud looks (security.md, "Abuse")."""
    asked = Letter.objects.filter(
        kind=LetterKind.CONFIRM,
        subscription__channel__in=PHONE_CHANNELS,
        subscription__source="page",
        created_at__gt=now - CONVERSION_WINDOW,
        created_at__lte=now - CODE_LIFETIME,
    )
    total = asked.count()
    if total < CONVERSION_LETTERS_MIN:
        return
    share = asked.filter(used_at__isnull=False).count() / total
    if share < CONVERSION_MIN:
        text = (
            f"Of {total} numbers that were sent a code in the last four hours {share:.0%} confirmed; somebody may be asking "
            "for numbers that are not theirs. PHONE_ASKS_PER_HOUR=0 stops new ones, PHONE_COUNTRIES narrows them; who is "
            "confirmed goes on hearing."
        )
        window = int(now.timestamp() // CONVERSION_WINDOW.total_seconds())
        services.call_operators(
            page=reads.the_page(), reason=CallReason.PROBLEM, text=text, key=f"few-confirm-{window}", now=now
        )  # fmt: skip


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
