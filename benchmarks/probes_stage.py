"""What the probers are measured against: a fast server to probe, a place to hand results in, and a peer."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from aiohttp import web

from demo.stage import bound_socket, in_thread, serving

ROOT = Path(__file__).resolve().parent.parent
START_S = 20.0
STOP_S = 5.0
# The subject has a core of its own; what it talks to shares the other one.
SUBJECT_CPU, OTHERS_CPU = 0, 1
LOCATION, TOKEN = "bench", "only-for-the-measurement"
# As large as the answer to a read of the newest values.
ANSWER = json.dumps([{"value": 120, "time": "2019-11-30T06:00:00.000Z", "trend": "Flat"}])


class NotHere(Exception):
    """A program that the measurement needs is missing or does not start; the text is one sentence."""


def pin(pid: int, cpu: int) -> None:
    """Keep a process on one core, where there are two; on a machine with one they share it."""
    if (os.cpu_count() or 1) > cpu:
        os.sched_setaffinity(pid, {cpu})


def cpu_s(pid: int) -> float:
    """Return the CPU-seconds that a process has used, user and system."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def program(*names: str, package: str) -> str:
    """Return the path of the first of `names` that is there; raise NotHere naming its Debian package."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise NotHere(f"{names[0]} is not on this machine; Debian: apt-get install {package}.")


@contextmanager
def started(command: Sequence[str], *, cpu: int, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a process on one core while the block runs."""  # Any: Popen's own keyword arguments.
    process = subprocess.Popen(command, cwd=ROOT, text=True, **more)
    try:
        pin(process.pid, cpu)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


def await_port(port: int, process: subprocess.Popen[str]) -> None:
    """Return when somebody listens on a loopback port; raise NotHere when nobody does."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise NotHere(f"{process.args!r} does not listen on port {port}.")


def await_child(process: subprocess.Popen[str]) -> int:
    """Return the process id of the one child, which comes a moment after its parent listens."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        children = psutil.Process(process.pid).children()
        if children:
            return int(children[0].pid)
        time.sleep(0.02)
    raise NotHere(f"{process.args!r} has no worker.")


def free_port() -> int:
    """Return a port that nobody listens on just now, for programs that cannot inherit a socket."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- what is probed -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """nginx with one worker, answering one small document."""

    url: str
    worker: int

    def busy_s(self) -> float:
        """Return the CPU-seconds that the worker has used."""
        return cpu_s(self.worker)


@contextmanager
def target(folder: Path) -> Iterator[Target]:
    """Run nginx on a free port."""
    binary = program("nginx", package="nginx-light")
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;"
        f"events {{ worker_connections 4096; }}"
        f"http {{ access_log off; server {{ listen 127.0.0.1:{port} backlog=4096;"
        f" location / {{ default_type application/json; return 200 '{ANSWER}'; }} }} }}",
        encoding="utf-8",
    )
    command = [binary, "-p", str(folder), "-c", str(config), "-e", str(folder / "nginx.log")]
    with started(command, cpu=OTHERS_CPU) as process:
        await_port(port, process)
        worker = await_child(process)
        pin(worker, OTHERS_CPU)
        yield Target(f"http://127.0.0.1:{port}/", worker)


# --- where results go -----------------------------------------------------------------------------


@dataclass
class Collector:
    """A server for one agent: gives it its checks, counts what it hands in."""

    checks: list[dict[str, Any]]  # Any: as JSON has them.
    url: str = ""
    results: int = 0
    failed: int = 0
    # When each run began, by check; kept only while `keeps_times`.
    keeps_times: bool = False
    times: dict[str, list[float]] = field(default_factory=dict)

    @asynccontextmanager
    async def opening(self) -> AsyncIterator["Collector"]:
        """Serve on a free port."""
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_get("/probes/checks", self._give)
        app.router.add_post("/probes/results", self._take)
        async with serving(app, bound_socket("127.0.0.1", 0, None)) as url:
            self.url = url
            yield self

    async def _give(self, request: web.Request) -> web.Response:
        document = {"location": LOCATION, "references": [], "checks": self.checks}
        return web.json_response(document, headers={"ETag": '"1"'})

    async def _take(self, request: web.Request) -> web.Response:
        results = (await request.json())["results"]
        self.results += len(results)
        self.failed += sum(1 for each in results if each["outcome"] != "ok")
        if self.keeps_times:
            for each in results:
                at_s = datetime.fromisoformat(each["at"]).timestamp()
                self.times.setdefault(each["check"], []).append(at_s)
        return web.json_response({"accepted": len(results), "duplicates": 0, "etag": '"1"'})


@contextmanager
def collecting(collector: Collector) -> Iterator[Collector]:
    """Run a collector in a thread of this process, which is pinned beside the target."""
    with in_thread(collector.opening) as opened:
        yield opened


def checks_of(url: str, *, count: int, interval_s: int) -> list[dict[str, Any]]:  # Any: JSON.
    """Return checks of kind http that ask one address each for status 200."""
    return [
        {
            "slug": f"check-{number}",
            "kind": "http",
            "interval_s": interval_s,
            "timeout_s": 10,
            "retry_after_s": 0,
            "spec": {
                "component": "follow",
                "allow_private": True,
                "steps": [{"name": "read", "url": f"{url}{number}", "expect": {"status": 200}}],
            },
        }
        for number in range(count)
    ]


# --- the subjects ---------------------------------------------------------------------------------


@contextmanager
def agent(collector: Collector, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the prober as it is run anywhere, with an empty buffer; its CPU is its own."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "probes.agent",
        "--server",
        collector.url,
        "--location",
        LOCATION,
    ]
    env = {**os.environ, "PROBE_TOKEN": TOKEN, "DATA_DIR": str(folder)}
    try:
        with started(command, cpu=SUBJECT_CPU, env=env, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            timer = threading.Timer(START_S, process.kill)
            timer.start()
            line = process.stdout.readline()
            timer.cancel()
            if not line.startswith("ready "):
                raise NotHere(f"the agent did not become ready: {line!r}")
            yield process
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def blackbox(folder: Path) -> Iterator[tuple[str, int]]:
    """Run Debian's blackbox exporter on the subject's core; give its probe address and process id."""
    binary = program(
        "prometheus-blackbox-exporter", "blackbox_exporter", package="prometheus-blackbox-exporter"
    )
    config = folder / "blackbox.yml"
    config.write_text(
        "modules:\n  http_2xx:\n    prober: http\n    timeout: 10s\n"
        "    http: {preferred_ip_protocol: ip4, valid_status_codes: [200]}\n",
        encoding="utf-8",
    )
    port = free_port()
    command = [binary, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"]
    # The Go runtime counts its cores when it starts.
    taskset = ["taskset", "--cpu-list", str(SUBJECT_CPU)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with started([*taskset, *command, "--log.level=error"], cpu=SUBJECT_CPU, **quiet) as process:
        await_port(port, process)
        yield f"http://127.0.0.1:{port}/probe?module=http_2xx&target=", process.pid


@contextmanager
def this_process_beside_the_target() -> Iterator[None]:
    """Keep this process, with its collector, off the subject's core."""
    before = os.sched_getaffinity(0)
    pin(os.getpid(), OTHERS_CPU)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, before)
