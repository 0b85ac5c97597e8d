"""The protections of the voice, each with the way to take it out of a running process.

A mutant is installed by tests/faults/entry.py before its process begins, or as SQL in the database of its house. It
replaces public verbs and constants only, so that the line may be rewritten behind them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.faults import times

RACE_S = 0.1  # so long a mutant leaves open what a lock would have closed


@dataclass(frozen=True, slots=True)
class Mutant:
    """One protection less: `remove` takes it out of a process, `sql` out of the database."""

    remove: Callable[[], None] = lambda: None
    sql: str = ""


def _no_sweep_of_leases() -> None:
    from notifications import outbox

    times.everywhere(outbox.sweep_leases, lambda: 0)


def _lease_taken_again() -> None:
    """Admit what another worker holds, or has done, since our lease ended; our own clock ends nothing either."""
    from notifications import outbox

    times.constant("LEASE_MARGIN_S", -60.0)
    from notifications.models import Delivery

    real = outbox.admit

    def admit(claimed: outbox.Claim, ids: Sequence[int]) -> list[outbox.Due]:
        until = outbox.database_now() + timedelta(seconds=times.LEASE_S)
        Delivery.objects.filter(pk__in=ids).update(
            lease=claimed.lease, lease_until=until, state="prepared"
        )
        return real(claimed, ids)

    times.everywhere(real, admit)


def _sent_although(state: str, *, left: bool) -> Callable[[], None]:
    """Undo what admit() settled as `state`: it is sent all the same."""

    def remove() -> None:
        from notifications import claiming, outbox
        from notifications.claiming import Due
        from notifications.models import Delivery

        real = outbox.admit

        def admit(claimed: outbox.Claim, ids: Sequence[int]) -> list[Due]:
            mine = Delivery.objects.filter(pk__in=ids, lease=claimed.lease)
            pks = list(mine.values_list("pk", flat=True))
            sending = real(claimed, ids)
            dropped = Delivery.objects.filter(pk__in=pks, state=state)
            if left:
                dropped = dropped.filter(subscription__state="gone")
            back = [Due(*row) for row in claiming._with_people(dropped)]
            Delivery.objects.filter(pk__in=[row.pk for row in back]).update(
                state="calling", lease=claimed.lease
            )
            return [*sending, *back]

        times.everywhere(real, admit)

    return remove


def _halted_is_a_word_only() -> None:
    """What stands still after a halt is sent all the same: neither the mark nor the clock's settling counts."""
    from notifications import stopping

    _sent_although("halted", left=False)()
    times.everywhere(stopping.settle_what_is_halted, lambda: 0)


def _oldest_broadcast_first() -> None:
    """Serve one broadcast to its end before the next one."""
    from notifications import claiming

    real = claiming._turns
    times.everywhere(real, lambda *where: sorted(real(*where)))


def _rows_not_locked() -> None:
    """Claim without a lock, and with time for others to claim the same."""
    from django.db.models import QuerySet

    from notifications.models import Delivery

    lock, update = QuerySet.select_for_update, QuerySet.update

    def unlocked(rows: Any, *args: Any, **kwargs: Any) -> Any:  # Any: Django's own signatures
        return rows.all() if rows.model is Delivery else lock(rows, *args, **kwargs)

    def later(rows: Any, **fields: Any) -> int:
        if rows.model is Delivery and fields.get("state") == "prepared":
            time.sleep(RACE_S)
        return update(rows, **fields)

    QuerySet.select_for_update = unlocked  # type: ignore[method-assign,assignment]
    QuerySet.update = later  # type: ignore[method-assign,assignment]


def _fan_out_not_resumed() -> None:
    """A fan-out that was begun counts as done, however far it came."""
    from notifications import outbox
    from notifications.models import Broadcast

    real = outbox.fan_out

    def fan_out(now: datetime, **bounds: Any) -> int:  # Any: the real one's
        Broadcast.objects.filter(fanned_out_at__isnull=True).exclude(cursor={}).update(
            fanned_out_at=now
        )
        return real(now, **bounds)

    times.everywhere(real, fan_out)


def _clock_only_rung() -> None:
    """The clock looks when the doorbell rings, and never by itself."""
    import statuspage.clock

    statuspage.clock.PERIOD_S = 3600.0


def _clock_never_sends() -> None:
    from notifications.emergency import EmergencySender

    EmergencySender.take = lambda self, *channel: None  # type: ignore[method-assign]


def _unknown_is_the_end() -> None:
    from notifications import retry
    from notifications.retry import AfterUnknown

    times.everywhere(retry.after_unknown, lambda *of, **how: AfterUnknown(False, 0, "left unknown"))


def _sent_again_without_a_look() -> None:
    from twilio.rest.api.v2010.account.message import MessageList

    MessageList.list = lambda self, **of: []


def _retry_after_unheard() -> None:
    """Neither the delivery nor its channel waits as long as the provider asks."""
    from notifications import pacing, retry

    real = retry.next_attempt_at

    def own(attempts: int, failed_at: datetime, asked: float | None = None, **of: Any) -> Any:
        return real(attempts, failed_at, None, **of)

    times.everywhere(real, own)
    times.everywhere(pacing.hold, lambda channel, **of: None)


def _news_for_ever() -> None:
    times.constant("ENTRY_VALID", timedelta(days=3650))


def _beats_not_noted() -> None:
    from notifications import epoch

    times.everywhere(epoch._note, lambda *of: None)


def _every_press_counts() -> None:
    """Neither the answer nor the update is remembered by its key."""
    from desk.api import repeating
    from incidents import services

    repeating.once = lambda request, key, given, do: do()
    real = services.declare
    services.declare = lambda **words: real(**(words | {"key": ""}))


def _own_clock_believed() -> None:
    """And the clock does not send in the place of a worker that finds nothing due."""
    from notifications import outbox

    _clock_never_sends()

    times.everywhere(outbox.database_now, lambda: datetime.now(UTC))


def _dead_not_remembered() -> None:
    from subscribers import services

    services.suppress = lambda **of: None


def _addresses_not_looked_at() -> None:
    from notifications.channels import _mail

    times.everywhere(_mail.clean_address, lambda address: address)


def _only_its_own_plans() -> None:
    from notifications import routing

    times.everywhere(
        routing.leg, lambda row: routing.Leg(**{**row, "components": tuple(row["components"])})
    )


ALL = {
    "lapsed leases are taken back": Mutant(_no_sweep_of_leases),
    "a lost lease ends the right to send": Mutant(_lease_taken_again),
    "an overtaken update is not sent": Mutant(_sent_although("superseded", left=False)),
    "who has left is asked again": Mutant(_sent_although("suppressed", left=True)),
    "a halt is asked for": Mutant(_halted_is_a_word_only),
    "broadcasts take turns": Mutant(_oldest_broadcast_first),
    "claimed rows are locked": Mutant(_rows_not_locked),
    "one delivery per person": Mutant(
        sql="ALTER TABLE notifications_delivery DROP CONSTRAINT queued_once"
    ),
    "one broadcast per update": Mutant(
        sql="ALTER TABLE notifications_broadcast DROP CONSTRAINT notifications_broadcast_update_entry_id_key"
    ),
    "a fan-out is resumed": Mutant(_fan_out_not_resumed),
    "the clock looks by itself": Mutant(_clock_only_rung),
    "the clock sends without a broker": Mutant(_clock_never_sends),
    "an unknown is tried again": Mutant(_unknown_is_the_end),
    "the account's list is looked at": Mutant(_sent_again_without_a_look),
    "Retry-After is kept": Mutant(_retry_after_unheard),
    "beats are noted outside": Mutant(_beats_not_noted),
    "old entries expire": Mutant(_news_for_ever),
    "the same key is the same update": Mutant(_every_press_counts),
    "the database's clock counts": Mutant(_own_clock_believed),
    "dead addresses are remembered": Mutant(_dead_not_remembered),
    "addresses are looked at": Mutant(_addresses_not_looked_at),
    "other versions' plans are read": Mutant(_only_its_own_plans),
}
