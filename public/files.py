"""Public files on a disk: replaced whole, with compressed twins beside them."""

import gzip
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import brotli

from public import yielding

GZIP_LEVEL = 6
BROTLI_QUICK = 5  # while people wait for it; polish.py does better later
TWINS = (".gz", ".br")
BATCH_MAX = 64  # files that wait for the disk together, each with its twins a descriptor
_NO_TWINS = (".sig", ".key", ".png")  # short, or compressed already

# More would hardly be faster, and each that wakes up takes a reader's turn.
_POOL = ThreadPoolExecutor(2, "durable", initializer=yielding.step_back)


def has_twins(path: str) -> bool:
    return not path.endswith(_NO_TWINS)


def is_twin(name: str) -> bool:
    return name.endswith(TWINS)


def write(folder: Path, path: str, body: bytes) -> None:
    """Replace a public file, compressed copies first: a reader sees the old or the new one, whole. Raises OSError."""
    _at_once(_with_twins(folder, path, body))


def replace(target: Path, body: bytes) -> None:
    """Write beside `target`, then rename: whole or not at all, also when power fails. Raises OSError."""
    _at_once([(target, body)])


def remove(folder: Path, path: str) -> None:
    for ending in ("", *TWINS):
        (folder / f"{path}{ending}").unlink(missing_ok=True)


class Batch:
    """Files that are written first, then made durable side by side, then renamed in the order in which they came.

    A disk makes many durable in little more time than one, and readers are interrupted once and not at each file.
    """

    def __init__(self) -> None:
        self._waiting: list[_Fresh] = []
        self._failed: dict[str, OSError] = {}

    def write(self, folder: Path, path: str, body: bytes, *, last: bool = False) -> None:
        """Take a public file; as `last` it goes to its place only when nothing before it failed."""
        self._take(path, _with_twins(folder, path, body), last=last)

    def replace(self, folder: Path, path: str, body: bytes) -> None:
        """Take a file that has no twins."""
        self._take(path, [(folder / path, body)])

    def finish(self) -> dict[str, OSError]:
        """Wait until all are in their places; return which could not be put there, and why."""
        self._settle()
        failed, self._failed = self._failed, {}
        return failed

    def _take(self, path: str, files: Iterable[tuple[Path, bytes]], *, last: bool = False) -> None:
        fresh = _Fresh(path, last=last)
        try:
            fresh.write(files)
        except OSError as error:
            self._failed[path] = error
            return
        self._waiting.append(fresh)
        if len(self._waiting) >= BATCH_MAX:
            self._settle()

    def _settle(self) -> None:
        fresh, self._waiting = self._waiting, []
        syncs = [_POOL.submit(one.sync) for one in fresh]
        wait(syncs)
        for one, sync in zip(fresh, syncs, strict=True):
            try:
                sync.result()
                if one.last and self._failed:
                    one.drop()
                    self._failed[one.path] = next(iter(self._failed.values()))
                else:
                    one.put()
            except OSError as error:
                one.drop()
                self._failed[one.path] = error


class _Fresh:
    """One file and its twins beside their places, open until they are put there."""

    def __init__(self, path: str = "", *, last: bool = False) -> None:
        self.path, self.last = path, last
        self._parts: list[tuple[int, str, Path]] = []

    def write(self, files: Iterable[tuple[Path, bytes]]) -> None:
        try:
            for target, body in files:
                handle, name = _opened(target.parent)
                self._parts.append((handle, name, target))
                with os.fdopen(handle, "wb", closefd=False) as file:
                    file.write(body)
                os.fchmod(handle, 0o644)  # a web server of another user reads them
        except BaseException:
            self.drop()
            raise

    def sync(self) -> None:
        for handle, _, _ in self._parts:
            os.fsync(handle)

    def put(self) -> None:
        while self._parts:
            handle, name, target = self._parts[0]
            os.replace(name, target)
            os.close(handle)
            del self._parts[0]

    def drop(self) -> None:
        parts, self._parts = self._parts, []
        for handle, name, _ in parts:
            os.close(handle)
            Path(name).unlink(missing_ok=True)


def _at_once(files: Iterable[tuple[Path, bytes]]) -> None:
    fresh = _Fresh()
    fresh.write(files)
    try:
        fresh.sync()
        fresh.put()
    except BaseException:
        fresh.drop()
        raise


def _with_twins(folder: Path, path: str, body: bytes) -> Iterator[tuple[Path, bytes]]:
    if has_twins(path):
        yield folder / f"{path}.gz", gzip.compress(body, GZIP_LEVEL, mtime=0)
        yield folder / f"{path}.br", brotli.compress(body, quality=BROTLI_QUICK)
    yield folder / path, body


def _opened(folder: Path) -> tuple[int, str]:
    try:
        return tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
