"""The servers of the published page: nginx with our configuration, the app server, and the least that each can be."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.probes_stage import NotHere
from statuspage.supervisor import _GUNICORN

ROOT = Path(__file__).resolve().parent.parent
START_S = 20.0


@dataclass(frozen=True, slots=True)
class Server:
    """One that answers at `url`."""

    url: str
    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        """Return the processor time that it and its workers have had so far."""
        own = [self.process, *self.process.children(recursive=True)]
        return sum(sum(each.cpu_times()[:2]) for each in own)


def find(program: str) -> str:
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise NotHere(f"{program} is not on this machine; Debian: apt-get install nginx-light wrk")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(
    command: list[str], port: int, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a server until the block ends; give it."""
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
        yield Server(url, port, psutil.Process(process.pid))
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


def plain(folder: Path, port: int) -> list[str]:
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


def gunicorn(app: str, port: int) -> list[str]:
    return [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *_GUNICORN, app]
