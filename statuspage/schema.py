"""Does the database fit this code: a process refuses to start on one that is newer or older."""

import sys
from collections.abc import Iterable

from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader

ROOMS = ("incidents", "subscribers", "probes", "notifications", "public", "desk")


def mismatch(*, may_upgrade: bool = False) -> str:
    """Return in one sentence how database and code differ, or nothing. Raises DatabaseError.

    `may_upgrade`: the caller brings an older database up to date, and is refused by a newer one only.
    """
    loader = MigrationLoader(connection)
    applied = {key for key in loader.applied_migrations if key[0] in ROOMS}
    here = {key for key in loader.disk_migrations if key[0] in ROOMS}
    if applied - here:
        return (
            f"the database is newer than this code ({_first(applied - here)} is applied and not known here); "
            "upgrade the code."
        )
    if here - applied and not may_upgrade:
        return (
            f"the database is older than this code ({_first(here - applied)} is not applied); "
            "upgrade the database with `./run manage migrate`, or start the old code."
        )
    return ""


def _first(keys: Iterable[tuple[str, str]]) -> str:
    return ".".join(min(keys))


def refuse_mismatch() -> None:
    """End this process when database and code differ; one that does not answer is waited for elsewhere."""
    try:
        sentence = mismatch()
    except DatabaseError:
        return
    finally:
        connection.close()  # what forks after this must not share it
    if sentence:
        print(f"statuspage: {sentence}", file=sys.stderr, flush=True)
        raise SystemExit(1)
