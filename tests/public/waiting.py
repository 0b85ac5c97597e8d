"""Waits for what another thread does."""

import time
from collections.abc import Callable

WITHIN_S = 30.0


def until(is_so: Callable[[], bool]) -> None:
    """Return as soon as it is so; fail after WITHIN_S."""
    deadline = time.monotonic() + WITHIN_S
    while not is_so():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)
