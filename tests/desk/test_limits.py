"""How often a key may call, and what a repeated request does."""

from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings as ours
from django.utils import timezone

from desk import keys
from desk.api import limits
from desk.models import Answered, ApiKey
from incidents.models import Incident
from tests.desk.test_api import Caller

pytestmark = pytest.mark.django_db
WORDS = {"incident": {"name": "Down", "body": "We look."}}


@pytest.fixture
def call() -> Caller:
    """A caller whose key has made no call in any minute: keys of other tests had its row's number."""
    client = redis.Redis.from_url(ours.REDIS_URL)
    for name in client.scan_iter("statuspage:calls:*"):
        client.delete(name)
    client.close()
    return Caller()


def test_each_answer_says_what_is_left(call: Caller) -> None:
    answers = [call("GET", "/components") for _ in range(2)]
    limit, left = (
        [int(answer[f"X-RateLimit-{name}"]) for answer in answers]
        for name in ("Limit", "Remaining")
    )
    assert limit == [3_000, 3_000]
    assert left[0] - left[1] == 1 or left == [2_999, 2_999]  # the minute may turn between the two
    assert all(0 < int(answer["X-RateLimit-Reset"]) <= 60 for answer in answers)


def test_too_many_are_a_429_that_says_when_to_come_again(call: Caller) -> None:
    ApiKey.objects.update(requests_per_minute=2)
    # Five calls within two minutes: one of them holds three at least.
    answers = [call("POST", "/incidents", WORDS) for _ in range(5)]
    over = [answer for answer in answers if answer.status_code == 429]
    assert over
    assert 0 < int(over[0]["Retry-After"]) <= 60
    assert over[0].json()["message"].startswith("this key has made its 2 requests of this minute")
    assert set(over[0].json()) == {"error", "message"}
    assert Incident.objects.count() == 5 - len(over)


def test_without_valkey_each_process_counts_for_itself(call: Caller, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1"
    counter = limits._Counter()
    assert [counter.add(7, 1) for _ in range(3)] == [1, 2, 3]
    assert counter.add(7, 2) == 1


def test_a_repeated_request_is_done_once_and_answered_the_same(call: Caller) -> None:
    key = {"Idempotency-Key": "one"}
    first, second = (call("POST", "/incidents", WORDS, **key) for _ in range(2))
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert second["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert Incident.objects.count() == 1


def test_the_same_key_for_another_request_is_refused(call: Caller) -> None:
    key = {"Idempotency-Key": "one"}
    call("POST", "/incidents", WORDS, **key)
    other = call("POST", "/incidents", {"incident": {"name": "Other"}}, **key)
    assert other.status_code == 422
    assert "was used for another request" in other.json()["message"]
    assert Incident.objects.count() == 1


def test_a_refused_request_may_be_sent_again_under_its_key(call: Caller) -> None:
    key = {"Idempotency-Key": "one"}
    assert call("POST", "/incidents", {"incident": {}}, **key).status_code == 422
    assert not Answered.objects.exists()
    assert call("POST", "/incidents", WORDS, **key).status_code == 201


def test_a_key_used_again_after_its_day_declares_what_is_asked_then(call: Caller) -> None:
    key = {"Idempotency-Key": "night"}
    first = call("POST", "/incidents", WORDS, **key)
    Answered.objects.update(at=timezone.now() - timedelta(days=2))
    other = {"incident": {"name": "Another night", "body": "We look."}}
    second = call("POST", "/incidents", other, **key)
    assert second.json()["name"] == "Another night"
    assert second.json()["id"] != first.json()["id"]


def test_keys_do_not_share_their_idempotency_keys(call: Caller) -> None:
    other = Caller(keys.Scope.WRITE)
    for each in (call, other):
        assert each("POST", "/incidents", WORDS, **{"Idempotency-Key": "one"}).status_code == 201
    assert Incident.objects.count() == 2


@pytest.mark.parametrize(
    ("scopes", "read", "write"),
    [
        pytest.param([], 200, 201, id="everything"),
        pytest.param([keys.Scope.READ], 200, 403, id="read"),
        pytest.param([keys.Scope.WRITE], 200, 201, id="write"),
        pytest.param([keys.Scope.INTAKE], 403, 403, id="intake"),
    ],
)
def test_a_key_opens_what_its_scopes_say(scopes: list[keys.Scope], read: int, write: int) -> None:
    call = Caller(*scopes)
    assert call("GET", "/components").status_code == read
    assert call("POST", "/incidents", WORDS).status_code == write
