"""Kind share against the demo's Follow service: what each way to fail is called."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from demo.follow import Follow, FollowOptions, running
from probes import kinds
from probes.kinds import BadSpec, CheckSpec, Memory, Observation, Outcome
from tests.probes.site import serving

PASSWORD = "password-of-the-test"
SHARE = "/ShareWebServices/Services"


class Probe:
    """A check that is run again and again, as an agent does it, at times we choose."""

    def __init__(self, url: str, *accounts: str, environ: Mapping[str, str] | None = None) -> None:
        self.spec: dict[str, Any] = {
            "component": "follow",
            "login_component": "login",
            "url": url + SHARE,
            "accounts": [{"name": name, "password": "${SHARE_PASSWORD}"} for name in accounts],
            "allow_private": True,
            "degraded_over_s": 3,
        }
        self.loop = asyncio.Runner()
        self.memory = Memory(environ if environ is not None else {"SHARE_PASSWORD": PASSWORD})
        self.began = datetime.now(UTC)

    def run(self, after_s: float = 0, timeout_s: float = 5) -> Observation:
        check = CheckSpec("share", "share", 30, timeout_s, 2, self.spec)
        now = self.began + timedelta(seconds=after_s)
        return self.loop.run(kinds.load("share").run(check, self.memory, now, timeout_s))

    def close(self) -> None:
        self.loop.run(self.memory.close())
        self.loop.close()


@contextmanager
def probing(follow: Follow, *accounts: str, **spec: Any) -> Iterator[Probe]:
    probe = Probe(follow.url, *(accounts or ("probe",)))
    probe.spec |= spec
    try:
        yield probe
    finally:
        probe.close()


@pytest.fixture
def follow() -> Iterator[Follow]:
    with running(FollowOptions(password=PASSWORD)) as service:
        yield service


def seen(observation: Observation) -> list[tuple[str, str, str]]:
    return [(step.component, step.outcome.value, step.shape) for step in observation.steps]


WELL = [("login", "ok", ""), ("follow", "ok", "")]


def logins(follow: Follow) -> int:
    return follow.service.board.requests["login"]


@pytest.mark.parametrize(("path", "account"), [("publisher", "probe"), ("subscriber", "follower")])
def test_a_healthy_service_is_well_on_both_paths(follow: Follow, path: str, account: str) -> None:
    with probing(follow, account, path=path) as probe:
        assert seen(probe.run()) == WELL


@pytest.mark.parametrize(
    ("faults", "login", "read"),
    [
        pytest.param({"login": "F1"}, ("target_fail", "F1"), None, id="F1 closed"),
        pytest.param({"login": "F2"}, ("target_fail", "F2"), None, id="F2 overload"),
        pytest.param({"login": "F3"}, ("target_fail", "F3"), None, id="F3 general fault"),
        pytest.param({"login": "F4"}, ("auth_suspect", "F4"), None, id="F4 our password"),
        pytest.param({"login": "F5"}, ("auth_suspect", "F4"), None, id="F5 one account alone"),
        pytest.param({"login": "F6"}, ("prober_fault", "F6"), None, id="F6 locked out"),
        pytest.param({"login": "F7"}, ("target_fail", "F7"), None, id="F7 zeros"),
        pytest.param({"login": "F10"}, ("target_fail", "F10"), None, id="F10 nothing in it"),
        pytest.param({"login": "F11"}, ("target_fail", "F11"), None, id="F11 a web page"),
        pytest.param(
            {"login": {"shape": "F11", "status": 403}},
            ("blocked_us", "F11"),
            None,
            id="F11 turned away",
        ),
        pytest.param({"login": "F22"}, ("blocked_us", "F22"), None, id="F22 limited"),
        pytest.param({"read": "F1"}, ("ok", ""), ("target_fail", "F1"), id="F1 in reading"),
        pytest.param({"read": "F3"}, ("ok", ""), ("target_fail", "F3"), id="F3 in reading"),
        pytest.param({"read": "F8"}, ("ok", ""), ("target_fail", "F8"), id="F8 no readings"),
        pytest.param({"read": "F9"}, ("ok", ""), ("target_fail", "F9"), id="F9 frozen"),
        pytest.param({"read": "F10"}, ("ok", ""), ("target_fail", "F10"), id="F10 in reading"),
        pytest.param({"read": "F11"}, ("ok", ""), ("target_fail", "F11"), id="F11 in reading"),
        pytest.param({"read": "F12"}, ("ok", ""), ("ok", ""), id="F12 the trend's type"),
        pytest.param({"read": "F19"}, ("ok", ""), ("target_fail", "F19"), id="F19 the future"),
        pytest.param({"read": "F20"}, ("ok", ""), ("target_fail", "F8"), id="F20 one account"),
        pytest.param(
            {"read": {"shape": "F15", "ratio": 1}},
            ("ok", ""),
            ("target_fail", "F2"),
            id="F15 when it strikes",
        ),
        pytest.param(
            {"upload": "F18", "all": {"shape": "F16", "delay_s": 0}},
            ("ok", ""),
            ("ok", ""),
            id="F18 at once",
        ),
    ],
)
def test_each_fault_is_told_by_its_shape(
    follow: Follow,
    faults: Mapping[str, object],
    login: tuple[str, str],
    read: tuple[str, str] | None,
) -> None:
    follow.put_faults(faults)

    with probing(follow) as probe:
        found = seen(probe.run())

    assert found == [("login", *login)] + ([("follow", *read)] if read else [])


def test_a_slow_answer_is_slow_and_nothing_worse(follow: Follow) -> None:
    follow.put_faults({"read": {"shape": "F16", "delay_s": 0.2}})

    with probing(follow, degraded_over_s=0.1) as probe:
        assert seen(probe.run())[1] == ("follow", "slow", "F16")


def test_a_hang_ends_with_the_timeout(follow: Follow) -> None:
    follow.put_faults({"read": {"shape": "F2", "hang_s": 60}})

    with probing(follow) as probe:
        found = probe.run(timeout_s=0.3)

    assert found.steps[1].reason == "no answer within 0.3 s"
    assert found.steps[1].shape == "F2"


def test_lost_uploads_show_as_old_readings(follow: Follow) -> None:
    follow.put_faults({"upload": "F18"})

    with probing(follow, max_age_s=60) as probe:
        assert seen(probe.run())[1] == ("follow", "ok", "")
        assert probe.run(120).steps[1].failed == ("max_age_s",)


def test_only_old_data_is_told_so_that_the_verdict_is_stale(follow: Follow) -> None:
    follow.put_faults({"read": "F9"})

    with probing(follow) as probe:
        assert probe.run().steps[1].failed == ("max_age_s",)


def test_a_cohort_is_seen_by_its_own_account_only(follow: Follow) -> None:
    follow.put_faults({"read": "F13"})

    with probing(follow, "probe") as here, probing(follow, "europe") as there:
        assert (here.run().outcome, there.run().outcome) == (Outcome.OK, Outcome.TARGET_FAIL)


def test_an_awkward_name_gets_a_session_of_zeros(follow: Follow) -> None:
    follow.put_faults({"login": "F14"})

    with probing(follow, "ana.maria+share") as awkward, probing(follow) as plain:
        assert seen(awkward.run()) == [("login", "target_fail", "F7")]
        assert seen(plain.run()) == WELL


# ---- sessions and locks -------------------------------------------------------------------


def test_a_session_is_used_again_and_a_log_in_made_once_a_minute(follow: Follow) -> None:
    with probing(follow) as probe:
        for after_s in (0, 20, 40, 59):
            assert seen(probe.run(after_s)) == WELL
        assert logins(follow) == 2  # One log-in is two calls.
        probe.run(61)

    assert logins(follow) == 4


def test_a_session_that_ends_at_once_is_a_failure_and_logs_in_no_more() -> None:
    with (
        running(FollowOptions(password=PASSWORD, session_s=0)) as follow,
        probing(follow) as probe,
    ):
        found = probe.run()

        assert seen(found) == [("login", "ok", ""), ("follow", "target_fail", "session")]
        assert logins(follow) == 2


def test_a_session_that_is_gone_is_renewed_without_a_failure(follow: Follow) -> None:
    with probing(follow, "probe", "probe2") as probe:
        probe.run()
        follow.service.share.accounts._sessions.clear()
        found = probe.run(61)

    assert seen(found) == WELL


def test_reads_go_on_with_the_old_session_while_no_log_in_works(follow: Follow) -> None:
    with probing(follow) as probe:
        probe.run()
        follow.put_faults({"login": "F3"})

        assert seen(probe.run(61)) == [("login", "target_fail", "F3"), ("follow", "ok", "")]


def test_a_failed_log_in_counts_in_its_retry_and_not_in_the_next_run(follow: Follow) -> None:
    follow.put_faults({"login": {"shape": "F3", "count": 1}})

    with probing(follow) as probe:
        assert [probe.run(after_s).outcome for after_s in (0, 2)] == [Outcome.TARGET_FAIL] * 2
        assert probe.run(30).steps == ()
        assert seen(probe.run(62)) == WELL


def test_a_rejection_is_not_retried_and_two_freeze_the_account(follow: Follow) -> None:
    with probing(follow) as probe:
        probe.memory.environ = {"SHARE_PASSWORD": "wrong"}
        for after_s in range(0, 15 * 60, 10):
            assert probe.run(after_s).outcome is Outcome.AUTH_SUSPECT

    assert logins(follow) == 2


def test_a_frozen_account_tries_again_after_a_quarter_of_an_hour(follow: Follow) -> None:
    follow.put_faults({"login": {"shape": "F4", "count": 2}})

    with probing(follow, max_age_s=6000) as probe:
        probe.run(0)
        probe.run(61)
        assert probe.run(61 + 899).outcome is Outcome.AUTH_SUSPECT
        assert seen(probe.run(61 + 905)) == WELL


def test_checks_that_share_an_account_take_turns_and_log_in_once_a_minute(follow: Follow) -> None:
    accounts: dict[str, Any] = {}
    with probing(follow) as one, probing(follow, path="subscriber") as other:
        for probe in (one, other):
            probe.memory.facts["accounts"] = accounts
            probe.began = one.began
        both: list[list[int]] = [[], []]
        for after_s in range(0, 600, 30):
            for probe, made in zip((one, other), both, strict=True):
                before = logins(follow)
                # The second one runs a little later, always in the minute of the first.
                probe.run(after_s + (13 if probe is other else 0))
                made.append(logins(follow) - before)

    turns = [sum(1 for each in made if each) for made in both]
    assert min(turns) >= 4
    assert sum(turns) <= 10


def test_a_rejection_met_by_one_check_holds_back_the_other(follow: Follow) -> None:
    follow.put_faults({"login": "F4"})
    accounts: dict[str, Any] = {}
    with probing(follow) as one, probing(follow, path="subscriber") as other:
        for after_s in range(0, 600, 20):
            for probe in (one, other):
                probe.memory.facts["accounts"] = accounts
                probe.began = one.began
                probe.run(after_s)

    assert logins(follow) == 2


def test_an_unknown_field_of_a_reading_is_a_warning() -> None:
    async def answers(request: web.Request) -> web.StreamResponse:
        if "Publisher/" not in request.path:
            return web.json_response("0123-4567")
        stamp = f"Date({int(datetime.now(UTC).timestamp() * 1000)})"
        reading = {"WT": stamp, "ST": stamp, "DT": stamp, "Value": 100, "Trend": 4}
        return web.json_response([reading | {"Source": "x", PASSWORD: 1}])

    async def look() -> Observation:
        async with serving(("POST", "/{any:.*}", answers)) as url:
            probe = {"component": "follow", "url": url, "allow_private": True}
            probe |= {"accounts": [{"name": "probe", "password": "${SHARE_PASSWORD}"}]}
            memory = Memory({"SHARE_PASSWORD": PASSWORD})
            check = CheckSpec("share", "share", 30, 5, 0, probe)
            try:
                return await kinds.load("share").run(check, memory, datetime.now(UTC), 5)
            finally:
                await memory.close()

    found = asyncio.run(look())

    assert found.outcome is Outcome.OK
    assert found.warnings == (
        "the form of a reading changed: [0].Trend was no text",
        "the form of a reading changed: [0] had unknown fields: Source, •••",
    )


def test_a_lock_freezes_at_once(follow: Follow) -> None:
    follow.put_faults({"login": "F6"})

    with probing(follow) as probe:
        for after_s in (0, 70, 300, 890):
            assert probe.run(after_s).outcome is Outcome.PROBER_FAULT

    assert logins(follow) == 1


# ---- several accounts ---------------------------------------------------------------------


def test_one_rejected_account_of_two_is_no_outage_and_is_named_by_its_place(
    follow: Follow,
) -> None:
    follow.put_faults({"login": "F4"})

    with probing(follow, "probe", "probe2") as probe:
        found = probe.run()

    assert seen(found) == WELL
    assert found.warnings == (
        "prober_fault: account 1: HTTP 500 with the fault AccountPasswordInvalid",
    )


def test_all_accounts_rejected_that_worked_before_is_an_outage(follow: Follow) -> None:
    with probing(follow, "probe", "probe2") as probe:
        probe.run()
        follow.put_faults({"login": "F5"})
        found = [probe.run(after_s).steps[0] for after_s in (61, 91, 121)]

    assert [step.outcome for step in found[1:]] == [Outcome.TARGET_FAIL] * 2
    assert found[-1].shape == "F5"


def test_all_accounts_rejected_from_the_start_is_our_own_fault(follow: Follow) -> None:
    follow.put_faults({"login": "F5"})

    with probing(follow, "probe", "probe2") as probe:
        assert probe.run().outcome is Outcome.AUTH_SUSPECT


def test_sharing_switched_off_on_one_account_is_no_outage(follow: Follow) -> None:
    follow.put_faults({"read": "F20"})

    with probing(follow, "probe", "probe2") as probe:
        found = probe.run()

    assert seen(found) == WELL
    assert [each[:45] for each in found.warnings] == [
        "prober_fault: account 1: the list of readings"
    ]


def test_no_readings_for_anybody_is_an_outage(follow: Follow) -> None:
    follow.put_faults({"read": "F8"})

    with probing(follow, "probe", "probe2") as probe:
        assert probe.run().outcome is Outcome.TARGET_FAIL


# ---- secrets and bad input ----------------------------------------------------------------


def test_no_secret_is_told_even_when_the_service_repeats_it() -> None:
    async def repeats(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return web.json_response({"Code": f"No {body['password']}", "Message": ""}, status=500)

    async def look() -> Observation:
        async with serving(("POST", "/{any:.*}", repeats)) as url:
            spec = {
                "component": "follow",
                "url": url,
                "allow_private": True,
                "accounts": [{"name": "probe", "password": "${SHARE_PASSWORD}"}],
            }
            memory = Memory({"SHARE_PASSWORD": PASSWORD})
            check = CheckSpec("share", "share", 30, 5, 0, spec)
            try:
                return await kinds.load("share").run(check, memory, datetime.now(UTC), 5)
            finally:
                await memory.close()

    found = asyncio.run(look())

    assert found.steps[0].reason == "HTTP 500 with the fault No •••"
    assert PASSWORD not in repr(found)


def test_a_session_is_in_no_observation(follow: Follow) -> None:
    with probing(follow) as probe:
        found = [probe.run()]
        follow.put_faults({"read": "F9"})
        found.append(probe.run(2))
        ids = list(follow.service.share.accounts._sessions)

    assert ids
    assert not any(session_id in repr(found) for session_id in ids)


def test_a_secret_missing_from_the_environment_is_the_probers_fault(follow: Follow) -> None:
    with probing(follow) as probe:
        probe.memory.environ = {}
        found = probe.run()

    assert found.outcome is Outcome.PROBER_FAULT
    assert "${SHARE_PASSWORD} is not set" in found.steps[0].reason


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://169.254.169.254", "http://10.0.0.1"])
def test_a_private_address_is_not_probed_unless_allowed(follow: Follow, url: str) -> None:
    with probing(follow, url=url, allow_private=False) as probe:
        assert probe.run().outcome is Outcome.PROBER_FAULT


@pytest.mark.parametrize(
    ("change", "key"),
    [
        pytest.param({"path": "wearer"}, "path", id="another path"),
        pytest.param({"accounts": []}, "accounts", id="no account"),
        pytest.param({"accounts": [{"name": "a"}]}, "accounts[0].password", id="no password"),
        pytest.param({"url": "share2.dexcom.com"}, "url", id="no scheme"),
        pytest.param({"max_age_s": 0}, "max_age_s", id="no age"),
        pytest.param({"max_age": 660}, "max_age", id="a misspelt key"),
    ],
)
def test_a_wrong_check_names_its_key(change: dict[str, Any], key: str) -> None:
    spec: dict[str, Any] = {
        "component": "follow",
        "url": "https://share2.dexcom.com/ShareWebServices/Services",
        "accounts": [{"name": "${SHARE_USER}", "password": "${SHARE_PASSWORD}"}],
    }
    assert len(kinds.load("share").watches(spec)) == 2

    with pytest.raises(BadSpec) as caught:
        kinds.load("share").watches(spec | change)

    assert caught.value.problems[0].key == key
