"""The SMTP part of `bench fanout`: the whole line against plain senders of ready bytes, in interleaved rounds."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.senders import Senders
from benchmarks.yard import ROOT, Sink, Yard, memory, pause, resume, sink, yard

ROUNDS = 5
LIMIT_S = 3.0
PEER_MAILS = 1_500  # of one round
STALLED_S = 60.0  # no message for so long: something is wrong
Say = Callable[[str], None]


def measure(way: str, *, subscribers: int, workers: int, peer: bool, say: Say) -> dict[str, Any]:
    """Return rates of the line, of the limit and of the peer over ROUNDS rounds on one server."""
    with sink() as server:
        port = server.ports[way]
        with yard(email_url=f"smtp://127.0.0.1:{port}") as house:
            fill(house, email=subscribers)
            senders = Senders(workers)
            try:
                return _rounds(house, server, senders, way, subscribers, workers, peer, say)
            finally:
                senders.close()


def _rounds(
    house: Yard,
    server: Sink,
    senders: Senders,
    way: str,
    subscribers: int,
    workers: int,
    peer: bool,
    say: Say,
) -> dict[str, Any]:
    wire = _ready_bytes()
    port = server.ports[way]
    worker = house.start_workers(workers)
    clock = house.start_clock()
    time.sleep(4)  # Celery and Django start
    pause(worker)
    fan_out_s = _publish(house)
    pause(clock)
    office = _start_peer(house, port, workers) if peer else None
    limits, peers, rates, rss = [], [], [], []
    for number in range(ROUNDS):
        limits.append(senders.rate("plain", port, wire, LIMIT_S))
        if office is not None:
            peers.append(PEER_MAILS / _ask_peer(office, PEER_MAILS))
        until = subscribers * (number + 1) // ROUNDS
        rates.append(_slice(server, (worker, clock), until))
        rss.append(memory(worker))
        say(f"round {number + 1}: limit {limits[-1]:.0f}/s, line {rates[-1]:.0f}/s")
    found = _wait_settled(house, clock, worker, subscribers)
    if office is not None and office.stdin:
        office.stdin.close()
        office.wait(20)
    told = server.ask("count twice")
    limit = statistics.median(limits)
    rate = statistics.median(rates)
    return {
        "rate": round(rate, 1),
        "limit": round(limit, 1),
        "ratio": round(rate / limit, 3),
        "rates": [round(each) for each in rates],
        "limits": [round(each) for each in limits],
        "sink_alone": round(senders.rate("raw", server.ports["pipelining"], wire, LIMIT_S)),
        "post_office": round(statistics.median(peers)) if peers else None,
        "times_post_office": round(rate / statistics.median(peers), 2) if peers else None,
        "fan_out_s": round(fan_out_s, 2),
        "told": told["unique"],
        "twice": told["twice"],
        "states": found,
        "worker_mb": [round(each / 1e6) for each in rss],
    }


def fill(house: Yard, **people: int) -> None:
    """Bring subscribers in, by channel and number, addresses encrypted."""
    words = [f"{channel}={number}" for channel, number in people.items()]
    _helper(house, "fill", *words)


def _helper(house: Yard, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fanout_cast", *words],
        cwd=ROOT,
        env=house.env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def _publish(house: Yard) -> float:
    """Declare an incident and return the seconds until everybody is queued."""
    return float(_helper(house, "publish", "Followers may not receive readings"))


def _slice(server: Sink, processes: tuple[subprocess.Popen[str], ...], until: int) -> float:
    """Let the line run until `until` people are told in all; return messages a second of this slice."""
    before = server.ask()["unique"]
    for process in processes:
        resume(process)
    started = time.time()
    last, last_at = before, started
    while last < until:
        time.sleep(0.01)
        told = server.ask()["unique"]
        if told > last:
            last, last_at = told, time.time()
        if time.time() - last_at > STALLED_S:
            raise RuntimeError(f"the line stands still at {last:.0f} of {until}")
    took = time.time() - started
    for process in processes:
        pause(process)
    return float((last - before) / took)


def _wait_settled(
    house: Yard, clock: subprocess.Popen[str], worker: subprocess.Popen[str], subscribers: int
) -> dict[str, int]:
    for process in (clock, worker):
        resume(process)
    found: dict[str, int] = {}
    deadline = time.monotonic() + STALLED_S
    while time.monotonic() < deadline and found.get("accepted", 0) < subscribers:
        time.sleep(0.5)
        found = json.loads(_helper(house, "states"))
    return found


def _ready_bytes() -> bytes:
    """Return a mail like ours, ready to be sent."""
    from benchmarks import fanout_cast

    return fanout_cast.ready_bytes()


def _start_peer(house: Yard, port: int, processes: int) -> subprocess.Popen[str]:
    from benchmarks import fanout_cast

    name = "peer"
    _helper(house, "database", name)
    env = os.environ | {
        "PEER_DATABASE_URL": house.database_url.replace("/postgres?", f"/{name}?"),
        "PEER_WORDS": json.dumps(fanout_cast.words()),
    }
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.postoffice", str(port), str(processes)],
        cwd=ROOT,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while (line := process.stdout.readline()) and line.strip() != "ready":
        pass
    return process


def _ask_peer(process: subprocess.Popen[str], mails: int) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{mails}\n")
    process.stdin.flush()
    while line := process.stdout.readline():
        if line.startswith("{"):
            return float(json.loads(line)["seconds"])
    raise RuntimeError("django-post_office ended")
