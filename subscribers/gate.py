"""The gate: more sign-ups a second than people make are sent away before Django hears of them. No Django here.

It keeps the processor for those who are told: shedding costs some 30 µs, the whole way some 5 ms.
"""

import gettext
import threading
import time
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import Any

# Of each process; two of them take what limits.ASKS_PER_S_MAX allows.
ASKS_PER_S = 60.0
BURST = 120.0  # a school class that subscribes at one bell
# Of a process's threads so many may be busy with sign-ups; the others send away, confirm, unsubscribe. On a slow machine
# this is what sheds: measured under a load of 20, sixteen threads full of sign-ups answered 7 requests a second.
AT_ONCE_MAX = 3
DOORS = frozenset({"/subscribe", "/manage"})
RETRY_AFTER_S = 60
LOCALE = Path(__file__).resolve().parent.parent / "locale"
LANGUAGES = ("en", "es", "fr", "de", "ar")
# As templates/subscribers/too_many.html and views/frame.py say it; the catalogues have it from there.
TITLE = "Too many requests"
SENTENCE = (
    "Too many requests came from your network, for this address or range of numbers, or from everywhere at once. "
    "Nothing was sent. Try again in {wait}, or choose another way to be told."
)
PAGE = (
    '<!doctype html><html lang="{language}" dir="{direction}"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
    '<link rel="stylesheet" href="/static/page.css"></head><body><main><h1 class="plain">{title}</h1>'
    '<p>{sentence}</p><p><a href="/">{now}</a></p></main></body></html>'
)
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Gate:
    """A token bucket before an application, for the doors where anybody may ask for a letter."""

    def __init__(
        self, application: Wsgi, *, per_s: float = ASKS_PER_S, burst: float = BURST
    ) -> None:
        self._application = application
        self._per_s, self._burst = per_s, burst
        self._left, self._at = burst, time.monotonic()
        self._inside = 0
        self._lock = threading.Lock()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        is_ask = environ.get("REQUEST_METHOD") == "POST" and environ.get("PATH_INFO") in DOORS
        if not is_ask:
            return self._application(environ, start_response)
        if self._admits():
            try:
                return self._application(environ, start_response)
            finally:
                with self._lock:
                    self._inside -= 1
        body = sent_away(_language(environ.get("HTTP_ACCEPT_LANGUAGE", "")))
        start_response(
            "429 Too Many Requests",
            [
                ("Content-Type", "text/html; charset=utf-8"),
                ("Content-Length", str(len(body))),
                ("Cache-Control", "no-store"),
                ("Referrer-Policy", "no-referrer"),
                ("Content-Security-Policy", "default-src 'none'; style-src 'self'"),
                ("Retry-After", str(RETRY_AFTER_S)),
            ],
        )
        return [body]

    def _admits(self) -> bool:
        with self._lock:
            now = time.monotonic()
            self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
            self._at = now
            if self._left < 1.0 or self._inside >= AT_ONCE_MAX:
                return False
            self._left -= 1.0
            self._inside += 1
            return True


def _language(accepted: str) -> str:
    first = accepted.split(",")[0].split("-")[0].strip().lower()
    return first if first in LANGUAGES else "en"


_prepared: dict[str, bytes] = {}


def sent_away(language: str) -> bytes:
    """Return the page that says so; made once for each language."""
    if language not in _prepared:
        said = gettext.translation("django", LOCALE, [language], fallback=True).gettext
        words = {
            "title": said(TITLE),
            "sentence": said(SENTENCE).format(wait=said("a minute")),
            "now": said("Now"),
        }
        page = PAGE.format(
            language=language,
            direction="rtl" if language == "ar" else "ltr",
            **{name: escape(text) for name, text in words.items()},
        )
        _prepared[language] = page.encode()
    return _prepared[language]
