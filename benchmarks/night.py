"""`bench night`: the unattended night, timed from the fault to the last person told."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import stage
from demo import night
from demo.night import Script

Report = dict[str, Any]  # Any: JSON, contract.md "The night's report"


def run(
    *,
    env: Mapping[str, str] | None = None,
    script: Script | None = None,
    say: Callable[[str], None] = print,
) -> Report:
    """Play the night on a fresh demo; return its report."""
    with stage.running(env=env) as house:
        return night.play(house.house, script or Script(), say)


def figures(report: Report) -> dict[str, float]:
    """Return the seconds that the night is measured by."""
    return {
        "published_s": seconds(report, "fault_at", "published_at"),
        "page_s": seconds(report, "fault_at", "page_at"),
        "last_told_s": last(report["channels"]),
        "recovered_s": seconds(report, "mended_at", "recovered_at"),
        "last_all_clear_s": last(report["all_clear"]),
        "lost": report["lost"],
        "duplicates": report["duplicates"],
    }


def seconds(report: Report, start: str, end: str) -> float:
    """Return the time between two instants of the report; endless when the second never came."""
    if not report[end]:
        return float("inf")
    return (night._instant(report[end]) - night._instant(report[start])).total_seconds()


def last(channels: Mapping[str, Mapping[str, Any]]) -> float:
    """Return when the last person of all channels was told; endless when somebody was not."""
    if not channels or any(row["accepted"] < row["eligible"] for row in channels.values()):
        return float("inf")
    return max(float(row["last_s"]) for row in channels.values())
