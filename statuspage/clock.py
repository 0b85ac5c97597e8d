"""The one loop: each second every room's tick, face before voice. Needs the database; never the broker, never the network."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "statuspage.settings")

import django

django.setup()

import redis
from django.conf import settings
from django.db import DatabaseError, close_old_connections

import desk.clock
import incidents.clock
import notifications.clock
import probes.clock
import public.clock
import subscribers.clock
from incidents import doorbell
from incidents.models import Pulse
from notifications import sending
from notifications.dbtime import bound_transactions
from statuspage import schema
from statuspage.celery import app

log = logging.getLogger("clock")

PERIOD_S = 1.0
RECONNECT_S = 2.0


class Clock:
    """Runs the rooms in order until told to stop."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._rung = threading.Event()
        app.set_default()  # hints go to our broker
        voice = notifications.clock.Voice(self._rung.set)
        # The core first (what is due), then the face (it is shown), then the voice (it is pushed), then the rest.
        self._ticks: list[tuple[str, Callable[[datetime], None]]] = [
            ("incidents", incidents.clock.tick),
            ("probes", probes.clock.tick),
            ("public", public.clock.tick),
            ("notifications", voice.tick),
            ("subscribers", subscribers.clock.tick),
            ("desk", desk.clock.tick),
        ]

    def stop(self, *_: object) -> None:
        self._stopping.set()
        self._rung.set()
        sending.stop()

    def run(self) -> None:
        if settings.COMMIT_HINT:
            threading.Thread(target=self._listen, name="doorbell", daemon=True).start()
        while not self._stopping.is_set():
            started = time.monotonic()
            self._rung.clear()
            self._pass()
            self._rung.wait(max(0.0, PERIOD_S - (time.monotonic() - started)))

    def _pass(self) -> None:
        now = datetime.now(UTC)
        whole = True
        for room, tick in self._ticks:
            whole = self._one(room, tick, now) and whole
        if whole:
            self._one("pulse", lambda at: _beat(at), now)

    def _one(self, room: str, tick: Callable[[datetime], None], now: datetime) -> bool:
        """Run one room's tick; its failure is said and must not stop the others."""
        try:
            tick(now)
        except DatabaseError as error:
            log.error(
                "%s: the database does not answer as it should: %s",
                room,
                str(error).strip().split("\n")[0],
            )
            close_old_connections()
            return False
        except Exception:
            # Any other failure is a bug; the other rooms still have people to tell.
            log.exception("%s: the tick failed", room)
            return False
        return True

    def _listen(self) -> None:
        """Wait at the doorbell; a broken one only means waiting out the second."""
        while not self._stopping.is_set():
            client = redis.Redis.from_url(
                settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=5
            )
            try:
                while not self._stopping.is_set():
                    if doorbell.wait(client, 2):
                        self._rung.set()
            except (redis.RedisError, OSError):
                self._stopping.wait(RECONNECT_S)
            finally:
                client.close()


def _beat(now: datetime) -> None:
    Pulse.objects.update_or_create(name="clock", defaults={"at": now})


def main() -> None:
    bound_transactions()
    schema.refuse_mismatch()
    clock = Clock()
    signal.signal(signal.SIGTERM, clock.stop)
    signal.signal(signal.SIGINT, clock.stop)
    try:
        clock.run()
    finally:
        clock.stop()


if __name__ == "__main__":
    main()
