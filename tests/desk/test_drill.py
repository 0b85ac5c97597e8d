"""Rehearsals: what they send, when they pass, and whom a missed or failed one calls."""

from datetime import timedelta
from typing import Any

import pytest

from desk import drill
from desk.models import Drill
from incidents.models import Call, Update
from notifications import outbox
from notifications.models import Delivery
from subscribers.models import Letter, Subscription
from tests import world

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _recipients(settings: Any) -> None:
    settings.DRILL_RECIPIENTS = ("email:drill@family.example", "sms:+15005550011")
    settings.DRILL_EVERY_DAYS = 0.0


def deliver(state: str = "accepted", why: str = "") -> None:
    outbox.open_entries(world.NOW)
    at = world.NOW + timedelta(seconds=2) if state == "accepted" else None
    Delivery.objects.update(state=state, accepted_at=at, why=why)


def test_a_drill_writes_to_its_recipients_and_says_what_is_not_rehearsed() -> None:
    row = drill.begin(by="ann", now=world.NOW)
    assert sorted(Letter.objects.values_list("subscription__channel", flat=True)) == [
        "email",
        "sms",
    ]
    assert "would be read by everyone" in row.results["x"]["why"]
    assert "names nobody" in row.results["voice"]["why"]
    assert drill.begin(by="bob", now=world.NOW) == row


def test_a_recipient_hears_of_drills_and_of_nothing_else() -> None:
    drill.begin(by="ann", now=world.NOW)
    world.incident(world.component())
    later = world.NOW + timedelta(seconds=6)
    outbox.open_entries(later)
    outbox.fan_out(later)
    said = Delivery.objects.filter(broadcast__update_entry=Update.objects.get())
    assert not said.filter(subscription__in=Subscription.objects.filter(label="drill")).exists()


def test_a_drill_passes_when_every_notice_was_taken_and_tells_the_seconds() -> None:
    row = drill.begin(by="ann", now=world.NOW)
    assert not drill.finish(row, now=world.NOW)
    deliver()
    assert drill.finish(row, now=world.NOW + timedelta(seconds=3))
    assert row.passed
    assert row.results["email"]["seconds"] == 2.0
    assert not Call.objects.exists()
    assert drill.warning(world.NOW) == ""


@pytest.mark.parametrize(
    ("state", "why", "after", "said"),
    [pytest.param("refused", "no such number", timedelta(seconds=3), "no such number", id="refused"),
     pytest.param("pending", "", timedelta(minutes=6), "not sent within 5 min", id="too slow")],
)  # fmt: skip
def test_a_failed_drill_calls_the_operators_and_stands_on_the_desk(
    state: str, why: str, after: timedelta, said: str
) -> None:
    row = drill.begin(by="ann", now=world.NOW)
    deliver(state, why)
    assert drill.finish(row, now=world.NOW + after)
    assert row.passed is False
    assert said in Call.objects.get().text
    assert said in drill.warning(world.NOW + after)


def test_without_recipients_nothing_is_rehearsed_and_that_is_no_success(settings: Any) -> None:
    settings.DRILL_RECIPIENTS = ()
    row = drill.begin(by="ann", now=world.NOW)
    assert drill.finish(row, now=world.NOW)
    assert row.passed is False


def test_a_wrong_recipient_is_a_sentence(settings: Any) -> None:
    settings.DRILL_RECIPIENTS = ("email:nonsense",)
    row = drill.begin(by="ann", now=world.NOW)
    assert row.results["email"]["passed"] is False
    assert "not an e-mail address" in row.results["email"]["why"]


def test_drills_come_by_themselves_and_a_missed_one_calls(settings: Any) -> None:
    settings.DRILL_EVERY_DAYS = 30.0
    drill.tick(world.NOW)
    deliver()
    drill.tick(world.NOW + timedelta(seconds=5))
    assert Drill.objects.get().passed
    drill.tick(world.NOW + 29 * DAY)
    assert Drill.objects.count() == 1
    drill.tick(world.NOW + 30 * DAY)
    assert Drill.objects.count() == 2
    assert not Call.objects.exists()
    drill.tick(world.NOW + 46 * DAY)
    texts = [call.text for call in Call.objects.all()]
    assert any("No drill has passed since" in text for text in texts)
