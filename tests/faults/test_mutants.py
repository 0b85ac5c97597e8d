"""Each protection is removed once, and the checker of its fault test must go red."""

from collections.abc import Callable
from functools import partial

import pytest

from tests.faults import (
    mutants,
    test_broker,
    test_clocks,
    test_database,
    test_freeze,
    test_kills,
    test_people,
    test_providers,
    test_publish,
    test_queue,
    test_versions,
)
from tests.faults.checker import Verdict
from tests.faults.conftest import SEEN, Open
from tests.faults.house import House

pytestmark = [pytest.mark.slow, pytest.mark.mutants]
Scene = Callable[[House], Verdict]
FEW = {"email": 300}
SOME = {"email": 100, "sms": 40}

# Which protection, whose fault test, with how many people; the last says what must be broken.
CASES: dict[str, tuple[Scene, dict[str, int], str]] = {
    "lapsed leases are taken back": (
        partial(test_kills.killed, seed=1, fan_outs=1, kills=2), {"email": 1000}, "I1 lost",
    ),
    "a lost lease ends the right to send": (test_freeze.suspended, test_freeze.PEOPLE, "I2"),
    "an overtaken update is not sent": (test_publish.overtaken_while_put_off, FEW, "I3"),
    "who has left is asked again": (test_people.leaving_and_joining, {"email": 800}, "I4"),
    "a halt is asked for": (test_publish.halted, {"email": 1500}, "halt"),
    "broadcasts take turns": (test_queue.three_at_once, test_queue.CROWD, "R19"),
    "claimed rows are locked": (test_kills.shared, {"email": 1000}, "I2"),
    "one delivery per person": (test_kills.fan_out_begun_again, FEW, "I2"),
    "one broadcast per update": (test_clocks.doubled, FEW, "I2"),
    "a fan-out is resumed": (test_kills.killed_while_queueing, {"email": 1000}, "I1 lost"),
    "the clock looks by itself": (test_broker.gone, FEW, "I1"),
    "the clock sends without a broker": (test_broker.gone, FEW, "I1"),
    "an unknown is tried again": (test_providers.unanswered_and_lost, SOME, "I1 lost"),
    "the account's list is looked at": (test_providers.unanswered_but_taken, SOME, "R9"),
    "Retry-After is kept": (test_providers.asked_to_wait, SOME, "R7"),
    "beats are noted outside": (test_database.put_back, FEW, "R32"),
    "old entries expire": (test_database.restored, FEW, "R32"),
    "the same key is the same update": (test_publish.pressed_ten_times, FEW, "R14"),
    "the database's clock counts": (
        partial(test_clocks.moved, clock_s=3600, worker_s=-3600), FEW, "I1",
    ),
    "dead addresses are remembered": (test_people.a_tenth_dead, FEW, "R17"),
    "addresses are looked at": (test_people.poisoned, FEW, "R16"),
    "other versions' plans are read": (test_versions.met_by_strangers, FEW, "I1"),
}  # fmt: skip
SOCIAL = {"an unknown is tried again", "the account's list is looked at"}


def test_every_mutant_has_its_fault_test() -> None:
    assert set(CASES) == set(mutants.ALL)


@pytest.mark.parametrize("protection", CASES)
def test_without_its_protection_a_fault_test_goes_red(open_house: Open, protection: str) -> None:
    scene, cast, expected = CASES[protection]
    verdict = scene(open_house(cast, mutant=protection, social=protection in SOCIAL))
    SEEN.append(f"without “{protection}”: {'; '.join(verdict.broken) or 'NOTHING BROKEN'}")
    assert any(sentence.startswith(expected) for sentence in verdict.broken), verdict.line()
