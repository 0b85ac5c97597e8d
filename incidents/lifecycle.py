"""Which states there are, and which moves between them are legal; words as in Statuspage's public API."""

from collections.abc import Iterable
from enum import StrEnum


class Status(StrEnum):
    """Where an incident or a maintenance stands."""

    INVESTIGATING = "investigating"
    IDENTIFIED = "identified"
    MONITORING = "monitoring"
    RESOLVED = "resolved"
    POSTMORTEM = "postmortem"
    SCHEDULED = "scheduled"
    IN_PROGRESS = "in_progress"
    VERIFYING = "verifying"
    COMPLETED = "completed"


class Impact(StrEnum):
    """How much an incident hurts."""

    NONE = "none"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"
    MAINTENANCE = "maintenance"


class ComponentStatus(StrEnum):
    OPERATIONAL = "operational"
    DEGRADED_PERFORMANCE = "degraded_performance"
    PARTIAL_OUTAGE = "partial_outage"
    MAJOR_OUTAGE = "major_outage"
    UNDER_MAINTENANCE = "under_maintenance"


class Audience(StrEnum):
    """Who an update is pushed to; fixed when it is written."""

    EVERYONE = "everyone"
    TOLD_BEFORE = "told_before"
    NOBODY = "nobody"


class CallReason(StrEnum):
    """Why operators are called."""

    DRAFT_WAITS = "draft_waits"
    BLIND = "blind"
    PROMISE_DUE = "promise_due"
    VERDICT = "verdict"
    PROBER_FAULT = "prober_fault"
    PROBLEM = "problem"


class IllegalMove(ValueError):
    """The incident may not go from where it is to where it was asked to; the text says what is allowed."""


class Refused(ValueError):
    """What was asked contradicts what is there; the text is one sentence for the person who asked."""


class Overtaken(Refused):
    """Somebody else spoke since the form was opened; the text says what, so that nobody speaks over words unread."""


REALTIME = (
    Status.INVESTIGATING,
    Status.IDENTIFIED,
    Status.MONITORING,
    Status.RESOLVED,
    Status.POSTMORTEM,
)
MAINTENANCE = (Status.SCHEDULED, Status.IN_PROGRESS, Status.VERIFYING, Status.COMPLETED)
OPEN = (Status.INVESTIGATING, Status.IDENTIFIED, Status.MONITORING)
ACTIVE = (*OPEN, Status.IN_PROGRESS, Status.VERIFYING)
FINAL = (Status.RESOLVED, Status.POSTMORTEM, Status.COMPLETED)

# An open incident may go back (the cause was not it); a resolved one only through reopen().
NEXT: dict[Status | None, tuple[Status, ...]] = {
    None: (*OPEN, Status.RESOLVED, *MAINTENANCE),
    Status.INVESTIGATING: (*OPEN, Status.RESOLVED),
    Status.IDENTIFIED: (*OPEN, Status.RESOLVED),
    Status.MONITORING: (*OPEN, Status.RESOLVED),
    Status.RESOLVED: (Status.RESOLVED, Status.POSTMORTEM),
    Status.POSTMORTEM: (Status.POSTMORTEM,),
    Status.SCHEDULED: MAINTENANCE,
    Status.IN_PROGRESS: (Status.IN_PROGRESS, Status.VERIFYING, Status.COMPLETED),
    Status.VERIFYING: (Status.IN_PROGRESS, Status.VERIFYING, Status.COMPLETED),
    Status.COMPLETED: (Status.COMPLETED,),
}

# Ascending; statuspage-api.md §1 ranks maintenance below any fault in the page's roll-up.
_ORDER = (
    ComponentStatus.OPERATIONAL,
    ComponentStatus.UNDER_MAINTENANCE,
    ComponentStatus.DEGRADED_PERFORMANCE,
    ComponentStatus.PARTIAL_OUTAGE,
    ComponentStatus.MAJOR_OUTAGE,
)
_IMPACT = {
    ComponentStatus.OPERATIONAL: Impact.NONE,
    ComponentStatus.UNDER_MAINTENANCE: Impact.NONE,
    ComponentStatus.DEGRADED_PERFORMANCE: Impact.MINOR,
    ComponentStatus.PARTIAL_OUTAGE: Impact.MAJOR,
    ComponentStatus.MAJOR_OUTAGE: Impact.CRITICAL,
}
_IMPACT_ORDER = (Impact.NONE, Impact.MAINTENANCE, Impact.MINOR, Impact.MAJOR, Impact.CRITICAL)


def check_move(old: Status | None, new: Status) -> None:
    """Raise IllegalMove unless an incident that stands at `old` (None: not yet there) may be set to `new`."""
    allowed = NEXT[old]
    if new in allowed:
        return
    where = f'an incident that is "{old}"' if old else "a new incident"
    hint = "; reopen it first" if old in FINAL and new in OPEN else ""
    raise IllegalMove(f'{where} cannot become "{new}": allowed are {", ".join(allowed)}{hint}')


def is_maintenance(status: Status) -> bool:
    return status in MAINTENANCE


def worst(statuses: Iterable[ComponentStatus]) -> ComponentStatus:
    """Return the worst of `statuses`; operational when there is none."""
    return max(statuses, key=_ORDER.index, default=ComponentStatus.OPERATIONAL)


def impact_of(statuses: Iterable[ComponentStatus]) -> Impact:
    """Return the impact that affected components imply."""
    return _IMPACT[worst(statuses)]


def higher_impact(one: Impact, other: Impact) -> Impact:
    """Return the graver one: an incident's impact does not drop when its components recover."""
    return max(one, other, key=_IMPACT_ORDER.index)
