"""The voice's part of each second: open entries, fan out, hint, take back lapsed leases."""

from collections.abc import Callable
from datetime import datetime, timedelta

from notifications import outbox
from notifications.emergency import EmergencySender
from notifications.hints import Hinter

# Due for so long and still waiting: no worker is there, or it hangs. Workers take a hint within a second.
URGENT_WAITS = timedelta(seconds=2)
BULK_WAITS = timedelta(seconds=20)


class Voice:
    """Keeps the two background threads between passes."""

    def __init__(self, again: Callable[[], None] = lambda: None) -> None:
        """`again` asks for the next pass at once: there is more to queue than one pass may."""
        self._again = again
        self._hinter = Hinter()
        self._emergency = EmergencySender()

    def tick(self, now: datetime) -> None:
        """Do one pass; every step is bounded and can run twice.

        Deliveries fall due by the database's clock: a host that is an hour ahead must not hold them back for an hour.
        """
        now = outbox.database_now()
        outbox.open_entries(now)
        if outbox.fan_out(now) and outbox.has_more():
            self._again()
        outbox.sweep_leases()
        outbox.settle_what_is_halted()
        for channel, urgent, oldest in outbox.waiting_channels(now):
            self._hinter.hint(channel)
            patience = URGENT_WAITS if urgent else BULK_WAITS
            if (self._hinter.is_down and urgent) or (
                now - oldest > patience and not outbox.is_served(channel)
            ):
                self._emergency.take(channel)
