"""Hints to the workers: one thread that knocks at the broker, so that the clock never waits for it."""

import logging
import queue
import threading
from typing import Any

from celery import current_app

from notifications.tasks import queue as queue_name
from notifications.tasks import send

log = logging.getLogger(__name__)

HINTS_MAX = 100  # knocks waiting in this process; more would say the same again
AHEAD = 4  # tasks waiting in a channel's queue; each drains many batches
BROKER_S = 2.0


class Hinter:
    """Sends hints in the background; `is_down` tells that the broker does not take them."""

    def __init__(self) -> None:
        self._channels: queue.Queue[str] = queue.Queue(HINTS_MAX)
        self.is_down = False
        threading.Thread(target=self._run, name="hints", daemon=True).start()

    def hint(self, channel: str) -> None:
        try:
            self._channels.put_nowait(channel)
        except queue.Full:
            self.is_down = True  # the thread is stuck at the broker

    def _run(self) -> None:
        while True:
            channel = self._channels.get()
            try:
                self._knock(channel)
                self.is_down = False
            except Exception as error:
                # Each broker has errors of its own, and kombu lets them through. Whatever it was, the next knock tells.
                if not self.is_down:
                    log.warning(
                        "the broker takes no hints (%s); the clock sends by itself",
                        type(error).__name__,
                    )
                self.is_down = True

    def _knock(self, channel: str) -> None:
        with current_app.connection_for_write(connect_timeout=BROKER_S) as connection:
            broker: Any = connection.default_channel  # kombu's own channel has no types
            waiting = broker.queue_declare(
                queue_name(channel), durable=True, auto_delete=False
            ).message_count
            for _ in range(max(0, AHEAD - waiting)):
                self._send(channel, connection)

    def _send(self, channel: str, connection: Any) -> None:  # Any: as above
        options: dict[str, Any] = {"connection": connection, "retry": False}
        send.apply_async((channel,), queue=queue_name(channel), **options)
