"""A folder of public files behind public/serve.py on a port of its own, and a Chromium to look at it."""

import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from playwright.sync_api import Browser, Page, sync_playwright

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "statuspage.settings")
# Playwright runs a loop of its own, and what runs here asks no database.
django.setup()

from benchmarks.probes_stage import NotHere  # noqa: E402
from public import watchdog  # noqa: E402
from public.publish import Publisher  # noqa: E402
from public.serve import PublishedFiles  # noqa: E402
from public.snapshot import Snapshot  # noqa: E402

SECRET = "looked at"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _nothing(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    start("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
    return [b"There is no such page.\n"]


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the folder until the block ends; give its address."""
    server = make_server("127.0.0.1", 0, PublishedFiles(_nothing, folder), _Server, _Quiet)
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    ).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def publish(folder: Path, taken: Snapshot, *, is_silent: bool = False) -> None:
    """Write the public files; `is_silent` lets the watchdog find that nobody has published for 95 s."""
    Publisher(folder, secret=SECRET).publish(taken)
    if is_silent:
        stamped = (folder / watchdog.STAMP).stat().st_mtime
        watchdog.watch(folder, stamped + watchdog.SILENT_S + 5)


def chromium() -> str:
    found = (
        os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    )
    if found is None:
        raise NotHere("chromium is not on this machine; Debian: apt-get install chromium")
    return found


@contextmanager
def browsing() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        try:
            yield browser
        finally:
            browser.close()


def listen(page: Page, heard: list[str]) -> None:
    """Put into `heard` whatever the console complains of."""
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
