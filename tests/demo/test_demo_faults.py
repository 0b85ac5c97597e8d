"""The Follow service broken in every shape it can show, and the switch that does it."""

from __future__ import annotations

import shutil
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from playwright.sync_api import sync_playwright
from pydexcom.errors import AccountError, ArgumentError, DexcomError, ServerError

from demo.accounts import ZERO_UUID
from demo.follow import Follow, running
from demo.shapes import MENU
from demo.share import SHARE
from tests.demo.clients import wait_until
from tests.demo.followers import (
    TIMEOUT_S,
    age_s,
    dexcom,
    fresh_state,
    latest,
    log_in,
    subscriber_session,
    token_of,
)

# JSON of a stranger: its shape is what the test looks at.
Json = Any


def test_every_shape_of_the_research_is_shown_or_said_to_be_impossible() -> None:
    shown = {shape for shapes in MENU.shapes.values() for shape in shapes}
    assert shown | set(MENU.unshowable) == {f"F{n}" for n in range(1, 23)}


# Faults, on the REST calls.


def test_F1_closes_the_connection_without_an_answer(follow: Follow) -> None:
    follow.put_faults({"login": "F1"})
    with pytest.raises(requests.ConnectionError):
        log_in(follow)


def test_F1_of_the_whole_service_refuses_its_own_port(follow: Follow) -> None:
    port = int(str(doors(follow)["plain"]).rpartition(":")[2])
    for _ in range(2):
        follow.put_faults({"all": "F1"})
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), TIMEOUT_S).close()
        follow.put_faults({"all": {"shape": "F1", "path": "publisher"}})
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S).close()
    follow.put_faults({})
    address = f"{doors(follow)['plain']}{SHARE}/General/SystemUtcTime"
    assert requests.get(address, timeout=TIMEOUT_S).status_code == 200


def test_the_switch_is_not_behind_the_door_that_it_shuts(follow: Follow) -> None:
    answer = requests.get(f"{doors(follow)['plain']}/faults", timeout=TIMEOUT_S)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("fault", "days_left", "name"),
    [
        pytest.param(None, 90, "localhost", id="well"),
        pytest.param("F21", 5, "localhost", id="ends soon"),
        pytest.param({"shape": "F21", "days_left": 40}, 40, "localhost", id="ends later"),
        pytest.param({"shape": "F21", "name": "other"}, 5, "other", id="another name"),
    ],
)
def test_F21_shows_another_certificate(
    follow: Follow, fault: object, days_left: int, name: str
) -> None:
    follow.put_faults({"certificate": fault} if fault else {})
    told = doors(follow)
    context = ssl.create_default_context(cadata=str(told["authority"]))
    place = ("127.0.0.1", int(str(told["tls"]).rpartition(":")[2]))
    with (
        socket.create_connection(place, TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname=name) as secret,
    ):
        shown = secret.getpeercert() or {}
    until = ssl.cert_time_to_seconds(str(shown["notAfter"]))
    assert int((until - time.time()) / 86_400) == days_left


def doors(follow: Follow) -> Json:
    return requests.get(f"{follow.url}/doors", timeout=TIMEOUT_S).json()


def test_F2_answers_503_after_a_while(follow: Follow) -> None:
    follow.put_faults({"login": "F2"})
    assert log_in(follow).status_code == 503


def test_F2_hangs_as_long_as_told(follow: Follow) -> None:
    token = token_of(follow)
    follow.put_faults({"read": {"shape": "F2", "hang_s": 30}})
    with pytest.raises(requests.ReadTimeout):
        latest(follow, token, timeout_s=0.3)


@pytest.mark.parametrize(
    ("shape", "status"),
    [
        pytest.param("F3", 500, id="a general fault"),
        pytest.param("F4", 401, id="the probe's password is wrong"),
        pytest.param("F5", 401, id="everybody's password is wrong"),
        pytest.param("F6", 423, id="locked out"),
        pytest.param("F22", 429, id="rate-limited"),
        pytest.param({"shape": "F11", "status": 403}, 403, id="a wall"),
    ],
)
def test_a_log_in_is_refused(follow: Follow, shape: object, status: int) -> None:
    follow.put_faults({"login": shape})
    assert log_in(follow).status_code == status


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        pytest.param("F3", ServerError, id="F3"),
        pytest.param("F4", AccountError, id="F4"),
        pytest.param("F5", ServerError, id="F5"),
        pytest.param("F6", AccountError, id="F6"),
        pytest.param("F7", ArgumentError, id="F7: the session is all zeros"),
        pytest.param("F10", ServerError, id="F10: nothing in it"),
        pytest.param("F11", ServerError, id="F11: a web page"),
    ],
)
def test_the_real_share_client_stumbles_over(
    follow: Follow, shape: str, error: type[DexcomError]
) -> None:
    follow.put_faults({"login": shape})
    with pytest.raises(error):
        dexcom(follow)


def test_F4_hits_the_probe_and_nobody_else(follow: Follow) -> None:
    follow.put_faults({"login": "F4"})
    assert log_in(follow, "europe").status_code == 200


def test_F7_gives_a_session_of_zeros_that_reads_nothing(follow: Follow) -> None:
    follow.put_faults({"login": "F7"})
    answer = log_in(follow)
    assert (answer.status_code, answer.json()["token"]) == (200, ZERO_UUID)
    assert latest(follow, ZERO_UUID).content == b""


def test_F8_reads_an_empty_list(follow: Follow) -> None:
    token = token_of(follow)
    follow.put_faults({"read": "F8"})
    assert latest(follow, token).json() == []


def test_F9_repeats_one_old_reading_and_the_gap_is_filled_after_mending(follow: Follow) -> None:
    token, other = token_of(follow), token_of(follow, "europe")
    follow.put_faults({"read": {"shape": "F9", "account": "probe"}})
    frozen, moving = (latest(follow, shown).json()[0] for shown in (token, other))
    wait_until(lambda: bool(latest(follow, other).json()[0] != moving))
    assert latest(follow, token).json()[0] == frozen
    assert age_s(frozen) > 660
    follow.put_faults({})
    readings = latest(follow, token).json()
    assert age_s(readings[0]) < 3
    assert len(readings) == 24


def test_F10_and_F11_are_200_without_the_right_body(follow: Follow) -> None:
    token = token_of(follow)
    follow.put_faults({"read": "F10"})
    assert (latest(follow, token).status_code, latest(follow, token).content) == (200, b"")
    follow.put_faults({"read": "F11"})
    answer = latest(follow, token)
    assert (answer.status_code, answer.headers["Content-Type"][:9]) == (200, "text/html")


def test_F12_drifts_away_from_the_described_form(follow: Follow) -> None:
    token, client = token_of(follow), dexcom(follow)
    follow.put_faults({"read": "F12"})
    assert "value" not in latest(follow, token).json()[0]
    with pytest.raises(ArgumentError):
        client.get_glucose_readings()


def test_F13_hits_one_cohort_only(follow: Follow) -> None:
    us, ous = token_of(follow, "probe"), token_of(follow, "europe")
    follow.put_faults({"read": {"shape": "F13", "cohort": "ous"}})
    assert age_s(latest(follow, us).json()[0]) < 3
    assert age_s(latest(follow, ous).json()[0]) > 660
    follow.put_faults({"read": {"shape": "F13", "cohort": "ous/g5"}})
    assert age_s(latest(follow, ous).json()[0]) < 3


def test_F14_hits_awkward_names_only(follow: Follow) -> None:
    follow.put_faults({"login": "F14"})
    assert log_in(follow, "ana.maria+share").status_code == 400
    assert log_in(follow, "probe").status_code == 200
    with pytest.raises(ArgumentError):
        dexcom(follow, "ana.maria+share")


def test_F15_fails_now_and_then_the_same_way_each_time(follow: Follow) -> None:
    token = token_of(follow)
    runs = []
    for _ in range(2):
        follow.put_faults({"read": {"shape": "F15", "ratio": 0.3, "seed": 7}})
        runs.append([latest(follow, token).status_code for _ in range(40)])
        follow.put_faults({})
    assert runs[0] == runs[1]
    assert 4 <= runs[0].count(503) <= 20
    assert runs[0].count(503) + runs[0].count(200) == 40


def test_F16_is_right_but_slow(follow: Follow) -> None:
    token = token_of(follow)
    follow.put_faults({"read": {"shape": "F16", "delay_s": 0.4}})
    answer = latest(follow, token)
    assert answer.elapsed.total_seconds() > 0.4
    assert age_s(answer.json()[0]) < 3


def test_F19_reads_the_future(follow: Follow) -> None:
    token = token_of(follow)
    follow.put_faults({"read": "F19"})
    assert age_s(latest(follow, token).json()[0]) < -60


def test_F20_hits_the_account_whose_sharing_is_off(follow: Follow) -> None:
    probe, europe = token_of(follow), token_of(follow, "europe")
    follow.put_faults({"read": "F20"})
    assert latest(follow, probe).json() == []
    assert latest(follow, europe).json() != []


def test_a_fault_of_one_path_leaves_the_other_whole(follow: Follow) -> None:
    follow.put_faults({"login": {"shape": "F3", "path": "publisher"}})
    with pytest.raises(ServerError):
        dexcom(follow)
    assert log_in(follow).status_code == 200
    assert len(subscriber_session(follow)) == 36


def test_all_breaks_every_call_but_the_switch(follow: Follow) -> None:
    follow.put_faults({"all": "F1"})
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{follow.url}{SHARE}/General/SystemUtcTime", timeout=TIMEOUT_S)
    assert follow.put_faults({}).status == 200
    assert log_in(follow).status_code == 200


# The switch.


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        pytest.param({"login": "F99"}, "login cannot show 'F99'", id="unknown shape"),
        pytest.param({"logout": "F1"}, "Unknown target 'logout'", id="unknown target"),
        pytest.param({"read": "F17"}, "read cannot show 'F17'", id="shape of another target"),
        pytest.param({"login": "F21"}, "login cannot show 'F21'", id="needs TLS"),
        pytest.param({"login": 2}, "needs a shape", id="no shape"),
        pytest.param({"login": {"shape": "F2", "hang": 3}}, "no option 'hang'", id="option"),
        pytest.param({"login": {"shape": "F2", "hang_s": "long"}}, "must be a number", id="type"),
        pytest.param({"login": {"shape": "F15", "ratio": 2}}, "from 0 to 1", id="bounds"),
        pytest.param({"login": {"shape": "F3", "path": "side"}}, "one of rest", id="word"),
        pytest.param(["login"], "must be a JSON object", id="a list"),
    ],
)
def test_a_wrong_fault_is_refused_in_one_sentence_and_changes_nothing(
    follow: Follow, raw: Json, told: str
) -> None:
    follow.put_faults({"login": "F2"})
    answer = requests.put(f"{follow.url}/faults", json=raw, timeout=TIMEOUT_S)
    assert answer.status_code == 400
    assert told in answer.json()["error"]
    assert requests.get(f"{follow.url}/faults", timeout=TIMEOUT_S).json()["faults"] == {
        "login": {"shape": "F2"}
    }


def test_a_body_that_is_not_json_is_refused(follow: Follow) -> None:
    answer = requests.put(f"{follow.url}/faults", data="{login", timeout=TIMEOUT_S)
    assert (answer.status_code, "not JSON" in answer.json()["error"]) == (400, True)


def test_the_switch_tells_when_it_broke_and_mended_and_counts() -> None:
    with running() as fresh:
        assert fresh_state(fresh)["fault_at"] is None
        before = datetime.now(UTC)
        fresh.put_faults({"login": "F2"})
        fresh.put_faults({"login": "F2", "read": "F9"})
        log_in(fresh)
        broken = fresh_state(fresh)
        fresh.put_faults({})
        mended = fresh_state(fresh)
    assert before - timedelta(seconds=1) < datetime.fromisoformat(broken["fault_at"])
    assert broken["mended_at"] is None
    assert mended["fault_at"] == broken["fault_at"] < mended["mended_at"]
    assert (mended["requests"]["login"], mended["struck"]["login"]) == (1, 1)
    assert [entry["faults"] for entry in mended["history"]][-1] == {}


def test_a_fault_with_a_count_mends_itself(follow: Follow) -> None:
    follow.put_faults({"login": {"shape": "F3", "count": 2}})
    assert [log_in(follow).status_code for _ in range(3)] == [500, 500, 200]
    assert fresh_state(follow)["mended_at"] is not None


# The page.


def test_the_page_shows_the_state_and_its_buttons_work_without_script(follow: Follow) -> None:
    home = requests.get(follow.url, timeout=TIMEOUT_S)
    assert "Everything works" in home.text
    assert "script" not in home.text
    broken = requests.post(f"{follow.url}/switch", data={"press": "night"}, timeout=TIMEOUT_S)
    assert "gives the same old reading for ever" in broken.text
    one = {"press": "apply", "login": "F5", "read": ""}
    requests.post(f"{follow.url}/switch", data=one, timeout=TIMEOUT_S)
    assert fresh_state(follow)["faults"] == {"login": {"shape": "F5"}}
    requests.post(f"{follow.url}/switch", data={"press": "mend"}, timeout=TIMEOUT_S)
    assert fresh_state(follow)["faults"] == {}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Origin": "https://elsewhere.example"}, 403, id="another site"),
        pytest.param({"Origin": "null"}, 403, id="a page that hides where it is from"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, 403, id="another site, without Origin"),
        pytest.param({"Origin": "OWN"}, 303, id="our own page"),
    ],
)
def test_only_our_own_page_presses_the_buttons(
    follow: Follow, headers: dict[str, str], status: int
) -> None:
    sent = {name: value.replace("OWN", follow.url) for name, value in headers.items()}
    url, form = f"{follow.url}/switch", {"press": "night"}
    answer = requests.post(url, data=form, headers=sent, timeout=TIMEOUT_S, allow_redirects=False)
    assert answer.status_code == status
    assert (fresh_state(follow)["faults"] == {}) == (status == 403)


@pytest.mark.browser
@pytest.mark.slow
def test_a_browser_breaks_and_mends_without_script(follow: Follow) -> None:
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("Chromium is not on the PATH")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_context(
            java_script_enabled=False, viewport={"width": 360, "height": 740}
        ).new_page()
        tab.goto(follow.url)
        tab.get_by_role("button", name="Break it as on 30 November").click()
        broken = fresh_state(follow)["faults"]
        tab.get_by_role("button", name="Mend everything").click()
        assert "Everything works" in tab.inner_text("main")
        browser.close()
    assert broken["login"] == {"shape": "F2"}
    assert fresh_state(follow)["faults"] == {}
