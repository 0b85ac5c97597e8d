"""R2, R3, R27: the broker loses everything, or is not there at all; the database knows what is due."""

import time
from collections.abc import Callable

import pytest
import redis
from django.test import override_settings

from statuspage.celery import app
from tests.faults import history
from tests.faults.checker import Verdict, judge
from tests.faults.conftest import Open, Report
from tests.faults.house import House, until

pytestmark = [pytest.mark.slow, pytest.mark.faults]
PEOPLE = {"email": 1000}
PUBLISH_S = 2.0  # R3: a publish does not wait for a broker that is gone
BUSY_S = 2.0  # how long the mail server asks everybody to come again


def flushed(house: House) -> Verdict:
    """FLUSHALL in the middle of a fan-out, twice."""
    house.start_line("clock", "worker-email")
    house.declare()
    with redis.Redis.from_url(house.env["REDIS_URL"]) as broker:
        for share in (0.2, 0.5):
            until(_has_mailed(house, share), "mail on its way")
            broker.flushall()
    house.await_settled()
    return judge(history.of(house))


def _has_mailed(house: House, share: float) -> Callable[[], bool]:
    return lambda: house.mails > share * house.cast["email"]


def gone(house: House) -> Verdict:
    """The broker is stopped before a publish, comes back empty, and is there for the next one."""
    house.start_line("clock", "worker-email")
    house.stop_broker()
    with override_settings(COMMIT_HINT=True, REDIS_URL=house.env["REDIS_URL"]):
        began = time.monotonic()
        house.declare()
        took_s = time.monotonic() - began
    told_without = house.await_settled()
    house.start_broker()
    house.declare()
    house.await_settled()
    verdict = judge(history.of(house))
    if not told_without:
        verdict.broken.append("I1: people waited for the broker to come back")
    if took_s > PUBLISH_S:
        verdict.broken.append(f"R3 the publish waited {took_s:.1f} s for the broker")
    return verdict


def flushed_while_retries_wait(house: House) -> Verdict:
    """What is to be tried again later is no message of the broker's: it outlives one that forgets."""
    house.start_line("clock", "worker-email")
    house.mailbox.put_faults({"shape": "451"})
    house.declare()
    time.sleep(BUSY_S)
    with redis.Redis.from_url(house.env["REDIS_URL"]) as broker:
        broker.flushall()
    house.mailbox.put_faults({})
    house.await_settled()
    return judge(history.of(house))


def test_a_flushed_broker_loses_nobody(open_house: Open, report: Report) -> None:
    report(flushed(open_house(PEOPLE)))


def test_without_a_broker_people_are_told_all_the_same(open_house: Open, report: Report) -> None:
    report(gone(open_house(PEOPLE)))


def test_retries_wait_in_the_database(open_house: Open, report: Report) -> None:
    report(flushed_while_retries_wait(open_house(PEOPLE)))


def test_no_task_waits_in_the_broker_for_its_hour() -> None:
    from notifications.tasks import DRAIN_S

    assert not app.conf.beat_schedule
    assert not app.conf.task_acks_late
    assert app.conf.broker_transport_options["visibility_timeout"] > 2 * DRAIN_S
