"""What is no longer needed is forgotten, a bounded part at a time."""

from datetime import timedelta

import pytest

from incidents.models import Component
from subscribers import clock, services
from subscribers.addresses import Kind
from subscribers.models import Ask, Letter, State, Subscriber, Subscription
from tests.subscribers.conftest import FOLLOWER, NOW, Pending

WEEK, MONTH, MINUTE = timedelta(days=7), timedelta(days=30), timedelta(minutes=1)


@pytest.mark.parametrize(
    ("age", "kept"),
    [
        pytest.param(WEEK - MINUTE, True, id="not yet a week"),
        pytest.param(WEEK, False, id="a week"),
    ],
)
def test_who_never_confirms_is_gone_after_a_week(
    pending: Pending, age: timedelta, kept: bool
) -> None:
    pending()
    clock.tick(NOW + age)
    assert Subscription.objects.exists() is kept
    assert Subscriber.objects.exists() is kept


def test_who_was_asked_again_yesterday_is_kept_until_the_link_has_run_out(pending: Pending) -> None:
    pending()
    pending(now=NOW + timedelta(days=6))
    clock.tick(NOW + WEEK)
    assert Subscription.objects.exists()
    clock.tick(NOW + timedelta(days=8))
    assert not Subscription.objects.exists()


def test_a_confirmed_subscription_stays_for_ever(pending: Pending) -> None:
    _, letter = pending()
    services.confirm(token=services.confirm_url(letter.uid).rpartition("/")[2], now=NOW)
    clock.tick(NOW + 100 * MONTH)
    subscription = Subscription.objects.get()
    assert services.address_of(subscription) == FOLLOWER


def test_the_address_of_who_left_is_emptied_after_a_month_and_its_hash_stays(
    pending: Pending,
) -> None:
    subscription, _ = pending()
    services.leave(subscription, now=NOW)
    clock.tick(NOW + MONTH - MINUTE)
    assert services.address_of(Subscription.objects.get()) == FOLLOWER
    clock.tick(NOW + MONTH)
    row = Subscription.objects.get()
    assert (row.state, bytes(row.address_sealed)) == (State.GONE, b"")
    assert row.address_hash == services.hash_of(Kind.EMAIL, FOLLOWER)


def test_letters_and_asks_are_pruned(components: dict[str, Component]) -> None:
    services.subscribe(channel="email", address=FOLLOWER, network_hash="n", now=NOW)
    Ask.objects.create(kind="email", at=NOW, done_at=NOW)
    Subscription.objects.update(state=State.ACTIVE, confirmed_at=NOW)
    clock.tick(NOW + timedelta(hours=4))
    assert (Ask.objects.count(), Letter.objects.count()) == (0, 1)
    clock.tick(NOW + MONTH)
    assert Letter.objects.count() == 0


def test_a_pass_is_made_once_a_minute(pending: Pending) -> None:
    clock.tick(NOW + WEEK - timedelta(seconds=30))
    pending()
    clock.tick(NOW + WEEK + timedelta(seconds=29))
    assert Subscription.objects.exists()
    clock.tick(NOW + WEEK + timedelta(seconds=30))
    assert not Subscription.objects.exists()


def test_a_pass_forgets_a_bounded_number(
    components: dict[str, Component],
) -> None:
    rows = [services.Incoming("email", f"p{n}@example.org") for n in range(clock.PASS_MAX + 5)]
    services.bring_in(rows, source="test", now=NOW)
    clock.tick(NOW + WEEK)
    assert Subscription.objects.count() == 5
    clock.tick(NOW + WEEK + MINUTE)
    assert Subscription.objects.count() == 0
