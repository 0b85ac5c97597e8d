"""The words of a verdict, and how grave each one is."""

from enum import StrEnum
from typing import Final


class Word(StrEnum):
    """What all results of a check say of a component."""

    UP = "up"
    SLOW_BURN = "slow_burn"
    DEGRADED = "degraded"
    PARTIAL = "partial"
    STALE = "stale"
    OUTAGE = "outage"
    UNKNOWN = "unknown"


# From harmless to grave; unknown stands apart, it says nothing of the target.
GRAVITY: Final = (
    Word.UP,
    Word.SLOW_BURN,
    Word.DEGRADED,
    Word.PARTIAL,
    Word.STALE,
    Word.OUTAGE,
)
# What readers are told of; a slow burn is the operators' alone.
BAD: Final = frozenset({Word.DEGRADED, Word.PARTIAL, Word.STALE, Word.OUTAGE})
# What leaves failures behind that were told already once it is over.
GRAVE: Final = frozenset({Word.PARTIAL, Word.STALE, Word.OUTAGE})


def gravity(word: Word | str) -> int:
    """Return how grave a verdict is; unknown and none count as up."""
    return _RANK.get(word, 0)


# A Word is its text: both are found.
_RANK: Final = {word.value: rank for rank, word in enumerate(GRAVITY)}
