"""`bench fanout`: how fast the line hands over mail, queues a million, and lets something urgent through."""

import os
import statistics
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks import fanout_million, fanout_smtp

SUBSCRIBERS = 100_000
WORKERS = 2
PARTS = ("smtp", "million", "urgent")


def run(*, subscribers: int, workers: int, parts: tuple[str, ...]) -> dict[str, object]:
    """Return contract.md's object: value and limit are those of the plain server, without PIPELINING."""
    figures: dict[str, Any] = {}
    if "smtp" in parts:
        for way in ("plain", "pipelining"):
            say(f"smtp, {way}")
            peer = way == "plain"
            figures[way] = fanout_smtp.measure(
                way, subscribers=subscribers, workers=workers, peer=peer, say=say
            )
    if "million" in parts or "urgent" in parts:
        figures |= fanout_million.measure(urgent="urgent" in parts, workers=workers, say=say)
    return _object(figures, subscribers=subscribers, workers=workers, parts=parts)


def _object(
    figures: Mapping[str, Any], *, subscribers: int, workers: int, parts: tuple[str, ...]
) -> dict[str, object]:
    ran = (
        f"parts {', '.join(parts)}; {subscribers:,} subscribers, {workers} Celery processes, PostgreSQL with fsync, "
        f"Valkey, encrypted addresses, {os.cpu_count()} cores"
    )
    if "plain" in figures:
        value, limit = figures["plain"]["rate"], figures["plain"]["limit"]
        unit = "messages/s handed over"
    else:
        million = figures["million"]
        value, limit = million["rows_per_s"], million["bare_rows_per_s"]
        unit = "deliveries/s queued"
    return {
        "value": value,
        "unit": unit,
        "limit": limit,
        "ratio_to_limit": value / limit,
        "figures": dict(figures),
        "run": ran,
    }


def say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


def median(values: list[float]) -> float:
    return round(statistics.median(values), 1)
