"""Swaps in the prepared "unknown" files while the publisher is silent. Knows no Django."""

import argparse
import gzip
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import brotli

from public.words import SINCE_CLOCK, SINCE_ISO

PREPARED = ".unknown"  # folder of files in the public one, ready to be swapped in
INDEX = "index.html"  # the one of them that there must be
STAMP = ".published"  # when the publisher last completed a pass
SWAPPED = ".swapped"  # ours are in the place of the publisher's: some while it is empty, all when it says DONE
DONE = b"done"
HELD = ".break-glass"  # a person has published by hand: nobody touches the files
# Nine passes of the publisher missed: contract.md rewrites every 10 s, and wants 90 s for "unknown".
SILENT_S = 90.0
POLL_S = 2.0
HELD_MAX_S = 24 * 3600.0  # what a person published by hand a day ago is no news either


class NothingPrepared(Exception):
    """There is no page to swap in; the text says where it should be."""


def stamp(folder: Path, now: datetime) -> None:
    """Note that the publisher has completed a pass."""
    _replace(folder / STAMP, now.astimezone(UTC).isoformat().encode())


def take_back(folder: Path) -> bool:
    """True when the watchdog had swapped its files in; the publisher then writes all of its own again."""
    try:
        (folder / SWAPPED).unlink()
    except FileNotFoundError:
        return False
    return True


def is_held(folder: Path, now: float) -> bool:
    """True while a page that was published by hand is to stay."""
    age_s = _age_s(folder / HELD, now)
    return age_s is not None and age_s < HELD_MAX_S


def hold(folder: Path) -> None:
    """Keep clock and watchdog away from a page that a person publishes by hand."""
    _replace(folder / HELD, b"")
    _replace(folder / SWAPPED, b"")  # the publisher, once it may again, writes all of its own files


def release(folder: Path) -> None:
    (folder / HELD).unlink(missing_ok=True)


def watch(folder: Path, now: float, silent_s: float = SILENT_S) -> bool:
    """Swap the prepared files in when the publisher is silent; True when that was done in this call.

    Raises OSError when some could not be, and NothingPrepared; the next call tries again.
    """
    if is_held(folder, now):
        return False
    if (folder / HELD).exists():  # for too long
        release(folder)
    age_s = _age_s(folder / STAMP, now)
    if age_s is None or age_s < silent_s or _is_done(folder):
        return False
    if not (folder / PREPARED / INDEX).exists():
        raise NothingPrepared(
            f"{folder / PREPARED / INDEX} is missing; the page goes on saying what was last known."
        )
    since = datetime.fromtimestamp(now - age_s, UTC)
    # The mark comes first: a publisher that wakes up in between sees it in its next pass at the latest.
    _replace(folder / SWAPPED, b"")
    failed = _swap_all(folder, since)
    # Once more: one that woke up in between has taken the mark, and we may have replaced what it wrote.
    _replace(folder / SWAPPED, b"" if failed else DONE)
    if failed:
        raise failed[0]
    return True


def _is_done(folder: Path) -> bool:
    try:
        return (folder / SWAPPED).read_bytes() == DONE
    except FileNotFoundError:
        return False


def _swap_all(folder: Path, since: datetime) -> list[OSError]:
    """Swap what can be swapped; return why the rest could not be."""
    failed = []
    for source in sorted((folder / PREPARED).rglob("*")):
        if source.is_file() and source.suffix != ".tmp":
            try:
                _swap(source, folder / source.relative_to(folder / PREPARED), since)
            except OSError as error:
                failed.append(error)
    return failed


def _swap(source: Path, target: Path, since: datetime) -> None:
    iso = since.replace(tzinfo=None).isoformat(timespec="milliseconds")
    body = source.read_bytes().replace(SINCE_ISO.encode(), f"{iso}Z".encode())
    body = body.replace(SINCE_CLOCK.encode(), f"{since:%H:%M}".encode())
    _replace(target.with_name(f"{target.name}.gz"), gzip.compress(body, mtime=0))
    _replace(target.with_name(f"{target.name}.br"), brotli.compress(body, quality=5))
    _replace(target, body)


def _age_s(path: Path, now: float) -> float | None:
    try:
        return now - path.stat().st_mtime
    except FileNotFoundError:
        return None


def _replace(target: Path, body: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        fresh.write_bytes(body)
        os.replace(fresh, target)
    finally:  # half a file would only take room on a disk that is full
        fresh.unlink(missing_ok=True)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m public.watchdog",
        description="Says on the public page that the state is unknown while the publisher is silent.",
        epilog="Example: python -m public.watchdog --dir var/public",
    )
    parser.add_argument(
        "--dir", type=Path, required=True, help="the folder of public files (PUBLISH_DIR)"
    )
    parser.add_argument(
        "--silent-s", type=float, default=SILENT_S, help="how long is silent, in seconds"
    )
    chosen = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    said = ""
    while not stop.wait(POLL_S):
        sentence = _watched(chosen.dir, chosen.silent_s)
        if sentence not in ("", said):
            print(f"watchdog: {sentence}", file=sys.stderr)
        said = sentence
    return 0


def _watched(folder: Path, silent_s: float) -> str:
    """Watch once; return what is to be said of it, empty while all is well."""
    try:
        if watch(folder, time.time(), silent_s):
            return "the publisher is silent; the page says unknown."
    except NothingPrepared as error:
        return str(error)
    except OSError as error:  # a full disk names no file
        return f"{error.filename2 or error.filename or folder} cannot be written: {error.strerror}."
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
