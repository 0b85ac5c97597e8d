"""The published files from memory, as a WSGI callable in front of Django."""

import hashlib
import json
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import brotli

# Asked of the disk at most so often per file: an update shows within a second, a crowd costs one stat.
CHECK_EVERY_S = 0.25
MEMORY_BYTES_MAX = 64 * 1024 * 1024
PACKED_BYTES_MIN = 500  # below that the headers outweigh what is saved
ACCEPT_CHARS_MAX = 200  # of Accept-Encoding; browsers send about thirty
INDEX = "index.html"

CACHE = "public, max-age=15, stale-while-revalidate=30, stale-if-error=86400"
# Names of letters, digits, dot, dash, underscore; no part begins with a dot.
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_OPEN_TO_ALL = re.compile(
    r"api/v2/|banner\.|badge[/.]|history\.|(feed|now)\.json|components/[^/]+\.|[^/]+\.(css|js)$"
)
# Names of a language's folder; its index is asked for with the slash.
_LANGUAGE = re.compile(r"[a-z]{2}/")
WIDGETS = re.compile(r"([a-z]{2}/)?widget")
_KINDS = {
    ".json": "application/json; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".rss": "application/rss+xml; charset=utf-8",
    ".atom": "application/atom+xml; charset=utf-8",
    ".ics": "text/calendar; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".sig": "text/plain; charset=utf-8",
    ".key": "text/plain; charset=utf-8",
    ".png": "image/png",
}
HTML = "text/html; charset=utf-8"
_HTML_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_WIDGET_POLICY = _HTML_POLICY.replace("frame-ancestors 'none'", "frame-ancestors *")
_OTHER_POLICY = "default-src 'none'; frame-ancestors 'none'"

# WSGI's own types are loose: environ holds what the server put there.
Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
App = Callable[[Environ, Any], Iterable[bytes]]


@dataclass(slots=True)
class _Entry:
    """A file in memory; replaced whole, only `checked_at` is written in place."""

    body: bytes
    packed: dict[str, bytes]  # coding -> the body in it
    etag: str
    version: tuple[int, int, int]  # inode, mtime in ns, size
    checked_at: float


class PublishedFiles:
    """Answers for the files of `folder`; every other request is the app's."""

    def __init__(self, app: App, folder: Path) -> None:
        self._app = app
        self._folder = folder
        self._entries: dict[str, _Entry] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        path = _file_path(environ)
        if path is None or not self._is_ours(path, environ):
            return self._app(environ, start)
        method = environ.get("REQUEST_METHOD", "GET")
        if method == "OPTIONS" and _OPEN_TO_ALL.match(path):
            return _preflight(start)
        entry = self._entry(path)
        if method not in ("GET", "HEAD") or entry is None:
            return self._without_file(path, method, environ, start)
        return _answer(entry, path, method, environ, start)

    def _is_ours(self, path: str, environ: Environ) -> bool:
        # Webhooks carry {page}/?unsubscribe=ID (statuspage-api.md §4): that is a form, not a file.
        return not (path == INDEX and "unsubscribe=" in environ.get("QUERY_STRING", ""))

    def _without_file(
        self, path: str, method: str, environ: Environ, start: StartResponse
    ) -> Iterable[bytes]:
        if path.startswith("api/v2/"):
            return _json_error(start, method, path)
        if path == INDEX and method in ("GET", "HEAD"):
            return _not_yet(start, method)
        return self._app(environ, start)

    def _entry(self, path: str) -> _Entry | None:
        entry, now = self._entries.get(path), time.monotonic()
        if entry and now - entry.checked_at < CHECK_EVERY_S:
            return entry
        try:
            found = (self._folder / path).stat()
            version = (found.st_ino, found.st_mtime_ns, found.st_size)
            if entry and entry.version == version:
                entry.checked_at = now
                return entry
            return self._read(path, version, now)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            self._drop(path)
            return None
        except OSError:
            return entry  # the disk fails: what we remember is better than nothing

    def _read(self, path: str, version: tuple[int, int, int], now: float) -> _Entry:
        body = (self._folder / path).read_bytes()
        digest = hashlib.blake2b(body, digest_size=12).hexdigest()
        entry = _Entry(body, self._read_packed(path, body), f'W/"{digest}"', version, now)
        with self._lock:
            if self._bytes > MEMORY_BYTES_MAX:
                self._entries.clear()
                self._bytes = 0
            self._entries[path] = entry
            self._bytes += _size(entry)
        return entry

    def _read_packed(self, path: str, body: bytes) -> dict[str, bytes]:
        """Return the compressed twins that really are of this content: a publisher may be at work."""
        if len(body) < PACKED_BYTES_MIN:
            return {}
        found = {}
        for coding, (ending, is_of) in _CODINGS.items():
            try:
                packed = (self._folder / f"{path}{ending}").read_bytes()
            except OSError:
                continue
            if is_of(packed, body):
                found[coding] = packed
        return found

    def _drop(self, path: str) -> None:
        with self._lock:
            entry = self._entries.pop(path, None)
            if entry:
                self._bytes -= _size(entry)


def _is_gzip_of(packed: bytes, body: bytes) -> bool:
    """Its trailer holds checksum and length (RFC 1952)."""
    trailer = zlib.crc32(body).to_bytes(4, "little") + (len(body) & 0xFFFFFFFF).to_bytes(
        4, "little"
    )
    return packed[-8:] == trailer


def _is_brotli_of(packed: bytes, body: bytes) -> bool:
    try:
        return bytes(brotli.decompress(packed)) == body
    except brotli.error:
        return False


# In order of preference.
_CODINGS: dict[str, tuple[str, Callable[[bytes, bytes], bool]]] = {
    "br": (".br", _is_brotli_of),
    "gzip": (".gz", _is_gzip_of),
}


def _size(entry: _Entry) -> int:
    return len(entry.body) + sum(len(packed) for packed in entry.packed.values())


def _file_path(environ: Environ) -> str | None:
    """Return the file that the URL's path names; None for what can be no published file."""
    path = environ.get("PATH_INFO", "/").removeprefix("/")
    if not path:
        return INDEX
    if _LANGUAGE.fullmatch(path):
        return f"{path}{INDEX}"
    if path.endswith((".gz", ".br", ".tmp", INDEX)) or not _PATH.fullmatch(path):
        return None
    return str(path)


def kind(path: str) -> str:
    return next((kind for ending, kind in _KINDS.items() if path.endswith(ending)), HTML)


def _answer(
    entry: _Entry, path: str, method: str, environ: Environ, start: StartResponse
) -> Iterable[bytes]:
    headers = _headers(path, environ)
    headers.append(("ETag", entry.etag))
    if _is_known(environ.get("HTTP_IF_NONE_MATCH", ""), entry.etag):
        start("304 Not Modified", headers)
        return []
    body = entry.body
    if entry.packed and (coding := _coding(entry, environ.get("HTTP_ACCEPT_ENCODING", ""))):
        body = entry.packed[coding]
        headers.append(("Content-Encoding", coding))
    headers += [("Content-Type", kind(path)), ("Content-Length", str(len(body)))]
    start("200 OK", headers)
    return [] if method == "HEAD" else [body]


def _headers(path: str, environ: Environ) -> list[tuple[str, str]]:
    return _headers_of(path, environ.get("wsgi.url_scheme") == "https").copy()


@lru_cache(maxsize=4096)
def _headers_of(path: str, secure: bool) -> list[tuple[str, str]]:
    is_page, is_widget = kind(path) == HTML, WIDGETS.fullmatch(path) is not None
    policy = _WIDGET_POLICY if is_widget else _HTML_POLICY if is_page else _OTHER_POLICY
    headers = [
        ("Cache-Control", CACHE),
        ("Vary", "Accept-Encoding"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Content-Security-Policy", policy),
    ]
    if is_page and not is_widget:
        headers += [("X-Frame-Options", "DENY"), ("Cross-Origin-Opener-Policy", "same-origin")]
    if is_page:
        headers.append(("Permissions-Policy", "camera=(), geolocation=(), microphone=()"))
    if secure:
        headers.append(("Strict-Transport-Security", "max-age=31536000; includeSubDomains"))
    return headers + _CORS if _OPEN_TO_ALL.match(path) else headers


_CORS = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Date, ETag"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
]


def _is_known(asked: str, etag: str) -> bool:
    weak = etag.removeprefix("W/")
    return asked.strip() == "*" or weak in (
        one.strip().removeprefix("W/") for one in asked.split(",")
    )


def _coding(entry: _Entry, accepted: str) -> str:
    """Return the best coding that is there and taken; the browser's own words are nearly always the same."""
    taken = _taken(accepted[:ACCEPT_CHARS_MAX])
    return next((coding for coding in entry.packed if coding in taken), "")


@lru_cache(maxsize=256)
def _taken(accepted: str) -> frozenset[str]:
    """Return the codings that are accepted and not refused by q=0 (RFC 9110 §12.5.3)."""
    weights: dict[str, bool] = {}
    for one in accepted.lower().split(","):
        name, _, weight = one.partition(";")
        weights[name.strip()] = re.fullmatch(r"\s*q=0(\.0*)?\s*", weight) is None
    rest = weights.get("*", False)
    return frozenset(coding for coding in _CODINGS if weights.get(coding, rest))


def _preflight(start: StartResponse) -> Iterable[bytes]:
    allowed = [
        ("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS"),
        ("Access-Control-Allow-Headers", "If-None-Match, Cache-Control, Content-Type"),
        ("Access-Control-Max-Age", "86400"),
        ("Content-Length", "0"),
    ]
    start("204 No Content", [*_CORS, *allowed])
    return []


def _json_error(start: StartResponse, method: str, path: str) -> Iterable[bytes]:
    refused = method not in ("GET", "HEAD")
    sentence = f"/{path} can only be read." if refused else f"There is no /{path} here."
    body = json.dumps({"error": sentence, "message": sentence}).encode()
    headers = [
        ("Content-Type", _KINDS[".json"]),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *_CORS,
    ]
    if refused:
        headers.append(("Allow", "GET, HEAD, OPTIONS"))
    start("405 Method Not Allowed" if refused else "404 Not Found", headers)
    return [] if method == "HEAD" else [body]


def _not_yet(start: StartResponse, method: str) -> Iterable[bytes]:
    """The process is up before the first pass of the publisher."""
    body = b"The status page is being made; try again in a second.\n"
    headers = [
        ("Content-Type", _KINDS[".txt"]),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("Retry-After", "1"),
    ]
    start("503 Service Unavailable", headers)
    return [] if method == "HEAD" else [body]
