"""The promised points of the eyes."""

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import eyes_net, growth_record, probes
from benchmarks.accept import Point
from benchmarks.probes_stage import ROOT, NotHere

RATIO_MIN = 0.6
START_DELAY_P99_MS = 250.0
# What a Python process may grow by without leaking: arenas settle within a few percent.
MEMORY_GROWTH_MAX = 0.05
SERVER_SHARE_MAX = 0.8
RECORD_ROWS = 10_000_000
DETECTION_S = 3600.0
# All scenarios, with their way back; then the stage is ended.
REAL_TIME_S = 720.0


def points() -> Iterator[Point]:
    """Measure every point; the whole takes about half an hour."""
    yield from _detection()
    yield from _weakened()
    yield from _pace()
    yield from _record()
    yield from real_time()


# --- simulated ------------------------------------------------------------------------------------------


def _detection() -> Iterator[Point]:
    promise = "detection: the scenarios, simulated"
    command = [sys.executable, "-m", "benchmarks", "detection", "--json"]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=DETECTION_S
        )
        found = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        yield Point(promise, False, f"no answer: {error}", "./run bench detection --json")
        return
    yield from _told(found, "./run bench detection --json")


def _weakened() -> Iterator[Point]:
    """Take each protection away once: the scenarios that name it have to fail."""
    from benchmarks import detection

    unseen: list[str] = []
    for weaken, weaker in detection.WEAKER.items():
        found = detection.sample(weaker.seen_by, weaken=weaken)
        failed = {each.split()[0] for each in found.failures}
        unseen += [f"{name} does not see {weaken}" for name in weaker.seen_by if name not in failed]
    yield Point(
        "detection: with a rule weakened on purpose it fails",
        not unseen,
        "; ".join(unseen) or f"seen: {', '.join(detection.WEAKER)}",
        "./run bench detection --weaken NAME",
    )


def _record() -> Iterator[Point]:
    found = growth_record.measure(rows=RECORD_ROWS)
    yield Point(
        f"record with {RECORD_ROWS:,} stored results ≤ {found['limit']:g} of its cost on an empty table",
        found["ratio"] <= found["limit"] and found["stored"] >= RECORD_ROWS,
        f"{found['ratio']:.2f}: {found['full_ms']:.1f} ms for {found['batch']} results, empty "
        f"{found['empty_ms']:.1f} ms, medians of {found['rounds']} rounds; {found['stored']:,} stored, "
        f"{found['bytes'] / 1e9:.1f} GB",
        f"python -m benchmarks.growth_record {RECORD_ROWS}",
    )
    yield Point(
        "record reads no whole table of results",
        not found["scans"],
        f"{found['queries']} queries explained, {len(found['scans'])} scans",
        f"python -m benchmarks.growth_record {RECORD_ROWS}",
    )


def _told(found: Mapping[str, Any], ran: str) -> Iterator[Point]:  # Any: JSON
    """Return the points of a measurement that judges itself."""
    for each in found["figures"]["points"]:
        yield Point(f"detection: {each['promise']}", each["passed"], each["figure"], ran)


# --- one agent ------------------------------------------------------------------------------------------


def _pace() -> Iterator[Point]:
    ran = "./run bench probes"
    try:
        found = probes.run()
    except NotHere as error:
        yield Point("one agent's pace", False, str(error), ran)
        return
    figures = found["figures"]
    yield Point(
        f"one agent: probes per second ≥ {RATIO_MIN:g} of bare aiohttp",
        found["ratio_to_limit"] >= RATIO_MIN,
        f"{found['ratio_to_limit']:.2f}: {found['value']:.0f} of {found['limit']:.0f}/s, "
        f"rounds {figures['ratios']}, by CPU {figures['ratio_by_cpu']:.2f}",
        ran,
    )
    yield Point(
        "one agent: the probed server was not the limit",
        figures["server_share_of_its_core"] <= SERVER_SHARE_MAX,
        f"busy {figures['server_share_of_its_core']:.0%}, could answer "
        f"{figures['server_could_per_s']:.0f}/s",
        ran,
    )
    yield Point(
        "one agent: CPU-seconds per probe beside the blackbox exporter's",
        figures["cpu_s_per_probe"] > 0 and figures["blackbox_cpu_s_per_probe"] > 0,
        f"{figures['cpu_s_per_probe'] * 1e3:.2f} ms, blackbox exporter "
        f"{figures['blackbox_cpu_s_per_probe'] * 1e3:.2f} ms, bare aiohttp "
        f"{figures['bare_cpu_s_per_probe'] * 1e3:.2f} ms; {figures['concurrency']} at once",
        ran,
    )
    yield from _long(figures, ran)


def _long(figures: Mapping[str, Any], ran: str) -> Iterator[Point]:  # Any: JSON
    checks, minutes = figures["checks"], figures["minutes"]
    yield Point(
        f"{checks:,} checks at 10 s: p99 start delay ≤ {START_DELAY_P99_MS:.0f} ms",
        figures["delay_p99_ms"] <= START_DELAY_P99_MS and not figures["failed"],
        f"p50 {figures['delay_p50_ms']:.1f} ms, p99 {figures['delay_p99_ms']:.0f} ms, most "
        f"{figures['delay_max_ms']:.0f} ms; {figures['runs']:,} of {figures['runs_due']:,} runs",
        ran,
    )
    growth = figures["rss_last_mb"] / figures["rss_first_mb"] - 1
    yield Point(
        f"{checks:,} checks at 10 s: memory flat over {minutes:g} min",
        growth <= MEMORY_GROWTH_MAX and minutes >= probes.MINUTES,
        f"{figures['rss_first_mb']:.1f} MB after a minute, {figures['rss_last_mb']:.1f} MB in the end "
        f"({growth:+.1%})",
        ran,
    )


# --- in real time ---------------------------------------------------------------------------------------


def real_time(*, only: Sequence[str] = (), agents: int | None = None) -> Iterator[Point]:
    """Play the scenarios with agents in network namespaces; `only` some of them, by number."""
    promise, ran = "the scenarios in real time", "python -m benchmarks.eyes_stage"
    arguments = ["benchmarks.eyes_stage"]
    arguments += ["--only", ",".join(only)] if only else []
    arguments += ["--agents", str(agents)] if agents is not None else []
    with tempfile.TemporaryDirectory(prefix="sp-eyes-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)  # PostgreSQL is another user
        try:
            stage = eyes_net.enclose(arguments, folder=name)
        except NotHere as error:
            yield Point(promise, False, str(error), ran)
            return
        too_long = threading.Timer(REAL_TIME_S, stage.kill)
        too_long.start()
        try:
            yield from _lines(stage)
        finally:
            too_long.cancel()
            stage.kill()
            stage.wait()
    if stage.returncode == -signal.SIGKILL:
        yield Point(promise, False, f"not done within {REAL_TIME_S:.0f} s", ran)
    elif stage.returncode != 0:
        yield Point(promise, False, f"ended with {stage.returncode}; its words are above", ran)


def _lines(stage: "subprocess.Popen[str]") -> Iterator[Point]:
    assert stage.stdout is not None
    with contextlib.closing(stage.stdout):
        for line in stage.stdout:
            yield Point(**json.loads(line))
    stage.wait()
