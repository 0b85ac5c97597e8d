"""What the line stands on: disks, the database's willingness, clocks; what is wrong with them, in words."""

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection, transaction

from incidents.models import Pulse
from probes.models import Location

# A pass of the publisher with its compressed twins fits; below it, the next writes fail.
FREE_BYTES_MIN = 64 * 1024 * 1024
# contract.md says agents' clocks may be off by as much; NTP keeps machines within milliseconds.
SKEW_MAX_S = 5.0
# A silent clock process is the only reason to try a write, and not more often than this.
TRY_AGAIN_S = 5.0
TRIAL = "trial"
PLACES_MIN = 2  # one prober's clock against ours proves nothing


@dataclass(frozen=True, slots=True)
class Disk:
    """How much room a folder of ours has."""

    name: str
    free_bytes: int

    @property
    def is_full(self) -> bool:
        return self.free_bytes < FREE_BYTES_MIN


def disks() -> Iterator[Disk]:
    """Return the disks that this process writes to or reads from."""
    for name in ("DATA_DIR", "PUBLISH_DIR"):
        folder: Path = getattr(settings, name)
        if folder.exists():
            yield Disk(name, shutil.disk_usage(folder).free)


def skew_s(now: datetime) -> float:
    """Return how far this machine's clock is ahead of the database's. Raises DatabaseError."""
    if connection.vendor != "postgresql":
        return 0.0  # the same machine's
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    assert row is not None
    theirs: datetime = row[0]
    return (now - theirs).total_seconds()


def is_read_only() -> bool:
    """Return whether the database says that it takes no writes. Raises DatabaseError."""
    if connection.vendor != "postgresql":
        return False  # SQLite tells only when written to: why_not_written()
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        row = cursor.fetchone()
    return row is not None and row[0] == "on"


def problems(now: datetime, pulses: Mapping[str, Pulse], *, is_silent: bool) -> list[str]:
    """Return what is wrong, one sentence each. `is_silent`: the clock process has not written lately."""
    found = [
        f"the disk under {disk.name} is full ({disk.free_bytes // 1024**2} MB are free)"
        for disk in disks()
        if disk.is_full
    ]
    if is_read_only():
        found.append("the database takes no writes (it is read-only)")
    elif is_silent:
        found += [sentence for sentence in [_trial.why_not_written(now)] if sentence]
    return [*found, *standing_still(pulses.get("probes")), *clock_problems(now, pulses.values())]


def standing_still(pulse: Pulse | None) -> Iterator[str]:
    """Return which checks and pages meet a bug of ours each time: what the page says of them is old."""
    note = pulse.note if pulse is not None and isinstance(pulse.note, dict) else {}
    for name, times in sorted(note.get("failing", {}).items()):
        yield f"{name} cannot be judged ({times} times in a row); the clock's log has the traceback"


def clock_problems(now: datetime, pulses: Iterable[Pulse]) -> Iterator[str]:
    """Return in words which clock is wrong, as far as several clocks together tell."""
    off_s = skew_s(now)
    if abs(off_s) > SKEW_MAX_S:
        yield f"the clock of this machine is {abs(off_s):,.0f} s {_side(off_s)} the database's"
    ahead_s = max(((pulse.at - now).total_seconds() for pulse in pulses), default=0.0)
    if ahead_s > SKEW_MAX_S and abs(off_s) <= SKEW_MAX_S:
        yield (
            f"the last pass is {ahead_s:,.0f} s in the future: a clock was set back, or machines differ"
        )
    # A place says how far it is ahead of us; when all say the same, it is us.
    said = [
        place.skew_s
        for place in Location.objects.filter(revoked_at__isnull=True, last_seen_at__isnull=False)
    ]
    for side in (1, -1):
        if len(said) >= PLACES_MIN and all(side * each > SKEW_MAX_S for each in said):
            least = min(abs(each) for each in said)
            yield f"the server's clock is {least:,.0f} s {_side(-side)} that of all {len(said)} probers"


def _side(off: float) -> str:
    return "ahead of" if off > 0 else "behind"


class _Trial:
    """Tries one small write, and remembers for a moment what came of it."""

    def __init__(self) -> None:
        self._next = 0.0
        self._said = ""

    def why_not_written(self, now: datetime) -> str:
        """Return why the database takes no writes, or nothing."""
        if time.monotonic() >= self._next:
            self._said = _try_write(now)
            self._next = time.monotonic() + TRY_AGAIN_S
        return self._said


def _try_write(now: datetime) -> str:
    try:
        with transaction.atomic():
            Pulse.objects.update_or_create(name=TRIAL, defaults={"at": now})
    except DatabaseError as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return f"the database takes no writes ({first})"
    return ""


_trial = _Trial()
