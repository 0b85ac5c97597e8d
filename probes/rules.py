"""What a row of attempts says: ratios, slow burns and suspicions, as counts of plain values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


def failures_counted(raw: Sequence[bool], *, of_last: int, row_min: int) -> int:
    """Return how many of the newest `of_last` first attempts failed; `raw` is newest first.

    A finished row of `row_min` failures and more was an outage: it is over, and no partial one.
    """
    counted = 0
    start = 0
    while start < min(len(raw), of_last):
        end = start
        while end < len(raw) and raw[end]:
            end += 1
        if start == 0 or end - start < row_min:
            counted += min(end, of_last) - start
        start = end + 1
    return counted


@dataclass(frozen=True, slots=True)
class Burn:
    """First attempts of all locations, in a long window and in a short one."""

    attempts: int = 0
    failures: int = 0
    newest_attempts: int = 0
    newest_failures: int = 0

    def exceeds(self, ratio: float, *, failures_min: int) -> bool:
        """Say whether both windows burn; a few failures of a young check are no ratio yet."""
        return (
            self.failures >= failures_min
            and self.failures >= ratio * self.attempts
            and self.newest_failures > 0
            and self.newest_failures >= ratio * self.newest_attempts
        )


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One rejected login: by which account, from where, when."""

    location: str
    account: str
    at: datetime


def is_borne_out(
    one: Suspicion, others: Iterable[Suspicion], *, accounts: int, within_s: float
) -> bool:
    """Say whether that many accounts at as many locations were rejected around the same time."""
    if not one.account:
        return False
    within = timedelta(seconds=within_s)
    near = [each for each in others if each.account and abs(each.at - one.at) <= within]
    near.append(one)
    names = {each.account for each in near}
    places = {each.location for each in near}
    return min(len(names), len(places)) >= accounts
