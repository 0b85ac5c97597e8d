"""Writes what changed of the public files, to the folder and its mirrors."""

import gzip
import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from incidents.facts import IncidentFact
from public import feeds, pages, statusapi, watchdog, words
from public.pages import View
from public.snapshot import ARCHIVE_MAX, Snapshot

log = logging.getLogger(__name__)

INDEX = "index.html"
STATIC = Path(__file__).resolve().parent / "static"
ASSETS = ("page.css", "page.js", "banner.js")
GZIP_LEVEL = 6
# Nobody rewrites a page published by hand; its banner must not turn "unknown" after five minutes.
NOTICE_VALID_FOR_S = 6 * 3600
MIRRORS_MAX = 4
MIRROR_FILES_MAX = 20_000  # waiting for a mirror that hangs; a whole installation is smaller


class Publisher:
    """One folder of public files, and what is known to be in it."""

    def __init__(self, folder: Path, mirrors: Sequence[str] = ()) -> None:
        self.folder = folder
        self._mirrors = _open_mirrors(mirrors)
        self._hashes: dict[str, bytes] = {}
        self._keys: dict[str, object] = {}  # what an incident's page was made from
        self._assets = {name: (STATIC / name).read_bytes() for name in ASSETS}

    def publish(self, snapshot: Snapshot, *, everything: bool = True) -> int:
        """Write what changed, the index last; return how many files. Raises OSError.

        Without `everything` only what carries its own age: index, banner, status, summary, and the
        incidents that say something else by now.
        """
        everything = self._forget_if_swapped() or everything
        view = pages.view(snapshot, _versions(self._assets))
        written = sum(self._write(*file) for file in (self._all(view) if everything else ()))
        if everything:
            self._prepare_for_silence(view)
            self._remove_gone(snapshot)
        written += self._write_frequent(view)
        watchdog.stamp(self.folder, snapshot.now)
        for mirror in self._mirrors:
            mirror.wake()
        return written

    def publish_notice(self, snapshot: Snapshot) -> int:
        """Write what one incident by hand needs, and leave all other files as they are."""
        view = pages.view(snapshot, _versions(self._assets))
        written = sum(self._write(*file) for file in self._assets.items())
        written += sum(self._write(*file) for file in statusapi.badges(snapshot))
        written += self._write_frequent(view, NOTICE_VALID_FOR_S)
        for mirror in self._mirrors:
            mirror.wake()
        return written

    def finish_mirrors(self, timeout_s: float) -> None:
        """Wait until the mirrors have what was written, at most `timeout_s` for each."""
        for mirror in self._mirrors:
            mirror.finish(timeout_s)

    def _write_frequent(self, view: View, valid_for_s: int = statusapi.BANNER_VALID_FOR_S) -> int:
        written = 0
        for path, body in statusapi.frequent_documents(view.snapshot):
            self._hashes.pop(
                path, None
            )  # their age on disk is told too: written although unchanged
            written += self._write(path, body)
        for path, body in statusapi.banners(view.snapshot, valid_for_s):
            written += self._write(path, body)
        for path, body in self._incident_pages(view):
            written += self._write(path, body)
        return written + self._write(INDEX, pages.index(view))

    def missing(self, snapshot: Snapshot) -> list[str]:
        """Return the incidents of the archive that have no page: a new folder lacks the older ones."""
        there = {Path(path).name for path in self._files("incidents")}
        return [row.uid for row in snapshot.archive if row.uid not in there]

    def publish_incidents(self, snapshot: Snapshot, incidents: Iterable[IncidentFact]) -> int:
        """Write the pages of incidents that the snapshot does not hold any more."""
        view = pages.view(snapshot, _versions(self._assets))
        return sum(
            self._write(path, pages.incident(one, view))
            for one in incidents
            for path in _incident_paths(one)
        )

    def _all(self, view: View) -> Iterator[tuple[str, bytes]]:
        snapshot = view.snapshot
        yield from self._assets.items()
        yield (
            "robots.txt",
            b"User-agent: *\nDisallow: /api/\nDisallow: /manage/\nDisallow: /confirm/\n",
        )
        for component in snapshot.components:
            yield f"components/{component.slug}", pages.component(component, view)
        yield "history", pages.history(view)
        yield from feeds.documents(snapshot)
        yield from statusapi.badges(snapshot)
        state = words.page_state(snapshot.components, snapshot.unresolved, snapshot.running)
        yield "favicon.svg", statusapi.sign(state)
        yield from statusapi.documents(snapshot)

    def _incident_pages(self, view: View) -> Iterator[tuple[str, bytes]]:
        """Pages of incidents whose facts changed; a maintenance is under both its addresses."""
        for one in view.snapshot.incidents:
            key = pages.incident_key(one, view)
            if self._keys.get(one.uid) == key:
                continue
            body = pages.incident(one, view)
            for path in _incident_paths(one):
                yield path, body
            self._keys[one.uid] = key

    def _remove_gone(self, snapshot: Snapshot) -> None:
        """Remove the pages of incidents and components that were deleted."""
        if len(snapshot.archive) >= ARCHIVE_MAX:
            return  # older ones are not in it, and must stay
        known = {path for row in snapshot.archive for path in _paths(row.uid, row.is_maintenance)}
        self._remove(path for path in self._incident_files() if path not in known)
        slugs = {component.slug for component in snapshot.components}
        for folder, suffix in (("components", ""), ("badge", ".svg")):
            files = self._files(folder)
            self._remove(
                path for path in files if Path(path).name.removesuffix(suffix) not in slugs
            )

    def _incident_files(self) -> list[str]:
        return [*self._files("incidents"), *self._files("maintenance")]

    def _files(self, folder: str) -> list[str]:
        try:
            names = os.listdir(self.folder / folder)
        except FileNotFoundError:
            return []
        return [f"{folder}/{name}" for name in names if not name.endswith((".gz", ".tmp"))]

    def _remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._hashes.pop(path, None)
            self._keys.pop(Path(path).name, None)
            remove(self.folder, path)
            for mirror in self._mirrors:
                mirror.put(path, None)

    def _prepare_for_silence(self, view: View) -> None:
        prepared = dict(statusapi.silent_documents(view.snapshot))
        prepared["favicon.svg"] = statusapi.sign(words.State.UNKNOWN)
        prepared[INDEX] = pages.index(view, silent=True)
        for path, body in prepared.items():
            self._write(f"{watchdog.PREPARED}/{path}", body)

    def _forget_if_swapped(self) -> bool:
        """True when watchdog.py had put its files in the place of ours: all are written again."""
        if not watchdog.take_back(self.folder):
            return False
        self._hashes.clear()
        return True

    def _write(self, path: str, body: bytes) -> bool:
        digest = hashlib.blake2b(body, digest_size=16).digest()
        if self._hashes.get(path) == digest:
            return False
        write(self.folder, path, body)
        self._hashes[path] = digest
        for mirror in self._mirrors:
            mirror.put(path, body)
        return True


def _incident_paths(one: IncidentFact) -> tuple[str, ...]:
    return _paths(one.uid, one.is_maintenance)


def _paths(uid: str, is_maintenance: bool) -> tuple[str, ...]:
    # Statuspage's shortlink and feeds name a maintenance under /incidents/ too.
    return (f"incidents/{uid}", f"maintenance/{uid}") if is_maintenance else (f"incidents/{uid}",)


def _versions(assets: dict[str, bytes]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name.replace(".", "_"), hashlib.blake2b(body, digest_size=5).hexdigest())
        for name, body in assets.items()
    )


# --- files ------------------------------------------------------------------------------------


def write(folder: Path, path: str, body: bytes) -> None:
    """Replace the file at once, a compressed copy beside it; a reader sees the old or the new one, whole."""
    _replace(folder / f"{path}.gz", gzip.compress(body, GZIP_LEVEL, mtime=0))
    _replace(folder / path, body)


def remove(folder: Path, path: str) -> None:
    for name in (path, f"{path}.gz"):
        (folder / name).unlink(missing_ok=True)


def _replace(target: Path, body: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)  # a web server of another user reads them
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


# --- mirrors ----------------------------------------------------------------------------------


class _Mirror:
    """A further folder, written by its own thread: a mirror that hangs holds nobody up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[
            str, bytes | None
        ] = {}  # a newer content of a path replaces the waiting one
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._idle = threading.Event()
        self._is_failing = False
        threading.Thread(target=self._run, name=f"mirror {folder}", daemon=True).start()

    def put(self, path: str, body: bytes | None) -> None:
        """Queue a file; None removes it."""
        with self._lock:
            if path in self._waiting or len(self._waiting) < MIRROR_FILES_MAX:
                self._waiting.pop(path, None)  # to the end: the index stays last
                self._waiting[path] = body

    def wake(self) -> None:
        self._idle.clear()
        self._news.set()

    def finish(self, timeout_s: float) -> None:
        self._idle.wait(timeout_s)

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            with self._lock:
                batch, self._waiting = self._waiting, {}
            self._write_all(batch)
            if not self._news.is_set():
                self._idle.set()

    def _write_all(self, batch: dict[str, bytes | None]) -> None:
        try:
            for path, body in batch.items():
                if body is None:
                    remove(self._folder, path)
                else:
                    write(self._folder, path, body)
            self._is_failing = False
        except OSError as error:
            if not self._is_failing:
                log.warning("The mirror %s cannot be written: %s.", self._folder, error.strerror)
            self._is_failing = True
            with self._lock:  # for the next pass, unless something newer waits already
                self._waiting = batch | self._waiting


def _open_mirrors(names: Sequence[str]) -> list[_Mirror]:
    mirrors = []
    for name in names[:MIRRORS_MAX]:
        if "://" in name:
            log.warning("PUBLISH_MIRRORS names %s; only folders are mirrored so far.", name)
        else:
            mirrors.append(_Mirror(Path(name)))
    return mirrors
