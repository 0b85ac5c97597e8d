"""R1: kill -9 at seeded points of many fan-outs: nobody is lost, and only who was under way is told twice."""

import random
from contextlib import suppress

import psutil
import pytest

from notifications.models import Broadcast
from tests.faults import history
from tests.faults.checker import Rules, Verdict, judge
from tests.faults.conftest import Open, Report
from tests.faults.house import House, until

pytestmark = [pytest.mark.slow, pytest.mark.faults]
NUMBER = 2000
FAN_OUTS = 10
KILLS = 5  # in each fan-out
GROUP = 20  # of the e-mail channel: so many may be with the server when a process dies
POOL = 2
CHUNKS_BEFORE = 3


def killed(house: House, *, seed: int, fan_outs: int, kills: int) -> Verdict:
    """Kill processes of the pool, whole workers and clocks at random counts of mails."""
    dice = random.Random(seed)
    house.start_line("clock", "worker-email")
    for _ in range(fan_outs):
        before = house.mails
        house.declare()
        for point in sorted(dice.sample(range(NUMBER // 50, NUMBER * 9 // 10), kills)):
            until(lambda at=before + point: house.mails >= at, "mail on its way")  # type: ignore[misc]
            kill_one(house, dice)
        # The next one begins while the last of this one are still under way.
        until(lambda at=before + NUMBER * 9 // 10: house.mails >= at, "most are told")  # type: ignore[misc]
    house.await_settled()
    return judge(
        history.of(house),
        Rules(ambiguous_on=frozenset({"email"}), extra_max=fan_outs * kills * POOL * GROUP),
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
    until(lambda: len(_cursors()) > 0, "a fan-out under way", within_s=20)
    first = max(_cursors())
    until(lambda: _cursors() and max(_cursors()) > first, "the next chunk", within_s=20)
    clock.kill()
    assert Broadcast.objects.filter(fanned_out_at__isnull=True).exists(), "killed too late"
    house.start_again(clock)
    house.await_settled(within_s=30)
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
