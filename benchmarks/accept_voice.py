"""The promised points of the voice."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.accept import Point
from benchmarks.yard import ROOT

SUBSCRIBERS = 100_000
WORKERS = 2
PLAIN_MIN = 0.7
PIPELINING_MIN = 1.3
PEER_MIN = 3.0
PAGE_S = 2.0
FIRST_S = 3.0
BARE_MIN = 0.5
MILLION_S = 60.0
LATE_MIN = 0.8
MEMORY_MAX = 0.2
BENCH_S = 1500.0
FAULTS_S = 1800.0


def points() -> Iterator[Point]:
    """Measure every point; the whole takes about half an hour on two quiet cores."""
    yield from _fanout()
    yield from _growth()
    yield from _tests("faults", "R1 to R4, R7 to R10, R13 to R17, R20, R21, R25 to R28, R32")
    yield from _tests("mutants", "each protection removed turns its fault test red")


def _bench(*words: str) -> Mapping[str, Any] | str:  # Any: JSON
    """Return the object that `./run bench` prints, or a sentence about why there is none."""
    command = [sys.executable, "-m", "benchmarks", *words, "--json"]
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False, timeout=BENCH_S
        )
        found: Mapping[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return f"no answer within {BENCH_S:.0f} s"
    except ValueError:
        return f"no answer, exit {done.returncode}"
    return found


def _fanout() -> Iterator[Point]:
    words = ("fanout", "--subscribers", str(SUBSCRIBERS), "--workers", str(WORKERS))
    ran = f"./run bench {' '.join(words)} --json"
    found = _bench(*words)
    if isinstance(found, str):
        yield Point("fan-out", False, found, ran)
        return
    figures = found["figures"]
    yield from _smtp(figures["plain"], figures["pipelining"], ran)
    yield from _million(figures["million"], figures["urgent"], ran)


def _smtp(plain: Mapping[str, Any], ahead: Mapping[str, Any], ran: str) -> Iterator[Point]:
    for name, one, least in (
        ("without PIPELINING", plain, PLAIN_MIN),
        ("with PIPELINING", ahead, PIPELINING_MIN),
    ):
        yield Point(
            f"{SUBSCRIBERS:,} mails, {WORKERS} workers, {name}: at least {least} of the limit",
            one["ratio"] >= least,
            f"{one['ratio']:.2f} ({one['rate']:.0f} of {one['limit']:.0f} messages/s, medians of 5 rounds)",
            ran,
        )
        told = (one["told"], one["twice"])
        yield Point(
            f"of those {name}, everybody once",
            told == (SUBSCRIBERS, 0),
            f"{told[0]:.0f} told, {told[1]:.0f} twice",
            ran,
        )
        yield _flat(f"memory of the workers {name}", one["worker_mb"], ran)
    times = plain["times_post_office"]
    yield Point(
        f"at least {PEER_MIN:.0f} times django-post_office",
        times is not None and times >= PEER_MIN,
        f"{times} times {plain['post_office']} messages/s",
        ran,
    )


def _million(queued: Mapping[str, Any], urgent: Mapping[str, Any], ran: str) -> Iterator[Point]:
    yield Point(
        f"1,000,000 queued at no less than {BARE_MIN} of a bare INSERT … SELECT",
        queued["ratio_to_bare"] >= BARE_MIN and queued["rows"] >= 1_000_000,
        f"{queued['ratio_to_bare']} ({queued['rows_per_s']:,} of {queued['bare_rows_per_s']:,} rows/s)",
        ran,
    )
    yield Point(
        f"1,000,000 queued within {MILLION_S:.0f} s",
        queued["seconds"] <= MILLION_S,
        f"{queued['seconds']} s",
        ran,
    )
    yield Point(
        f"the last 100,000 at no less than {LATE_MIN} of the first",
        queued["last_to_first"] >= LATE_MIN,
        f"{queued['last_to_first']} ({queued['last_100k_per_s']:,} and {queued['first_100k_per_s']:,} rows/s)",
        ran,
    )
    yield _flat("memory while a million is queued", queued["memory_mb"], ran)
    shown, first = urgent["page_s"], urgent["first_urgent_s"]
    waiting = f"with {urgent['waiting']:,} of low priority waiting"
    yield Point(
        f"{waiting}: the page within {PAGE_S:.0f} s",
        shown is not None and shown <= PAGE_S,
        f"{shown} s",
        ran,
    )
    yield Point(
        f"{waiting}: the first urgent message within {FIRST_S:.0f} s",
        first <= FIRST_S,
        f"{first} s",
        ran,
    )


def _flat(what: str, megabytes: list[float], ran: str) -> Point:
    """The first figure is of a process that is warm already."""
    change = max(megabytes) / megabytes[0] - 1
    return Point(
        f"{what}: flat, at most {MEMORY_MAX:.0%} more",
        change <= MEMORY_MAX,
        f"{change:+.0%} ({' '.join(f'{each:.0f}' for each in megabytes)} MB)",
        ran,
    )


def _growth() -> Iterator[Point]:
    ran = "./run bench growth --json"
    found = _bench("growth")
    if isinstance(found, str):
        yield Point("claiming after 100 old broadcasts", False, found, ran)
        return
    figures = found["figures"]
    yield Point(
        f"claiming is planned the same after {figures['old_rows']:,} old deliveries",
        bool(figures["same_plan"]),
        "the same plan" if figures["same_plan"] else f"changed: {'; '.join(figures['changed'])}",
        ran,
    )
    yield Point(
        "and costs no more than 1.2 times as much",
        found["ratio_to_limit"] <= 1.2,
        f"{found['ratio_to_limit']} ({figures['after_ms']} and {figures['before_ms']} ms a batch)",
        ran,
    )


def _tests(marker: str, what: str) -> Iterator[Point]:
    command = [sys.executable, "-m", "pytest", "-q", "-m", marker, "tests/faults"]
    ran = f"./run test -m {marker}"
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False, timeout=FAULTS_S
        )
    except subprocess.TimeoutExpired:
        yield Point(what, False, f"not done within {FAULTS_S:.0f} s", ran)
        return
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "nothing was said"
    yield Point(what, done.returncode == 0, last, ran)
    for line in re.findall(r"^(?:test_\S+|without “.*?): .*$", done.stdout, re.MULTILINE):
        print(f"         {line}", file=sys.stderr)
