"""Are the accounts that we speak through still good: asked once a day, before the night in which they are needed."""

import logging
import threading
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, connections
from django.db.models import Q

from notifications import channels, waketests
from notifications.channels import Checked
from notifications.dbtime import database_now
from notifications.models import Checkup, Hole

log = logging.getLogger(__name__)

EVERY = timedelta(days=1)
BAD_EVERY = timedelta(hours=1)  # somebody may have mended it
EXPIRES_SOON = timedelta(days=7)


class Examiner:
    """One thread at most, started on need and ended when every account was asked: the clock never waits for a network."""

    def __init__(self) -> None:
        self._running: threading.Thread | None = None

    def take(self, now: datetime) -> None:
        """Ask the accounts that are due, from a thread."""
        if self._running is not None and self._running.is_alive():
            return
        if due := due_channels(now):
            self._running = threading.Thread(target=_run, args=(due,), name="checkups", daemon=True)
            self._running.start()


def due_channels(now: datetime) -> list[str]:
    """Return the configured channels that can be examined and were not lately."""
    lately = Checkup.objects.filter(
        Q(at__gt=now - EVERY, good=True) | Q(at__gt=now - BAD_EVERY, good=False)
    )
    done = set(lately.values_list("channel", flat=True))
    return [name for name in settings.CHANNELS if name not in done and _can(name)]


def examine(name: str) -> Checked | None:
    """Ask one channel's account and note what it said."""
    opened = channels.modules()[name].configure(settings.ENVIRON.raw)
    check = getattr(opened, "check", None)
    if opened is None or check is None:
        return None
    try:
        found: Checked = check()
    finally:
        opened.close()
    Checkup.objects.update_or_create(
        channel=name,
        defaults={
            "at": database_now(),
            "good": found.good,
            "why": found.why[:255],
            "expires_at": found.expires_at,
        },
    )
    return found


def problems(now: datetime) -> list[str]:
    """Return one sentence for each account that needs somebody, for the desk."""
    found = []
    labels = {name: label for name, (label, _) in settings.CHANNELS.items()}
    for row in Checkup.objects.filter(channel__in=labels).order_by("channel"):
        if not row.good:
            found.append(f"{labels[row.channel]} would fail tonight: {row.why}")
        elif row.expires_at and row.expires_at - now < EXPIRES_SOON:
            found.append(
                f"{labels[row.channel]}: the token expires {row.expires_at:%Y-%m-%d %H:%M} UTC."
            )
    for hole in Hole.objects.filter(closed_at__isnull=True).order_by("channel"):
        label = labels.get(hole.channel, hole.channel)
        found.append(
            f"{label}: the provider takes messages, but since {hole.opened_at:%H:%M} UTC hardly any is heard of "
            f"({hole.share:.0%}, usual is {hole.normal:.0%}); readers are told by their next channel."
        )
    if unheard := waketests.failed(now).count():
        are = "person was" if unheard == 1 else "people were"
        found.append(f"{unheard} {are} not woken by their last monthly test.")
    return found


def _can(name: str) -> bool:
    return hasattr(channels.modules()[name], "CHECKED")


def _run(names: list[str]) -> None:
    try:
        for name in names:
            examine(name)
    except DatabaseError as error:
        log.error("accounts are not examined: %s", str(error).split("\n")[0])
    finally:
        connections.close_all()
