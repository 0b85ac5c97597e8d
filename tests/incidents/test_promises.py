"""Promises: what the machine says when nobody speaks, how often, and how they are counted."""

from datetime import timedelta
from typing import Any

import pytest

from incidents import clock, promises, services
from incidents.lifecycle import Audience, Status
from incidents.models import Call, Incident
from incidents.promises import Score
from tests import world

pytestmark = pytest.mark.django_db
MIN = timedelta(minutes=1)


def promised(minutes: int = 20) -> Incident:
    return world.incident(world.component(), next_update_by=world.NOW + minutes * MIN)


def test_the_machine_speaks_three_times_in_a_row_and_then_calls_a_person() -> None:
    incident = promised()
    for passed in range(0, 121, 2):
        clock.tick(world.NOW + passed * MIN)
    said = promises.newest_first(Incident.objects.get(pk=incident.pk))
    assert [update.automatic for update in said] == [True, True, True, False]
    assert all("posted automatically" in update.body for update in said[:3])
    assert Call.objects.filter(key__startswith="silent:").count() == 1


def test_of_a_quiet_incident_the_machine_speaks_to_nobody() -> None:
    incident = world.incident(
        world.component(), next_update_by=world.NOW + 20 * MIN, audience=Audience.NOBODY
    )
    clock.tick(world.NOW + 20 * MIN)
    said = promises.newest_first(Incident.objects.get(pk=incident.pk))
    assert [update.audience for update in said] == ["nobody", "nobody"]


def test_operators_are_called_before_a_promise_lapses() -> None:
    promised()
    clock.tick(world.NOW + 14 * MIN)
    assert not Call.objects.exists()
    clock.tick(world.NOW + 16 * MIN)
    assert Call.objects.get().reason == "promise_due"


def test_a_person_who_speaks_begins_the_three_anew() -> None:
    incident = promised()
    clock.tick(world.NOW + 20 * MIN)
    services.publish_update(
        incident, status=Status.IDENTIFIED, body="Found.", actor="ann", now=world.NOW + 21 * MIN,
        next_update_by=world.NOW + 40 * MIN,
    )  # fmt: skip
    clock.tick(world.NOW + 40 * MIN)
    said = promises.newest_first(Incident.objects.get(pk=incident.pk))
    assert promises.in_a_row(said) == 1
    assert said[0].status == Status.IDENTIFIED


@pytest.mark.parametrize("status", [Status.MONITORING, Status.RESOLVED])
def test_the_machine_does_not_speak_over_a_person_who_spoke_meanwhile(status: Status) -> None:
    lapsed = promised()
    services.publish_update(
        lapsed, status=status, body="It works.", actor="ann", now=world.NOW + 21 * MIN
    )
    assert promises.speak(lapsed, now=world.NOW + 21 * MIN) is None
    assert promises.newest_first(lapsed)[0].body == "It works."


def test_nobody_speaks_for_an_incident_that_is_over_or_promised_nothing() -> None:
    over, silent = promised(), world.incident(world.component("login"))
    services.publish_update(
        over, status=Status.RESOLVED, body="Over.", actor="ann", now=world.NOW + MIN
    )
    clock.tick(world.NOW + 60 * MIN)
    assert over.updates.count() == 2
    assert silent.updates.count() == 1


def test_promises_are_scored_as_kept_covered_and_late() -> None:
    incident = promised(20)
    say: dict[str, Any] = {"body": "More.", "actor": "ann", "status": Status.INVESTIGATING}
    services.publish_update(
        incident, now=world.NOW + 19 * MIN, next_update_by=world.NOW + 30 * MIN, **say
    )
    services.publish_update(
        incident, now=world.NOW + 31 * MIN, next_update_by=world.NOW + 50 * MIN, **say
    )
    clock.tick(world.NOW + 50 * MIN)  # the machine covers, promising 19 minutes more
    said = promises.newest_first(incident)
    assert promises.score(said, now=world.NOW + 51 * MIN) == Score(kept=1, covered=1, late=1)
    assert promises.score(said, now=world.NOW + 80 * MIN).late == 2
