"""A grown installation made by SQL, whatever columns its first schema has, for `benchmarks.migrations`.

Row by row into six indexes, with two foreign keys asked for each, ten million results take most of an hour. So while a
table is filled its indexes are away and its triggers asleep, and the write-ahead log is not waited for; all of that is
undone before `fill` returns, so that the migrations meet a server as it is installed.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

Say = Callable[[str], None]
Database = psycopg.Connection[Any]
# One statement of filling or one index; at full size, on two busy cores, the longest took 25 s.
STATEMENT_S = 600
# The log grows to some 3 GB meanwhile; with the usual 1 GB the server would stop for a checkpoint again and again.
FILLING_WAL = "8GB"
EMPTY = {
    "boolean": "true", "integer": "0", "bigint": "0", "smallint": "0", "double precision": "0", "jsonb": "'[]'",
    "timestamp with time zone": "now()", "bytea": "''", "date": "now()",
}  # fmt: skip

# table, how many rows, what its columns get for each n; the others get an empty value of their type.
Rows = tuple[str, int, dict[str, str]]


def tables(subscribers: int, results: int) -> list[Rows]:
    """Return what is filled, in order: everybody was told once, and every location has seen the service for two days."""
    return [
        ("incidents_page", 1, {"id": "1"}),
        ("probes_check", 1, {"id": "1", "page_id": "1", "interval_s": "30", "timeout_s": "10"}),
        ("probes_location", 5, {"id": "n", "name": "'p'||n", "token_hash": "'t'||n"}),
        ("subscribers_subscriber", subscribers, {"id": "n", "uid": "lpad(n::text, 12, 'u')"}),
        (
            "subscribers_subscription", subscribers,
            {"id": "n", "subscriber_id": "n", "uid": "lpad(n::text, 12, 's')", "channel": "'email'", "role": "'subscriber'",
             "state": "'active'", "address_hash": "md5(n::text)", "confirmed_at": "now()"},
        ),
        ("subscribers_letter", 1, {"id": "1", "subscription_id": "1", "uid": "'l'", "kind": "'test'"}),
        ("notifications_broadcast", 1, {"id": "1", "letter_id": "1", "fanned_out_at": "now()"}),
        (
            "notifications_delivery", subscribers,
            {"id": "n", "broadcast_id": "1", "subscription_id": "n", "channel": "'email'", "state": "'accepted'",
             "accepted_at": "now() - (n % 600) * interval '0.1 second'", "attempts": "1"},
        ),
        (
            "probes_result", results,
            {"id": "n", "of_check_id": "1", "location_id": "1 + n % 5", "sequence": "n", "outcome": "'ok'",
             "first_outcome": "'ok'", "at": "now() - (n % 172800) * interval '1 second'", "received_at": "now()"},
        ),
    ]  # fmt: skip


def fill(url: str, rows: list[Rows], say: Say) -> None:
    """Make the rows; leave every index, constraint, trigger and setting as it was."""
    with psycopg.connect(url, autocommit=True) as database:
        database.execute(f"ALTER SYSTEM SET max_wal_size = '{FILLING_WAL}'")
        database.execute("SELECT pg_reload_conf()")
        for setting, value in (
            ("statement_timeout", f"{STATEMENT_S}s"),
            ("synchronous_commit", "off"),
            ("session_replication_role", "replica"),  # foreign keys are not asked row by row
            ("maintenance_work_mem", "1GB"),
        ):
            database.execute(f"SET {setting} = '{value}'")
        before = _shape(database)
        for table, number, given in rows:
            with _bare(database, table, say):
                _timed(database, _insert(database, table, number, given), f"{number:,} × {table}", say)  # fmt: skip
        for table, number, _ in rows:
            if number > 1000:
                # As autovacuum would have done long ago; it may not come in the middle of what is measured.
                _timed(database, f"VACUUM (ANALYZE) {table}", f"vacuum {table}", say)
        database.execute("ALTER SYSTEM RESET max_wal_size")
        database.execute("SELECT pg_reload_conf()")
        _timed(database, "CHECKPOINT", "checkpoint", say)
        if changed := before ^ _shape(database):
            raise LookupError(f"filling changed the schema: {sorted(changed)[:3]}")


def _shape(database: Database) -> set[str]:
    """Return every valid index and constraint by its columns; PostgreSQL words their conditions anew each time."""
    found = database.execute(
        "SELECT concat_ws(' ', indexrelid::regclass, indisunique, indkey) FROM pg_index WHERE indisvalid UNION ALL "
        "SELECT concat_ws(' ', conrelid::regclass, conname, contype, conkey) FROM pg_constraint "
        "WHERE convalidated AND conrelid <> 0"
    ).fetchall()
    return {text for (text,) in found}


@contextmanager
def _bare(database: Database, table: str, say: Say) -> Iterator[None]:
    """Take away the indexes of `table`, but for the primary key, and build them again afterwards."""
    constraints = database.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = %s::regclass AND contype = 'u' ORDER BY 1", [table],
    ).fetchall()  # fmt: skip
    for name, _ in constraints:
        database.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    indexes = database.execute(
        "SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE i.indrelid = %s::regclass AND NOT i.indisprimary ORDER BY 1", [table],
    ).fetchall()  # fmt: skip
    for name, _ in indexes:
        database.execute(f'DROP INDEX "{name}"')
    yield
    for name, text in constraints:
        _timed(database, f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {text}', name, say)
    for name, text in indexes:
        _timed(database, text, name, say)


def _timed(database: Database, sql: str, what: str, say: Say) -> None:
    started = time.monotonic()
    database.execute(sql)
    if (took := time.monotonic() - started) >= 0.5:
        say(f"filling: {what}: {took:.1f} s")


def _insert(database: Database, table: str, number: int, given: dict[str, str]) -> str:
    """Return an INSERT … SELECT for each n from 1 to `number`."""
    columns = database.execute(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns "
        "WHERE table_name = %s ORDER BY ordinal_position", [table],
    ).fetchall()  # fmt: skip
    values = {
        name: given.get(name, EMPTY.get(kind, "''"))
        for name, kind, nullable in columns
        if name in given or nullable == "NO"
    }
    if missing := sorted(set(given) - set(values)):
        raise LookupError(f"{table} has no column {', '.join(missing)}")
    named = ", ".join(f'"{name}"' for name in values)
    return (
        f"INSERT INTO {table} ({named}) OVERRIDING SYSTEM VALUE "
        f"SELECT {', '.join(values.values())} FROM generate_series(1, {number}) AS n"
    )
