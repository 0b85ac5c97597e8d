"""Who fails again and again is left alone, for longer each time, and is tried with one message."""

from notifications.breaker import DOWN_S, FAILURES_MAX, FIRST_DOWN_S, Breaker


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES_MAX):
        breaker.failed(at)
    return breaker


def test_it_opens_after_five_failures_and_not_before() -> None:
    breaker = Breaker()
    for _ in range(FAILURES_MAX - 1):
        breaker.failed(0.0)
    assert breaker.allowance(0.0) is None
    breaker.failed(0.0)
    assert breaker.allowance(0.0) == 0


def test_a_blip_costs_two_seconds_and_one_message_finds_out() -> None:
    breaker = opened()
    assert breaker.allowance(FIRST_DOWN_S - 0.1) == 0
    assert breaker.allowance(FIRST_DOWN_S) == 1
    breaker.worked()
    assert breaker.allowance(FIRST_DOWN_S) is None


def test_it_stays_open_twice_as_long_each_time_up_to_a_minute() -> None:
    breaker, now, waits = opened(), 0.0, []
    for _ in range(8):
        assert breaker.open_until is not None
        waits.append(breaker.open_until - now)
        now = breaker.open_until
        breaker.failed(now)
    assert waits == [2, 4, 8, 16, 32, DOWN_S, DOWN_S, DOWN_S]


def test_failures_under_way_when_it_opened_do_not_make_it_longer() -> None:
    breaker = opened()
    for _ in range(50):
        breaker.failed(0.5)
    assert breaker.allowance(FIRST_DOWN_S) == 1


def test_what_a_provider_asks_for_is_kept() -> None:
    breaker = Breaker()
    breaker.failed(0.0, wait_s=90.0)
    assert (breaker.allowance(89.9), breaker.allowance(90.0)) == (0, 1)
