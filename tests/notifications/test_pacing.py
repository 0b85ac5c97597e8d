"""The bucket of an account's rate, in Valkey and in the database alike."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from django.conf import settings

from notifications import pacing, sending
from notifications.dbtime import database_now
from notifications.models import Delivery, Pace
from notifications.pacing import reserve
from tests import world
from tests.notifications.test_outbox import queue
from tests.notifications.test_sending import Obliging

pytestmark = pytest.mark.django_db
KEY = "statuspage:pace:email"


@pytest.fixture(params=["Valkey", "database"])
def bucket(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[redis.Redis]:
    """Keep the rate of `email` in one of the two places, from empty on."""
    monkeypatch.setattr(pacing._Away, "until", 0.0 if request.param == "Valkey" else float("inf"))
    client = redis.Redis.from_url(settings.REDIS_URL)
    client.delete(KEY)
    yield client
    client.delete(KEY)
    client.close()


def stand_ahead(bucket: redis.Redis, seconds: float) -> None:
    """Let the bucket be full for so long, as after its clock was set back."""
    bucket.set(KEY, int((time.time() + seconds) * 1e6))
    Pace.objects.update_or_create(
        channel="email", defaults={"free_at": database_now() + timedelta(seconds=seconds)}
    )


def level_s(bucket: redis.Redis) -> float:
    """Return how far ahead the fuller of the two stands."""
    kept = float(bucket.get(KEY) or 0) / 1e6 - time.time()
    free_at = Pace.objects.get(channel="email").free_at
    return max(kept, (free_at - database_now()).total_seconds())


def test_a_rate_is_kept_by_all_workers_together(bucket: redis.Redis) -> None:
    assert reserve("email", 10.0, 20, within_s=50) == pytest.approx(0, abs=0.2)
    assert reserve("email", 10.0, 20, within_s=50) == pytest.approx(2.0, abs=0.5)


def test_a_wait_that_is_too_long_books_nothing(bucket: redis.Redis) -> None:
    reserve("email", 1.0, 20, within_s=50)
    assert reserve("email", 1.0, 20, within_s=10) is None
    assert reserve("email", 1.0, 20, within_s=50) == pytest.approx(20, abs=2)


def test_a_clock_that_was_set_back_by_an_hour_costs_a_minute(bucket: redis.Redis) -> None:
    stand_ahead(bucket, 3600)
    assert reserve("email", 1.0, 2, within_s=50) is None
    assert reserve("email", 1.0, 2, within_s=70) == pytest.approx(62, abs=2)


class Slow(Obliging):
    """One message in 50 seconds."""

    group, per_s = 1, 0.02  # type: ignore[assignment]  # it has a rate


def test_a_batch_whose_turn_comes_after_its_lease_is_tried_once_and_books_nothing(
    bucket: redis.Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Slow()
    monkeypatch.setattr(sending._local, "channels", {"email": slow}, raising=False)
    sending._courses.clear()
    stand_ahead(bucket, 55)
    world.person()
    queue(world.incident(world.component()))
    with caplog.at_level("INFO"):
        assert sending.drain("email", seconds=1) == 0
    tries = [record for record in caplog.records if "email: 0 of broadcast" in record.getMessage()]
    assert (len(tries), slow.taken) == (1, [])
    assert level_s(bucket) == pytest.approx(55, abs=4)
    assert Delivery.objects.get().state == "pending"


def test_a_batch_whose_turn_comes_within_its_lease_is_sent(
    bucket: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow()
    slow.per_s = 20.0
    monkeypatch.setattr(sending._local, "channels", {"email": slow}, raising=False)
    sending._courses.clear()
    stand_ahead(bucket, 0.5)
    world.person()
    queue(world.incident(world.component()))
    assert sending.drain("email", seconds=1) == 1
