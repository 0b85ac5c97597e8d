"""The promised points of reach."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.accept import Point
from benchmarks.stage import ROOT

TICK_MS, P99_MS, AGAIN_S = 50.0, 250.0, 180
GROWTH_MAX = 1.2
TIMEOUT_S = 900


def points() -> Iterator[Point]:
    """Measure every point, each in a process of its own."""
    yield from _family()
    yield from _ladder()
    yield from _callbacks()
    yield from _real_parts()


def _family() -> Iterator[Point]:
    ran = "benchmarks.reach_family: simulated clock, real ladder, line, channels, receipts; stand-in for Twilio"
    done = _python("benchmarks.reach_family")
    rows = [line for line in done.stdout.splitlines() if line[:1] in " !"]
    for line in rows:
        print(line)
    wrong = sum(line.startswith("!") for line in rows)
    figure = f"{len(rows)} rows, {wrong} not as they must be" if rows else _last(done)
    yield Point("a family through four nights", bool(rows) and done.returncode == 0, figure, ran)


def _ladder() -> Iterator[Point]:
    ran = "benchmarks.reach_ladder: 10,000 people, 10 calls/s, the first ten minutes, on PostgreSQL"
    found, why = _json("benchmarks.reach_ladder")
    if found is None:
        yield Point("10,000 people on the ladder", False, why, ran)
        return
    order = found["out_of_order"] == 0 and found["again_longest_s"] <= AGAIN_S
    yield Point(
        "order as the rule says", order,
        f"{found['calls']} calls, {found['out_of_order']} out of order, second ring after {found['again_longest_s']} s at most", ran,
    )  # fmt: skip
    yield Point(
        "nobody called twice at once", found["doubled"] == 0, f"{found['doubled']} people", ran
    )
    grown = found["rss_last_mb"] / found["rss_first_mb"]
    yield Point(
        "memory flat",
        grown <= GROWTH_MAX,
        f"{found['rss_first_mb']} to {found['rss_last_mb']} MB",
        ran,
    )
    ticks = f"p50 {found['tick_p50_ms']}, p99 {found['tick_p99_ms']}, longest {found['tick_longest_ms']} ms"
    yield Point("clock tick at most 50 ms", found["tick_p99_ms"] <= TICK_MS, ticks, ran)


def _callbacks() -> Iterator[Point]:
    ran = "benchmarks.reach_callbacks: gunicorn as ./run serve starts it, PostgreSQL, 30 % doubled or out of order"
    found, why = _json("benchmarks.reach_callbacks")
    if found is None:
        yield Point("callbacks", False, why, ran)
        return
    calm = found["calm_refused"] == 0 and found["calm_lost"] == 0 and found["calm_p99_ms"] <= P99_MS
    yield Point(
        "200 callbacks a second for 60 s", calm,
        f"p99 {found['calm_p99_ms']} ms, {found['calm_refused']} refused, {found['calm_lost']} in a wrong state", ran,
    )  # fmt: skip
    yield Point(
        "1,000 a second offered: nothing answered 2xx is lost", found["storm_lost"] == 0,
        f"{found['storm_answered']} of {found['storm_offered']} answered, {found['storm_lost']} lost", ran,
    )  # fmt: skip


def _real_parts() -> Iterator[Point]:
    parts = {
        "bounces through Debian's IMAP server": "tests/notifications/test_mailbox.py",
        "Twilio's own signature validator": "tests/notifications/test_receipts.py",
        "events of twelve mail providers, from their documents": "tests/notifications/test_mail_receipts.py",
        "a push decrypted with the subscriber's key": "tests/notifications/test_hooks.py",
        "a push shown by the service worker in Chromium": "tests/subscribers/test_push_browser.py",
        "fallback, ladder, black hole, wake test": "tests/notifications/test_waking.py",
        "accounts asked before the night": "tests/notifications/test_checkups.py",
    }
    for promise, path in parts.items():
        done = _python("pytest", "-q", "-p", "no:randomly", path)
        yield Point(promise, done.returncode == 0, _last(done), path)


def _json(module: str) -> tuple[dict[str, Any] | None, str]:  # Any: JSON
    done = _python(module)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return (json.loads(lines[-1]), "") if lines and done.returncode == 0 else (None, _last(done))


def _last(done: subprocess.CompletedProcess[str]) -> str:
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return said[-1][:160] if said else "it said nothing"


def _python(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [sys.executable, "-m", module, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess([module], 1, "", f"not through within {TIMEOUT_S} s")
