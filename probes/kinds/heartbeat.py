"""Kind `heartbeat`: a job reports to us; its silence is the failure. No agent runs it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field

from probes.kinds import (
    CheckSpec,
    Memory,
    Observation,
    Outcome,
    Strict,
    Watch,
    read_options,
)

STEP: Final = "heartbeat"
GRACE_S: Final = 60.0
# Results are kept for 48 h: the newest has to outlive an interval and its grace.
INTERVAL_S_MAX: Final = 36 * 3600
GRACE_S_MAX: Final = 6 * 3600
# One missed beat is the whole evidence there will be.
RULE: Final[Mapping[str, Any]] = {"consecutive": 1}  # Any: numbers or null, as in `verdict:`.


class Options(Strict):
    """All of a check of this kind; the check's interval_s is how often a beat is due."""

    component: Annotated[str, Field(min_length=1)]
    grace_s: Annotated[float, Field(ge=0, le=GRACE_S_MAX)] = GRACE_S


def watches(spec: Mapping[str, Any]) -> tuple[Watch, ...]:
    """Return the one step with its component; raise BadSpec when the check is wrong."""
    return (Watch(STEP, read_options(Options, spec).component),)


def patience_s(spec: Mapping[str, Any]) -> float:
    """Return the grace: a missed beat is dated by when it was due, and told after it."""
    return read_options(Options, spec).grace_s


def wrong_interval(spec: Mapping[str, Any], interval_s: float) -> str:
    """Refuse beats that are further apart than results are kept."""
    return f"at most {INTERVAL_S_MAX:,} for kind heartbeat" if interval_s > INTERVAL_S_MAX else ""


async def run(check: CheckSpec, memory: Memory, now: datetime, timeout_s: float) -> Observation:
    """Say that there is nothing to run."""
    return Observation(Outcome.PROBER_FAULT, (), "a heartbeat is listened for by the server")
