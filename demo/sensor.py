"""What the sensors upload: synthetic readings, the canary's own, and what a fault makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from demo.accounts import Account, Refused
from demo.faults import Board, Strike
from demo.pages import utc_now

# Bounds of the Share calls, as pydexcom 0.5.1 checks them (follow-service.md 1.2).
MINUTES_MAX = 1440
COUNT_MAX = 288
VALUE_MIN, VALUE_MAX = 20, 600

# What a shape does unless its options say otherwise.
FROZEN_AGE_S = 1200.0
SKEW_S = 3600.0

TRENDS: Mapping[str, int] = {"FortyFiveUp": 3, "Flat": 4, "FortyFiveDown": 5}


@dataclass(frozen=True, slots=True)
class Reading:
    """One glucose value and when it was measured."""

    at: datetime
    value: int
    trend: str = "Flat"


def wearer_readings(account: Account, until: datetime, every_s: float) -> Iterator[Reading]:
    """Yield what the synthetic sensor has uploaded by `until`, newest first, without end.

    The curve is a function of time alone, so after a break the gap is back-filled, as it
    really is: the graph hides the outage.
    """
    phase = sum(account.name.encode()) % 97
    step = math.floor(until.timestamp() / every_s)
    while True:
        at_s = step * every_s
        slope = math.cos(at_s / 1700 + phase)
        trend = "FortyFiveUp" if slope > 0.7 else "FortyFiveDown" if slope < -0.7 else "Flat"
        value = round(120 + 35 * math.sin(at_s / 1700 + phase))
        yield Reading(datetime.fromtimestamp(at_s, UTC), value, trend)
        step -= 1


def newest(readings: Iterator[Reading], now: datetime, minutes: int, count: int) -> list[Reading]:
    """Return at most `count` readings of the last `minutes`."""
    found: list[Reading] = []
    for reading in readings:
        if len(found) >= count or reading.at < now - timedelta(minutes=minutes):
            break
        found.append(reading)
    return found


def read_reading(body: Mapping[str, object]) -> Reading:
    """Read an uploaded reading, or refuse with what was expected."""
    value, trend = body.get("value"), body.get("trend", "Flat")
    if not isinstance(value, int) or not VALUE_MIN <= value <= VALUE_MAX:
        raise Refused("InvalidArgument", f"value must be {VALUE_MIN} to {VALUE_MAX} mg/dL.")
    if trend not in TRENDS:
        raise Refused("InvalidArgument", f"trend must be one of {', '.join(TRENDS)}.")
    try:
        at = datetime.fromisoformat(str(body.get("time")))
    except ValueError as error:
        raise Refused("InvalidArgument", "time must be an ISO 8601 instant.") from error
    if at.tzinfo is None:
        raise Refused("InvalidArgument", "time must name its zone, as 2019-11-30T06:00:00Z.")
    return Reading(at, value, str(trend))


class Sensors:
    """The readings of all accounts."""

    def __init__(self, board: Board, every_s: float) -> None:
        self.board = board
        self.every_s = every_s
        self._uploaded: dict[str, list[Reading]] = {}

    def keep(self, account: Account, reading: Reading) -> None:
        """Keep what was uploaded, newest first, however late it comes."""
        kept = [reading, *self._uploaded.get(account.name, [])]
        kept.sort(key=lambda known: known.at, reverse=True)
        self._uploaded[account.name] = kept[:COUNT_MAX]

    def known(self, account: Account, until: datetime) -> Iterator[Reading]:
        """Yield the readings that have arrived by `until`, newest first."""
        lost = self.board.fault_of("upload")
        if lost and lost.shape == "F18":
            until = min(until, lost.since)
        if account.wears:
            return wearer_readings(account, until, self.every_s)
        uploaded = self._uploaded.get(account.name, [])
        return (reading for reading in uploaded if reading.at <= until)

    def shown(
        self, account: Account, strike: Strike | None, *, minutes: int, count: int
    ) -> list[Reading]:
        """Return what one call is shown: the truth, or what the fault makes of it."""
        now = utc_now()
        if strike is None:
            return newest(self.known(account, now), now, minutes, count)
        fault = strike.fault
        match fault.shape:
            case "F8" | "F20":
                return []
            case "F9" | "F13":
                age = timedelta(seconds=fault.number("age_s", FROZEN_AGE_S))
                frozen = self.known(account, strike.since - age)
                return newest(frozen, now, minutes, count)
            case "F19":
                skew = timedelta(seconds=fault.number("skew_s", SKEW_S))
                strange = newest(self.known(account, now), now, minutes, count)
                return [Reading(r.at + skew, r.value + 100, r.trend) for r in strange]
            case _:
                return newest(self.known(account, now), now, minutes, count)
