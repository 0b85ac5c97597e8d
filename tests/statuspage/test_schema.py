"""A process refuses to start on a database that is newer or older than its code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from statuspage import prepare, schema
from tests.world import NOW

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.django_db
def test_a_database_of_this_code_is_welcome() -> None:
    assert schema.mismatch() == ""


@pytest.mark.django_db
def test_a_newer_database_names_the_code_to_be_upgraded() -> None:
    MigrationRecorder(connection).record_applied("probes", "9999_of_tomorrow")
    sentence = schema.mismatch()
    assert "newer than this code (probes.9999_of_tomorrow" in sentence
    assert sentence.endswith("upgrade the code.")


@pytest.mark.django_db
def test_an_older_database_names_the_database_to_be_upgraded() -> None:
    MigrationRecorder(connection).record_unapplied("probes", "0003_result_answer")
    assert "older than this code (probes.0003_result_answer" in schema.mismatch()
    assert "./run manage migrate" in schema.mismatch()
    assert schema.mismatch(may_upgrade=True) == ""


@pytest.mark.django_db
def test_a_start_does_not_touch_a_newer_database() -> None:
    MigrationRecorder(connection).record_applied("desk", "9999_of_tomorrow")
    with pytest.raises(prepare.Newer, match="upgrade the code"):
        prepare.prepare(NOW)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["-m", "statuspage.clock"], id="clock"),
        pytest.param(["-c", "import statuspage.wsgi"], id="web"),
        pytest.param(["-m", "celery", "-A", "statuspage.celery", "worker", "-P", "solo"], id="worker"),
    ],
)  # fmt: skip
def test_each_process_says_one_sentence_and_ends(tmp_path: Path, command: list[str]) -> None:
    env = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "SITE_URL": "http://status.test"}
    env |= {"REDIS_URL": os.environ["REDIS_URL"]}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("statuspage: ")]
    assert said == [
        "statuspage: the database is older than this code (desk.0001_initial is not applied); "
        "upgrade the database with `./run manage migrate`, or start the old code."
    ]
    assert "Traceback" not in done.stderr
