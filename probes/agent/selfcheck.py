"""Whether a prober may trust what it sees: its own network, its own pace, its own clock."""

import asyncio
import time
from typing import Final
from urllib.parse import urlsplit

REFERENCE_TIMEOUT_S: Final = 3.0
REFERENCE_FRESH_S: Final = 2.0
REFERENCE_PORT: Final = 443


class SelfCheck:
    """Whether this prober can reach the hosts that prove its own network."""

    def __init__(self) -> None:
        self.references: tuple[str, ...] = ()
        self._fault = ""
        self._looked_at = float("-inf")

    async def fault(self) -> str:
        """Return what is wrong with our own network, empty when nothing is."""
        if not self.references:
            return ""
        if time.monotonic() - self._looked_at > REFERENCE_FRESH_S:
            reached = await asyncio.gather(*(_reaches(each) for each in self.references))
            count, needed = sum(reached), len(reached) // 2 + 1
            missed = f"own network: reached {count} of {len(reached)} references, {needed} needed"
            self._fault = "" if count >= needed else missed
            self._looked_at = time.monotonic()
        return self._fault


async def _reaches(reference: str) -> bool:
    place = urlsplit(reference if "://" in reference else f"//{reference}")
    try:
        port = place.port or (80 if place.scheme == "http" else REFERENCE_PORT)
        async with asyncio.timeout(REFERENCE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(place.hostname, port)
    except (OSError, ValueError):
        return False
    writer.close()
    return True
