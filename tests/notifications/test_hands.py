"""The second thread of a channel with much to send."""

import threading
from collections.abc import Callable

import pytest

from notifications import hands
from notifications.hands import SecondHand

BEGINS_S = 10.0


class _Database:
    """Of a connection what is asked here: whether it takes many writers, and to be closed."""

    def __init__(self, vendor: str) -> None:
        self.vendor = vendor

    def close(self) -> None:
        pass


def lent(channel: str, work: Callable[[], int]) -> SecondHand:
    """Return a hand whose work has begun."""
    begun = threading.Event()

    def begin() -> int:
        begun.set()
        return work()

    hand = SecondHand(channel, begin)
    hand.lend()
    assert begun.wait(BEGINS_S)
    return hand


@pytest.fixture(autouse=True)
def _a_database_with_many_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lent where one writer waits for the other."""
    monkeypatch.setattr(hands, "connection", _Database("postgresql"))


def test_what_was_lent_is_begun_once_and_counted() -> None:
    threads: list[str] = []

    def work() -> int:
        threads.append(threading.current_thread().name)
        return 7

    hand = lent("email", work)
    hand.lend()
    assert hand.back() == 7
    assert len(threads) == 1
    assert threading.current_thread().name not in threads


def test_nothing_is_begun_that_was_not_lent() -> None:
    assert SecondHand("email", lambda: int("ü")).back() == 0


def test_nothing_is_lent_on_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands, "connection", _Database("sqlite"))
    hand = SecondHand("email", lambda: int("ü"))
    hand.lend()
    assert hand.back() == 0


def test_a_hand_that_works_for_somebody_else_is_not_waited_for() -> None:
    ends = threading.Event()
    first = lent("email", lambda: int(ends.wait(BEGINS_S)))
    second = SecondHand("email", lambda: 1)
    second.lend()
    assert second.back() == 0
    assert lent("webpush", lambda: 1).back() == 1  # each channel has a thread of its own
    ends.set()
    assert first.back() == 1


def test_what_went_wrong_there_is_raised_here() -> None:
    hand = lent("email", lambda: int("ü"))
    with pytest.raises(ValueError, match="ü"):
        hand.back()
