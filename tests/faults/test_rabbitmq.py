"""Celery's hints over RabbitMQ instead of Valkey: nobody is lost or told twice, also when it is killed on the way."""

import sys
from pathlib import Path

import pytest

from tests.faults import history, rabbitmq
from tests.faults.checker import Rules, judge
from tests.faults.conftest import Open, Report
from tests.faults.house import until
from tests.faults.test_broker import _has_mailed

pytestmark = [pytest.mark.slow, pytest.mark.faults]
PEOPLE = {"email": 1000}


def test_on_rabbitmq_everybody_is_told_once_by_the_workers(
    open_house: Open, report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with rabbitmq.running(tmp_path) as server:
        with capsys.disabled():
            print(f"\n{server.said()}", file=sys.stderr)
        house = open_house(PEOPLE, environ={"CELERY_BROKER_URL": server.url})
        house.start_line("clock", "worker-email")
        house.declare()
        assert house.await_settled()
        report(judge(history.of(house), Rules(late_s=60)))
        # The broker that is not used carried nothing, and the clock did not send in the workers' place.
        assert "sending from the clock" not in house.of("clock").log.read_text()


def test_a_rabbitmq_that_is_killed_and_comes_back_loses_nobody(
    open_house: Open, report: Report, tmp_path: Path
) -> None:
    with rabbitmq.running(tmp_path) as server:
        house = open_house(PEOPLE, environ={"CELERY_BROKER_URL": server.url})
        house.start_line("clock", "worker-email")
        house.declare()
        until(_has_mailed(house, 0.2), "mail on its way")
        server.stop()
        house.declare()
        server.start()
        assert house.await_settled()
        report(judge(history.of(house), Rules(late_s=60)))
