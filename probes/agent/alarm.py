"""The prober's own alarm: checks fail, and the server does not hear of it."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp

# Results that wait this long while checks fail are told elsewhere.
ALARM_AFTER_S: Final = 120.0
ALARM_AGAIN_S: Final = 600.0
ALARM_RETRY_S: Final = 30.0
ALARM_TIMEOUT_S: Final = 10.0
LOOK_EVERY_S: Final = 1.0
CHECKS_NAMED_MAX: Final = 5
WORDS_CHARS_MAX: Final = 160


@dataclass(slots=True)
class Plight:
    """What fails here and since when the server does not hear of it; says what to tell, when.

    All moments are monotonic seconds.
    """

    location: str
    after_s: float = ALARM_AFTER_S
    again_s: float = ALARM_AGAIN_S
    # Slug of each check whose newest run failed, and why.
    failing: dict[str, str] = field(default_factory=dict)
    unheard_since: float | None = None
    # When the alarm was last told; None while there is none.
    told_at: float | None = None

    def saw(self, slug: str, reason: str) -> None:
        """Take note of a run: `reason` is empty when it did not fail."""
        if reason:
            self.failing[slug] = reason[:WORDS_CHARS_MAX]
        else:
            self.failing.pop(slug, None)

    def keep_only(self, slugs: Mapping[str, object] | set[str]) -> None:
        """Forget the checks that are no longer ours."""
        for slug in self.failing.keys() - set(slugs):
            del self.failing[slug]

    def not_heard(self, now: float) -> None:
        """The server did not take what it was handed."""
        self.unheard_since = now if self.unheard_since is None else self.unheard_since

    def heard(self) -> None:
        """The server took it."""
        self.unheard_since = None

    def sentence(self, now: float) -> str:
        """Return what is to be told now, empty for nothing."""
        if self.unheard_since is None or not self.failing:
            return "" if self.told_at is None else self._over()
        unheard_s = now - self.unheard_since
        if unheard_s < self.after_s:
            return ""
        if self.told_at is not None and now - self.told_at < self.again_s:
            return ""
        names = sorted(self.failing)
        shown = "; ".join(f"{name}: {self.failing[name]}" for name in names[:CHECKS_NAMED_MAX])
        more = f"; and {len(names) - CHECKS_NAMED_MAX} more" if names[CHECKS_NAMED_MAX:] else ""
        return (
            f"Prober {self.location}: checks fail and the status page has not taken results"
            f" for {unheard_s / 60:.0f} min. {shown}{more}."
        )

    def _over(self) -> str:
        if self.unheard_since is None:
            return f"Prober {self.location}: over, the status page takes results again."
        return f"Prober {self.location}: over, no check fails; the status page is still silent."

    def told(self, now: float) -> None:
        """Note that the sentence went out."""
        is_alarm = self.unheard_since is not None and bool(self.failing)
        self.told_at = now if is_alarm else None


async def telling(plight: Plight, url: str) -> None:
    """Tell for ever what has to be told, at `url`; a failed attempt is made again."""
    timeout = aiohttp.ClientTimeout(total=ALARM_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if sentence := plight.sentence(time.monotonic()):
                if await _post(session, url, sentence):
                    plight.told(time.monotonic())
                else:
                    await asyncio.sleep(ALARM_RETRY_S)


async def _post(session: aiohttp.ClientSession, url: str, sentence: str) -> bool:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    try:
        async with session.post(
            url, data=sentence.encode(), headers=headers, allow_redirects=False
        ) as response:
            return 200 <= response.status < 300
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return False
