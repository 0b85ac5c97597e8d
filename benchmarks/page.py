"""`bench page`: how many readers the published page serves, against what the same server can do at most."""

import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import page_servers
from benchmarks.alone import alone
from benchmarks.page_servers import ROOT, Server, find, free_port, started

ROUNDS = 12
ROUND_S = 1
CONNECTIONS = 64
# While p99 is measured readers come again and again, and no faster than that: a queue of our own making must not
# hide the server.
FEW = 16
PAUSE_MS = 10
QUIET_ROUNDS, QUIET_ROUND_S = 6, 3
PUBLISHING_S = 30
FULL_S = 6  # the page read as fast as it comes, by CONNECTIONS, and published all the while
HISTORY_DAYS = 365
CODING = "br"


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw in one round."""

    per_s: float
    p99_ms: float
    failed: int
    per_cpu_s: (
        float  # of the server's own processor time: what others do on the machine is not in it
    )


def run() -> dict[str, object]:
    """Measure everything, one server at a time, each in turn with its own limit."""
    for program in ("nginx", "wrk"):
        find(program)
    with tempfile.TemporaryDirectory(prefix="sp-page-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx reads as another user when it is started by root
        data = folder / "data"
        _publish(data)
        with alone() as words:
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
        "against a WSGI app that says ok; ratio: pages per second of the server's own processor time, "
        f"ratio_by_clock: pages per second; {words}",
    }


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
        ours = stack.enter_context(started(page_servers.ours(folder, public, port), port))
        limit = stack.enter_context(started(page_servers.plain(folder, limit_port), limit_port))
        size = wire_bytes(port)
        file = folder / "plain" / "file"
        file.write_bytes(b"x" * 1000)
        file.write_bytes(b"x" * (size - wire_bytes(limit_port) + 1000))
        if wire_bytes(limit_port) != size:  # the length itself may have got one digit more
            file.write_bytes(b"x" * (file.stat().st_size + size - wire_bytes(limit_port)))
        found = _interleaved(ours, limit)
        return found | {"wire_bytes": size, "limit_wire_bytes": wire_bytes(limit_port)}


def _app_server(data: Path) -> dict[str, float]:
    port, limit_port = free_port(), free_port()
    with ExitStack() as stack:
        env = _env(data) | {"SITE_URL": f"http://127.0.0.1:{port}"}
        ours = stack.enter_context(
            started(page_servers.gunicorn("statuspage.wsgi", port), port, env)
        )
        limit = stack.enter_context(
            started(
                page_servers.gunicorn("benchmarks.bare:application", limit_port), limit_port, env
            )
        )
        return _interleaved(ours, limit)


def _interleaved(ours: Server, limit: Server) -> dict[str, float]:
    load(ours)  # once unmeasured: caches, and the processor's clock
    load(limit)
    rounds: list[tuple[Load, Load]] = []
    for number in range(ROUNDS):  # each goes first as often as the other
        if number % 2:
            mine, best = load(ours), load(limit)
        else:
            best, mine = load(limit), load(ours)
        rounds.append((mine, best))
    failed = sum(one.failed + other.failed for one, other in rounds)
    if failed:
        raise RuntimeError(f"{failed} requests failed")
    ratios = sorted(one.per_cpu_s / other.per_cpu_s for one, other in rounds)
    by_clock = sorted(one.per_s / other.per_s for one, other in rounds)
    return {
        "ours_per_s": statistics.median(one.per_s for one, _ in rounds),
        "limit_per_s": statistics.median(other.per_s for _, other in rounds),
        "ratio": statistics.median(ratios),
        "ratio_lowest": ratios[0],
        "ratio_highest": ratios[-1],
        "ratio_by_clock": statistics.median(by_clock),
        "by_clock_lowest": by_clock[0],
        "by_clock_highest": by_clock[-1],
    }


def _while_publishing(folder: Path, data: Path) -> dict[str, float]:
    """Compare p99 in quiet rounds and in rounds in which one update after the other is published.

    The publisher is as urgent as nginx and wrk, as in an installation where nobody set priorities.
    """
    port = free_port()
    quiet: list[Load] = []
    busy: list[Load] = []
    with started(page_servers.ours(folder, data / "public", port), port) as server:
        load(server, FEW, QUIET_ROUND_S, PAUSE_MS)
        for _ in range(QUIET_ROUNDS):
            quiet.append(load(server, FEW, QUIET_ROUND_S, PAUSE_MS))
            with _publisher(data):
                busy.append(load(server, FEW, QUIET_ROUND_S, PAUSE_MS))
        crowded = _while_read(server, data)
    before = statistics.median(one.p99_ms for one in quiet)
    during = statistics.median(one.p99_ms for one in busy)
    return {
        "quiet_p99_ms": before,
        "publishing_p99_ms": during,
        "p99_ratio": during / before,
        "failed": float(sum(one.failed for one in (*quiet, *busy))),
    } | crowded


def _while_read(server: Server, data: Path) -> dict[str, float]:
    """Return how long an update takes while the page is read as fast as nginx gives it."""
    with _publisher(data, FULL_S // 2) as process:
        crowd = load(server, seconds=FULL_S)
        assert process.stdout is not None
        found: dict[str, float] = json.loads(process.stdout.readline())
    return {"read_at_full_rate_" + name: value for name, value in found.items()} | {
        "read_per_s": crowd.per_s
    }


@contextmanager
def _publisher(data: Path, seconds: int = PUBLISHING_S) -> Iterator[subprocess.Popen[str]]:
    """Let one update after the other be published for `seconds`, at most until the block ends."""
    command = [sys.executable, "-m", "benchmarks.publishing", "--again", str(seconds)]
    process = subprocess.Popen(command, cwd=ROOT, env=_env(data), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # "publishing"
    try:
        yield process
    finally:
        process.terminate()
        process.wait(15)
        process.stdout.close()


# --- wrk --------------------------------------------------------------------------------------


def load(
    server: Server, connections: int = CONNECTIONS, seconds: int = ROUND_S, pause_ms: int = 0
) -> Load:
    """Ask for the page as fast as it comes, or `pause_ms` after each answer, for one round."""
    before_s = server.cpu_s()
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"function delay() return {pause_ms} end\n")
        script.flush()
        done = subprocess.run(
            [
                find("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "5s",
                *(["-s", script.name] if pause_ms else []), "-H", f"Accept-Encoding: {CODING}", f"{server.url}/",
            ],
            capture_output=True, text=True, check=True, timeout=seconds + 30,
        )  # fmt: skip
    spent_s = server.cpu_s() - before_s
    errors = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", done.stdout
    )
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    failed = sum(map(int, errors.groups())) if errors else 0
    per_s = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    count = re.search(r"(\d+) requests in", done.stdout)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)
    assert per_s, done.stdout
    assert p99, done.stdout
    assert count, done.stdout
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]]
    failed += int(refused[1]) if refused else 0
    return Load(float(per_s[1]), float(p99[1]) * scale, failed, int(count[1]) / max(spent_s, 0.01))


def wire_bytes(port: int) -> int:
    """Return how many bytes one answer has, headers and body."""
    ask = f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: {CODING}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(ask.encode())
        found = b""
        while part := client.recv(65536):
            found += part
    return len(found)
