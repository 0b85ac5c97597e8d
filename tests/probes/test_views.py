"""What an agent meets at the door: its token, its checks, and batches taken whole or not at all."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from incidents.lifecycle import Refused
from probes import services
from probes.models import Check, Location, Result, Rollup
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
        pytest.param({"check": "a\ud83d"}, "results[0].check: expected text", id="half a letter"),
        pytest.param(
            {"steps": [{}]}, "results[0].steps[0].name: expected text", id="an empty step"
        ),
        pytest.param({"steps": 3}, "results[0].steps: expected a list", id="a number of steps"),
        pytest.param({"warnings": "strange"}, "results[0].warnings: expected a list", id="no list"),
        pytest.param({"warnings": ["x" * 301]}, "results[0].warnings[0]: expected text", id="long"),
        pytest.param({"answer": "x" * 2049}, "results[0].answer: expected text", id="an answer"),
        pytest.param({"try": "x" * 33}, "results[0].try: expected text", id="a try"),
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


@pytest.mark.parametrize("letter", ["\ud83d", "\x00"], ids=["half a letter", "a NUL"])
def test_words_that_cannot_be_kept_take_no_result_with_them(agent: Client, letter: str) -> None:
    """An older agent hands on what a target said."""
    step = {"name": "log in", "component": "login", "outcome": "target_fail", "failed": []}
    said = f"state was {letter}"

    status, _ = post(
        agent,
        batch(
            outcome="target_fail",
            reason=said,
            answer=said,
            warnings=[said],
            steps=[step | {"reason": said}],
        ),
    )

    kept = Result.objects.get()
    assert status == 200
    assert [kept.reason, kept.answer, *kept.warnings] == ["state was ·"] * 3
    assert kept.steps[0]["reason"] == "state was ·"


def test_the_name_of_a_phase_is_text_that_can_be_kept(agent: Client) -> None:
    step = batch()["results"][0]["steps"][0] | {"phases_ms": {"a\ud83d": 1}}

    status, answer = post(agent, batch(steps=[step]))

    assert status == 400
    assert answer["error"].startswith("results[0].steps[0].phases_ms: expected text")


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


@pytest.mark.parametrize(
    ("minutes", "words"), [(10, "600 s ahead of ours"), (-10, "600 s behind ours")]
)
def test_an_agent_whose_clock_is_off_is_heard_and_not_believed(
    agent: Client, minutes: int, words: str
) -> None:
    told = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()
    document = batch(at=told, outcome="target_fail", answer="old") | {"sent_at": told}

    assert post(agent, document)[0] == 200
    result = Result.objects.get()
    assert (result.outcome, result.steps, result.answer) == ("prober_fault", [], "")
    assert result.reason == f"its clock is {words}"


def test_a_little_off_is_no_fault(agent: Client) -> None:
    told = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()

    assert post(agent, batch(at=told) | {"sent_at": told})[0] == 200
    assert Result.objects.get().outcome == "ok"


def test_what_an_agent_saw_beside_the_outcome_is_kept(agent: Client) -> None:
    beside = {"warnings": ["strange"], "answer": "oops", "first_step": "log in", "try": "abc"}

    post(agent, batch(outcome="target_fail", **beside))

    result = Result.objects.get()
    assert (result.warnings, result.answer) == (["strange"], "oops")
    assert (result.first_step, result.try_id) == ("log in", "abc")


def test_a_batch_of_an_older_agent_is_taken(agent: Client) -> None:
    assert post(agent, batch())[1]["accepted"] == 1
    assert Result.objects.get().warnings == []


def test_a_token_hands_in_for_its_own_location_only(agent: Client, world: World) -> None:
    services.create_location(name="far", now=datetime.now(UTC))
    answer = agent.post(
        "/probes/results?location=far", json.dumps(batch()), content_type="application/json"
    )

    assert answer.status_code == 403
    assert "belongs to the location local" in answer.json()["error"]
    assert not Result.objects.exists()


def test_a_length_that_is_no_number_is_refused_in_words(agent: Client) -> None:
    answer = agent.post(
        "/probes/results", b"{}", content_type="application/json", CONTENT_LENGTH="many"
    )

    assert answer.status_code == 413


def test_an_old_batch_that_is_replayed_changes_nothing(agent: Client) -> None:
    document = batch()
    post(agent, document)
    Result.objects.update(reason="as it was")

    later = (datetime.now(UTC) + timedelta(seconds=20)).isoformat()
    status, answer = post(agent, document | {"sent_at": later})

    assert (status, answer["duplicates"]) == (200, 1)
    assert Result.objects.get().reason == "as it was"


def test_a_batch_that_is_replayed_after_its_results_were_forgotten_counts_nothing(
    agent: Client,
) -> None:
    at = datetime.now(UTC) - timedelta(hours=49)

    _, answer = post(agent, batch(at=at.isoformat()))

    assert answer["accepted"] == 0
    assert not Rollup.objects.exists()


def test_a_run_that_is_asked_for_stands_in_the_orders_under_a_new_etag(
    agent: Client, world: World
) -> None:
    before = agent.get("/probes/checks")
    services.ask_to_try(world.check, now=datetime.now(UTC))
    after = agent.get("/probes/checks", headers={"If-None-Match": before.headers["ETag"]})

    assert before.json()["try"] == []
    assert after.json()["try"] == [{"check": "journey", "id": Check.objects.get().try_id}]


def test_what_nobody_runs_cannot_be_asked_for(world: World) -> None:
    world.check.kind = "heartbeat"

    with pytest.raises(Refused, match="cannot be tried"):
        services.ask_to_try(world.check, now=datetime.now(UTC))


def test_an_unknown_heartbeat_is_not_found(world: World) -> None:
    assert Client().post("/probes/heartbeat/nobody").status_code == 404
