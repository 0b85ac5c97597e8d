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
SETTLES_S = 2.0  # the last group's outcomes are written by then
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
    _helper(house, "groups", str(ROUNDS))
    office = _start_peer(house, port, workers) if peer else None
    limits, peers, rates, rss, queued = [], [], [], [], []
    for number in range(ROUNDS):
        for process in (worker, clock):
            pause(process)  # nothing of theirs is under way
        limits.append(senders.rate("plain", port, wire, LIMIT_S))
        if office is not None:
            peers.append(PEER_MAILS / _ask_peer(office, PEER_MAILS))
        for process in (worker, clock):
            resume(process)
        rate, wait_s = _slice(house, server, number, subscribers // ROUNDS)
        rates.append(rate)
        queued.append(wait_s)
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
        "first_mail_s": [round(each, 2) for each in queued],
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


def _slice(house: Yard, server: Sink, number: int, people: int) -> tuple[float, float]:
    """Publish to one group; return its messages a second from the first to the last, and when the first one came."""
    before = server.ask()["unique"]
    _helper(house, "publish", f"Round {number}", "at once", f"group-{number}")
    published = time.time()
    told, first_at, last_at = before, 0.0, time.time()
    first = before
    while told < before + people:
        time.sleep(0.01)
        now_told = server.ask()["unique"]
        if now_told > told:
            told, last_at = now_told, time.time()
            if not first_at:
                first, first_at = told, last_at
        if time.time() - last_at > STALLED_S:
            raise RuntimeError(f"the line stands still at {told - before:.0f} of {people}")
    time.sleep(SETTLES_S)
    return float((told - first) / (last_at - first_at)), first_at - published


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
