"""Publishes on change and every 10 s, and notes what the page has shown."""

import logging
import time
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings

from incidents import services
from incidents.models import Pulse
from public import reporting, snapshot, watchdog
from public.publish import Publisher

log = logging.getLogger(__name__)

EVERY = timedelta(seconds=10)  # contract.md, "URLs": what carries its own age is as young as this
PULSE = "publisher"
ARCHIVE_PER_PASS = 20  # pages of old incidents that a new folder gets back in one pass


def opened(folder: Path) -> Publisher:
    """Return the publisher of `folder` as the settings want it."""
    return Publisher(
        folder,
        settings.PUBLISH_MIRRORS,
        theme=settings.THEME_DIR,
        hub=settings.WEBSUB_HUB,
        secret=settings.SECRET_KEY,
    )


class _Face:
    """The publisher of one folder, and what it last published."""

    def __init__(self, folder: Path) -> None:
        self.publisher = opened(folder)
        self.seen: tuple[object, ...] | None = None
        self.at: datetime | None = None
        self.is_failing = False
        self.missing: list[str] = []  # old incidents whose pages are still to be written

    def tick(self, now: datetime) -> None:
        # Once an hour all is written again: days turn on the bars, whatever the zone.
        seen = (now.replace(minute=0, second=0, microsecond=0), *snapshot.signature())
        changed = seen != self.seen
        if not changed and self.at and timedelta(0) <= now - self.at < EVERY:
            return
        begun = time.monotonic()
        try:
            if watchdog.is_held(self.publisher.folder, time.time()):
                return
            taken = snapshot.take(now)
            self.publisher.publish(taken, everything=changed)
            if not taken.unshown:  # news first; what a new folder lacks comes in quieter seconds
                self._restore(taken, changed=changed)
        except OSError as error:
            self._say(error)
            return
        self.is_failing, self.at = False, now
        # What waited to be shown is shown now: the next signature must not see it as news.
        self.seen = (*seen[:-1], None) if taken.unshown else seen
        shown_at = now + timedelta(seconds=time.monotonic() - begun)
        if taken.unshown:
            services.mark_shown(taken.unshown, now=shown_at)
        Pulse.objects.update_or_create(name=PULSE, defaults={"at": shown_at})

    def _restore(self, taken: snapshot.Snapshot, *, changed: bool) -> None:
        if changed:
            self.missing = self.publisher.missing(taken)
        batch, self.missing = self.missing[:ARCHIVE_PER_PASS], self.missing[ARCHIVE_PER_PASS:]
        if batch:
            self.publisher.publish_incidents(taken, snapshot.incidents_of(batch))

    def _say(self, error: OSError) -> None:
        if not self.is_failing:
            log.error(
                "The page cannot be published to %s: %s.", self.publisher.folder, error.strerror
            )
        self.is_failing = True


_pruned: dict[str, datetime] = {}  # the hour in which old problem reports were last deleted
_faces: dict[Path, _Face] = {}  # one in a process; tests publish to folders of their own


def tick(now: datetime) -> None:
    """Publish what changed since the last pass; cheap when nothing did."""
    folder = Path(settings.PUBLISH_DIR)
    if folder not in _faces:
        _faces[folder] = _Face(folder)
    _faces[folder].tick(now)
    hour = now.replace(minute=0, second=0, microsecond=0)
    if _pruned.get("hour") != hour:
        _pruned["hour"] = hour
        reporting.forget(now)
