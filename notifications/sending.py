"""Sends one channel's due batches: pulls under the lease, asks the database again, settles in small groups."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import timedelta

from django.conf import settings

from notifications import channels, entries, outbox
from notifications.channels import Channel, Outcome, Recipient, refused
from notifications.models import Broadcast, Delivery
from notifications.outbox import Claim, Settlement
from notifications.routing import SOCIAL
from subscribers import addresses
from subscribers import services as people

log = logging.getLogger(__name__)

BATCH_ROWS = 200  # deliveries under one lease
ASK_AGAIN_S = 1.0  # house.md: the database is asked again when its last answer is over 1 s old
LEASE_MARGIN_S = (
    10.0  # a send that starts now must end before the lease does: the longest provider timeout
)
SETTLE_S = 0.5  # an outcome is written at the latest after so long
PACE_AHEAD_S = 2.0  # a rate-limited account is booked for so long at a time

_stop = threading.Event()
_local = threading.local()


def stop() -> None:
    """Ask every sending thread of this process to end after the message under way."""
    _stop.set()


def drain(channel: str, *, seconds: float, batches_max: int = 10_000) -> int:
    """Send what is due on `channel` for at most about `seconds`; return how many outcomes were settled."""
    ends = time.monotonic() + seconds
    settled = 0
    for _ in range(batches_max):
        if _stop.is_set() or time.monotonic() > ends:
            break
        started = time.monotonic()
        claimed = outbox.claim(channel, rows=BATCH_ROWS)
        if claimed is None:
            break
        settled += _Batch(_channel(channel), claimed, started).send()
    return settled


def _channel(name: str) -> Channel:
    """Return this thread's own channel: kept connections are not shared."""
    kept: dict[str, Channel] = _local.__dict__.setdefault("channels", {})
    if name not in kept:
        module = channels.modules()[name]
        opened = module.configure(settings.ENVIRON.raw)
        assert opened is not None, f"channel {name} has deliveries but is not configured"
        kept[name] = opened
    return kept[name]


class _Batch:
    """One claimed batch on its way through a channel."""

    def __init__(self, channel: Channel, claimed: Claim, started: float) -> None:
        self._channel = channel
        self._claim = claimed
        self._lease_ends = started + outbox.LEASE_S - LEASE_MARGIN_S
        self._broadcast = Broadcast.objects.select_related("update_entry").get(pk=claimed.broadcast)
        self._pulled: dict[str, Delivery] = {}  # the provider may have these from here on
        self._critical = True
        self._open: list[Settlement] = []
        self._settled = 0
        self._last_settled = time.monotonic()
        # Outcomes are dated by the database's clock, moved on by this machine's steady one: its own may be wrong.
        self._began, self._began_at = time.monotonic(), outbox.database_now()

    def send(self) -> int:
        first = Delivery.objects.select_related("subscription").get(pk=self._claim.ids[0])
        notice = entries.kept_notice(self._broadcast, first.subscription.language)
        self._critical = notice.critical
        try:
            for delivery, outcome in self._channel.send(notice, self._recipients()):
                self._note(delivery, outcome)
        finally:
            self._settle()
            outbox.release(
                self._claim, [pk for pk in self._claim.ids if str(pk) not in self._pulled]
            )
        return self._settled

    def _recipients(self) -> Iterator[Recipient]:
        """Yield who may be sent to, each checked within the last second; pulling is the permission to send."""
        size = self._group()
        for start in range(0, len(self._claim.ids), size):
            ids = self._claim.ids[start : start + size]
            if _stop.is_set() or time.monotonic() > self._lease_ends:
                return
            wait_s = self._book(len(ids))
            if time.monotonic() + wait_s > self._lease_ends:
                return
            _stop.wait(wait_s)
            yield from self._group_of(ids)

    def _group(self) -> int:
        if self._channel.per_s is None:
            return self._channel.group
        return max(1, min(self._channel.group, int(self._channel.per_s * PACE_AHEAD_S)))

    def _book(self, messages: int) -> float:
        rate = self._channel.per_s
        return outbox.reserve(self._channel.name, rate, messages) if rate else 0.0

    def _group_of(self, ids: Sequence[int]) -> Iterator[Recipient]:
        queue = deque(outbox.admit(self._claim, ids))
        asked = time.monotonic()
        gap_s = 1.0 / self._channel.per_s if self._channel.per_s else 0.0
        while queue and not _stop.is_set():
            if time.monotonic() - asked > ASK_AGAIN_S:
                queue = deque(outbox.admit(self._claim, [delivery.pk for delivery in queue]))
                asked = time.monotonic()
                continue
            delivery = queue.popleft()
            self._pulled[str(delivery.pk)] = delivery
            try:
                next_one = recipient(delivery, self._broadcast, social=self._channel.name in SOCIAL)
            except addresses.Unreadable as error:
                self._note(str(delivery.pk), refused(str(error)))
                continue
            yield next_one
            if gap_s:
                _stop.wait(gap_s)  # the account's rate, within the slot booked for this group

    def _note(self, delivery: str, outcome: Outcome) -> None:
        at = self._began_at + timedelta(seconds=time.monotonic() - self._began)
        self._open.append(Settlement(self._pulled[delivery], outcome, at))
        full = len(self._open) >= self._channel.group
        if full or time.monotonic() - self._last_settled > SETTLE_S:
            self._settle()

    def _settle(self) -> None:
        if self._open:
            written = outbox.settle(
                self._open,
                lease=self._claim.lease,
                provider=self._channel.provider,
                critical=self._critical,
            )
            if written < len(self._open):
                log.warning(
                    "%d outcomes on %s came after their lease",
                    len(self._open) - written,
                    self._claim.channel,
                )
            self._settled += written
            self._open = []
        self._last_settled = time.monotonic()


def recipient(delivery: Delivery, broadcast: Broadcast, *, social: bool) -> Recipient:
    """Return the delivery as a channel sees it."""
    person = delivery.subscription
    earlier = _earlier_ids(delivery, broadcast) if social else ()
    subscriber = broadcast.update_entry_id is not None and not social
    token = addresses.link_token("receipt", str(delivery.pk), settings.SECRET_KEY)
    return Recipient(
        delivery=str(delivery.pk),
        address=addresses.unseal(bytes(person.address_sealed), settings.FIELD_KEYS),
        manage_url=f"{settings.SITE_URL}/manage" if subscriber else "",
        unsubscribe_url=people.unsubscribe_url(person.uid) if subscriber else "",
        receipt_url=f"{settings.SITE_URL}/receipts/twilio/{token}",
        attempt=delivery.attempts,
        maybe_sent=delivery.maybe_sent,
        previous_id=earlier[-1] if earlier else "",
        first_id=earlier[0] if earlier else "",
    )


def _earlier_ids(delivery: Delivery, broadcast: Broadcast) -> tuple[str, ...]:
    earlier = Delivery.objects.filter(
        subscription=delivery.subscription_id, broadcast__incident=broadcast.incident_id,
        broadcast__number__lt=broadcast.number,
    ).exclude(provider_id="")  # fmt: skip
    return tuple(earlier.order_by("broadcast__number").values_list("provider_id", flat=True))
