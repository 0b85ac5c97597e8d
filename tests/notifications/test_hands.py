"""The second thread of a channel with much to send."""

import threading

import pytest
from django.db import connection

from notifications.hands import SecondHand

# SQLite has one writer at a time, so nothing is lent there.
LENT = connection.vendor == "postgresql"


def test_what_was_lent_is_waited_for_and_counted() -> None:
    threads: list[str] = []

    def work() -> int:
        threads.append(threading.current_thread().name)
        return 7

    hand = SecondHand("email", work)
    hand.lend()
    hand.lend()
    assert hand.back() == (7 if LENT else 0)
    assert len(threads) == (1 if LENT else 0)
    assert threading.current_thread().name not in threads


def test_nothing_is_begun_that_was_not_lent() -> None:
    assert SecondHand("email", lambda: int("ü")).back() == 0


def test_a_hand_that_works_for_somebody_else_is_not_waited_for() -> None:
    ends = threading.Event()
    first = SecondHand("email", lambda: int(ends.wait(30)))
    second = SecondHand("email", lambda: 1)
    other = SecondHand("webpush", lambda: 1)
    for hand in (first, second, other):
        hand.lend()
    assert second.back() == 0
    assert other.back() == int(LENT)  # each channel has a thread of its own
    ends.set()
    assert first.back() == int(LENT)


def test_what_went_wrong_there_is_raised_here() -> None:
    hand = SecondHand("email", lambda: int("ü"))
    hand.lend()
    if not LENT:
        assert hand.back() == 0
        return
    with pytest.raises(ValueError, match="ü"):
        hand.back()
