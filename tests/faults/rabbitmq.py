"""A RabbitMQ of the tests' own: Debian's server in a folder of its own, on ports of its own."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import kombu

START_S = 90.0
# Debian's own wrapper changes to another user and to the machine's folders; this is the server behind it.
BINARIES = Path("/usr/lib/rabbitmq/bin")


@dataclass
class RabbitMQ:
    """The running server; `restart` keeps what is durable."""

    folder: Path
    env: dict[str, str]
    url: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(BINARIES / "rabbitmq-server")],
                env=self.env, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "server.log").read_text()[-1500:]
            assert time.monotonic() < deadline, f"RabbitMQ does not answer within {START_S:.0f} s"
            time.sleep(0.2)

    def stop(self) -> None:
        """kill -9, as if the machine went away."""
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None

    def said(self) -> str:
        """Return version and process id, as the server itself tells them."""
        with kombu.Connection(self.url) as connection:
            properties = connection.connection.server_properties
            assert self.process is not None
            return f"{properties['product']} {properties['version']}, process {self.process.pid}"

    def _answers(self) -> bool:
        try:
            with kombu.Connection(self.url, connect_timeout=2) as connection:
                connection.connect()
        except OSError:
            return False
        return True


@contextmanager
def running(folder: Path) -> Iterator[RabbitMQ]:
    """Run it while the block runs; an absent server is a failure."""
    assert (BINARIES / "rabbitmq-server").exists(), (
        "RabbitMQ is not on this machine: apt-get install rabbitmq-server"
    )
    ports = [_free_port() for _ in range(3)]
    home = folder / "rabbitmq"
    home.mkdir()
    (home / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{ports[0]}\nlog.console = true\nlog.file = false\n"
        "disk_free_limit.absolute = 10MB\n",
        encoding="utf-8",
    )
    (home / "plugins").write_text("[].", encoding="utf-8")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "RABBITMQ_NODENAME": f"sp{secrets.token_hex(4)}@localhost",
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_DIST_PORT": str(ports[1]),
        "ERL_EPMD_PORT": str(ports[2]),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
    server = RabbitMQ(home, env, f"amqp://guest:guest@127.0.0.1:{ports[0]}//")
    try:
        server.start()
        yield server
    finally:
        server.stop()
        epmd = shutil.which("epmd")
        if epmd:  # Erlang's own name server stays behind; it is ours, by its port
            subprocess.run(
                [epmd, "-port", str(ports[2]), "-kill"], capture_output=True, check=False, env=env, timeout=20
            )  # fmt: skip


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
