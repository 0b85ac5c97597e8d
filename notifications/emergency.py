"""The clock's own sending thread: takes waiting messages, urgent first, while no worker does."""

import logging
import threading

from django.conf import settings
from django.db import DatabaseError, close_old_connections

from notifications import sending

log = logging.getLogger(__name__)

TURN_S = 2.0  # each channel's turn; a channel that hangs costs the others so much at most, plus its provider's timeout


class EmergencySender:
    """One thread per channel name asked for, started on need, ended when nothing is due."""

    def __init__(self) -> None:
        self._running: dict[str, threading.Thread] = {}

    def take(self, channel: str) -> None:
        """Send what is due on `channel` from here, unless that is under way already."""
        thread = self._running.get(channel)
        if thread is not None and thread.is_alive():
            return
        log.warning("no worker takes messages on %s; sending from the clock", channel)
        # No daemon: a clock that is told to stop waits for the message under way and writes what became of it.
        self._running[channel] = threading.Thread(target=self._send, args=(channel,), name=channel)
        self._running[channel].start()

    def _send(self, channel: str) -> None:
        assert channel in settings.CHANNELS
        try:
            while sending.drain(channel, seconds=TURN_S):
                pass
        except DatabaseError as error:
            log.error("sending from the clock stopped: %s", error)
        finally:
            close_old_connections()
