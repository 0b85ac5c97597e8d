"""How often one account may be tried, so that a probe never locks it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

# detection.md 2.3, point 0: a rejected log-in is never retried, or we lock the account ourselves.
LOGIN_EVERY: Final = timedelta(seconds=60)
REJECTIONS_MAX: Final = 2
FREEZE: Final = timedelta(minutes=15)
LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Restraint:
    """When an account was tried, how often it was rejected, until when it is left alone.

    A clock that was set back does not freeze it for longer than FREEZE.
    """

    # When the newest attempt ended.
    tried_at: datetime = LONG_AGO
    rejections: int = 0
    frozen_until: datetime = LONG_AGO
    # When somebody else who uses the account was late and could not be served.
    wanted_at: datetime = LONG_AGO

    @classmethod
    def of(cls, told: Any) -> "Restraint":  # Any: what the disk holds.
        """Return what was written to the disk; anything else is as if never tried."""
        try:
            return cls(
                tried_at=datetime.fromisoformat(told["tried_at"]),
                rejections=int(told["rejections"]),
                frozen_until=datetime.fromisoformat(told["frozen_until"]),
                wanted_at=datetime.fromisoformat(told["wanted_at"]),
            )
        except (KeyError, TypeError, ValueError):
            return cls()

    def told(self) -> Mapping[str, str | int]:
        """Return what is written to the disk."""
        return {
            "tried_at": self.tried_at.isoformat(),
            "rejections": self.rejections,
            "frozen_until": self.frozen_until.isoformat(),
            "wanted_at": self.wanted_at.isoformat(),
        }

    def is_soon(self, now: datetime) -> bool:
        """Say whether the newest attempt was less than a minute ago."""
        return timedelta(0) <= now - self.tried_at < LOGIN_EVERY

    def is_frozen(self, now: datetime) -> bool:
        """Say whether the account is left alone after rejections."""
        return timedelta(0) < self.frozen_until - now <= FREEZE

    def is_wanted(self, now: datetime) -> bool:
        """Say whether somebody waits for the account."""
        return timedelta(0) <= now - self.wanted_at < 2 * LOGIN_EVERY

    def is_late(self, own_at: datetime, now: datetime) -> bool:
        """Say whether one whose own newest attempt was at `own_at` goes before the others."""
        return now - own_at >= 2 * LOGIN_EVERY

    def holds_back(self, now: datetime) -> bool:
        """Say whether an account that was rejected is not to be tried now."""
        return self.is_frozen(now) or (self.rejections > 0 and self.is_soon(now))

    def again_at(self, now: datetime) -> datetime:
        """Return when the account may be tried again."""
        return self.frozen_until if self.is_frozen(now) else self.tried_at + LOGIN_EVERY

    def reject(self, now: datetime) -> str:
        """Count a rejection; return what follows from it, in words, empty when nothing does."""
        self.rejections += 1
        return self.freeze(now) if self.rejections >= REJECTIONS_MAX else ""

    def freeze(self, now: datetime) -> str:
        """Leave the account alone for FREEZE; return that in words."""
        self.frozen_until, self.rejections = now + FREEZE, 0
        return f"; no log-in before {self.frozen_until:%H:%M} UTC"


def account_digest(text: str) -> str:
    """Return what tells accounts apart on server and disk, and names nobody."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
