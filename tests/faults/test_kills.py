"""R1: kill -9 at seeded points of many fan-outs: nobody is lost, and only who was under way is told twice."""

import random
from contextlib import suppress

import psutil
import pytest

from notifications.models import Broadcast, Delivery, DeliveryState
from tests.faults import history, times
from tests.faults.checker import Rules, Verdict, judge
from tests.faults.conftest import Open, Report
from tests.faults.house import House, until

pytestmark = [pytest.mark.slow, pytest.mark.faults]
NUMBER = 2000
FAN_OUTS = 10
KILLS = 5  # in each fan-out
POOL = 2
SLOW_S = 0.01
LATE_S = (
    180.0  # of ten fan-outs whose workers die fifty times, on a machine that does other things too
)
CHUNKS_BEFORE = 3


def killed(house: House, *, seed: int, fan_outs: int, kills: int) -> Verdict:
    """Kill processes of the pool, whole workers and clocks at random counts of mails."""
    dice = random.Random(seed)
    house.start_line("clock", "worker-email")
    number = house.cast["email"]
    for fan_out in range(fan_outs):
        before = house.mails
        house.declare()
        for point in sorted(dice.sample(range(number // 50, number * 2 // 3), kills)):
            until(lambda at=before + point: house.mails >= at, "mail on its way")  # type: ignore[misc]
            kill_one(house, dice)
        if fan_out + 1 < fan_outs:  # the next one begins while the last of this one are under way
            until(lambda at=before + number * 9 // 10: house.mails >= at, "most are told")  # type: ignore[misc]
    house.await_settled()
    return judge(
        history.of(house),
        Rules(
            late_s=LATE_S,
            ambiguous_on=frozenset({"email"}),
            extra_max=fan_outs * kills * POOL * times.UNSETTLED,
        ),
    )


def kill_one(house: House, dice: random.Random) -> None:
    """Kill one process of the pool, now and then all of a worker, or the clock."""
    victim = dice.choices(["process", "worker-email", "clock"], weights=[6, 2, 2])[0]
    if victim != "process":
        house.of(victim).kill()
        house.start_again(house.of(victim), ready=False)
        return
    pool = house.of("worker-email").pool()
    if pool:
        with suppress(psutil.NoSuchProcess):  # the pool may have replaced it just now
            dice.choice(pool).kill()


def killed_while_queueing(house: House) -> Verdict:
    """The clock dies between two chunks of a fan-out; the next one goes on where it stopped."""
    clock = house.start("clock", slow={"notifications.Broadcast": 0.15})
    house.start("worker-email")
    house.declare()
    until(lambda: len(_cursors()) > 0, "a fan-out under way", within_s=60)
    clock.kill()
    assert Broadcast.objects.filter(fanned_out_at__isnull=True).exists(), "killed too late"
    house.start_again(clock)
    house.await_settled()
    return judge(history.of(house))


def fan_out_begun_again(house: House) -> Verdict:
    """Where a fan-out stood is forgotten while mail is on its way: it begins again, and queues nobody twice."""
    house.mailbox.put_faults({"shape": "slow", "delay_s": SLOW_S})
    house.start_line("clock", "worker-email")
    house.declare()
    until(lambda: house.mails > 0.1 * house.cast["email"], "mail on its way")
    Broadcast.objects.update(cursor={}, fanned_out_at=None)
    house.await_settled()
    return judge(history.of(house))


def stopped(house: House) -> Verdict:
    """Clock and worker are told to stop three times in a fan-out, as by an upgrade: they end after the message under way."""
    house.slow_mail(SLOW_S)
    house.start_line("clock", "worker-email")
    house.declare()
    clock, worker = house.of("clock"), house.of("worker-email")
    number = house.cast["email"]
    for share in (0.1, 0.3, 0.5):
        until(lambda at=share * number: house.mails >= at, "mail on its way")  # type: ignore[misc]
        clock.end()
        before = house.mails
        worker.end()
        assert house.mails - before < 0.1 * number, "it went on"
        assert not Delivery.objects.filter(state=DeliveryState.CALLING).exists()
        house.start_again(worker)
        house.start_again(clock)
    house.await_settled()
    return judge(history.of(house))


def shared(house: House) -> Verdict:
    """Four processes of two workers take what they can get of one fan-out."""
    house.start("clock", ready=False)
    house.start("worker-email", name="another worker", ready=False)
    house.start("worker-email")
    house.declare()
    house.await_settled()
    return judge(history.of(house))


def _cursors() -> list[int]:
    rows = Broadcast.objects.values_list("cursor", flat=True)
    return [int(at) for cursor in rows for at in cursor.values() if at != "done"]


@pytest.mark.parametrize("seed", [20191130])
def test_whoever_is_killed_nobody_is_lost(open_house: Open, report: Report, seed: int) -> None:
    house = open_house({"email": NUMBER})
    report(killed(house, seed=seed, fan_outs=FAN_OUTS, kills=KILLS))


def test_a_fan_out_goes_on_where_its_clock_died(open_house: Open, report: Report) -> None:
    report(killed_while_queueing(open_house({"email": 1000})))


def test_a_fan_out_that_begins_again_queues_nobody_twice(open_house: Open, report: Report) -> None:
    report(fan_out_begun_again(open_house({"email": 500})))


def test_a_worker_that_is_told_to_stop_tells_nobody_twice(open_house: Open, report: Report) -> None:
    report(stopped(open_house({"email": 800})))


def test_workers_share_a_fan_out_without_telling_anybody_twice(
    open_house: Open, report: Report
) -> None:
    report(shared(open_house({"email": NUMBER})))
