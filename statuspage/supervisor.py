"""Starts and stops the processes of `./run serve` and `./run demo`. No Django."""

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from statuspage import embedded

BASE_DIR = Path(__file__).resolve().parent.parent
PORT = 8000
STOP_S = 8.0  # contract.md: all within 10 s; who has not ended by then is killed
START_S = 60.0
RESTART_WAIT_S = (
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
)  # between one start of a child that keeps dying and the next
STEADY_S = 30.0  # a child that ran so long starts afresh
LOG_BYTES_MAX = 20_000_000
LOCK = "supervisor.lock"  # in DATA_DIR, with the process id of who holds it
PR_SET_PDEATHSIG = 1  # prctl(2): the kernel ends a child whose parent died


class CannotStart(Exception):
    """Something needed for the start is missing or wrong; the text is one sentence."""


@dataclass(slots=True)
class Child:
    """One process that is kept running."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    log_stuck: bool = False


@dataclass
class Supervisor:
    """Keeps children running, says so when one dies, stops them all at the end."""

    data_dir: Path
    children: list[Child] = field(default_factory=list)
    stopping: bool = False
    kept: list[socket.socket] = field(default_factory=list)

    def keep(self, listener: socket.socket) -> None:
        """Hold a child's listening socket open, so that its restart finds it again."""
        self.kept.append(listener)

    def start(
        self, name: str, command: Sequence[str], env: Mapping[str, str], fds: tuple[int, ...] = ()
    ) -> Child:
        child = Child(name, command, env, fds)
        self.children.append(child)
        self._spawn(child)
        return child

    def watch(self) -> None:
        """Restart what dies, until stopped."""
        while not self.stopping:
            for child in self.children:
                self._look_after(child)
            self._trim_logs()
            time.sleep(0.1)

    def stop(self) -> None:
        """End all children, the last started first; kill what has not ended after STOP_S."""
        self.stopping = True
        running = [
            child
            for child in reversed(self.children)
            if child.process and child.process.poll() is None
        ]
        broker = [child for child in running if child.name == "valkey"]
        deadline = time.monotonic() + STOP_S
        for group in ([child for child in running if child not in broker], broker):
            for child in group:
                child.process.terminate()  # type: ignore[union-attr]  # running ones have a process
            for child in group:
                self._await_end(child, deadline)

    def _spawn(self, child: Child) -> None:
        with self._log(child.name) as log:
            child.process = subprocess.Popen(
                child.command, env=dict(child.env), cwd=BASE_DIR, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=child.fds, start_new_session=True, preexec_fn=_die_with_parent,
            )  # fmt: skip
        child.started = time.monotonic()

    def _look_after(self, child: Child) -> None:
        assert child.process is not None
        code = child.process.poll()
        now = time.monotonic()
        if code is None:
            if now - child.started > STEADY_S:
                child.failures = 0
            return
        if child.retry_at == 0.0:
            self._put_off(child)
            say(
                f"{child.name} ended ({_ending(code)}); starting it again, see {self._log_path(child.name)}"
            )
        if now >= child.retry_at:
            self._start_again(child)

    def _put_off(self, child: Child) -> None:
        wait_s = RESTART_WAIT_S[min(child.failures, len(RESTART_WAIT_S) - 1)]
        child.failures, child.retry_at = child.failures + 1, time.monotonic() + wait_s

    def _start_again(self, child: Child) -> None:
        """Start it, or say why not and set the next try: a machine out of memory or processes may have some later."""
        try:
            self._spawn(child)
        except (OSError, subprocess.SubprocessError) as error:
            self._put_off(child)
            say(f"{child.name} cannot be started ({error}); trying again")
        else:
            child.retry_at = 0.0

    def _await_end(self, child: Child, deadline: float) -> None:
        process = child.process
        assert process is not None
        try:
            process.wait(max(0.05, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            say(f"{child.name} did not end within {STOP_S:.0f} s; killing it")
        # Its own children, if any are left, are in its session.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _log_path(self, name: str) -> Path:
        return self.data_dir / "logs" / f"{name}.log"

    def _log(self, name: str) -> IO[bytes]:
        path = self._log_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")

    def _trim_logs(self) -> None:
        for child in self.children:
            path = self._log_path(child.name)
            try:
                if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
                    os.truncate(path, 0)  # children append, so they go on at the new end
                child.log_stuck = False
            except OSError as error:
                if not child.log_stuck:
                    say(f"{path} cannot be cut ({error.strerror})")
                child.log_stuck = True


def say(sentence: str) -> None:
    """Tell the terminal; that it is gone, or its disk full, ends nothing."""
    with contextlib.suppress(OSError):
        print(f"run: {sentence}", file=sys.stderr, flush=True)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"


def _die_with_parent() -> None:
    """On Linux, be ended by the kernel when the supervisor is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


# --- what is started --------------------------------------------------------------------------------------------------


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, so that a restart of the web process refuses nobody."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise CannotStart(
            f"port {port} on {host} cannot be used ({error.strerror}); choose one with --port"
        ) from error
    listener.listen(1024)
    listener.set_inheritable(True)
    return listener


def start_broker(house: Supervisor, env: dict[str, str]) -> None:
    """Start the embedded Valkey unless REDIS_URL names another one."""
    if env.get("REDIS_URL"):
        return
    binary = embedded.server_binary()
    if binary is None:
        raise CannotStart(
            "no Valkey or Redis server: put redis-server on the PATH, or set REDIS_URL for ./run serve"
        )
    path = embedded.socket_path(house.data_dir)
    path.unlink(missing_ok=True)
    house.start("valkey", embedded.server_command(binary, house.data_dir), env)
    env["REDIS_URL"] = f"unix://{path}"
    deadline = time.monotonic() + START_S
    while not _accepts(path):
        if time.monotonic() > deadline:
            raise CannotStart(
                f"Valkey does not answer on {path}; see {house.data_dir}/logs/valkey.log"
            )
        time.sleep(0.02)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def prepare(env: Mapping[str, str], *arguments: str) -> dict[str, str]:
    """Bring the database up to date; return what statuspage.prepare prints (the local prober's token and more)."""
    done = subprocess.run(
        [sys.executable, "-m", "statuspage.prepare", *arguments],
        env=dict(env), cwd=BASE_DIR, stdout=subprocess.PIPE, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise CannotStart("the start was refused; the sentence above says why")
    found: dict[str, str] = json.loads(done.stdout)
    return found


def start_house(
    house: Supervisor, env: dict[str, str], listener: socket.socket, token: str
) -> None:
    """Start web, workers, clock, prober and watchdog."""
    python = sys.executable
    fd = listener.fileno()
    house.start(
        "web",
        [python, "-m", "gunicorn", "--bind", f"fd://{fd}", *_GUNICORN, "statuspage.wsgi"],
        env,
        (fd,),
    )
    house.start("clock", [python, "-m", "statuspage.clock"], env)
    # E-mail is work for the processor, the other channels wait for their providers: a slow one must not hold up mail.
    celery = [python, "-m", "celery", "-A", "statuspage.celery", "worker", "--loglevel", "warning"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    house.start(
        "worker-email", [*celery, *quiet, "-Q", "send.email", "-c", "2", "-n", "email@%h"], env
    )
    others = ["-X", "send.email", "-P", "threads", "-c", "8", "-n", "others@%h"]
    house.start("worker", [*celery, *quiet, *others], env)
    local = f"http://{address(listener)}"
    agent = [python, "-m", "probes.agent", "--server", local, "--location", "local"]
    house.start("prober", agent, env | {"PROBE_TOKEN": token})
    folder = env.get("PUBLISH_DIR") or str(house.data_dir / "public")
    house.start("watchdog", [python, "-m", "public.watchdog", "--dir", folder], env)


# One process per core of a small machine; threads wait for the database. Preloading shares the code between them.
_GUNICORN = (
    *("--workers", "2", "--threads", "8", "--worker-class", "gthread", "--preload"),
    *("--timeout", "30", "--graceful-timeout", "5", "--keep-alive", "5", "--log-level", "warning"),
)


def address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def await_ready(url: str, house: Supervisor) -> None:
    """Return when the web process answers and the first page is published."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        for child in house.children:
            if child.process and child.process.poll() is not None:
                raise CannotStart(
                    f"{child.name} ended while starting; see {house.data_dir}/logs/{child.name}.log"
                )
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(url, timeout=2) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise CannotStart(f"{url} did not answer within {START_S:.0f} s; see {house.data_dir}/logs")


def serve(options: argparse.Namespace) -> None:
    """Run a small installation until SIGTERM."""
    env = dict(os.environ)
    data_dir = Path(options.data or env.get("DATA_DIR") or "./var").resolve()
    env["DATA_DIR"] = str(data_dir)
    house = Supervisor(data_dir)
    listener = listen(options.host, PORT if options.port is None else options.port)
    url = f"http://{address(listener)}"
    env.setdefault("SITE_URL", url)
    with running(house):
        start_broker(house, env)
        found = prepare(env)
        start_house(house, env, listener, found["probe_token"])
        await_ready(f"{url}/", house)
        print(f"ready {url}", flush=True)
        house.watch()


@contextlib.contextmanager
def running(house: Supervisor) -> Iterator[None]:
    """Hold DATA_DIR, and stop everything when the block ends, by SIGTERM, Ctrl-C or failure."""

    def stop(*_: object) -> None:
        house.stopping = True
        raise KeyboardInterrupt

    with _alone_in(house.data_dir):
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        try:
            yield
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            house.stop()


@contextlib.contextmanager
def _alone_in(data_dir: Path) -> Iterator[None]:
    """Hold DATA_DIR until the block or this process ends, however it does. Raises CannotStart."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise CannotStart(
            f"DATA_DIR {data_dir} cannot be written ({error.strerror}); name a folder of yours"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise CannotStart(
                f"DATA_DIR {data_dir} is in use by process {lock.read()}; stop it, or name another folder"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
