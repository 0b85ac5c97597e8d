"""What a broadcast will cost and take, and the brake that holds when it costs too much."""

from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings

from incidents.lifecycle import CallReason
from incidents.models import Call
from incidents.services import call_operators
from notifications import channels, estimating, outbox, routing, sending, spending
from notifications.models import Broadcast, Delivery, Spent
from notifications.tariffs import Tariff, tariffs
from subscribers.models import Role, State
from tests import world
from tests.notifications.test_outbox import SOON, queue
from tests.notifications.test_sending import (  # noqa: F401  # fixtures
    _channels_lead_to_the_stand_ins,
    mailbox,
    providers,
)
from tests.world import NOW

pytestmark = pytest.mark.django_db
SMS = routing.Leg("sms", urgent=True)


@pytest.fixture
def dear(settings: Any) -> None:  # pytest-django's own type
    settings.TARIFFS = {"sms": Tariff(Decimal("0.01"), hour_max=2)}


def numbers(count: int) -> None:
    for n in range(count):
        world.person("sms", f"+1212555{n:04d}")


@pytest.mark.usefixtures("dear")
def test_people_cost_and_time_are_told_before_anything_is_published() -> None:
    numbers(5)
    world.person("sms", "+12125550999", state=State.GONE)
    now = outbox.database_now().replace(minute=30, second=0, microsecond=0)
    found = estimating.estimate(SMS, Broadcast(), now=now)
    assert (found.people, found.cost, found.hours) == (5, Decimal("0.05"), 3)
    assert found.eta_s is not None
    assert found.eta_s >= 30 * 60 + 3600


def test_without_a_price_the_cost_is_unknown_and_not_nothing() -> None:
    numbers(3)
    found = estimating.estimate(SMS, Broadcast(), now=NOW)
    assert (found.cost, found.hours, found.per_s) == (None, 1, settings.OPEN_CHANNELS["sms"].per_s)
    assert found.eta_s == 3 / (found.per_s or 0)


def test_what_waits_already_comes_first() -> None:
    numbers(4)
    queue(world.incident(world.component()))
    assert estimating.estimate(SMS, Broadcast(), now=NOW).ahead == 4


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        pytest.param("SMS_PRICE", "cheap", id="a word is no price"),
        pytest.param("SMS_PRICE", "-1", id="nobody pays us"),
        pytest.param("SMS_PRICE", "NaN", id="no number"),
        pytest.param("SMS_HOUR_MAX", "0", id="a brake that is always on"),
        pytest.param("SMS_HOUR_MAX", "12.5", id="no half messages"),
    ],
)
def test_a_tariff_that_cannot_be_is_refused_by_name(variable: str, text: str) -> None:
    with pytest.raises(channels.Misconfigured, match=variable):
        tariffs({variable: text}, ["sms"])


def test_a_tariff_is_read() -> None:
    assert tariffs({"SMS_PRICE": "0.0079", "SMS_HOUR_MAX": "5000"}, ["sms", "email"]) == {
        "sms": Tariff(Decimal("0.0079"), 5000),
        "email": Tariff(),
    }


@pytest.mark.usefixtures("dear")
def test_the_brake_holds_and_calls_operators_once() -> None:
    numbers(5)
    queue(world.incident(world.component()))
    sending.drain("sms", seconds=10)
    sending.drain("sms", seconds=10)
    assert Delivery.objects.filter(state="accepted").count() == 2
    assert [str(brake)[:4] for brake in spending.braked(outbox.database_now())] == ["sms:"]
    assert Call.objects.count() == 1
    assert Spent.objects.get().messages == 2


@pytest.mark.usefixtures("dear")
def test_a_brake_let_go_lets_the_rest_through() -> None:
    numbers(5)
    queue(world.incident(world.component()))
    sending.drain("sms", seconds=10)
    spending.lift("sms", seconds=600, now=outbox.database_now())
    assert spending.braked(outbox.database_now()) == []
    sending.drain("sms", seconds=20)
    assert Delivery.objects.filter(state="accepted").count() == 5


@pytest.mark.usefixtures("dear")
def test_a_call_to_operators_passes_the_brake() -> None:
    numbers(3)
    queue(world.incident(world.component()))
    sending.drain("sms", seconds=10)
    world.person("sms", "+12125550999", role=Role.OPERATOR)
    call_operators(
        page=world.page(),
        reason=CallReason.PROBLEM,
        text="Look",
        key="k",
        now=outbox.database_now(),
    )
    outbox.open_entries(SOON)
    outbox.fan_out(SOON)
    Delivery.objects.update(due_at=NOW)
    sending.drain("sms", seconds=10)
    calls = Delivery.objects.filter(broadcast__call__isnull=False)
    assert {each.state for each in calls} == {"accepted"}
    assert Delivery.objects.filter(state="pending").count() == 1
