"""The Follow service when it is well, through real clients: log in, read, upload, be alerted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from pydexcom.errors import AccountError, SessionError

from demo.accounts import ACCOUNTS
from demo.follow import Follow, FollowOptions, running
from demo.share import SHARE
from tests.demo.clients import wait_until
from tests.demo.followers import (
    TIMEOUT_S,
    age_s,
    dexcom,
    latest,
    log_in,
    share,
    subscriber_session,
    token_of,
)

# JSON of a stranger: its shape is what the test looks at.
Json = Any


def test_a_probe_logs_in_and_reads_fresh_values_newest_first(follow: Follow) -> None:
    readings = latest(follow, token_of(follow)).json()
    times = [reading["time"] for reading in readings]
    assert times == sorted(times, reverse=True)
    assert 20 <= readings[0]["value"] <= 600
    assert -1 < age_s(readings[0]) < 3


def test_a_wrong_password_is_refused_in_json(follow: Follow) -> None:
    answer = log_in(follow, "old", "wrong")
    assert answer.status_code == 401
    assert answer.json()["error"] == "AccountPasswordInvalid"


def test_a_strange_token_reads_nothing(follow: Follow) -> None:
    answer = latest(follow, "no-such-token")
    assert (answer.status_code, answer.json()["error"]) == (401, "SessionIdNotFound")


def test_the_real_share_client_reads_a_current_value(follow: Follow) -> None:
    reading = dexcom(follow).get_current_glucose_reading()
    assert reading is not None
    assert datetime.now(UTC) - reading.datetime < timedelta(seconds=3)
    assert reading.trend_direction in ("Flat", "FortyFiveUp", "FortyFiveDown")


def test_the_real_share_client_reads_a_whole_day(follow: Follow) -> None:
    assert len(dexcom(follow).get_glucose_readings()) == 288


@pytest.mark.parametrize("user", [account.name for account in ACCOUNTS])
def test_every_account_can_log_in_by_the_share_calls(follow: Follow, user: str) -> None:
    assert dexcom(follow, user).account_id


def test_a_wrong_share_password_is_a_fault_in_a_500(follow: Follow) -> None:
    body = {"accountName": "old", "password": "wrong", "applicationId": "x"}
    answer = share(follow, "General/AuthenticatePublisherAccount", body)
    assert answer.status_code == 500
    assert answer.json()["Code"] == "AccountPasswordInvalid"
    assert answer.json()["TypeName"] == "FaultException"
    assert "OnlineException" in answer.json()["SubCode"]
    with pytest.raises(AccountError, match="Failed to authenticate"):
        dexcom(follow, "old", "wrong")


def test_an_account_is_locked_after_three_wrong_passwords_and_opens_again(follow: Follow) -> None:
    for _ in range(3):
        with pytest.raises(AccountError, match="Failed"):
            dexcom(follow, "probe2", "wrong")
    with pytest.raises(AccountError, match="Maximum"):
        dexcom(follow, "probe2")
    assert log_in(follow, "probe2").status_code == 423
    assert log_in(follow, "probe").status_code == 200
    wait_until(lambda: log_in(follow, "probe2").status_code == 200)


@pytest.mark.parametrize(
    ("name", "query", "code"),
    [
        pytest.param("Publisher/ReadPublisherLatestGlucoseValues", {"sessionId": "x"},
                     "SessionIdNotFound", id="unknown session"),
        pytest.param("General/AuthenticatePublisherAccount", {}, "InvalidArgument", id="no name"),
        pytest.param("General/LoginPublisherAccountById", {}, "InvalidArgument", id="no id"),
    ],
)  # fmt: skip
def test_a_wrong_share_call_names_its_fault(
    follow: Follow, name: str, query: dict[str, str], code: str
) -> None:
    answer = share(follow, name, **query)
    assert (answer.status_code, answer.json()["Code"]) == (500, code)


@pytest.mark.parametrize("minutes", ["0", "1441", "ten"])
def test_minutes_out_of_bounds_are_an_invalid_argument(follow: Follow, minutes: str) -> None:
    session = subscriber_session(follow)
    answer = share(follow, "Publisher/ReadPublisherLatestGlucoseValues", sessionId=session,
                   minutes=minutes, maxCount=1)  # fmt: skip
    assert answer.json()["Code"] == "InvalidArgument"


def test_an_expired_session_says_so_and_the_real_client_logs_in_again() -> None:
    with running(FollowOptions(session_s=0.4)) as short:
        token, client = token_of(short), dexcom(short)
        assert latest(short, token).status_code == 200
        wait_until(lambda: latest(short, token).status_code == 401)
        assert latest(short, token).json()["error"] == "SessionNotValid"
        with pytest.raises(SessionError):
            client._get_glucose_readings(minutes=10, max_count=1)
        assert client.get_current_glucose_reading() is not None


def test_a_follower_reads_by_the_subscriber_path(follow: Follow) -> None:
    session = subscriber_session(follow)
    listed = share(follow, "Subscriber/ListSubscriberAccountSubscriptions", sessionId=session)
    subscriptions = listed.json()
    assert [found["DisplayName"] for found in subscriptions] == ["probe", "europe", "canary"]
    read = share(
        follow,
        "Subscriber/ReadSubscriptionLatestGlucoseValues",
        sessionId=session,
        subscriptionId=subscriptions[0]["SubscriptionId"],
        minutes=10,
        maxCount=1,
    ).json()
    assert len(read) == 1
    assert read[0]["WT"].startswith("Date(")


def test_the_clock_needs_no_session(follow: Follow) -> None:
    url = f"{follow.url}{SHARE}/General/SystemUtcTime"
    assert "/Date(" in requests.get(url, timeout=TIMEOUT_S).json()


# Upload and alerts.


def upload(follow: Follow, token: str, value: int, at: datetime | None = None) -> int:
    body = {"value": value, "time": (at or datetime.now(UTC)).isoformat(), "trend": "Flat"}
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{follow.url}/readings"
    return requests.post(url, json=body, headers=headers, timeout=TIMEOUT_S).status_code


def test_what_the_canary_uploads_can_be_read_back(follow: Follow) -> None:
    token = token_of(follow, "canary")
    assert upload(follow, token, 142) == 201
    assert latest(follow, token).json()[0]["value"] == 142


def test_F18_takes_an_upload_and_loses_it(follow: Follow) -> None:
    token, wearer = token_of(follow, "canary"), token_of(follow)
    upload(follow, token, 150)
    follow.put_faults({"upload": "F18"})
    assert upload(follow, token, 151) == 201
    assert latest(follow, token).json()[0]["value"] == 150
    wait_until(lambda: age_s(latest(follow, wearer).json()[0]) > 1)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"value": 5000}, id="value"),
        pytest.param({"time": "2019-11-30T06:00:00"}, id="no zone"),
        pytest.param({"time": "yesterday"}, id="no instant"),
        pytest.param({"trend": "Sideways"}, id="trend"),
    ],
)
def test_a_wrong_reading_is_refused(follow: Follow, change: dict[str, object]) -> None:
    body = {"value": 100, "time": datetime.now(UTC).isoformat(), **change}
    headers = {"Authorization": f"Bearer {token_of(follow, 'canary')}"}
    answer = requests.post(f"{follow.url}/readings", json=body, headers=headers, timeout=TIMEOUT_S)
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidArgument")


def alerts_of(follow: Follow, kind: str) -> list[dict[str, object]]:
    return [alert for alert in list(follow.service.alerts.sent) if alert["kind"] == kind]


def register(follow: Follow, user: str, url: str) -> int:
    headers = {"Authorization": f"Bearer {token_of(follow, user)}"}
    body = {"url": url, "low_mg_dl": 70}
    url = f"{follow.url}/devices"
    return requests.put(url, json=body, headers=headers, timeout=TIMEOUT_S).status_code


def test_a_low_reading_reaches_the_followers_device_unless_F17(follow: Follow) -> None:
    with running() as device:
        assert register(follow, "follower", f"{device.url}/auth/login") == 200
        token = token_of(follow, "canary")
        upload(follow, token, 55)
        wait_until(lambda: device.service.board.requests["login"] == 1)
        follow.put_faults({"alerts": "F17"})
        struck = follow.service.board.struck["alerts"]
        upload(follow, token, 54)
        assert follow.service.board.struck["alerts"] == struck + 1
        assert device.service.board.requests["login"] == 1
    assert [alert["value"] for alert in alerts_of(follow, "low")] == [55]


def test_a_high_reading_alerts_nobody(follow: Follow) -> None:
    register(follow, "canary", f"{follow.url}/nowhere")
    told = follow.service.board.requests["alerts"]
    upload(follow, token_of(follow, "canary"), 90)
    assert follow.service.board.requests["alerts"] == told
    upload(follow, token_of(follow, "canary"), 60)
    assert follow.service.board.requests["alerts"] == told + 1


@pytest.mark.slow
def test_a_withheld_upload_raises_no_data_once() -> None:
    with (
        running(FollowOptions(upload_every_s=0.1, no_data_after_s=0.4)) as follow,
        running() as device,
    ):
        register(follow, "canary", f"{device.url}/auth/login")
        register(follow, "probe", f"{device.url}/auth/login")
        upload(follow, token_of(follow, "canary"), 100)
        wait_until(lambda: device.service.board.requests["login"] == 1)
        follow.put_faults({"upload": "F18"})
        wait_until(lambda: device.service.board.requests["login"] == 2)
        wait_until(lambda: len(alerts_of(follow, "no_data")) == 2)
        assert {alert["user"] for alert in alerts_of(follow, "no_data")} == {"canary", "probe"}


def test_F17_keeps_no_data_back_too() -> None:
    with running(FollowOptions(no_data_after_s=0.2)) as follow, running() as device:
        follow.put_faults({"alerts": "F17"})
        register(follow, "canary", f"{device.url}/auth/login")
        upload(follow, token_of(follow, "canary"), 100)
        wait_until(lambda: follow.service.board.struck["alerts"] == 1)
        assert device.service.board.requests["login"] == 0


def test_a_device_needs_an_http_address(follow: Follow) -> None:
    assert register(follow, "canary", "file:///etc/hosts") == 400
