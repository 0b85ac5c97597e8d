"""What a prober keeps on its disk: results until the server has them, and a few named texts."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# Half of what the server admits (settings.py, DATA_UPLOAD_MAX_MEMORY_SIZE).
BATCH_BYTES_MAX: Final = 1024 * 1024
# 20 checks each 30 s fill it in 20 hours; about 50 MB.
BUFFER_RESULTS_MAX: Final = 50_000
# Dropping one by one would cost a delete each: a hundredth at a time.
BUFFER_DROP: Final = BUFFER_RESULTS_MAX // 100


@dataclass(frozen=True, slots=True)
class Buffered:
    """One result on its way; `row` is its place in the buffer."""

    row: int
    body: str


class Buffer:
    """Results until the server has them, and the last list of checks; survives the process."""

    def __init__(self, path: Path, results_max: int = BUFFER_RESULTS_MAX) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Answers of services stand in it: for nobody else on this machine.
        path.touch(mode=0o600)
        self._database = sqlite3.connect(path, isolation_level=None)
        # A killed process loses nothing; only a power cut may, and the next run makes up for it.
        self._database.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
            "CREATE TABLE IF NOT EXISTS results"
            " (row INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);"
            "CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
        )
        self._results_max = results_max
        self._count = int(self._database.execute("SELECT count(*) FROM results").fetchone()[0])
        self.dropped = int(self.kept("dropped") or 0)

    def put(self, result: Mapping[str, Any]) -> None:
        """Keep a result; when the buffer is full the oldest are dropped and counted."""
        try:
            self._database.execute("INSERT INTO results (body) VALUES (?)", (json.dumps(result),))
        except sqlite3.OperationalError:
            # A full disk must not end the probing; what comes later may find room.
            self.dropped += 1
            return
        self._count += 1
        if self._count > self._results_max:
            self._drop(max(1, min(BUFFER_DROP, self._results_max // 100)))

    def take(self, count: int) -> list[Buffered]:
        """Return the oldest results, no more than BATCH_BYTES_MAX of them; they stay."""
        rows = self._database.execute(
            "SELECT row, body FROM results ORDER BY row LIMIT ?", (count,)
        ).fetchall()
        batch: list[Buffered] = []
        room = BATCH_BYTES_MAX
        for row, body in rows:
            room -= len(body)
            if batch and room < 0:
                break
            batch.append(Buffered(row, body))
        return batch

    def forget(self, batch: Sequence[Buffered]) -> None:
        """Drop what the server has."""
        rows = [(each.row,) for each in batch]
        self._database.execute("BEGIN")
        deleted = self._database.executemany("DELETE FROM results WHERE row = ?", rows).rowcount
        self._database.execute("COMMIT")
        self._count -= max(deleted, 0)

    def keep(self, name: str, value: str) -> None:
        """Keep one named text; on a full disk it is forgotten with the process."""
        with suppress(sqlite3.OperationalError):
            self._database.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, value))

    def kept(self, name: str) -> str | None:
        """Return a named text, None when there is none."""
        found = self._database.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _drop(self, count: int) -> None:
        deleted = self._database.execute(
            "DELETE FROM results WHERE row IN (SELECT row FROM results ORDER BY row LIMIT ?)",
            (count,),
        ).rowcount
        self._count -= deleted
        self.dropped += deleted
        self.keep("dropped", str(self.dropped))
