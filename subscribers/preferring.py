"""Preferring: the link to the settings, and what is changed there."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, time

from django.conf import settings
from django.db import transaction

from incidents.models import Component
from subscribers import addresses
from subscribers.addresses import Kind
from subscribers.addressing import WAKING_CHANNEL, hash_of
from subscribers.letters import ask_owner, may_write, write_letter
from subscribers.models import FALLBACK_AFTER_S, LetterKind, State, Subscriber, Subscription
from subscribers.rows import choose, of_address, record_consent


@transaction.atomic
def ask_to_manage(*, address: str, now: datetime) -> None:
    """Send a manage link to the address if it is subscribed; nothing tells whether it is. Raises BadAddress."""
    kind = kind_typed(address)
    address = addresses.clean(kind, address, plain_http=settings.ENVIRON.allow_private_hooks)
    rows = list(of_address(hash_of(kind, address)))
    # A link cannot be spoken: a call is the last resort.
    rows.sort(key=lambda row: (row.channel == WAKING_CHANNEL, row.state != State.ACTIVE))
    for row in rows:
        if may_write(row.channel, row.address_hash, now):
            if row.state == State.ACTIVE:
                write_letter(row, kind=LetterKind.MANAGE, now=now)
            else:
                ask_owner(row, now=now)
            return


def kind_typed(address: str) -> Kind:
    """Return what a typed address looks like: only its owner's channel answers to it anyway."""
    if "://" in address:
        return Kind.URL
    return Kind.EMAIL if "@" in address else Kind.PHONE


@dataclass(frozen=True, slots=True)
class Wishes:
    """What one channel hears; None leaves as it is, an empty `components` means everything."""

    components: Sequence[Component] | None = None
    wake_me: bool | None = None
    least_impact: str | None = None
    digest: bool | None = None


@dataclass(frozen=True, slots=True)
class Habits:
    """How one person is told, on all channels."""

    language: str = "en"
    time_zone: str = ""
    quiet_from: time | None = None
    quiet_until: time | None = None
    discreet: bool = False
    fallback_after_s: int = FALLBACK_AFTER_S
    wake_test_hour: int | None = None


@transaction.atomic
def prefer(
    subscription: Subscription,
    *,
    now: datetime,
    components: Sequence[Component] | None = None,
    language: str | None = None,
    time_zone: str | None = None,
    wake_me: bool | None = None,
    consent_text: str = "",
) -> None:
    """Change what is given and leave the rest; an empty `components` means everything."""
    row = _locked(subscription)
    is_asked_to_wake = bool(wake_me) and not row.wake_me
    choose(row, components, language=language, time_zone=time_zone, wake_me=wake_me)
    if is_asked_to_wake and consent_text:
        record_consent(row, text=consent_text, source="manage", network="", now=now)


@transaction.atomic
def wish(
    subscription: Subscription, wishes: Wishes, *, consent_text: str = "", now: datetime
) -> None:
    """Change what one channel hears. Who hears of single incidents only is shown no parts: none chosen leaves them so."""
    unasked = subscription.only_incidents and not wishes.components
    prefer(
        subscription,
        components=None if unasked else wishes.components,
        wake_me=wishes.wake_me,
        consent_text=consent_text,
        now=now,
    )
    row = _locked(subscription)
    if wishes.least_impact is not None:
        row.least_impact = wishes.least_impact
    if wishes.digest is not None:
        row.digest = wishes.digest
    row.save(update_fields=["least_impact", "digest"])


@transaction.atomic
def settle_in(person: Subscriber, habits: Habits) -> None:
    """Change how a person is told, on all their channels."""
    own = asdict(habits)
    on_all = {name: own[name] for name in ("language", "time_zone", "discreet")}
    del own["discreet"]
    Subscriber.objects.filter(pk=person.pk).update(**own)
    Subscription.objects.filter(subscriber=person.pk).update(**on_all)


def pause(person: Subscriber, until: datetime | None) -> None:
    """Send nothing before `until`; None goes on at once."""
    Subscription.objects.filter(subscriber=person.pk).update(paused_until=until)


@transaction.atomic
def move(rows: Sequence[Subscription], chosen: Subscription, *, by: int) -> None:
    """Try a channel earlier (-1) or later (1) than the one beside it; `rows` stand in the order now kept."""
    order = [row.pk for row in rows]
    here = order.index(chosen.pk)
    there = min(max(here + by, 0), len(order) - 1)
    order.insert(there, order.pop(here))
    for position, pk in enumerate(order):
        Subscription.objects.filter(pk=pk).update(position=position)


def try_out(subscription: Subscription, *, now: datetime, due_at: datetime | None = None) -> bool:
    """Send a test by this channel, now or later; False when it had its share today."""
    return write_letter(subscription, kind=LetterKind.TEST, now=now, due_at=due_at) is not None


def _locked(subscription: Subscription) -> Subscription:
    rows = Subscription.objects.select_for_update(of=("self",)).select_related("subscriber")
    return rows.get(pk=subscription.pk)
