"""An installation moves from SQLite to PostgreSQL: all of it, once, and nobody hears of it again."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


SITE = """
page: {name: Follow status}
components:
  - {slug: login, name: Log in}
  - {slug: follow, name: Readings, critical: true}
"""


@pytest.fixture
def postgres() -> Iterator[str]:
    """An empty database of its own, on the server that all tests share."""
    uri = os.environ["DATABASE_URL"]
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE DATABASE moved")
        yield urlunsplit(urlsplit(uri)._replace(path="/moved"))
        connection.execute("DROP DATABASE moved WITH (FORCE)")


class Installation:
    """A folder with an installation, driven by its commands as an operator does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DATABASE_URL", "EMAIL_", "TWILIO_", "X_", "FACEBOOK_"))
        } | {"DATA_DIR": str(folder), "SITE_URL": "http://status.test"}

    def manage(self, *words: str, code: int = 0, **environ: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT, env=self.environ | environ, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def apply(self) -> None:
        site = self.folder / "site.yaml"
        site.write_text(SITE)
        self.manage("apply", str(site))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page, an open incident and 2,500 people."""
    folder = tmp_path_factory.mktemp("original")
    made = Installation(folder)
    made.manage("migrate", "-v0")
    made.apply()
    made.manage("declare", "Log-in is down", "--component", "login=major_outage", "--body", "We are looking.")  # fmt: skip
    csv = folder / "people.csv"
    rows = "".join(f"email,p{n}@example.org,,en,,,sign-up form,2026-01-01\n" for n in range(2500))
    csv.write_text(f"channel,address,components,language,time_zone,wake_me,consent_source,consent_at\n{rows}")  # fmt: skip
    made.manage("import_subscribers", str(csv))
    return folder


@pytest.fixture
def installation(original: Path, tmp_path: Path) -> Installation:
    return Installation(Path(shutil.copytree(original, tmp_path / "installation")))


def test_everything_arrives_once_and_a_second_run_brings_nothing(
    installation: Installation, postgres: str
) -> None:
    first = installation.manage("move_database", "--to", postgres)
    second = installation.manage("move_database", "--to", postgres)

    assert "subscribers_subscription: 2,500 rows, the same on both sides" in first
    assert " 0 were brought over now" in second
    before, after = (
        installation.manage("export"),
        installation.manage("export", DATABASE_URL=postgres),
    )
    assert before == after
    # New rows follow those that were moved.
    installation.manage("declare", "Again", "--body", "We look.", DATABASE_URL=postgres)


def test_a_target_with_another_page_is_refused_and_left_alone(
    installation: Installation, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Installation(tmp_path / "other")
    other.manage("migrate", "-v0")
    other.apply()
    address = f"sqlite:///{tmp_path / 'other' / 'statuspage.sqlite3'}"

    said = installation.manage("move_database", "--to", address, code=1)

    assert "the target holds another page" in said


def test_a_row_that_differs_is_named_and_nothing_is_called_moved(
    installation: Installation, tmp_path: Path
) -> None:
    copy = f"sqlite:///{tmp_path / 'copy.sqlite3'}"
    installation.manage("move_database", "--to", copy)
    script = "from incidents.models import Incident; Incident.objects.update(name='Something else')"
    installation.manage("shell", "-c", script, DATABASE_URL=copy)

    assert "incidents_incident differs" in installation.manage(
        "move_database", "--to", copy, code=1
    )


def test_a_running_installation_is_not_moved(installation: Installation, tmp_path: Path) -> None:
    script = (
        "from datetime import timedelta; from django.utils import timezone; from incidents.models import Pulse; "
        "Pulse.objects.create(name='probes', at=timezone.now() + timedelta(hours=1), note={})"
    )
    installation.manage("shell", "-c", script)

    said = installation.manage(
        "move_database", "--to", f"sqlite:///{tmp_path / 'copy.sqlite3'}", code=1
    )

    assert "the installation is running" in said


def test_an_address_that_is_none_is_wrong_use(installation: Installation) -> None:
    assert "--to is not postgres://" in installation.manage(
        "move_database", "--to", "mongodb://x", code=2
    )
