"""Rejected log-ins: the account's fault, or the target's."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One rejected log-in: by which account, from where, when."""

    location: str
    account: str
    at: datetime


def borne_out(
    suspicions: Iterable[Suspicion],
    *,
    accounts: int,
    within_s: float,
    proven: Collection[tuple[str, str]],
    changed_at: datetime | None,
    guard_s: float,
) -> frozenset[Suspicion]:
    """Return the rejections that are the target's fault.

    They are where so many accounts at as many locations were rejected around the same time,
    each of them `proven`, as (location, account) that got in during the last day, and none within
    `guard_s` of a change of the check.
    """
    guard = timedelta(seconds=guard_s)
    sound = [
        each
        for each in suspicions
        if (each.location, each.account) in proven
        and (changed_at is None or not timedelta(0) <= each.at - changed_at < guard)
    ]
    within = timedelta(seconds=within_s)
    found: set[Suspicion] = set()
    for one in sound:
        near = [each for each in sound if abs(each.at - one.at) <= within]
        names = {each.account for each in near}
        places = {each.location for each in near}
        if min(len(names), len(places)) >= accounts:
            found.add(one)
    return frozenset(found)
