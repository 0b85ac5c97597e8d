"""Houses for the fault tests, and the table of what they saw."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults import house as houses
from tests.faults import mutants
from tests.faults.checker import Verdict
from tests.faults.house import House
from tests.faults.postgres import Postgres

SEEN: list[str] = []
Open = Callable[..., House]
Report = Callable[[Verdict], None]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    # Not pytest's own folder: as root, the server runs as another user, who may not enter there.
    with tempfile.TemporaryDirectory(prefix="sp", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder) / "pg")
        yield server
        server.stop()


@pytest.fixture
def open_house(
    postgres: Postgres, tmp_path: Path, django_db_blocker: Any
) -> Iterator[Open]:  # Any: pytest-django's own
    """Open houses, with one protection removed if a test says which; all close at the end."""
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())

        def open_one(
            cast: dict[str, int], *, mutant: str = "", on: Postgres | None = None, **more: Any
        ) -> House:
            folder = tmp_path / "h"
            folder.mkdir()
            sql = mutants.ALL[mutant].sql if mutant else ""
            found = houses.opened(on or postgres, folder, cast, mutant=mutant, sql=sql, **more)
            return stack.enter_context(found)

        yield open_one


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Print one line of a verdict at the end of the run, and fail when it is not clean."""

    def say(verdict: Verdict) -> None:
        SEEN.append(f"{request.node.name}: {verdict.line()}")
        print(SEEN[-1])
        assert verdict.broken == [], verdict.line()

    return say


def pytest_terminal_summary(terminalreporter: Any) -> None:  # Any: pytest's own
    if SEEN:
        terminalreporter.section("faults")
        for line in SEEN:
            terminalreporter.write_line(line)
