"""Kind alert against the demo's Follow service: the prober is the follower's device."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from demo.follow import Follow, FollowOptions, running
from probes import kinds
from probes.kinds import BadSpec, CheckSpec, Memory, Observation, Outcome
from probes.kinds.alert import STEP

PASSWORD = "password-of-the-test"
LOW = {"kind": "low", "user": "canary", "time": "{alert_time}", "value": "{alert_value}"}
NO_DATA = {"kind": "no_data", "user": "canary", "time": "{alert_time}"}


def spec(url: str = "http://follow.test", **more: Any) -> dict[str, Any]:
    def log_in(user: str) -> dict[str, Any]:
        return {
            "name": f"log in as {user}",
            "method": "POST",
            "url": f"{url}/auth/login",
            "json": {"user": user, "password": "${SHARE_PASSWORD}"},
            "save": {user: "token"},
        }

    return {
        "component": "alerts",
        "allow_private": True,
        "steps": [
            log_in("follower"),
            {
                "name": "register",
                "method": "PUT",
                "url": f"{url}/devices",
                "headers": {"Authorization": "Bearer {follower}"},
                "json": {"url": "{device_url}"},
            },
            log_in("canary"),
            {
                "name": "upload",
                "method": "POST",
                "url": f"{url}/readings",
                "headers": {"Authorization": "Bearer {canary}"},
                "json": {"value": "{alert_value}", "time": "{alert_time}"},
                "expect": {"status": 201},
            },
        ],
        "match": LOW,
        "wait_s": 3,
        **more,
    }


def look(
    follow: Follow, *, runs: int = 1, faults: Mapping[str, Any] | None = None, **more: Any
) -> list[Observation]:
    """Run a check one time after the other, broken from the second run on."""

    async def scene() -> list[Observation]:
        memory = Memory({"SHARE_PASSWORD": PASSWORD})
        check = CheckSpec("alerts", "alert", 300, 5, 0, spec(follow.url, **more))
        found: list[Observation] = []
        try:
            for _ in range(runs):
                found.append(await kinds.load("alert").run(check, memory, datetime.now(UTC), 5))
                if faults is not None:
                    await asyncio.to_thread(follow.put_faults, faults)
        finally:
            await memory.close()
        return found

    return asyncio.run(scene())


@pytest.fixture
def follow() -> Iterator[Follow]:
    with running(FollowOptions(password=PASSWORD, no_data_after_s=0.5)) as service:
        yield service


def test_a_low_reading_reaches_the_device(follow: Follow) -> None:
    (found,) = look(follow)

    assert (found.steps[-1].name, found.outcome) == (STEP, Outcome.OK)
    assert found.steps[-1].phases_ms["arrival"] > 0


def test_an_upload_that_is_withheld_raises_no_data(follow: Follow) -> None:
    (found,) = look(follow, value=120, match=NO_DATA)

    assert (found.steps[-1].name, found.outcome) == (STEP, Outcome.OK)
    assert found.steps[-1].phases_ms["arrival"] > 300


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [pytest.param({}, id="low"), pytest.param({"value": 120, "match": NO_DATA}, id="none")]
)
def test_alerts_that_stopped_are_an_outage_though_all_answers_are_good(
    follow: Follow, kind: dict[str, Any]
) -> None:
    before, after = look(follow, runs=2, faults={"alerts": "F17"}, wait_s=1.5, **kind)

    assert before.outcome is Outcome.OK
    assert after.outcome is Outcome.TARGET_FAIL
    assert (after.steps[-1].shape, after.steps[-1].failed) == ("F17", ("arrives",))
    assert after.steps[-1].reason == "no alert reached the device within 1.5 s"


def test_an_alert_that_comes_late_is_slow(follow: Follow) -> None:
    late = {"alerts": {"shape": "F16", "delay_s": 0.4}}
    before, after = look(follow, runs=2, faults=late, degraded_over_s=0.3)

    assert (before.outcome, after.outcome) == (Outcome.OK, Outcome.SLOW)


def test_an_alert_of_another_reading_does_not_count(follow: Follow) -> None:
    (found,) = look(follow, match=LOW | {"time": "2019-11-30T06:00:00Z"}, wait_s=0.5)

    assert found.outcome is Outcome.TARGET_FAIL


def test_strangers_cannot_ring_the_device() -> None:
    async def scene() -> tuple[list[int], int]:
        memory = Memory({"SHARE_PASSWORD": PASSWORD})
        closed = spec("http://127.0.0.1:9")
        check = CheckSpec("alerts", "alert", 300, 5, 0, closed)
        await kinds.load("alert").run(check, memory, datetime.now(UTC), 5)
        listener = memory.kept["listener"]
        host, port = listener.runner.addresses[0][:2]
        base, own = f"http://{host}:{port}/alerts", listener.word
        bodies = (("guessed", b"{}"), (own, b"no json"), (own, b"[" * 50_000), (own, b" " * 70_000))
        async with aiohttp.ClientSession() as session:
            answers = [await session.post(f"{base}/{word}", data=body) for word, body in bodies]
            statuses = [answer.status for answer in answers]
        heard = len(listener.heard)
        await memory.close()
        return statuses, heard

    assert asyncio.run(scene()) == ([404, 400, 400, 413], 0)


def test_a_port_that_is_taken_is_the_probers_fault(follow: Follow) -> None:
    port = int(follow.url.rpartition(":")[2])

    (found,) = look(follow, device={"port": port})

    assert found.outcome is Outcome.PROBER_FAULT
    assert found.reason == f"this prober cannot listen on 127.0.0.1:{port}"


def test_the_device_keeps_its_address_over_a_restart(follow: Follow) -> None:
    async def scene() -> list[str]:
        facts: dict[str, Any] = {}
        words = []
        for _ in range(2):
            memory = Memory({"SHARE_PASSWORD": PASSWORD}, facts)
            check = CheckSpec("alerts", "alert", 300, 5, 0, spec(follow.url))
            await kinds.load("alert").run(check, memory, datetime.now(UTC), 5)
            words.append(memory.kept["listener"].word)
            await memory.close()
        return words

    one, other = asyncio.run(scene())
    assert one == other
    assert len(one) >= 27


@pytest.mark.parametrize(
    ("change", "key"),
    [
        pytest.param({"match": {}}, "match", id="any alert"),
        pytest.param({"device": {"port": -1}}, "device.port", id="no port"),
        pytest.param({"device": {"url": "prober:1"}}, "device.url", id="no address"),
        pytest.param({"wait_s": 0}, "wait_s", id="no time"),
        pytest.param({"steps": []}, "steps", id="nothing is written"),
    ],
)
def test_a_wrong_check_names_its_key(change: dict[str, Any], key: str) -> None:
    assert len(kinds.load("alert").watches(spec())) == 5

    with pytest.raises(BadSpec) as caught:
        kinds.load("alert").watches(spec() | change)

    assert caught.value.problems[0].key == key
