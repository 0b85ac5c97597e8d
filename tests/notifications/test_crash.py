"""kill -9 of a worker in the middle of a fan-out: nobody is lost, and who is told twice was under way at that moment."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from demo import mailbox as mailboxes
from demo.mailbox import Mailbox
from notifications import sending
from notifications.channels import _smtp
from notifications.hands import HANDS

PEOPLE = 2000
# Of each thread the outcomes not yet written, and what is on the connections, when the worker dies.
GROUP = HANDS * (sending.SETTLE_ROWS + _smtp.CONNECTIONS_MAX)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mailboxes.running() as running:
        yield running


@pytest.fixture(params=["postgres", "sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'crash.sqlite3'}"
    server = os.environ["DATABASE_URL"]
    name = f"crash_{random.randrange(10**9)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return server.replace("/postgres?", f"/{name}?")


def start(env: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.notifications.crash", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


def run(env: dict[str, str], *arguments: str) -> str:
    process = start(env, *arguments)
    out, _ = process.communicate(timeout=90)
    assert process.returncode == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_worker_loses_nobody(
    database_url: str, mailbox: Mailbox, tmp_path: Path, seed: int
) -> None:
    env = os.environ | {
        "DATABASE_URL": database_url,
        "DATA_DIR": str(tmp_path),
        "EMAIL_URL": mailbox.smtp_url,
    }
    run(env, "queue", str(PEOPLE))
    worker = start(env, "drain")
    kill_at = random.Random(seed).randrange(PEOPLE // 10, PEOPLE // 2)
    while mailbox.store.count < kill_at:
        assert worker.poll() is None, "the worker ended before it could be killed"
        time.sleep(0.002)
    worker.kill()
    worker.communicate()
    assert mailbox.store.count < PEOPLE, "killed too late to tell anything"
    run(env, "recover")
    states = json.loads(run(env, "count"))
    told = Counter(mail["to"][0] for mail in all_mail(mailbox))
    again = sum(times - 1 for times in told.values())
    print(f"killed at {kill_at}: lost {PEOPLE - len(told)}, twice {again}")
    assert states == {"accepted": PEOPLE}
    assert len(told) == PEOPLE
    assert again <= GROUP


def all_mail(mailbox: Mailbox) -> Iterator[dict[str, list[str]]]:
    since = 0
    while found := mailbox.messages(since=since, limit=1000):
        yield from found  # type: ignore[misc]  # JSON of a stranger
        since = max(int(str(mail["n"])) for mail in found)
