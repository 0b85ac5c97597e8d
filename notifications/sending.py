"""Sends one channel's due batches: pulls under the lease, asks the database again, settles in small groups."""

import logging
import mmap
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import transaction

from incidents import trace
from notifications import (
    bounces,
    channels,
    entries,
    epoch,
    fanning,
    ladder,
    messages,
    mounting,
    outbox,
    pacing,
    spending,
)
from notifications.breaker import Breaker
from notifications.channels import Channel, Outcome, Recipient, Result, refused
from notifications.channels.email import sender_of
from notifications.hands import SecondHand
from notifications.models import Broadcast, Delivery
from notifications.outbox import Claim, Due, Settlement
from notifications.routing import SOCIAL
from subscribers import addresses
from subscribers import services as people

# Channels whose messages light up a locked phone.
SEEN_BY_STRANGERS = frozenset({"email", "sms", "webpush"})
# Channels whose provider is told with each message where to call back.
CALLED_BACK = frozenset({"sms", "voice"})
# Behind such an address is a server that its reader names: that it fails, or asks for time, says nothing of anybody else's.
OWN_SERVERS = frozenset({"webhook", "webpush", "teams"})
# One host for all of them, whose failure is everybody's; but a limit is that of the one hook.
ONE_HOST = frozenset({"slack", "discord"})
log = logging.getLogger(__name__)

# Deliveries under one lease: what the channel sends in CLAIM_S by its last batch's rate, within these bounds. A slow
# provider's batches are small, so that something urgent need not wait for the rest of one.
CLAIM_S = 2.0
CLAIM_ROWS_MIN = 5
CLAIM_ROWS_MAX = 1000
FIRST_ROWS = 100
ASK_AGAIN_S = 1.0  # house.md: the database is asked again when its last answer is over 1 s old
LEASE_MARGIN_S = (
    10.0  # a send that starts now must end before the lease does: the longest provider timeout
)
# Outcomes written in one statement: so many of each thread may be told twice when a worker is killed. Each statement is a
# commit, and a disk takes a few milliseconds for one.
SETTLE_ROWS = 100
TAKE_ROWS_MIN = 20  # groups below this are claimed in batches and admitted one by one
SETTLE_S = 0.1  # an outcome is written at the latest after so long: a slow server's are fewer in a statement
PACE_AHEAD_S = 2.0  # a rate-limited account is booked for so long at a time
# Of a process that serves several channels, so many threads at most may be with one of them: a provider that hangs must
# leave some for the others.
DRAINS_MAX = 2

STOP_LOOK_S = 0.2  # how long a wait may go on after a stop

# Shared with the processes that Celery forks: it tells only their parent to stop, and waits for them.
_stop = mmap.mmap(-1, 1)
_local = threading.local()


@dataclass(slots=True)
class _Course:
    """What this process knows of a channel: who drains it, how fast it is, whether it fails."""

    drains: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(DRAINS_MAX)
    )
    breaker: Breaker = field(default_factory=Breaker)
    rows: int = FIRST_ROWS


_courses: defaultdict[str, _Course] = defaultdict(_Course)


def stop() -> None:
    """Ask every sending thread of this process, and of those it has forked, to end after the message under way."""
    _stop[0] = 1


def _is_stopped() -> bool:
    return _stop[0] != 0


def _pause(seconds: float) -> None:
    """Wait, but not much longer than until a stop."""
    ends = time.monotonic() + seconds
    while not _is_stopped() and (left_s := ends - time.monotonic()) > 0:
        time.sleep(min(left_s, STOP_LOOK_S))


def drain(channel: str, *, seconds: float, batches_max: int = 10_000) -> int:
    """Send what is due on `channel` for at most about `seconds`; return how many outcomes were settled."""
    ends = time.monotonic() + seconds
    second = SecondHand(channel, partial(_drain, channel, ends, batches_max, None))
    settled = 0
    try:
        settled = _drain(channel, ends, batches_max, second if batches_max > 1 else None)
    finally:
        settled += second.back()
    return settled


def _drain(channel: str, ends: float, batches_max: int, second: SecondHand | None) -> int:
    course = _courses[channel]
    if not course.drains.acquire(blocking=False):
        return 0
    try:
        return _send_batches(channel, course, ends, batches_max, second)
    finally:
        course.drains.release()


def _send_batches(
    channel: str, course: _Course, ends: float, batches_max: int, second: SecondHand | None
) -> int:
    settled = 0
    if epoch.is_restored():
        return 0  # the clock stops first what this database would say again
    for _ in range(batches_max):
        started = time.monotonic()
        allowance = course.breaker.allowance(started)
        if _is_stopped() or started > ends or allowance == 0 or pacing.held_s(channel) > 0:
            break
        opened = _channel(channel)
        rows = allowance or course.rows
        booked = spending.book(channel, rows)
        found = _next(opened, booked or rows, calls_only=booked == 0)
        if found is None:
            spending.give_back(channel, booked)
            break
        claimed, admitted = found
        if second and admitted and len(claimed.ids) >= FIRST_ROWS:
            second.lend()
        batch = _Batch(opened, claimed, admitted, course.breaker, started)
        try:
            settled += batch.send()
        finally:
            spending.give_back(channel, booked - batch.handed)
        if batch.is_early:
            break  # its rows are due still: who claims them at once is refused at once
        course.rows = _rows(len(claimed.ids), time.monotonic() - started)
    return settled


def _next(channel: Channel, rows: int, *, calls_only: bool) -> tuple[Claim, list[Due]] | None:
    """Return the next batch; one that goes out at once is admitted with its claim, one that is paced group by group."""
    if channel.per_s is None and channel.group >= TAKE_ROWS_MIN:
        return outbox.take(channel.name, rows=min(rows, channel.group), calls_only=calls_only)
    claimed = outbox.claim(channel.name, rows=rows, calls_only=calls_only)
    return (claimed, []) if claimed else None


def _rows(rows: int, took_s: float) -> int:
    """Return how many to claim next: what went in CLAIM_S at the last batch's pace."""
    wanted = int(rows / max(took_s, 0.001) * CLAIM_S)
    return max(CLAIM_ROWS_MIN, min(CLAIM_ROWS_MAX, wanted))


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

    def __init__(
        self,
        channel: Channel,
        claimed: Claim,
        admitted: Sequence[Due],
        breaker: Breaker,
        started: float,
    ) -> None:
        self._channel = channel
        self._claim = claimed
        self._admitted = admitted
        self._breaker = breaker
        self._lease_ends = started + outbox.LEASE_S - LEASE_MARGIN_S
        self._asked = started  # when the database was last asked, or what it said was found wrong
        self._broadcast = Broadcast.objects.select_related(
            "update_entry", "letter", "incident"
        ).get(pk=claimed.broadcast)
        self._is_social = channel.name in SOCIAL
        self._has_provider = channel.name not in OWN_SERVERS
        self._pulled: dict[str, Due] = {}  # the provider may have these from here on
        self._critical = True
        self._asks = False  # whether who hears this is to say so
        self._held = False
        self.is_early = False  # the account's rate allows the next one after this lease only
        self._open: list[Settlement] = []
        self._settled = 0
        self._last_settled = time.monotonic()
        # Outcomes are dated by the database's clock, moved on by this machine's steady one: its own may be wrong.
        self._began, self._began_at = time.monotonic(), outbox.database_now()

    @property
    def handed(self) -> int:
        """How many the provider may have been called for."""
        return len(self._pulled)

    def send(self) -> int:
        with trace.on(fanning.trace_of(self._broadcast), "send"):
            self._send()
            log.info(
                "%s: %s of broadcast %s settled",
                self._channel.name,
                self._settled,
                self._broadcast.pk,
            )
        return self._settled

    def _send(self) -> None:
        notice = entries.kept_notice(self._broadcast, self._claim.language, self._claim.time_zone)
        if self._claim.discreet and self._claim.channel in SEEN_BY_STRANGERS:
            notice = messages.discreet(notice)
        self._critical = notice.critical
        self._asks = notice.critical and not notice.final
        try:
            for delivery, outcome in self._channel.send(notice, self._recipients()):
                self._note(delivery, outcome)
        finally:
            self._settle()
            outbox.release(
                self._claim, [pk for pk in self._claim.ids if str(pk) not in self._pulled]
            )

    def _recipients(self) -> Iterator[Recipient]:
        """Yield who may be sent to, each checked within the last second; pulling is the permission to send."""
        if self._admitted:
            yield from self._group_of(self._admitted)
            return
        size = self._group()
        for start in range(0, len(self._claim.ids), size):
            ids = self._claim.ids[start : start + size]
            if self._must_end():
                return
            wait_s = self._book(len(ids))
            if wait_s is None:
                self.is_early = True
                return
            _pause(wait_s)
            yield from self._group_of(self._admit(ids))

    def _must_end(self) -> bool:
        """Stopped, out of time, or the provider is not to be tried any more: the rest is given back."""
        now = time.monotonic()
        return (
            _is_stopped()
            or now > self._lease_ends
            or self._held
            or self._breaker.allowance(now) == 0
        )

    def _group(self) -> int:
        if self._channel.per_s is None:
            return self._channel.group
        return max(1, min(self._channel.group, int(self._channel.per_s * PACE_AHEAD_S)))

    def _book(self, messages: int) -> float | None:
        """Return how long to wait for the account's rate; None when the lease does not last so long."""
        rate = self._channel.per_s
        if not rate:
            return 0.0
        # After the wait the database is asked once more, and the group is sent.
        within_s = (self._lease_ends - time.monotonic()) / 2
        return outbox.reserve(self._channel.name, rate, messages, within_s=within_s)

    def _group_of(self, admitted: Sequence[Due]) -> Iterator[Recipient]:
        queue = deque(admitted)
        gap_s = 1.0 / self._channel.per_s if self._channel.per_s else 0.0
        while queue and not _is_stopped():
            now = time.monotonic()
            if now > self._lease_ends:
                return
            if now - self._asked > ASK_AGAIN_S:
                queue = deque(self._admit([delivery.pk for delivery in queue]))
                if not queue:
                    return
                # However long the answer took, one goes out on it: asking for ever would be no better.
            if self._held or self._breaker.allowance(now) == 0:
                return
            delivery = queue.popleft()
            self._pulled[str(delivery.pk)] = delivery
            try:
                next_one = recipient(
                    delivery, self._broadcast, social=self._is_social, asks=self._asks
                )
            except addresses.Unreadable as error:
                self._note(str(delivery.pk), refused(str(error)))
                continue
            yield next_one
            if gap_s:
                _pause(gap_s)  # the account's rate, within the slot booked for this group

    def _admit(self, ids: Sequence[int]) -> list[Due]:
        """Settle what is known and ask for the next group in one transaction: one commit instead of two."""
        began = time.monotonic()  # before the answer: a process may be frozen right behind it
        known = self._open
        try:
            with transaction.atomic():
                self._settle()
                admitted = outbox.admit(self._claim, ids)
        except Exception:
            self._open = known  # nothing was written; it is tried once more at the end
            raise
        self._asked = began
        return admitted

    def _note(self, delivery: str, outcome: Outcome) -> None:
        at = self._began_at + timedelta(seconds=time.monotonic() - self._began)
        letter = self._broadcast.letter
        if outcome.confirms and letter is not None:
            people.confirm_by_challenge(letter, now=at)
        self._open.append(Settlement(self._pulled[delivery], outcome, at))
        if self._has_provider:
            self._judge(outcome)
        full = len(self._open) >= SETTLE_ROWS
        if full or time.monotonic() - self._last_settled > SETTLE_S:
            self._settle()

    def _judge(self, outcome: Outcome) -> None:
        """Tell the breaker, and hold the channel when its provider asks for time."""
        if outcome.result in (Result.ACCEPTED, Result.REFUSED):
            if self._breaker.failures:
                self._breaker.worked()
            return
        self._breaker.failed(time.monotonic())
        if outcome.retry_after_s and not self._held and self._channel.name not in ONE_HOST:
            self._held = True
            pacing.hold(self._channel.name, seconds=outcome.retry_after_s, why=outcome.why)

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
                # This machine's own clock may have stood still: whether the rest is ours, only the database knows.
                self._asked = float("-inf")
            self._settled += written
            self._open = []
        self._last_settled = time.monotonic()


def recipient(
    delivery: Delivery | Due, broadcast: Broadcast, *, social: bool, asks: bool = False
) -> Recipient:
    """Return the delivery as a channel sees it; with `asks` its receiver is to say that they have heard."""
    person = delivery.subscription
    earlier = _earlier_ids(delivery, broadcast) if social else ()
    subscriber = broadcast.update_entry_id is not None and not social
    # The attempt, too: what a provider says of an earlier call is no word about a later one.
    uid = f"{delivery.pk}.{delivery.attempts}"
    return Recipient(
        delivery=str(delivery.pk),
        address=addresses.unseal(bytes(person.address_sealed), settings.FIELD_KEYS),
        manage_url=f"{settings.SITE_URL}/manage" if subscriber else "",
        unsubscribe_url=people.unsubscribe_url(person.uid) if subscriber else "",
        receipt_url=_receipt_url(uid) if delivery.channel in CALLED_BACK else "",
        heard_url=_heard_url(delivery, broadcast) if asks else "",
        return_path=_return_path(delivery) if delivery.channel == "email" else "",
        attempt=delivery.attempts,
        maybe_sent=delivery.maybe_sent,
        previous_id=earlier[-1] if earlier else "",
        first_id=earlier[0] if earlier else "",
    )


def _receipt_url(uid: str) -> str:
    token = addresses.link_token("receipt", uid, settings.SECRET_KEY)
    return f"{settings.SITE_URL}/receipts/twilio/{token}"


def _heard_url(delivery: Delivery | Due, broadcast: Broadcast) -> str:
    """Return the link that says "I have heard this", on the channels that may wake somebody.

    In a text it takes a part of its own, which is paid for: it goes to those who would be called otherwise.
    """
    if broadcast.incident_id is None or delivery.channel not in ladder.SOFT:
        return ""
    if delivery.channel == "sms" and not mounting.is_climbing(
        delivery.subscription_id, broadcast.incident_id
    ):
        return ""
    token = addresses.link_token("heard", str(delivery.pk), settings.SECRET_KEY)
    return f"{settings.SITE_URL}/receipts/heard/{token}"


def _return_path(delivery: Delivery | Due) -> str:
    """Return the address that a mail of ours comes back to; "" unless somebody reads it there."""
    if not settings.ENVIRON.raw.get("BOUNCE_MAILBOX_URL"):
        return ""
    sender = sender_of(settings.ENVIRON.raw)
    return bounces.return_path(sender, str(delivery.pk), settings.SECRET_KEY)


def _earlier_ids(delivery: Delivery | Due, broadcast: Broadcast) -> tuple[str, ...]:
    earlier = Delivery.objects.filter(
        subscription=delivery.subscription_id, broadcast__incident=broadcast.incident_id,
        broadcast__number__lt=broadcast.number,
    ).exclude(provider_id="")  # fmt: skip
    return tuple(earlier.order_by("broadcast__number").values_list("provider_id", flat=True))
