"""A second hand for a channel with much to send: one thread sends while the other waits for the database to commit."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import connection

HANDS = 2  # threads of one process that send on one channel, the one that was asked included

_pools: dict[str, ThreadPoolExecutor] = {}
_lock = threading.Lock()


class SecondHand:
    """Work that is begun beside one's own when there is enough of it; `work` returns how many outcomes it settled."""

    def __init__(self, channel: str, work: Callable[[], int]) -> None:
        self._channel = channel
        self._work = work
        self._begun: Future[int] | None = None

    def lend(self) -> None:
        """Begin, unless it has begun. SQLite has one writer at a time: a second one would only wait for it."""
        if self._begun is None and connection.vendor == "postgresql":
            self._begun = _pool(self._channel).submit(_on_own_connection, self._work)

    def back(self) -> int:
        """Wait until it has ended and return how many it settled; raise what it raised."""
        if self._begun is None or self._begun.cancel():  # its thread still works for somebody else
            return 0
        return self._begun.result()


def _pool(channel: str) -> ThreadPoolExecutor:
    with _lock:
        if channel not in _pools:
            _pools[channel] = ThreadPoolExecutor(HANDS - 1, thread_name_prefix=f"second-{channel}")
        return _pools[channel]


def _on_own_connection(work: Callable[[], int]) -> int:
    try:
        return work()
    finally:
        connection.close()
