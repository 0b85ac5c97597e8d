"""Promises of a next update: what the machine says when nobody keeps one, and how well they were kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from incidents import reads, services
from incidents.lifecycle import OPEN, CallReason, Status
from incidents.models import Incident, Update

ACTOR = "clock"
# communication.md §3.3: at promise +0 an automatic word, at most three in a row.
IN_A_ROW_MAX = 3
KEY = "still"
BODY = (
    "We are still working on it. There is nothing new to say yet. "
    "This was posted automatically because the next update was due."
)
SHORTEST, LONGEST, USUAL = timedelta(minutes=10), timedelta(hours=4), timedelta(minutes=20)


@dataclass(frozen=True, slots=True)
class Score:
    """How promises went: `kept` by a person in time, `covered` by the machine's "still working on it", `late`."""

    kept: int = 0
    covered: int = 0
    late: int = 0

    @property
    def made(self) -> int:
        return self.kept + self.covered + self.late

    def __add__(self, other: "Score") -> "Score":
        return Score(self.kept + other.kept, self.covered + other.covered, self.late + other.late)


@transaction.atomic
def speak(incident: Incident, *, now: datetime) -> Update | None:
    """Say that work goes on when a promise lapses; None when the machine has spoken three times in a row."""
    incident = services._lock(incident)
    if incident.next_update_by is None or incident.next_update_by > now:
        return None
    said = newest_first(incident)
    if in_a_row(said) >= IN_A_ROW_MAX:
        _call(incident, now)
        return None
    return services.publish_update(
        incident, status=Status(incident.status), body=BODY, automatic=True, actor=ACTOR, now=now,
        audience=reads.audience_of(incident), next_update_by=now + _interval(said), key=f"{KEY}:{incident.next_update_by:%Y%m%d%H%M%S}",
    )  # fmt: skip


def due(now: datetime) -> QuerySet[Incident]:
    """Return the open incidents whose promise has lapsed."""
    return (
        Incident.objects.filter(
            status__in=OPEN, published_at__isnull=False, next_update_by__lte=now
        )
        .select_related("page")
        .order_by("next_update_by")
    )


def newest_first(incident: Incident) -> list[Update]:
    return list(incident.updates.filter(number__isnull=False).order_by("-number"))


def in_a_row(said: Sequence[Update]) -> int:
    """Return how many of the newest updates were the machine's "still working on it"."""
    for count, update in enumerate(said):
        if not update.key.startswith(f"{KEY}:"):
            return count
    return len(said)


def score(said: Sequence[Update], *, now: datetime) -> Score:
    """Count the promises of one incident's updates, newest first."""
    total = Score()
    ordered = list(reversed(said))
    for update, after in zip(ordered, [*ordered[1:], None], strict=True):
        if update.next_update_by is None:
            continue
        if after is not None and after.key.startswith(f"{KEY}:"):
            total += Score(covered=1)
        elif after is None or after.published_at is None:
            total += Score(late=1) if update.next_update_by < now else Score()
        elif after.published_at <= update.next_update_by:
            total += Score(kept=1)
        else:
            total += Score(late=1)
    return total


def _interval(said: Sequence[Update]) -> timedelta:
    """Return how long the last promise was, within reason."""
    for update in said:
        if update.next_update_by and update.published_at:
            return min(LONGEST, max(SHORTEST, update.next_update_by - update.published_at))
    return USUAL


def _call(incident: Incident, now: datetime) -> None:
    assert incident.next_update_by is not None, "it lapsed"
    services.call_operators(
        page=incident.page, reason=CallReason.PROMISE_DUE, incident=incident, now=now,
        text=f'"{incident.name}": the machine has spoken {IN_A_ROW_MAX} times in a row and says no more. A person must.',
        key=f"silent:{incident.uid}:{incident.next_update_by:%Y%m%d%H%M}",
    )  # fmt: skip
