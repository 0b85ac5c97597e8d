"""A worker that is frozen past its lease wakes up in another world: it must not finish what it had begun."""

import signal
import time
from datetime import UTC, datetime
from math import ceil

import pytest
from django.db import models

from incidents import services
from incidents.lifecycle import Status
from notifications import sending
from notifications.hands import HANDS
from notifications.models import Delivery
from tests.faults import history, times
from tests.faults.checker import Rules, Verdict, judge
from tests.faults.conftest import Open, Report
from tests.faults.house import House, until

pytestmark = [pytest.mark.slow, pytest.mark.faults]
PEOPLE = {"email": 1000}
CLAIM_ROWS = 200  # of each process, also on a machine so slow that it would claim fewer
IN_HAND = 250  # far more than may be told twice
POOL = 2  # processes of worker-email: each may have begun one mail when it froze
SLOW_S = 0.005  # so that there is still something to send when the sleeper wakes
# What a hand had not written down at this pace, the mail that makes it look at the time, the one under way, and the one
# announced behind it.
UNSETTLED = min(sending.SETTLE_ROWS, ceil(sending.SETTLE_S / SLOW_S)) + 3
WAKES_AT = 0.3  # of the newer update's mails
TOLD_BY_ANOTHER = 0.7  # of what the sleeper has in hand, when it wakes: to send that again would be far more than allowed


def frozen_past_its_lease(house: House) -> Verdict:
    """SIGSTOP in the middle, another worker takes over, a newer update is published, SIGCONT."""
    house.start_line("clock", "worker-email")
    incident = house.declare()
    until(lambda: house.mails > 0.1 * house.cast["email"], "mail on its way")
    sleeper = house.of("worker-email")
    until(lambda: _in_hand() > 0, "deliveries in a worker's hands")
    sleeper.signal(signal.SIGSTOP)
    house.start("worker-email", name="another worker")
    time.sleep(times.LEASE_S)
    before = house.mails
    services.publish_update(
        incident, status=Status.IDENTIFIED, body="We know why.", actor="ann", now=datetime.now(UTC)
    )
    until(
        lambda: house.mails > before + WAKES_AT * house.cast["email"], "the newer update on its way"
    )
    sleeper.signal(signal.SIGCONT)
    house.await_settled()
    return judge(history.of(house), Rules(in_flight=POOL, ambiguous_on=frozenset({"email"})))


def suspended(house: House) -> Verdict:
    """The machine of a worker sleeps past its lease: its own steady clock does not know, the database does."""
    sleeping = house.folder / "slept"
    house.slow_mail(SLOW_S)
    house.start_line("clock")
    house.start("worker-email", slept=str(sleeping), claim_rows=CLAIM_ROWS)
    house.declare()
    until(lambda: house.mails > 0.1 * house.cast["email"], "mail on its way")
    until(lambda: _in_hand() > IN_HAND, "deliveries in a worker's hands")
    sleeper = house.of("worker-email")
    sleeper.signal(signal.SIGSTOP)
    in_hand = list(_held().values_list("pk", flat=True))
    began = time.monotonic()
    house.start("worker-email", name="another worker")
    until(lambda: not _in_hand_of_sleeper(began), "its leases ended")
    told = Delivery.objects.filter(pk__in=in_hand, state="accepted")
    until(lambda: told.count() > TOLD_BY_ANOTHER * len(in_hand), "another worker has told them")
    sleeping.write_text(str(time.monotonic() - began))
    sleeper.signal(signal.SIGCONT)
    house.await_settled()
    return judge(
        history.of(house),
        Rules(ambiguous_on=frozenset({"email"}), extra_max=POOL * HANDS * UNSETTLED),
    )


def _in_hand_of_sleeper(began: float) -> bool:
    return time.monotonic() - began < 2 * times.LEASE_S


def _in_hand() -> int:
    return _held().count()


def _held() -> models.QuerySet[Delivery]:
    return Delivery.objects.filter(state__in=["prepared", "calling"])


def test_a_worker_that_slept_past_its_lease_sends_nothing_old(
    open_house: Open, report: Report
) -> None:
    report(frozen_past_its_lease(open_house(PEOPLE)))


def test_a_machine_that_was_suspended_sends_nothing_twice(open_house: Open, report: Report) -> None:
    report(suspended(open_house(PEOPLE)))
