"""Whether a prober may trust what it sees: its own network, its own pace, its own clock."""

import asyncio
import socket
import time
from collections import deque
from typing import Final
from urllib.parse import urlsplit

from probes.kinds.tcp import connected, resolved
from probes.web import Refused

REFERENCE_TIMEOUT_S: Final = 3.0
REFERENCE_FRESH_S: Final = 2.0
REFERENCE_PORT: Final = 443
# detection.md 2.3, point 7: half an interval. Below 2 s an interval is shorter than a busy
# machine's ordinary pauses.
LAG_S_MIN: Final = 1.0
LAG_LOOK_EVERY_S: Final = 0.25
# Longer than any step with its retry; 60 s of looks are 240 numbers.
LAG_KEPT_S: Final = 60.0
# Ages told by a clock further off are worth nothing; a Date header has whole seconds.
CLOCK_OFF_S_MAX: Final = 60.0


class SelfCheck:
    """What speaks against this prober itself when a check fails."""

    def __init__(self) -> None:
        self.references: tuple[str, ...] = ()
        # How far our clock is ahead of the server's, as its newest answer told.
        self.clock_off_s = 0.0
        self._network_fault = ""
        self._looked_at = float("-inf")
        self._lags: deque[tuple[float, float]] = deque(maxlen=round(LAG_KEPT_S / LAG_LOOK_EVERY_S))

    async def fault(self, *, interval_s: float, since: float) -> str:
        """Return what is wrong with ourselves, empty when nothing is; `since` is monotonic."""
        if abs(self.clock_off_s) > CLOCK_OFF_S_MAX:
            ahead = "ahead of" if self.clock_off_s > 0 else "behind"
            return f"own clock: {abs(self.clock_off_s):,.0f} s {ahead} the server's"
        await asyncio.sleep(0)  # The one who measures was held up too, and comes first now.
        lag_s = self.lag_s(since)
        if lag_s > max(interval_s / 2, LAG_S_MIN):
            return f"own pace: late by {lag_s:.1f} s, this machine is too busy to tell"
        return await self._network()

    def note_lag(self, lag_s: float) -> None:
        """Take note of how late something ran."""
        self._lags.append((time.monotonic(), lag_s))

    def lag_s(self, since: float) -> float:
        """Return the longest lag since a monotonic moment."""
        return max((lag_s for at, lag_s in self._lags if at >= since), default=0.0)

    async def watching_lag(self) -> None:
        """Measure for ever how late this process wakes up."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(LAG_LOOK_EVERY_S)
            self.note_lag(time.monotonic() - began - LAG_LOOK_EVERY_S)

    async def _network(self) -> str:
        if not self.references:
            return ""
        if time.monotonic() - self._looked_at > REFERENCE_FRESH_S:
            looks = await asyncio.gather(*(_look_at(each) for each in self.references))
            self._network_fault = _in_words(looks)
            self._looked_at = time.monotonic()
        return self._network_fault


REACHED: Final = "reached"
UNRESOLVED: Final = "unresolved"
UNREACHED: Final = "unreached"


def _in_words(looks: list[str]) -> str:
    reached, needed = looks.count(REACHED), len(looks) // 2 + 1
    if reached >= needed:
        return ""
    words = f"own network: reached {reached} of {len(looks)} references, {needed} needed"
    unresolved = looks.count(UNRESOLVED)
    return f"{words}; {unresolved} did not resolve" if unresolved else words


async def _look_at(reference: str) -> str:
    """Resolve a reference and connect to it, as a name server and a network have to allow."""
    place = urlsplit(reference if "://" in reference else f"//{reference}")
    try:
        port = place.port or (80 if place.scheme == "http" else REFERENCE_PORT)
        async with asyncio.timeout(REFERENCE_TIMEOUT_S):
            # Never link-local or a metadata service: the list comes from the server.
            places = await resolved(place.hostname or "", allow_private=True)
            _, writer = await connected(places, port)
    except socket.gaierror:
        return UNRESOLVED
    except (OSError, ValueError, Refused):
        return UNREACHED
    writer.close()
    return REACHED
