"""`bench page`: how many readers the published page serves, against what the same server can do at most."""

import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from statuspage.supervisor import _GUNICORN

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
ROUND_S = 2
CONNECTIONS = 64
FEW = 8  # connections while p99 is measured: a queue of our own making must not hide the server
PUBLISHING_S = 8
START_S = 20.0
HISTORY_DAYS = 365
CODING = "br"


class Missing(Exception):
    """A program is not on this machine; the text says which."""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw in one round."""

    per_s: float
    p99_ms: float
    failed: int


def run() -> dict[str, object]:
    """Measure everything, one server at a time, each in turn with its own limit."""
    for program in ("nginx", "wrk"):
        find(program)
    with tempfile.TemporaryDirectory(prefix="sp-page-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx reads as another user when it is started by root
        data = folder / "data"
        _publish(data)
        nginx = _nginx(folder, data / "public")
        app = _app_server(data)
        publishing = _while_publishing(folder, data)
    return {
        "value": nginx["ours_per_s"],
        "unit": "pages/s from one nginx worker, brotli",
        "limit": nginx["limit_per_s"],
        "ratio_to_limit": nginx["ratio"],
        "figures": {"nginx": nginx, "app_server": app, "publishing": publishing},
        "run": f"wrk -t1 -c{CONNECTIONS} -d{ROUND_S}s, {ROUNDS} interleaved rounds, medians; nginx with docker/nginx.conf "
        "(one worker, no TLS) against nginx serving one plain file of as many bytes; gunicorn as ./run serve starts it, "
        "against a WSGI app that says ok",
    }


def find(program: str) -> str:
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise Missing(f"{program} is not on this machine; Debian: apt-get install nginx-light wrk")
    return found


# --- servers ----------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(command: list[str], port: int, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a server until the block ends; give its address."""
    process = subprocess.Popen(
        command, cwd=ROOT, env=dict(env or os.environ), stdout=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                urllib.request.urlopen(f"{url}/", timeout=2).close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ours(folder: Path, public: Path, port: int, web: str = "127.0.0.1:9") -> list[str]:
    """Return the command of nginx with our configuration, changed only where it names machine and certificate."""
    text = (ROOT / "docker" / "nginx.conf").read_text(encoding="utf-8")
    text = re.sub(r"    server \{\s+listen 8080.*?\n    \}\n", "", text, flags=re.DOTALL)
    text = re.sub(r"\n +ssl_[^\n]+", "", text)
    text = text.replace("/tmp/", f"{folder}/")  # first: the folders put in below lie there too
    for there, here in {
        "/dev/stdout": str(folder / "access.log"),
        "listen 8443 ssl default_server": f"listen 127.0.0.1:{port} default_server",
        "root /public": f"root {public}",
        "resolver 127.0.0.11 valid=5s;": "resolver 127.0.0.1 valid=5s;",
        "web:8000": web,
        "worker_processes auto": "worker_processes 1",
    }.items():
        assert there in text, there
        text = text.replace(there, here)
    conf = folder / f"ours-{port}.conf"
    conf.write_text(text, encoding="utf-8")
    return [find("nginx"), "-c", str(conf), "-p", str(folder), "-g", "daemon off;"]


def _plain(folder: Path, port: int) -> list[str]:
    root = folder / "plain"
    root.mkdir(exist_ok=True)
    conf = folder / "plain.conf"
    conf.write_text(
        f"pid {folder}/plain.pid; error_log stderr warn; worker_processes 1;\n"
        "events { worker_connections 4096; }\n"
        "http { access_log off; server_tokens off; sendfile on; tcp_nopush on; default_type text/html;\n"
        f"server {{ listen 127.0.0.1:{port}; root {root}; index file; }} }}\n",
        encoding="utf-8",
    )
    (root / "file").write_bytes(b"x")
    return [find("nginx"), "-c", str(conf), "-p", str(folder), "-g", "daemon off;"]


def _gunicorn(app: str, port: int) -> list[str]:
    return [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *_GUNICORN, app]


# --- what is measured -------------------------------------------------------------------------


def _publish(data: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "benchmarks.publishing", "--days", str(HISTORY_DAYS)],
        cwd=ROOT,
        env=_env(data),
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=240,
    )


def _env(data: Path) -> dict[str, str]:
    ours = {"DATA_DIR": str(data), "DATABASE_URL": "", "PUBLISH_DIR": "", "SITE_URL": ""}
    return {**os.environ, **ours}


def _nginx(folder: Path, public: Path) -> dict[str, float]:
    port, limit_port = free_port(), free_port()
    with ExitStack() as stack:
        url = stack.enter_context(started(ours(folder, public, port), port))
        limit = stack.enter_context(started(_plain(folder, limit_port), limit_port))
        size = wire_bytes(port)
        file = folder / "plain" / "file"
        file.write_bytes(b"x" * 1000)
        file.write_bytes(b"x" * (size - wire_bytes(limit_port) + 1000))
        if wire_bytes(limit_port) != size:  # the length itself may have got one digit more
            file.write_bytes(b"x" * (file.stat().st_size + size - wire_bytes(limit_port)))
        found = _interleaved(url, limit)
        return found | {"wire_bytes": size, "limit_wire_bytes": wire_bytes(limit_port)}


def _app_server(data: Path) -> dict[str, float]:
    port, limit_port = free_port(), free_port()
    with ExitStack() as stack:
        env = _env(data) | {"SITE_URL": f"http://127.0.0.1:{port}"}
        url = stack.enter_context(started(_gunicorn("statuspage.wsgi", port), port, env))
        limit = stack.enter_context(
            started(_gunicorn("benchmarks.bare:application", limit_port), limit_port, env)
        )
        return _interleaved(url, limit)


def _interleaved(url: str, limit: str) -> dict[str, float]:
    load(url)  # once unmeasured: caches, and the processor's clock
    load(limit)
    rounds = [(load(url), load(limit)) for _ in range(ROUNDS)]
    failed = sum(one.failed + other.failed for one, other in rounds)
    if failed:
        raise RuntimeError(f"{failed} requests failed")
    mine = statistics.median(one.per_s for one, _ in rounds)
    best = statistics.median(other.per_s for _, other in rounds)
    ratios = sorted(one.per_s / other.per_s for one, other in rounds)
    return {
        "ours_per_s": mine,
        "limit_per_s": best,
        "ratio": statistics.median(ratios),
        "ratio_lowest": ratios[0],
        "ratio_highest": ratios[-1],
    }


def _while_publishing(folder: Path, data: Path) -> dict[str, float]:
    """Compare p99 in quiet rounds and in rounds in which one update after the other is published."""
    port = free_port()
    quiet: list[Load] = []
    busy: list[Load] = []
    with started(ours(folder, data / "public", port), port) as url:
        load(url, FEW)
        for _ in range(3):
            quiet.append(load(url, FEW))
            with _publisher(data):
                busy.append(load(url, FEW))
    return {
        "quiet_p99_ms": statistics.median(one.p99_ms for one in quiet),
        "publishing_p99_ms": statistics.median(one.p99_ms for one in busy),
        "failed": float(sum(one.failed for one in (*quiet, *busy))),
    }


@contextmanager
def _publisher(data: Path) -> Iterator[None]:
    """Let one update after the other be published until the block ends."""
    command = [sys.executable, "-m", "benchmarks.publishing", "--again", str(PUBLISHING_S)]
    process = subprocess.Popen(command, cwd=ROOT, env=_env(data), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # "publishing"
    try:
        yield
    finally:
        process.terminate()
        process.wait(15)
        process.stdout.close()


# --- wrk --------------------------------------------------------------------------------------


def load(url: str, connections: int = CONNECTIONS) -> Load:
    """Ask for the page as fast as it comes, for one round."""
    done = subprocess.run(
        [
            find("wrk"), "-t1", f"-c{connections}", f"-d{ROUND_S}s", "--latency", "--timeout", "5s",
            "-H", f"Accept-Encoding: {CODING}", f"{url}/",
        ],
        capture_output=True, text=True, check=True, timeout=ROUND_S + 30,
    )  # fmt: skip
    errors = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", done.stdout
    )
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    failed = sum(map(int, errors.groups())) if errors else 0
    per_s = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)
    assert per_s, done.stdout
    assert p99, done.stdout
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]]
    return Load(
        float(per_s[1]), float(p99[1]) * scale, failed + (int(refused[1]) if refused else 0)
    )


def wire_bytes(port: int) -> int:
    """Return how many bytes one answer has, headers and body."""
    ask = f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: {CODING}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(ask.encode())
        found = b""
        while part := client.recv(65536):
            found += part
    return len(found)
