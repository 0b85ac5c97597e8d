"""What a row of attempts says: shares of failures, and how often they come and go."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# Nagios weighs the newest change 1.2 and the oldest 0.8, in a straight line between.
FLAP_WEIGHT_NEWEST = 1.2
FLAP_WEIGHT_OLDEST = 0.8


@dataclass(frozen=True, slots=True)
class Burn:
    """First attempts of all locations, in a long window and in a short one."""

    attempts: int = 0
    failures: int = 0
    newest_attempts: int = 0
    newest_failures: int = 0

    def exceeds(self, ratio: float, *, failures_min: int, is_burning: bool = False) -> bool:
        """Say whether both windows burn; once it burns, half the share keeps it burning.

        A few failures of a young check are no ratio yet.
        """
        share = ratio / 2 if is_burning else ratio
        return (
            self.failures >= failures_min
            and self.failures >= share * self.attempts
            and self.newest_failures > 0
            and self.newest_failures >= share * self.newest_attempts
        )


def flap_percent(is_bad: Sequence[bool], *, runs: int) -> float:
    """Return how much of the last `runs` results are changes, newer ones weighted more.

    `is_bad` is newest first. Source: Nagios Core, "Detection and Handling of State Flapping".
    """
    newest = is_bad[:runs]
    if len(newest) < 2:
        return 0.0
    places = runs - 1
    step = (FLAP_WEIGHT_NEWEST - FLAP_WEIGHT_OLDEST) / max(1, places - 1)
    changed = sum(
        FLAP_WEIGHT_NEWEST - step * place
        for place in range(len(newest) - 1)
        if newest[place] is not newest[place + 1]
    )
    return 100 * changed / places


@dataclass(frozen=True, slots=True)
class Minute:
    """First attempts of one minute, of all locations."""

    at: datetime
    attempts: int
    failures: int


def burn_of(
    minutes: Iterable[Minute],
    until: datetime,
    *,
    over_s: float,
    newest_s: float,
    since: datetime | None,
) -> Burn:
    """Return the counts of both windows before `until`; what ended at `since` was told already."""
    begin, newest = until - timedelta(seconds=over_s), until - timedelta(seconds=newest_s)
    counted = [
        each for each in minutes if begin <= each.at < until and (since is None or each.at >= since)
    ]
    late = [each for each in counted if each.at >= newest]
    return Burn(
        attempts=sum(each.attempts for each in counted),
        failures=sum(each.failures for each in counted),
        newest_attempts=sum(each.attempts for each in late),
        newest_failures=sum(each.failures for each in late),
    )
