"""Kind canary against the demo's Follow service: what goes in has to come out."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from demo.follow import Follow, FollowOptions, running
from demo.share import SHARE
from probes import kinds
from probes.kinds import BadSpec, CheckSpec, Memory, Observation, Outcome
from probes.kinds.canary import STEP, value_at

PASSWORD = "password-of-the-test"


def spec(url: str = "http://follow.test", **more: Any) -> dict[str, Any]:
    """Write as the wearer by the REST calls, read as the follower by the Share calls."""
    log_in = {"password": "${SHARE_PASSWORD}", "applicationId": "x"}
    subscriber = f"{url}{SHARE}/Subscriber"
    return {
        "component": "follow",
        "allow_private": True,
        "write": [
            {
                "name": "log in as the wearer",
                "component": "login",
                "method": "POST",
                "url": f"{url}/auth/login",
                "json": {"user": "canary", "password": "${SHARE_PASSWORD}"},
                "save": {"token": "token"},
            },
            {
                "name": "upload",
                "method": "POST",
                "url": f"{url}/readings",
                "headers": {"Authorization": "Bearer {token}"},
                "json": {"value": "{canary_value}", "time": "{canary_time}"},
                "expect": {"status": 201},
            },
        ],
        "read": [
            {
                "name": "log in as the follower",
                "component": "login",
                "method": "POST",
                "url": f"{url}{SHARE}/General/LoginSubscriberAccount",
                "json": {"accountName": "follower", **log_in},
                "save": {"session": "@"},
            },
            {
                "name": "list",
                "method": "POST",
                "url": f"{subscriber}/ListSubscriberAccountSubscriptions?sessionId={{session}}",
                "json": {},
                "save": {"id": "[?DisplayName=='canary'].SubscriptionId | [0]"},
            },
            {
                "name": "read",
                "method": "POST",
                "url": f"{subscriber}/ReadSubscriptionLatestGlucoseValues"
                "?sessionId={session}&subscriptionId={id}&minutes=1440&maxCount=1",
                "json": {},
            },
        ],
        "value": "[0].Value",
        "time": "[0].WT",
        **more,
    }


class Probe:
    """A canary check that is run again and again, as an agent does it."""

    def __init__(self, follow: Follow, slug: str = "canary", **more: Any) -> None:
        self.spec = spec(follow.url, **more)
        self.slug = slug
        self.loop = asyncio.Runner()
        self.memory = Memory({"SHARE_PASSWORD": PASSWORD})
        # Runs lie in the past, so that their readings have arrived when they are looked for.
        self.began = datetime.now(UTC) - timedelta(hours=1)

    def run(self, after_s: float = 0) -> Observation:
        check = CheckSpec(self.slug, "canary", 60, 5, 0, self.spec)
        now = self.began + timedelta(seconds=after_s)
        return self.loop.run(kinds.load("canary").run(check, self.memory, now, 5))

    def close(self) -> None:
        self.loop.run(self.memory.close())
        self.loop.close()


@pytest.fixture
def follow() -> Iterator[Follow]:
    with running(FollowOptions(password=PASSWORD)) as service:
        yield service


@pytest.fixture
def probe(follow: Follow) -> Iterator[Probe]:
    probe = Probe(follow)
    yield probe
    probe.close()


def test_a_canary_comes_out_where_followers_read(probe: Probe) -> None:
    found = probe.run()

    assert [(step.name, step.outcome) for step in found.steps][-1] == (STEP, Outcome.OK)
    assert len(found.steps) == 6


def test_a_canary_that_is_taken_and_lost_is_stale_when_its_time_is_over(
    follow: Follow, probe: Probe
) -> None:
    probe.run()
    follow.put_faults({"upload": "F18"})

    in_time, late = probe.run(120), probe.run(200)

    assert in_time.outcome is Outcome.OK
    assert late.steps[-1].failed == ("max_age_s",)
    assert (late.outcome, late.steps[-1].shape) == (Outcome.TARGET_FAIL, "F18")
    assert late.steps[-1].reason == "the newest canary was 200 s old, allowed 180"


def test_what_was_lost_before_we_looked_is_not_held_against_the_service(
    follow: Follow, probe: Probe
) -> None:
    probe.run()
    follow.put_faults({"upload": "F18"})

    # The prober was away for half an hour: its first canary is on its way.
    back = probe.run(1800)
    later = [probe.run(1800 + after_s) for after_s in (60, 120, 181)]

    assert STEP not in [step.name for step in back.steps]
    assert back.warnings == ("no canary has had the time to come out yet",)
    assert [each.outcome for each in later] == [Outcome.OK, Outcome.OK, Outcome.TARGET_FAIL]


def test_frozen_reads_are_stale(follow: Follow, probe: Probe) -> None:
    probe.run()
    follow.put_faults({"read": {"shape": "F9", "age_s": 0}})
    probe.began = datetime.now(UTC)

    assert [probe.run(after_s).outcome for after_s in (0, 120)] == [Outcome.OK] * 2
    assert probe.run(240).steps[-1].failed == ("max_age_s",)


@pytest.mark.parametrize(
    ("faults", "shape"),
    [
        pytest.param({"read": "F19"}, "F19", id="from the future"),
        pytest.param({"read": {"shape": "F19", "skew_s": 0}}, "F19", id="another's values"),
    ],
)
def test_a_reading_that_is_no_canary_is_a_failure_and_not_merely_old(
    follow: Follow, faults: dict[str, Any], shape: str
) -> None:
    probe = Probe(follow, max_age_s=10_000)
    probe.began = datetime.now(UTC)
    follow.put_faults(faults)
    found = probe.run().steps[-1]
    probe.close()

    assert (found.outcome, found.shape) == (Outcome.TARGET_FAIL, shape)
    assert found.failed != ("max_age_s",)


def test_the_canary_of_another_prober_of_the_same_check_is_known(follow: Follow) -> None:
    one, other = Probe(follow), Probe(follow)
    one.run(1)
    found = other.run()
    one.close()
    other.close()

    assert found.outcome is Outcome.OK


def test_an_upload_that_is_refused_is_blamed_and_nothing_is_read(
    follow: Follow, probe: Probe
) -> None:
    follow.put_faults({"upload": "F3"})

    assert [step.name for step in probe.run().steps] == ["log in as the wearer", "upload"]


def test_values_differ_from_one_moment_to_the_next_and_stay_harmless() -> None:
    values = [value_at("canary", at_ms, 90, 150) for at_ms in range(0, 60_000, 1_000)]

    assert len(set(values)) > 20
    assert min(values) >= 90
    assert max(values) <= 150


@pytest.mark.parametrize(
    ("change", "key"),
    [
        pytest.param({"read": []}, "read", id="nothing to read"),
        pytest.param({"time": "[0"}, "time", id="no path"),
        pytest.param({"value_min": 200}, "check", id="no room for values"),
        pytest.param({"max_age": 660}, "max_age", id="a misspelt key"),
        pytest.param(
            {"read": [{"name": "upload", "url": "http://x"}]}, "read[0].name", id="a name twice"
        ),
        pytest.param(
            {"read": [{"name": "r", "url": "http://x/{nobody}"}]}, "read[0]", id="never saved"
        ),
    ],
)
def test_a_wrong_check_names_its_key(change: dict[str, Any], key: str) -> None:
    assert len(kinds.load("canary").watches(spec())) == 6

    with pytest.raises(BadSpec) as caught:
        kinds.load("canary").watches(spec() | change)

    assert caught.value.problems[0].key == key
