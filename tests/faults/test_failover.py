"""R5: PostgreSQL dies in the middle of a fan-out and its streaming replica takes over; nobody is lost."""

import sys
import tempfile
from pathlib import Path

import environ
import pytest
from django.db import connection

from tests.faults import history, standby, times
from tests.faults.checker import Rules, judge
from tests.faults.conftest import Open, Report
from tests.faults.house import until
from tests.faults.postgres import Postgres
from tests.faults.test_broker import _has_mailed
from tests.faults.test_database import POOL

pytestmark = [pytest.mark.slow, pytest.mark.faults]
PEOPLE = {"email": 1000}


def test_the_replica_takes_over_and_everybody_is_told(
    open_house: Open, report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    with tempfile.TemporaryDirectory(prefix="sp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        # A first server of this test's own: it does not come back.
        primary = Postgres(folder / "pg")
        try:
            _fail_over(primary, folder, open_house, report, capsys)
        finally:
            primary.stop()


def _fail_over(
    primary: Postgres,
    folder: Path,
    open_house: Open,
    report: Report,
    capsys: pytest.CaptureFixture[str],
) -> None:
    house = open_house(PEOPLE, on=primary)
    with standby.following(primary, folder) as second:
        house.env["DATABASE_URL"] = second.url(house.database)
        connection.close()
        connection.settings_dict.update(environ.Env.db_url_config(second.url(house.database)))
        before = second.said(house.database)
        house.start_line("clock", "worker-email")
        house.declare()
        until(_has_mailed(house, 0.2), "mail on its way")
        second.take_over()
        connection.close()
        assert house.await_settled(within_s=150)
        after = second.said(house.database)
        with capsys.disabled():
            print(f"\nbefore: {before}\nafter: {after}", file=sys.stderr)
        assert before != after
        rules = Rules(
            late_s=120, ambiguous_on=frozenset({"email"}), extra_max=POOL * times.UNSETTLED
        )
        report(judge(history.of(house), rules))
        for process in house.running:
            process.kill()
        connection.close()
