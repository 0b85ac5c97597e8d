"""A full disk, a read-only database and a wrong clock are said in words, and the published page stays."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from desk import ground, health
from incidents.models import Pulse
from probes.models import Location

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _alive() -> None:
    for name in (health.SWEEP, health.PUBLISHER):
        Pulse.objects.create(name=name, at=timezone.now())


@contextmanager
def read_only() -> Iterator[None]:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("SET TRANSACTION READ ONLY")
        yield
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA query_only = OFF")


def said() -> str:
    answer = Client().get("/health")
    assert answer.status_code == (503 if answer.json()["problem"] else 200)
    return answer.json()["problem"] or ""


def place(name: str, skew_s: float) -> Location:
    return Location.objects.create(
        name=name, token_hash=name, last_seen_at=timezone.now(), skew_s=skew_s
    )


def test_nothing_is_said_of_good_ground() -> None:
    assert said() == ""


def test_a_read_only_database_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "_trial", ground._Trial())
    Pulse.objects.filter(name=health.SWEEP).update(at=timezone.now() - timedelta(minutes=1))
    with read_only():
        assert "the database takes no writes" in said()


def test_a_silent_clock_alone_is_no_fault_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "_trial", ground._Trial())
    Pulse.objects.filter(name=health.SWEEP).update(at=timezone.now() - timedelta(minutes=1))
    assert Client().get("/health").json()["problem"] is None


def test_a_check_that_meets_a_bug_each_time_is_said() -> None:
    note = {"locations": {}, "failing": {"check login": 12}}
    Pulse.objects.create(name=health.PROBES, at=timezone.now(), note=note)
    assert said().startswith("check login cannot be judged (12 times in a row)")


def test_a_clock_that_differs_from_the_databases_is_said() -> None:
    if connection.vendor == "sqlite":
        return  # its clock is the same one
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        assert "the clock of this machine is 3,600 s ahead of the database's" in said()


def test_a_clock_that_was_set_back_is_said() -> None:
    Pulse.objects.update(at=timezone.now() + timedelta(hours=1))
    assert "in the future: a clock was set back" in said()


@pytest.mark.parametrize(
    ("skews", "sentence"),
    [
        pytest.param(
            [60, 61], "the server's clock is 60 s behind that of all 2 probers", id="all say so"
        ),
        pytest.param([60, 0], "", id="they do not agree"),
        pytest.param([60], "", id="one proves nothing"),
    ],
)
def test_probers_that_agree_tell_that_our_clock_is_wrong(skews: list[float], sentence: str) -> None:
    for number, skew_s in enumerate(skews):
        place(f"place-{number}", skew_s)
    assert sentence in said()
    assert bool(said()) == bool(sentence)


def test_a_full_disk_is_said_on_the_desk_too(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(User.objects.create_superuser("ann", password="a long password"))
    assert "is full" not in client.get("/desk/").content.decode()
    monkeypatch.setattr(ground, "FREE_BYTES_MIN", 2**60)  # what any disk falls short of
    assert "the disk under DATA_DIR is full" in client.get("/desk/").content.decode()
    assert "the disk under DATA_DIR is full" in said()


_FILLED = """
import json, os, sys
import django
django.setup()
from datetime import UTC, datetime
from pathlib import Path
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import Client
from incidents.models import Pulse
from public.clock import tick
from statuspage.prepare import prepare

prepare(datetime.now(UTC))
tick(datetime.now(UTC))
Pulse.objects.create(name="clock", at=datetime(2020, 1, 1, tzinfo=UTC))
with connection.cursor() as cursor:
    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
page = Path(settings.PUBLISH_DIR) / "index.html"
before = page.read_bytes()
try:
    with open(Path(os.environ["DATA_DIR"]) / "ballast", "wb") as ballast:
        while True:
            ballast.write(b"0" * 4096)
            ballast.flush()
except OSError:
    pass
tick(datetime.now(UTC))
from statuspage.wsgi import application
status = []
body = b"".join(application({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": ""}, lambda s, h: status.append(s)))
print(json.dumps({"health": Client().get("/health", SERVER_NAME="127.0.0.1").json(), "page": status[0], "same": body == before == page.read_bytes()}))
"""


@pytest.mark.slow
def test_on_a_disk_that_is_really_full_the_page_stays(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    assert unshare, "unshare is not on this machine: apt-get install util-linux"
    env = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "SITE_URL": "http://status.test"}
    env |= {"REDIS_URL": os.environ["REDIS_URL"], "DJANGO_SETTINGS_MODULE": "statuspage.settings"}
    mounted = 'mount -t tmpfs -o size=16m tmpfs "$DATA_DIR" && exec "$0" -c "$1"'
    done = subprocess.run(
        [unshare, "--mount", "sh", "-c", mounted, sys.executable, _FILLED],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert "the disk under DATA_DIR is full" in found["health"]["problem"]
    assert "the database takes no writes (database or disk is full)" in found["health"]["problem"]
    assert found["health"]["status"] == "failing"
    assert (found["page"], found["same"]) == ("200 OK", True)
