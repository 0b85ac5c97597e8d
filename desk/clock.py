"""The heartbeat to the outside, scheduled drills, how many were told written into the audit, what checks left to alerts."""

import logging
import queue
import threading
from datetime import datetime, timedelta

import requests
from django.conf import settings

from desk import drill, health, intake, told

log = logging.getLogger(__name__)

EVERY = timedelta(minutes=1)  # contract.md, "Environment": HEARTBEAT_URL
ASK_AGAIN = timedelta(seconds=5)  # while the line is broken the database is not asked each second
# A dead-man's switch that takes longer than this to answer has no use for the answer.
TIMEOUT_S = (3.05, 10)


class _Heart:
    """Beats from a thread of its own: the clock never touches the network."""

    def __init__(self) -> None:
        self._due = datetime.min
        self._beats: queue.Queue[str] = queue.Queue(maxsize=1)
        self._thread: threading.Thread | None = None

    def tick(self, now: datetime) -> None:
        if not settings.HEARTBEAT_URL or now.replace(tzinfo=None) < self._due:
            return
        whole = health.take(now).is_whole
        self._due = now.replace(tzinfo=None) + (EVERY if whole else ASK_AGAIN)
        if whole:
            self._beat(settings.HEARTBEAT_URL)

    def _beat(self, url: str) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
            self._thread.start()
        try:
            self._beats.put_nowait(url)
        except queue.Full:
            log.warning("the last heartbeat is still under way; this one is skipped")

    def _run(self) -> None:
        while True:
            url = self._beats.get()
            try:
                requests.get(url, timeout=TIMEOUT_S).raise_for_status()
            except requests.RequestException as error:
                # The address may hold a secret: only the kind of failure is told.
                log.warning("the heartbeat did not arrive: %s", type(error).__name__)


_heart = _Heart()


def tick(now: datetime) -> None:
    _heart.tick(now)
    told.write(now)
    drill.tick(now)
    intake.tick(now)
