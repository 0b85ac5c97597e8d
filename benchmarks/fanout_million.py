"""The million of `bench fanout`: queued by sets, and something urgent published while it waits."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.fanout_smtp import fill
from benchmarks.yard import ROOT, Sink, Yard, memory, sink, yard

# The crowd of reliability.md R18.
PEOPLE = {"email": 700_000, "webpush": 200_000, "sms": 90_000, "voice": 10_000}
URGENT = "Urgent-words-of-this-measurement"
PATIENCE_S = 60.0
Say = Callable[[str], None]


def measure(*, urgent: bool, workers: int, say: Say) -> dict[str, Any]:
    """Return the figures of the parts `million` and, if asked, `urgent`."""
    with sink() as server:
        url = f"smtp://127.0.0.1:{server.ports['pipelining']}"
        with yard(email_url=url, phones=True) as house:
            say(f"bringing in {sum(PEOPLE.values()):,} subscribers")
            fill(house, **PEOPLE)
            say("queueing them")
            found = {"million": _helper(house, "million")}
            if urgent:
                say("publishing something urgent meanwhile")
                found["urgent"] = _urgent(house, server, workers)
            return found


def _helper(house: Yard, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fanout_cast", *words],
        cwd=ROOT,
        env=house.env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _urgent(house: Yard, server: Sink, workers: int) -> dict[str, Any]:
    _helper(house, "low")
    worker = house.start_workers(workers)
    clock = house.start_clock()
    page = house.folder / "public" / "index.html"
    _wait(lambda: server.messages > 1000 and page.exists())
    before = {"workers_mb": memory(worker) / 1e6, "clock_mb": memory(clock) / 1e6}
    waiting = _helper(house, "states")["pending"]
    server.ask(f"watch {URGENT}")
    published = _helper(house, "publish", URGENT, "at once")["at"]
    shown = _wait(lambda: URGENT in _text(page))
    told = _wait(lambda: server.ask()["watched_at"] > 0)
    first = server.ask()["watched_at"] if told else float("inf")
    time.sleep(5)
    after = {"workers_mb": memory(worker) / 1e6, "clock_mb": memory(clock) / 1e6}
    return {
        "waiting": waiting,
        "page_s": round(shown - published, 2) if shown else None,
        "first_urgent_s": round(first - published, 2),
        "memory_before": {name: round(value) for name, value in before.items()},
        "memory_after": {name: round(value) for name, value in after.items()},
    }


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _wait(condition: Callable[[], bool]) -> float:
    """Return when `condition` came true, 0 if it did not within PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if condition():
            return time.time()
        time.sleep(0.02)
    return 0.0
