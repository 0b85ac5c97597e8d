"""Which moves are legal, and what components imply."""

import pytest

from incidents.lifecycle import ComponentStatus as C
from incidents.lifecycle import (
    IllegalMove,
    Impact,
    Status,
    check_move,
    higher_impact,
    impact_of,
    worst,
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(None, Status.INVESTIGATING, id="an incident opens"),
        pytest.param(None, Status.SCHEDULED, id="a maintenance is announced"),
        pytest.param(Status.INVESTIGATING, Status.INVESTIGATING, id="more is said of the same"),
        pytest.param(Status.INVESTIGATING, Status.RESOLVED, id="straight to the end"),
        pytest.param(Status.MONITORING, Status.IDENTIFIED, id="back while it is open"),
        pytest.param(Status.SCHEDULED, Status.COMPLETED, id="a maintenance called off"),
    ],
)
def test_a_legal_move_is_taken(old: Status | None, new: Status) -> None:
    check_move(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(Status.RESOLVED, Status.IDENTIFIED, id="resolved does not go back"),
        pytest.param(Status.COMPLETED, Status.IN_PROGRESS, id="completed does not go back"),
        pytest.param(Status.INVESTIGATING, Status.IN_PROGRESS, id="an incident is no maintenance"),
        pytest.param(Status.SCHEDULED, Status.INVESTIGATING, id="a maintenance is no incident"),
        pytest.param(None, Status.POSTMORTEM, id="no post-mortem before an end"),
    ],
)
def test_an_illegal_move_is_refused_in_words(old: Status | None, new: Status) -> None:
    with pytest.raises(IllegalMove, match=f'cannot become "{new}": allowed are'):
        check_move(old, new)


def test_a_resolved_incident_hints_at_reopening() -> None:
    with pytest.raises(IllegalMove, match="reopen it first"):
        check_move(Status.RESOLVED, Status.INVESTIGATING)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        pytest.param([], C.OPERATIONAL, id="nothing is wrong"),
        pytest.param(
            [C.UNDER_MAINTENANCE, C.DEGRADED_PERFORMANCE],
            C.DEGRADED_PERFORMANCE,
            id="a fault over a plan",
        ),
        pytest.param(
            [C.PARTIAL_OUTAGE, C.MAJOR_OUTAGE, C.OPERATIONAL], C.MAJOR_OUTAGE, id="the worst wins"
        ),
    ],
)
def test_the_worst_of_several(statuses: list[C], expected: C) -> None:
    assert worst(statuses) is expected


@pytest.mark.parametrize(
    ("status", "impact"),
    [
        (C.OPERATIONAL, Impact.NONE),
        (C.DEGRADED_PERFORMANCE, Impact.MINOR),
        (C.PARTIAL_OUTAGE, Impact.MAJOR),
        (C.MAJOR_OUTAGE, Impact.CRITICAL),
    ],
)
def test_impact_follows_the_component(status: C, impact: Impact) -> None:
    assert impact_of([C.OPERATIONAL, status]) is impact


def test_impact_does_not_drop() -> None:
    assert higher_impact(Impact.CRITICAL, Impact.MINOR) is Impact.CRITICAL
