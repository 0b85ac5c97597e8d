"""What an agent meets at the door: its token, its checks, and batches taken whole or not at all."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from probes import services
from probes.models import Check, Location, Result
from tests.probes.test_services import World, build_world

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.probes.routes")]


@pytest.fixture
def world() -> World:
    return build_world()


@pytest.fixture
def agent(world: World) -> Client:
    token = services.issue_token(name="local", now=datetime.now(UTC))
    return Client(headers={"Authorization": f"Bearer {token}"})


def batch(**first: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    step = {"name": "log in", "component": "login", "outcome": "ok", "reason": "", "failed": []}
    result = {
        "check": "journey",
        "sequence": 1,
        "at": now,
        "outcome": "ok",
        "first_outcome": "ok",
        "attempts": 1,
        "reason": "",
        "total_ms": 3.5,
        "steps": [step],
    }
    return {"location": "local", "sent_at": now, "dropped": 0, "results": [result | first]}


def post(agent: Client, document: Any) -> tuple[int, dict[str, Any]]:
    answer = agent.post("/probes/results", json.dumps(document), content_type="application/json")
    return answer.status_code, answer.json()


def test_an_agent_fetches_the_checks_of_its_location(agent: Client) -> None:
    answer = agent.get("/probes/checks?location=local")

    assert answer.json()["checks"][0]["slug"] == "journey"
    assert answer.json()["checks"][0]["retry_after_s"] == 2


def test_known_checks_are_not_sent_again(agent: Client) -> None:
    etag = agent.get("/probes/checks").headers["ETag"]

    assert agent.get("/probes/checks", headers={"If-None-Match": etag}).status_code == 304
    Check.objects.update(interval_s=60)
    assert agent.get("/probes/checks", headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong", "Basic dXNlcjpwYXNz", "Bearer"], ids=str
)
def test_nobody_comes_in_without_a_token(world: World, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}

    for answer in (
        Client(headers=headers).get("/probes/checks"),
        Client(headers=headers).post("/probes/results", b"{}", content_type="application/json"),
    ):
        assert answer.status_code == 401


def test_a_revoked_token_is_worth_nothing(agent: Client) -> None:
    Location.objects.update(revoked_at=datetime.now(UTC))

    assert agent.get("/probes/checks").status_code == 401


def test_a_token_speaks_for_its_own_location_only(agent: Client) -> None:
    assert agent.get("/probes/checks?location=other").status_code == 403


def test_a_batch_is_kept_once_however_often_it_comes(agent: Client) -> None:
    document = batch()
    etag = agent.get("/probes/checks").headers["ETag"]

    assert post(agent, document) == (200, {"accepted": 1, "duplicates": 0, "etag": etag})
    assert post(agent, document) == (200, {"accepted": 0, "duplicates": 1, "etag": etag})
    assert Result.objects.count() == 1


@pytest.mark.parametrize(
    ("first", "sentence"),
    [
        pytest.param({"sequence": "1"}, "results[0].sequence: expected a whole number", id="text"),
        pytest.param({"outcome": "fine"}, "results[0].outcome: expected one of ok", id="a word"),
        pytest.param({"at": "2019-11-30T06:00:00"}, "results[0].at: expected a time", id="no zone"),
        pytest.param({"check": "a\x00"}, "results[0].check: expected text", id="a NUL"),
        pytest.param(
            {"steps": [{}]}, "results[0].steps[0].name: expected text", id="an empty step"
        ),
        pytest.param({"steps": 3}, "results[0].steps: expected a list", id="a number of steps"),
        pytest.param({"total_ms": float("nan")}, "results[0].total_ms: expected", id="no number"),
    ],
)
def test_a_malformed_batch_is_refused_whole(
    agent: Client, first: dict[str, Any], sentence: str
) -> None:
    document = batch(**first)
    document["results"].append(batch(sequence=2)["results"][0])

    status, answer = post(agent, document)

    assert status == 400
    assert answer["error"].startswith(sentence)
    assert not Result.objects.exists()


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b"[" * 100_000, b'{"results": []}'])
def test_what_is_no_batch_is_refused_in_words(agent: Client, body: bytes) -> None:
    answer = agent.post("/probes/results", body, content_type="application/json")

    assert answer.status_code == 400
    assert answer.json()["error"].endswith(".")


def test_too_large_a_batch_is_refused(agent: Client) -> None:
    body = b" " * (2 * 1024 * 1024 + 1)

    answer = agent.post("/probes/results", body, content_type="application/json")

    assert answer.status_code == 413


def test_a_result_of_a_check_that_is_gone_is_passed_over(agent: Client) -> None:
    status, answer = post(agent, batch(check="gone"))

    assert (status, answer["accepted"]) == (200, 0)


def test_an_agent_whose_clock_is_off_is_heard_and_not_believed(agent: Client) -> None:
    ahead = (datetime.now(UTC) + timedelta(minutes=10)).isoformat()
    document = batch(at=ahead) | {"sent_at": ahead}

    assert post(agent, document)[0] == 200
    assert Result.objects.get().outcome == "prober_fault"


def test_an_unknown_heartbeat_is_not_found(world: World) -> None:
    assert Client().post("/probes/heartbeat/nobody").status_code == 404
