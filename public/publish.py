"""Writes what changed of the public files, to the folder and its mirrors."""

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from incidents.facts import IncidentFact
from public import badges, feeds, files, ical, mirrors, pages, shown, statusapi, watchdog, words
from public.feeds import Feed
from public.phrases import NAMES
from public.polish import Polisher
from public.shown import View
from public.signing import ENDING, KEY_FILE, Signer
from public.snapshot import ARCHIVE_MAX, Snapshot
from public.websub import Hub

INDEX = "index.html"
STATIC = Path(__file__).resolve().parent / "static"
ASSETS = ("page.css", "page.js", "banner.js")
LOGOS = ("logo.svg", "logo.png")  # of the theme; the first one that is there
THEME_BYTES_MAX = 256 * 1024
# Nobody rewrites a page published by hand; its banner must not turn "unknown" after five minutes.
NOTICE_VALID_FOR_S = 6 * 3600
ROBOTS = b"User-agent: *\nDisallow: /api/\nDisallow: /manage/\nDisallow: /confirm/\n"

Made = tuple[str, object, Callable[[], bytes]]  # path, what it is made from, how


class Publisher:
    """One folder of public files, and what is known to be in it."""

    def __init__(
        self,
        folder: Path,
        mirror_names: Sequence[str] = (),
        *,
        theme: Path | None = None,
        hub: str = "",
        secret: str = "",
    ) -> None:
        self.folder = folder
        self._mirrors = mirrors.open_all(mirror_names, folder)
        self._hashes: dict[str, bytes] = {}
        self._keys: dict[str, object] = {}  # what a page was made from
        self._all_again = False  # since the watchdog's files are to be replaced, until all are
        self._theme = theme
        self._signer = Signer(secret) if secret else None
        self._hub = Hub(hub) if hub else None
        self._writing = threading.Lock()
        self._batch = files.Batch()
        self._polisher = Polisher(folder, self._writing, self._is_current)
        self._assets: dict[str, bytes] = {}

    def publish(self, snapshot: Snapshot, *, everything: bool = True) -> int:
        """Write what changed, the index last; return how many files. Raises OSError.

        Without `everything` only what carries its own age: index, banner, status, summary, and the
        incidents that say something else by now.
        """
        self._all_again = self._forget_if_swapped() or self._all_again
        everything = self._all_again or everything
        views = self._views(snapshot, fresh=everything or not self._assets)
        written, news = 0, []
        if everything:
            self._forget_missing()
            written += sum(self._write(*file) for file in self._simple(snapshot))
            for made in self._made(views):
                if self._write_made(*made):
                    written += 1
                    news += [made[0]] if made[0].endswith(_TOLD_TO_HUBS) else []
            self._prepare_for_silence(views)
            self._remove_gone(snapshot, views)
        written += self._write_frequent(views)
        self._all_again = False
        watchdog.stamp(self.folder, snapshot.now)
        for mirror in self._mirrors:  # by its time a watchdog over there tells that we are silent
            mirror.put(watchdog.STAMP, snapshot.now.isoformat().encode())
        self._wake()
        if self._hub:
            self._hub.ping([f"{snapshot.page.url}/{path}" for path in news])
        return written

    def publish_notice(self, snapshot: Snapshot) -> int:
        """Write what one incident by hand needs, and leave all other files as they are."""
        views = self._views(snapshot, fresh=True)
        written = sum(self._write(*file) for file in self._simple(snapshot, own_only=True))
        for view in views:
            for one in snapshot.components:
                path = _under(view, f"components/{one.slug}")
                written += self._write(path, pages.component(one, view))
        written += self._write_frequent(views, NOTICE_VALID_FOR_S)
        for mirror in self._mirrors:
            mirror.put(watchdog.HELD, b"")
        self._wake()
        return written

    def finish_mirrors(self, timeout_s: float) -> None:
        """Wait until the mirrors have what was written, at most `timeout_s` for each."""
        for mirror in self._mirrors:
            mirror.finish(timeout_s)

    def _views(self, snapshot: Snapshot, *, fresh: bool) -> tuple[View, ...]:
        if fresh:
            self._assets = _assets(self._theme)
        versions = tuple((_version_name(name), _short(body)) for name, body in self._assets.items())
        logo = next((name for name in LOGOS if name in self._assets), "")
        return shown.views(snapshot, versions, logo)

    def _write_frequent(
        self, views: Sequence[View], valid_for_s: int = statusapi.BANNER_VALID_FOR_S
    ) -> int:
        snapshot, written = views[0].snapshot, 0
        for path, body in statusapi.frequent_documents(snapshot):
            # Their age on disk is told too: written although unchanged.
            self._hashes.pop(path, None)
            written += self._write(path, body)
        for path, body in statusapi.banners(snapshot, valid_for_s):
            written += self._write(path, body)
            if self._signer:
                written += self._write(f"{path}{ENDING}", self._signer.sign(body))
        for made in self._incident_pages(views):
            written += self._write_made(*made)
        for view in views:
            written += self._write(_under(view, "widget"), pages.widget(view))
        for view in views[1:]:
            written += self._write(_under(view, INDEX), pages.index(view))
        index, now = pages.index(views[0]), statusapi.now_document(snapshot)
        written += self._write(INDEX, index, last=True)
        # After the index, which a page that reads this may then fetch.
        written += self._write(statusapi.NOW, now, last=True)
        self._finish()
        return written

    def missing(self, snapshot: Snapshot) -> list[str]:
        """Return the incidents of the archive that have no page: a new folder lacks the older ones."""
        there = [
            {Path(path).name for path in self._files(_folder(code, "incidents"))}
            for code in ("", *shown.languages(snapshot)[1:])
        ]
        return [row.uid for row in snapshot.archive if any(row.uid not in each for each in there)]

    def publish_incidents(self, snapshot: Snapshot, incidents: Iterable[IncidentFact]) -> int:
        """Write the pages of incidents that the snapshot does not hold any more."""
        views = self._views(snapshot, fresh=not self._assets)
        written = sum(
            self._write(_under(view, path), pages.incident(one, view))
            for one in incidents
            for view in views
            for path in _incident_paths(one)
        )
        self._finish()
        return written

    # --- what there is to write ---------------------------------------------------------------

    def _simple(self, snapshot: Snapshot, *, own_only: bool = False) -> Iterator[tuple[str, bytes]]:
        """Yield what is cheap to make; `own_only` leaves out what only the database knows."""
        yield from self._assets.items()
        if self._signer:
            yield KEY_FILE, self._signer.public_key
        yield from badges.badges(snapshot)
        state = words.page_state(snapshot.components, snapshot.unresolved, snapshot.running)
        yield "favicon.svg", badges.sign(state)
        for path, body in statusapi.documents(snapshot):
            if not own_only or path in _OF_NOTICE:
                yield path, body
        if not own_only:
            yield "robots.txt", ROBOTS

    def _made(self, views: Sequence[View]) -> Iterator[Made]:
        """Yield the pages and feeds that cost something to make, each with what it depends on."""
        for view in views:
            yield from _pages(view)
        snapshot = views[0].snapshot
        hub = self._hub.url if self._hub else ""
        yield from _feeds("history", feeds.of_page(snapshot, hub))
        feed = feeds.of_page(snapshot, hub)
        yield "feed.json", _feed_key(feed), lambda: feeds.json_feed(feed, "feed.json")
        for one in snapshot.components:
            path = f"components/{one.slug}"
            own = feeds.of_component(one, snapshot, hub)
            yield from _feeds(path, own)
            yield _json_feed(f"{path}.json", own)

    def _incident_pages(self, views: Sequence[View]) -> Iterator[Made]:
        """Pages of incidents whose facts changed; a maintenance is under both its addresses."""
        for view in views:
            for one in view.snapshot.incidents:
                key = pages.incident_key(one, view)
                for path in _incident_paths(one):
                    yield _under(view, path), key, _call(pages.incident, one, view)

    def _prepare_for_silence(self, views: Sequence[View]) -> None:
        """Lay ready what watchdog.py swaps in."""
        snapshot = views[0].snapshot
        prepared = dict(statusapi.silent_documents(snapshot))
        feed = feeds.of_page(snapshot, self._hub.url if self._hub else "", silent=True)
        prepared |= {"history.rss": feeds.rss(feed), "history.atom": feeds.atom(feed)}
        prepared["feed.json"] = feeds.json_feed(feed, "feed.json")
        for view in views:
            prepared[_under(view, "widget")] = pages.widget(view, silent=True)
            prepared[_under(view, INDEX)] = pages.index(view, silent=True)
        for path, body in prepared.items():
            self._prepare(path, body)
        for view in views:
            for one in snapshot.components:
                path, key = _under(view, f"components/{one.slug}"), pages.component_key(one, view)
                ready = f"{watchdog.PREPARED}/{path}"
                if self._keys.get(ready) != key:
                    self._keys[ready] = key
                    self._prepare(path, pages.component(one, view, silent=True))

    # --- what is there ------------------------------------------------------------------------

    def _remove_gone(self, snapshot: Snapshot, views: Sequence[View]) -> None:
        """Remove what belongs to deleted incidents and components, and to languages given up."""
        is_gone = _gone(snapshot, views)
        # An empty database is more likely the wrong one than a page that lost its past.
        if snapshot.archive and snapshot.components:
            for mirror in self._mirrors:
                mirror.tell_gone(lambda path: _is_ours(path) and is_gone(path))
        self._remove(path for path in self._perhaps_gone(views) if is_gone(path))

    def _perhaps_gone(self, views: Sequence[View]) -> Iterator[str]:
        kept = [view.base.removeprefix("/") for view in views]
        for code in ("", *NAMES):
            if code and code not in kept:
                yield from _all_files(self.folder, code)
            else:
                for folder in (*_OF_COMPONENTS, *_OF_INCIDENTS):
                    yield from self._files(_folder(code, folder))

    def _files(self, folder: str) -> list[str]:
        try:
            names = os.listdir(self.folder / folder)
        except FileNotFoundError:
            return []
        return [f"{folder}/{name}" for name in names if not name.endswith((*files.TWINS, ".tmp"))]

    def _remove(self, paths: Iterable[str]) -> None:
        for path in list(paths):
            with self._writing:
                self._hashes.pop(path, None)
                files.remove(self.folder, path)
            self._keys.pop(path, None)
            (self.folder / watchdog.PREPARED / path).unlink(missing_ok=True)
            for mirror in self._mirrors:
                mirror.put(path, None)
                mirror.put(f"{watchdog.PREPARED}/{path}", None)

    def _forget_if_swapped(self) -> bool:
        """True when watchdog.py had put its files in the place of ours: all are written again."""
        if not watchdog.take_back(self.folder):
            return False
        self._hashes.clear()
        self._keys.clear()
        for mirror in self._mirrors:
            mirror.put(watchdog.HELD, None)
        return True

    def _forget_missing(self) -> None:
        """Let files that somebody deleted, as to free a full disk, be written again."""
        for path in [path for path in self._hashes if not os.path.exists(self.folder / path)]:
            self._hashes.pop(path)
            self._keys.pop(path, None)

    # --- writing ------------------------------------------------------------------------------

    def _write_made(self, path: str, key: object, make: Callable[[], bytes]) -> bool:
        if self._keys.get(path) == key:
            return False
        body = make()
        self._keys[path] = key  # forgotten again if it cannot be written
        written = self._write(path, body)
        if written:
            self._polisher.put(path, body)
        return written

    def _write(self, path: str, body: bytes, *, last: bool = False) -> bool:
        digest = _digest(body)
        if self._hashes.get(path) == digest:
            return False
        with self._writing:  # from here on the polisher's older twin is not current
            self._hashes[path] = digest
        self._batch.write(self.folder, path, body, last=last)
        for mirror in self._mirrors:
            mirror.put(path, body)
        return True

    def _prepare(self, path: str, body: bytes) -> None:
        prepared, digest = f"{watchdog.PREPARED}/{path}", _digest(body)
        if self._hashes.get(prepared) != digest:
            self._hashes[prepared] = digest
            self._batch.replace(self.folder, prepared, body)
            for mirror in self._mirrors:
                mirror.put(prepared, body)

    def _finish(self) -> None:
        """Wait until all that was taken is in its place. Raises the first OSError."""
        failed = self._batch.finish()
        for path in failed:  # to be written again
            self._hashes.pop(path, None)
            self._keys.pop(path, None)
        for error in failed.values():
            raise error

    def _is_current(self, path: str, body: bytes) -> bool:
        return self._hashes.get(path) == _digest(body)

    def _wake(self) -> None:
        for mirror in self._mirrors:
            mirror.wake()


# What of /api/v2 a notice by hand knows; the lists of the past stay as they were.
_OF_NOTICE = ("api/v2/components.json", "api/v2/incidents/unresolved.json")


def _pages(view: View) -> Iterator[Made]:
    for one in view.snapshot.components:
        key = pages.component_key(one, view)
        yield _under(view, f"components/{one.slug}"), key, _call(pages.component, one, view)
    around = pages.around_key(view)
    months = shown.by_month(view.snapshot.archive, view)
    today = view.moments.local(view.snapshot.now).date().replace(day=1)
    yield _under(view, "history"), (months, today, around), _call(pages.history, view)
    for first, rows in months.items():
        path = _under(view, f"months/{first:%Y-%m}")
        yield path, (rows, around), _call(pages.month, first, rows, view)
    yield _under(view, "thanks"), around, _call(pages.thanks, view)


_FEEDS: dict[str, Callable[[Feed], bytes]] = {
    ".rss": feeds.rss,
    ".atom": feeds.atom,
    ".ics": ical.calendar,
}


_TOLD_TO_HUBS = (".rss", ".atom", ".json")  # of what _made() yields, only feeds end so


def _feeds(path: str, feed: Feed) -> Iterator[Made]:
    for ending, make in _FEEDS.items():
        yield f"{path}{ending}", _feed_key(feed), _call(make, feed)


def _json_feed(path: str, feed: Feed) -> Made:
    return path, _feed_key(feed), lambda: feeds.json_feed(feed, path)


def _feed_key(feed: Feed) -> object:
    page = feed.page
    told = tuple(pages.told_key(one) for one in feed.incidents)
    return feed.title, feed.hub, told, page.name, page.url, page.time_zone


def _call(make: Callable[..., bytes], *arguments: object) -> Callable[[], bytes]:
    return lambda: make(*arguments)


def _under(view: View, path: str) -> str:
    return _folder(view.base.removeprefix("/"), path)


def _folder(code: str, path: str) -> str:
    return f"{code}/{path}" if code else path


def _slug(path: str) -> str:
    return Path(path).name.partition(".")[0]


def _all_files(folder: Path, code: str) -> list[str]:
    there = (folder / code).rglob("*")
    return [
        str(path.relative_to(folder))
        for path in there
        if path.is_file() and not files.is_twin(path.name)
    ]


_OF_COMPONENTS = ("badge", "components")
_OF_INCIDENTS = ("incidents", "maintenance")


def _gone(snapshot: Snapshot, views: Sequence[View]) -> Callable[[str], bool]:
    """Return who says of a path whether its incident or component was deleted, or its language given up."""
    kept = {view.base.removeprefix("/") for view in views}
    slugs = {component.slug for component in snapshot.components}
    known = {path for row in snapshot.archive for path in _paths(row.uid, row.is_maintenance)}
    is_all = len(snapshot.archive) < ARCHIVE_MAX  # else older ones are not in it, and must stay

    def is_gone(path: str) -> bool:
        code, _, rest = path.partition("/")
        if code in NAMES and code not in kept:
            return True
        own = rest if code in NAMES else path
        folder, _, name = own.partition("/")
        if folder in _OF_COMPONENTS:
            return bool(name) and _slug(name) not in slugs
        return folder in _OF_INCIDENTS and bool(name) and is_all and own not in known

    return is_gone


# A mirror's folder may hold files of others: gone is there only what bears a name that we alone give.
_NAMES_OF_OURS = (
    r"(?:incidents|maintenance)/[0-9a-z]{12}",
    r"components/[\w-]+(?:\.json|\.rss|\.atom)?",
    r"badge/[\w-]+\.svg",
)
_LANGUAGE = rf"(?:{'|'.join(NAMES)})/"
_OURS = re.compile(
    rf"(?:{_LANGUAGE})?(?:{'|'.join(_NAMES_OF_OURS)})|{_LANGUAGE}(?:index\.html|widget|history)",
    re.ASCII,
)


def _is_ours(path: str) -> bool:
    return bool(_OURS.fullmatch(path))


def _incident_paths(one: IncidentFact) -> tuple[str, ...]:
    return _paths(one.uid, one.is_maintenance)


def _paths(uid: str, is_maintenance: bool) -> tuple[str, ...]:
    # Statuspage's shortlink and feeds name a maintenance under /incidents/ too.
    return (f"incidents/{uid}", f"maintenance/{uid}") if is_maintenance else (f"incidents/{uid}",)


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


def _short(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=5).hexdigest()


def _version_name(asset: str) -> str:
    return "logo" if asset in LOGOS else asset.replace(".", "_")


def _assets(theme: Path | None) -> dict[str, bytes]:
    """Return scripts and style, the operator's own style at its end, and the logo."""
    found = {name: (STATIC / name).read_bytes() for name in ASSETS}
    if theme is None:
        return found
    if own := _own(theme / "theme.css"):
        found["page.css"] += b"\n" + own
    for name in LOGOS:
        if own := _own(theme / name):
            return found | {name: own}
    return found


def _own(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            body = opened.read(THEME_BYTES_MAX + 1)
    except FileNotFoundError:
        return b""
    return body if len(body) <= THEME_BYTES_MAX else b""
