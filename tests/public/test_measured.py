"""What the page tells of past incidents where the operator allows it: how fast people were told."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from incidents import reads, services
from incidents.lifecycle import Status
from incidents.models import Incident
from notifications.models import Informed
from public import measured, pages, shown, snapshot

pytestmark = pytest.mark.django_db

NOW = timezone.now().replace(microsecond=0)
BEGAN = NOW - timedelta(hours=3)


@pytest.fixture
def over() -> Incident:
    """An incident that was over two hours ago, and of which 8 of 10 people were told."""
    incident = services.declare(
        page=reads.the_page(), name="Down", body="We look.", actor="test", now=BEGAN
    )
    ended = BEGAN + timedelta(hours=1)
    services.publish_update(incident, status=Status.RESOLVED, body="Over.", actor="test", now=ended)
    Informed.objects.create(
        incident=incident, channel="email", all_clear=False, published_at=BEGAN + timedelta(seconds=60),
        fault_at=BEGAN, counts=dict.fromkeys(("suppressed", "superseded"), 0) | {"accepted": 8, "failed": 2}, curve=[[1.0, 2], [4.0, 5], [30.0, 8]],
    )  # fmt: skip
    return incident


def page_of(incident: Incident) -> str:
    taken = snapshot.take(NOW)
    (fact,) = [one for one in taken.incidents if one.uid == incident.uid]
    return pages.incident(fact, shown.views(taken)[0]).decode()


def test_without_leave_nothing_is_told(over: Incident, settings: Settings) -> None:
    settings.SHOW_TIME_TO_INFORM = False
    assert "How fast people were told" not in page_of(over)


def test_with_leave_each_channel_is_told_from_the_fault_on(
    over: Incident, settings: Settings
) -> None:
    settings.SHOW_TIME_TO_INFORM = True
    ((uid, (told,)),) = snapshot.take(NOW).told
    assert (uid, told.channel, told.eligible, told.accepted) == (over.uid, "email", 10, 8)
    assert (told.p50_s, told.p95_s, told.last_s) == (64.0, None, 90.0)
    assert told.steps == ((61.0, 0.2), (64.0, 0.5), (90.0, 0.8))
    html = page_of(over)
    for words in ("How fast people were told", "E-mail", "8 / 10", "1 min", "not reached"):
        assert words in html


def test_an_incident_just_over_waits_for_its_stragglers(over: Incident, settings: Settings) -> None:
    settings.SHOW_TIME_TO_INFORM = True
    assert snapshot.take(BEGAN + timedelta(minutes=70)).told == ()


def test_a_long_history_is_read_in_several_passes(
    over: Incident, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "TOLD_PER_PASS", 0)
    incidents = snapshot.take(NOW).incidents
    assert measured.told(incidents, NOW) == ()
    monkeypatch.setattr(measured, "TOLD_PER_PASS", 1)
    assert [uid for uid, _ in measured.told(incidents, NOW)] == [over.uid]
