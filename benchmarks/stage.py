"""A running demo in a folder of its own, for measurements and acceptance."""

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.night import House

ROOT = Path(__file__).resolve().parent.parent
START_S = 180.0
STOP_S = 15.0


class NotStarted(Exception):
    """The demo did not come up; the text holds what it said."""


@dataclass(slots=True)
class Stage:
    """The demo's process, what it says, and its house seen from outside."""

    process: subprocess.Popen[str]
    data_dir: Path
    ready_after_s: float
    said: list[str]

    @property
    def house(self) -> House:
        return House(self.data_dir)

    def stop(self) -> float:
        """End it by SIGTERM; return how many seconds that took."""
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return time.monotonic() - started

    def wait_for(self, words: str, *, seconds: float) -> bool:
        """Return True once it has said `words`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(words in line for line in list(self.said)):
                return True
            time.sleep(0.05)
        return False


@contextmanager
def running(
    *,
    env: Mapping[str, str] | None = None,
    data_dir: Path | None = None,
    root: Path = ROOT,
    command: list[str] | None = None,
) -> Iterator[Stage]:
    """Start the demo on a free port, stop it at the end, and remove its folder unless it was given."""
    folder = data_dir or Path(tempfile.mkdtemp(prefix="sp-demo-"))
    command = command or [sys.executable, "-m", "statuspage", "demo", "--port", "0"]
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=root,
        env={**_clean(os.environ), "DATA_DIR": str(folder), **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: queue.Queue[str] = queue.Queue()
    said: list[str] = []
    reader = threading.Thread(target=_read, args=(process, lines, said), daemon=True)
    reader.start()
    stage = Stage(process, folder, 0.0, said)
    try:
        _await_ready(lines, said)
        stage.ready_after_s = time.monotonic() - started
        yield stage
    finally:
        stage.stop()
        reader.join(STOP_S)
        if process.stdout:
            process.stdout.close()
        if data_dir is None:
            shutil.rmtree(folder, ignore_errors=True)


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    """A stage has its own database and broker, also inside a test that set others."""
    ours = ("DATABASE_URL", "REDIS_URL", "SITE_URL", "DJANGO_SETTINGS_MODULE", "SECRET_KEY")
    return {name: value for name, value in environ.items() if name not in ours}


def _read(process: subprocess.Popen[str], lines: "queue.Queue[str]", said: list[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line.rstrip())
        lines.put(line)
    lines.put("")


def _await_ready(lines: "queue.Queue[str]", said: list[str]) -> None:
    deadline = time.monotonic() + START_S
    while (left := deadline - time.monotonic()) > 0:
        try:
            line = lines.get(timeout=left)
        except queue.Empty:
            break
        if line.startswith("ready "):
            return
        if not line:
            break
    raise NotStarted("\n".join(said[-20:]) or "it said nothing")
