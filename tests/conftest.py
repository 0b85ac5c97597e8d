"""Fixtures that every room's tests may use."""

import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.db import connection


@pytest.fixture(autouse=True, scope="session")
def _passwords_cost_little() -> None:
    """A password's slow hash is Django's own, and costs each test of an operator half a second."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True, scope="session")
def _static_files_are_looked_up_when_asked_for() -> None:
    """WhiteNoise reads every file when a client is made, and each test makes one."""
    settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Let SQLite's test database be a file: threads share it under the locks of the real thing."""
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        database.setdefault("TEST", {})["NAME"] = str(settings.DATA_DIR / "test.sqlite3")


def pytest_terminal_summary(terminalreporter: Any) -> None:  # Any: pytest's own, without types
    """Print what passed tests have to say: with whom they talked, and what was counted."""
    for report in terminalreporter.getreports("passed"):
        for name, said in report.user_properties:
            if name == "said":
                terminalreporter.write_line(said)


IDLE_S = 10.0


def _await_the_others() -> None:
    """A server's thread may still read for a client that is gone: to empty all tables meanwhile would be a deadlock."""
    busy = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend' AND state <> 'idle' LIMIT 1"
    )
    ends = time.monotonic() + IDLE_S
    with connection.cursor() as cursor:
        while cursor.execute(busy) and cursor.fetchone() and time.monotonic() < ends:
            time.sleep(0.02)


_lifted: list[str] = []


@pytest.fixture(autouse=True)
def _the_audit_may_be_flushed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests that commit are cleaned up by deleting everything, which SQLite's audit triggers refuse.

    They are lifted at the end of such a test, and stand again within each later one.
    """
    marker = request.node.get_closest_marker("django_db")
    if marker is None or connection.vendor != "sqlite":
        if marker is not None and marker.kwargs.get("transaction"):
            request.getfixturevalue("transactional_db")
            yield
            _await_the_others()
            return
        yield
        return
    migrations = [
        import_module(f"incidents.migrations.{name}")
        for name in ("0002_audit_is_append_only", "0005_seals_are_append_only")
    ]
    commits = bool(marker.kwargs.get("transaction"))
    request.getfixturevalue("transactional_db" if commits else "db")
    with connection.cursor() as cursor:
        for migration in migrations if _lifted else ():
            for statement in migration.SQLITE:
                cursor.execute(statement)
        yield
        for verb in ("update", "delete") if commits else ():
            cursor.execute(f"DROP TRIGGER incidents_audit_{verb}")
            cursor.execute(f"DROP TRIGGER incidents_seal_{verb}")
            _lifted.append(verb)
