"""When a check is due, when a failure is tried again, how long an absent server is left alone."""

import random
import zlib
from typing import Final

from probes.facts import CheckSpec

AGAIN_AFTER_S: Final = 0.25
AGAIN_AFTER_MAX_S: Final = 5.0


def until_next_s(now_s: float, check: CheckSpec, location: str) -> float:
    """Return the seconds until a check is due: aligned to its interval, apart by location.

    Aligned to the clock, so that nothing drifts and slots that a long run overslept are skipped.
    """
    share = zlib.crc32(f"{location}/{check.slug}".encode()) / 2**32
    since_due = (now_s - share * check.interval_s) % check.interval_s
    return check.interval_s - since_due


def retry_wait_s(check: CheckSpec) -> float:
    """Return the wait before the retry: never beyond half an interval, or the next run is late.

    A check each second with the usual 2 s would see two failures in 6 s instead of 3.
    """
    return min(check.retry_after_s, check.interval_s / 2)


def again_after_s(failures: int) -> float:
    """Return how long to leave an absent server alone: doubling, spread so that agents differ."""
    wait_s = min(AGAIN_AFTER_S * 2 ** min(failures - 1, 10), AGAIN_AFTER_MAX_S)
    return float(wait_s) * random.uniform(0.8, 1.2)
