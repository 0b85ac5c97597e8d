"""Compresses again, better and later, what will stay for a while."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import brotli

from public import files, yielding

BEST = 11
BYTES_MIN = 1024  # below that nothing is gained
FILES_MAX = 2_000
QUIET_S = 2.0  # after the last file was written: news come first


class Polisher:
    """One thread that replaces quick compressed twins by the best ones."""

    def __init__(
        self, folder: Path, lock: threading.Lock, is_current: Callable[[str, bytes], bool]
    ) -> None:
        """`is_current(path, body)` is asked under `lock`, which writers of `folder` hold as well."""
        self._folder, self._lock, self._is_current = folder, lock, is_current
        self._waiting: dict[str, bytes] = {}
        self._queue = threading.Lock()
        self._news = threading.Event()
        self._put_at = 0.0
        threading.Thread(target=self._run, name="polish", daemon=True).start()

    def put(self, path: str, body: bytes) -> None:
        if len(body) < BYTES_MIN or not files.has_twins(path):
            return
        with self._queue:
            if path in self._waiting or len(self._waiting) < FILES_MAX:
                self._waiting[path] = body
        self._put_at = time.monotonic()
        self._news.set()

    def _run(self) -> None:
        yielding.step_back()
        while True:
            self._news.wait()
            if (left_s := self._put_at + QUIET_S - time.monotonic()) > 0:
                time.sleep(left_s)
                continue
            with self._queue:
                if not self._waiting:
                    self._news.clear()
                    continue
                path = next(iter(self._waiting))
                body = self._waiting.pop(path)
            self._polish(path, body)

    def _polish(self, path: str, body: bytes) -> None:
        packed = brotli.compress(body, quality=BEST)
        with self._lock:
            if not self._is_current(path, body):
                return
            try:
                files.replace(self._folder / f"{path}.br", packed)
            except OSError:
                return  # the quick one is there and good
