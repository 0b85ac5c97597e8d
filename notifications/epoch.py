"""Which life of the database this is: a restored backup must not send again what went out after it was made.

The database counts beats, and so does a note outside of it, in DATA_DIR and in Valkey. A database that is behind the notes
was put back: then nothing is sent until begin_again() has stopped all that was under way in it.
"""

import json
import logging
import secrets
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.db import transaction
from django.db.models import F

from incidents import reads, services
from incidents.lifecycle import Audience, CallReason
from incidents.models import Call, Update
from notifications.dbtime import database_now
from notifications.models import Broadcast, Epoch
from subscribers.models import Letter

log = logging.getLogger(__name__)

BEAT_S = 5.0
# A database that crashed may have lost its last second, and with it one beat (synchronous_commit off, a replica promoted).
BEHIND_MAX = 1
ASK_AGAIN_S = 2.0  # how long a sending process believes what it found
VALKEY_S = 0.5
_ROW = 1
_NOTE = "statuspage:epoch"


class _Asked:
    """What this process found, and when."""

    at = float("-inf")
    restored = False


class _Unwritten:
    """Whether this process has said that the note cannot be written."""

    said = False


def is_restored() -> bool:
    """Return True when the database is older than the notes outside: nothing may be sent from it as it is."""
    if time.monotonic() - _Asked.at > ASK_AGAIN_S:
        _Asked.restored = _look()
        _Asked.at = time.monotonic()
    return _Asked.restored


def _look() -> bool:
    row = Epoch.objects.filter(pk=_ROW).first()
    if row is None:
        return False
    noted = max(_from_file(row.uid), _from_valkey(row.uid))
    return noted - row.beats > BEHIND_MAX


def keep() -> None:
    """The clock's part, every BEAT_S: count on, or begin again in a database that was put back."""
    if _look():
        begin_again()
    else:
        beat()


def beat() -> None:
    """Count one more, in the database first: the notes are never ahead of it unless it was put back."""
    row, _ = Epoch.objects.get_or_create(pk=_ROW, defaults={"uid": secrets.token_hex(16)})
    Epoch.objects.filter(pk=row.pk).update(beats=F("beats") + 1)
    _note(row.uid, row.beats + 1)


def begin_again() -> int:
    """Stop all that a restored database would send; return how many broadcasts and entries that were.

    Everything published up to now counts as said: the notes cannot tell what of it was.
    """
    now = database_now()
    with transaction.atomic():
        count = Broadcast.objects.filter(settled_at__isnull=True, halted_at__isnull=True).update(
            halted_at=now
        )
        count += _close_entries()
        row = Epoch.objects.select_for_update().get(pk=_ROW)
        row.beats = max(row.beats, _from_file(row.uid), _from_valkey(row.uid)) + 1
        row.begun_at = now
        row.save()
        services.call_operators(
            page=reads.the_page(), reason=CallReason.PROBLEM, now=now, key=f"restored {row.beats}",
            text="a backup was restored; what waited in it was not sent",
        )  # fmt: skip
    _note(row.uid, row.beats)
    _Asked.at = float("-inf")
    log.error(
        "this database is a restored backup: %d messages under way in it were stopped, none is sent again",
        count,
    )
    return count


def _close_entries() -> int:
    """Give every entry that has none a broadcast that is halted from the start."""
    now = database_now()
    closed = {"created_at": now, "fanned_out_at": now, "halted_at": now, "settled_at": now}
    updates = Update.objects.filter(published_at__isnull=False, broadcast__isnull=True)
    rows = [
        Broadcast(
            update_entry=update, incident_id=update.incident_id, number=update.number or 0, **closed
        )
        for update in updates.exclude(audience=Audience.NOBODY)
    ]
    rows += [Broadcast(call=call, **closed) for call in Call.objects.filter(broadcast__isnull=True)]
    letters = Letter.objects.filter(broadcast__isnull=True)
    rows += [Broadcast(letter=letter, **closed) for letter in letters]
    Broadcast.objects.bulk_create(rows, ignore_conflicts=True, batch_size=1_000)
    return len(rows)


def _path() -> Path:
    return Path(settings.DATA_DIR) / "epoch.json"


def _from_file(uid: str) -> int:
    try:
        noted = json.loads(_path().read_text(encoding="utf-8"))
        return int(noted["beats"]) if noted["uid"] == uid else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0  # none yet, or not readable: the other note remains


def _from_valkey(uid: str) -> int:
    try:
        return int(_valkey().get(f"{_NOTE}:{uid}") or 0)
    except (redis.RedisError, OSError, ValueError):
        return 0


def _note(uid: str, beats: int) -> None:
    try:
        _write(json.dumps({"uid": uid, "beats": beats}))
        _Unwritten.said = False
    except OSError as error:  # a full disk must not stop the voice; Valkey has the other note
        if not _Unwritten.said:
            log.warning(
                "the note of the epoch cannot be written to %s: %s", _path().parent, error.strerror
            )
        _Unwritten.said = True
    with suppress(redis.RedisError, OSError):  # the file has the other note
        _valkey().set(f"{_NOTE}:{uid}", beats)


def _write(text: str) -> None:
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


@lru_cache(maxsize=1)
def _valkey() -> Any:  # Any: redis-py types its answers as maybe awaitable
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=VALKEY_S, socket_timeout=VALKEY_S
    )
