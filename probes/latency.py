"""How long runs took, as a sketch: percentiles that can be merged, packed into few bytes."""

import struct
import zlib
from collections.abc import Iterable
from typing import Final

from ddsketch.ddsketch import BaseDDSketch
from ddsketch.mapping import LogarithmicMapping
from ddsketch.store import CollapsingLowestDenseStore

# A percentile is off by no more than this share of itself: DDSketch, VLDB 12 (12), 2019, p. 2195.
ACCURACY: Final = 0.02
# So many bins of 4 % each span a factor of 10^8, from a microsecond to minutes. If more were
# needed, the lowest ones would be put together: p95 and p99 stay true.
BINS_MAX: Final = 512
# Counts are packed in 32 bits: a day holds 86,400 runs of one location.
COUNT_MAX: Final = 2**32 - 1
# Faster than this is not told apart from it; the log of 0 has no bin.
LEAST_MS: Final = 0.001
# The lowest bin and 512 counts, 4 bytes each; what zlib adds to bytes that it cannot shrink.
PACKED_BYTES_MAX: Final = 4 * (1 + BINS_MAX) + 32

_MAPPING: Final = LogarithmicMapping(ACCURACY)


class Latencies:
    """A sketch of durations in ms."""

    def __init__(self) -> None:
        self._bins = CollapsingLowestDenseStore(BINS_MAX)

    @classmethod
    def unpack(cls, packed: bytes | memoryview) -> "Latencies":
        """Read what pack() wrote; nothing is an empty sketch."""
        sketch = cls()
        if not packed:
            return sketch
        raw = zlib.decompress(packed)
        lowest, *counts = struct.unpack(f"<i{len(raw) // 4 - 1}I", raw)
        bins = sketch._bins
        bins.bins = [float(count) for count in counts]
        bins.offset = bins.min_key = lowest
        bins.max_key = lowest + len(counts) - 1
        bins.count = sum(counts)
        return sketch

    def pack(self) -> bytes:
        """Return the sketch in at most PACKED_BYTES_MAX bytes; an empty one in none."""
        bins = self._bins
        if not bins.count:
            return b""
        first = bins.min_key - bins.offset
        last = bins.max_key - bins.offset
        counts = [min(int(count), COUNT_MAX) for count in bins.bins[first : last + 1]]
        return zlib.compress(struct.pack(f"<i{len(counts)}I", bins.min_key, *counts), 1)

    @property
    def count(self) -> int:
        return int(self._bins.count)

    def add(self, duration_ms: float) -> None:
        self._bins.add(_MAPPING.key(max(duration_ms, LEAST_MS)))

    def merge(self, other: "Latencies") -> None:
        self._bins.merge(other._bins)

    def percentile_ms(self, percent: float) -> float | None:
        """Return the duration that so many percent of the runs do not exceed; None of nothing."""
        nothing = CollapsingLowestDenseStore(1)
        sketch = BaseDDSketch(_MAPPING, self._bins, nothing, 0.0)
        return sketch.get_quantile_value(percent / 100)


def merged(packed: Iterable[bytes | memoryview]) -> Latencies:
    """Return one sketch of all that are packed."""
    whole = Latencies()
    for each in packed:
        whole.merge(Latencies.unpack(each))
    return whole
