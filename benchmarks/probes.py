"""How fast, how punctual and how steady one agent is, against bare aiohttp and a peer."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import probes_stage as stage
from benchmarks.probes_stage import Collector, Target

# As many as the agent has under way at most.
CONCURRENCY = 200
ROUNDS = 5
ROUND_S = 6.0
# An agent begins with every check at once; what it does then is not its pace.
WARM_UP_S = 3.0
# More than one agent can do in a second, each asked for every second: it is never idle.
SATURATING_CHECKS = 3000
MANY_CHECKS, MANY_INTERVAL_S = 1000, 10
SETTLE_S = 60.0
SAMPLE_EVERY_S = 5.0
MINUTES = 10.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pace:
    """One round: probes per second, CPU-seconds per probe, and how busy the probed server was."""

    per_s: float
    cpu_s: float
    server_share: float


@dataclass(frozen=True, slots=True)
class Long:
    """A long run at a set pace: how late runs began, and the agent's memory."""

    checks: int
    runs: int
    runs_due: int
    failed: int
    delay_p50_ms: float
    delay_p99_ms: float
    delay_max_ms: float
    cpu_per_probe_s: float
    rss_first_mb: float
    rss_last_mb: float
    rss_max_mb: float
    minutes: float


def run(
    *,
    minutes: float = MINUTES,
    rounds: int = ROUNDS,
    round_s: float = ROUND_S,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Measure everything; raise NotHere when a program is missing. Any: JSON."""
    with tempfile.TemporaryDirectory(prefix="sp-probes-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's worker is another user
        with stage.this_process_beside_the_target(), stage.target(folder) as target:
            bare, agent, peer = _paces(target, folder, rounds=rounds, round_s=round_s, say=say)
            long = _long(target, folder, minutes=minutes, say=say) if minutes > 0 else None
    return _as_json(bare, agent, peer, long, round_s)


# --- pace ---------------------------------------------------------------------------------------------


def _paces(
    target: Target, folder: Path, *, rounds: int, round_s: float, say: Say
) -> tuple[list[Pace], list[Pace], list[Pace]]:
    """Measure in turns, so that a disturbance hits all three."""
    bare, agent, peer = [], [], []
    with stage.blackbox(folder) as (asking, exporter):
        for number in range(rounds):
            bare.append(_bare(target, round_s))
            agent.append(_agent(target, folder / f"agent-{number}", round_s))
            peer.append(_peer(target, asking, exporter, round_s))
            say(
                f"round {number + 1}: bare aiohttp {bare[-1].per_s:.0f}, agent {agent[-1].per_s:.0f}, "
                f"blackbox exporter {peer[-1].per_s:.0f} probes/s"
            )
    return bare, agent, peer


def _pumped(url: str, *arguments: str, cpu: int, seconds: float) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.probes_bare", url, "--seconds", str(seconds)]
    command += ["--concurrency", str(CONCURRENCY), *arguments]
    with stage.started(command, cpu=cpu, stdout=subprocess.PIPE) as process:
        said, _ = process.communicate(timeout=seconds + stage.START_S)
    if process.returncode != 0:
        raise stage.NotHere(f"{' '.join(command[2:4])} failed; its words are above.")
    found: dict[str, float] = json.loads(said)
    return found


def _bare(target: Target, round_s: float) -> Pace:
    busy_s = target.busy_s()
    found = _pumped(target.url, cpu=stage.SUBJECT_CPU, seconds=round_s)
    busy = (target.busy_s() - busy_s) / found["seconds"]
    return Pace(found["count"] / found["seconds"], found["cpu_s"] / found["count"], busy)


def _agent(target: Target, folder: Path, round_s: float) -> Pace:
    """Count what is handed in within the round: a probe that nobody hears of is none."""
    collector = Collector(stage.checks_of(target.url, count=SATURATING_CHECKS, interval_s=1))
    with stage.collecting(collector), stage.agent(collector, folder) as process:
        time.sleep(WARM_UP_S)
        began, count = time.perf_counter(), collector.results
        used_s, busy_s = stage.cpu_s(process.pid), target.busy_s()
        time.sleep(round_s)
        took, count = time.perf_counter() - began, collector.results - count
        used_s, busy_s = stage.cpu_s(process.pid) - used_s, target.busy_s() - busy_s
    if collector.failed or not count:
        raise stage.NotHere(f"{collector.failed} of {count} probes of a healthy server failed.")
    return Pace(count / took, used_s / count, busy_s / took)


def _peer(target: Target, asking: str, exporter: int, round_s: float) -> Pace:
    used_s, busy_s = stage.cpu_s(exporter), target.busy_s()
    found = _pumped(
        f"{asking}{target.url}",
        "--kept",
        "--wanted",
        "probe_success 1\n",
        cpu=stage.OTHERS_CPU,
        seconds=round_s,
    )
    used_s, busy_s = stage.cpu_s(exporter) - used_s, target.busy_s() - busy_s
    return Pace(
        found["count"] / found["seconds"], used_s / found["count"], busy_s / found["seconds"]
    )


# --- a long run ---------------------------------------------------------------------------------------


def _long(target: Target, folder: Path, *, minutes: float, say: Say) -> Long:
    checks = stage.checks_of(target.url, count=MANY_CHECKS, interval_s=MANY_INTERVAL_S)
    collector = Collector(checks, keeps_times=True)
    with stage.collecting(collector), stage.agent(collector, folder / "long") as process:
        seen = psutil.Process(process.pid)
        used_s, began = stage.cpu_s(process.pid), time.monotonic()
        samples: list[tuple[float, float]] = []
        while (passed := time.monotonic() - began) < minutes * 60:
            samples.append((passed, seen.memory_info().rss / 1e6))
            time.sleep(min(SAMPLE_EVERY_S, max(0.05, minutes * 60 - passed)))
            if len(samples) % 12 == 0:
                say(f"{passed / 60:.0f} min: {samples[-1][1]:.1f} MB, {collector.results} results")
        samples.append((time.monotonic() - began, seen.memory_info().rss / 1e6))
        used_s = stage.cpu_s(process.pid) - used_s
    late = delays_ms(collector.times, MANY_INTERVAL_S)
    settled = [rss for passed, rss in samples if passed >= min(SETTLE_S, minutes * 30)]
    return Long(
        checks=MANY_CHECKS,
        runs=collector.results,
        # Each once at the start, and then at its times.
        runs_due=MANY_CHECKS + int(MANY_CHECKS * minutes * 60 / MANY_INTERVAL_S),
        failed=collector.failed,
        delay_p50_ms=percentile(late, 50),
        delay_p99_ms=percentile(late, 99),
        delay_max_ms=max(late),
        cpu_per_probe_s=used_s / collector.results,
        rss_first_mb=settled[0],
        rss_last_mb=settled[-1],
        rss_max_mb=max(rss for _, rss in samples),
        minutes=minutes,
    )


def delays_ms(times: Mapping[str, Sequence[float]], interval_s: float) -> list[float]:
    """Return how late each run began in its check's own rhythm, which is that of its most punctual run.

    The first run of a check has no due time: it comes at the start of the agent.
    """
    late: list[float] = []
    for began in times.values():
        runs = sorted(began)[1:]
        # Against the first of them, from half an interval early to half an interval late.
        off = [(at_s - runs[0] + interval_s / 2) % interval_s - interval_s / 2 for at_s in runs]
        late += [(each - min(off)) * 1000 for each in off]
    return late


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that `percent` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


# --- the answer ---------------------------------------------------------------------------------------


def _as_json(
    bare: Sequence[Pace],
    agent: Sequence[Pace],
    peer: Sequence[Pace],
    long: Long | None,
    round_s: float,
) -> dict[str, Any]:  # Any: JSON.
    value, limit = _median(agent), _median(bare)
    ratios = [ours.per_s / theirs.per_s for ours, theirs in zip(agent, bare, strict=True)]
    figures: dict[str, Any] = {  # Any: JSON.
        "rounds": len(bare),
        "concurrency": CONCURRENCY,
        "ratios": [round(ratio, 3) for ratio in ratios],
        # Less disturbed by whatever else runs than the pace is.
        "ratio_by_cpu": _cpu(bare) / _cpu(agent),
        "cpu_s_per_probe": _cpu(agent),
        "bare_cpu_s_per_probe": _cpu(bare),
        "blackbox_cpu_s_per_probe": _cpu(peer),
        "blackbox_per_s": _median(peer),
        "server_share_of_its_core": max(pace.server_share for pace in bare),
        "server_could_per_s": limit / statistics.median(pace.server_share for pace in bare),
    }
    for name, paces in (("agent", agent), ("bare", bare), ("blackbox", peer)):
        figures[f"{name}_per_s_spread"] = [min(p.per_s for p in paces), max(p.per_s for p in paces)]
    if long is not None:
        figures |= {name: getattr(long, name) for name in Long.__slots__}
    return {
        "value": value,
        "unit": "probes/s of one agent, handed in",
        "limit": limit,
        "ratio_to_limit": statistics.median(ratios),
        "figures": figures,
        "run": f"python -m probes.agent on one core; nginx and the collector on the other; kind http, "
        f"fresh connections, {CONCURRENCY} at once; bare aiohttp and Debian's blackbox exporter "
        f"likewise, in {len(bare)} interleaved rounds of {round_s:g} s"
        + (
            f"; then {MANY_CHECKS} checks at {MANY_INTERVAL_S} s for {long.minutes:g} min"
            if long
            else ""
        ),
    }


def _median(paces: Sequence[Pace]) -> float:
    return statistics.median(pace.per_s for pace in paces)


def _cpu(paces: Sequence[Pace]) -> float:
    return statistics.median(pace.cpu_s for pace in paces)
