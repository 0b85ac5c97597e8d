"""The voice's part of each second: open entries, fan out, hint, take back lapsed leases, keep what was reached."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings

from notifications import (
    ending,
    epoch,
    holding,
    holes,
    outbox,
    pacing,
    passing,
    reports,
    tally,
    waketests,
    waking,
)
from notifications.checkups import Examiner
from notifications.emergency import EmergencySender
from notifications.hints import Hinter
from notifications.mailbox import BounceReader

# Due for so long and still waiting: no worker is there, or it hangs. Workers take a hint within a second.
URGENT_WAITS = timedelta(seconds=2)
BULK_WAITS = timedelta(seconds=20)
KEEP_S = 2.0  # the kept curves of what is under way are as old as this at most
HOLES_S = 15.0  # between two looks at the receipts of the last minutes
TESTS_S = 30.0  # between two looks at whose hour has come
ACCOUNTS_S = 60.0  # between two looks at whose account is due
FORGET_S = 10.0  # between two bounded looks at what is too old


class Voice:
    """Keeps the background threads between passes."""

    def __init__(self, again: Callable[[], None] = lambda: None) -> None:
        """`again` asks for the next pass at once: there is more to queue than one pass may."""
        self._again = again
        self._hinter = Hinter()
        self._emergency = EmergencySender()
        self._bounces = BounceReader(settings.ENVIRON.raw.get("BOUNCE_MAILBOX_URL", "").strip())
        self._examiner = Examiner()
        self._changed: set[int] = set()
        self._done: dict[str, float] = {}

    def tick(self, now: datetime) -> None:
        """Do one pass; every step is bounded and can run twice.

        Deliveries fall due by the database's clock: a host that is an hour ahead must not hold them back for an hour.
        """
        now = outbox.database_now()
        self._every("beat", epoch.BEAT_S, epoch.keep)
        outbox.open_entries(now)
        if outbox.fan_out(now) and outbox.has_more():
            self._again()
        holding.release(now)
        self._every("holes", HOLES_S, lambda: holes.look(now))
        self._every("accounts", ACCOUNTS_S, lambda: self._examiner.take(now))
        self._every("wake tests", TESTS_S, lambda: waketests.begin(now))
        passing.pass_on(now)
        waking.climb(now)
        outbox.sweep_leases()
        outbox.settle_what_is_halted()
        self._keep_times(now)
        for channel, urgent, oldest in outbox.waiting_channels(now):
            self._hinter.hint(channel)
            patience = URGENT_WAITS if urgent else BULK_WAITS
            if (self._hinter.is_down and urgent) or (
                now - oldest > patience and not outbox.is_served(channel)
            ):
                self._send_from_here(channel)

    def _send_from_here(self, channel: str) -> None:
        if pacing.held_s(channel) == 0:
            self._emergency.take(channel)

    def _keep_times(self, now: datetime) -> None:
        changed = tally.fold()
        self._changed |= changed
        ending.end(now, changed)
        self._every("times", KEEP_S, self._keep_changed)
        self._every("forget", FORGET_S, lambda: ending.forget(now))

    def _keep_changed(self) -> None:
        if self._changed:
            reports.keep(self._changed)
            self._changed = set()

    def _every(self, name: str, seconds: float, do: Callable[[], object]) -> None:
        if time.monotonic() - self._done.get(name, float("-inf")) >= seconds:
            self._done[name] = time.monotonic()
            do()
