"""Those who ask the Follow service: the probe, the real Share client, a follower."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import requests
from pydexcom import Dexcom

from demo.follow import Follow
from demo.share import SHARE

TIMEOUT_S = 5
# JSON of a stranger: its shape is what the test looks at.
Json = Any


def log_in(follow: Follow, user: str = "probe", password: str | None = None) -> requests.Response:
    body = {"user": user, "password": password or follow.password}
    return requests.post(f"{follow.url}/auth/login", json=body, timeout=TIMEOUT_S)


def token_of(follow: Follow, user: str = "probe") -> str:
    return str(log_in(follow, user).json()["token"])


def latest(follow: Follow, token: str, timeout_s: float = TIMEOUT_S) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{follow.url}/follow/latest", headers=headers, timeout=timeout_s)


def share(follow: Follow, name: str, body: object = None, **query: object) -> requests.Response:
    url = f"{follow.url}{SHARE}/{name}"
    params = {key: str(value) for key, value in query.items()}
    return requests.post(url, json=body or {}, params=params, timeout=TIMEOUT_S)


def dexcom(follow: Follow, user: str = "probe", password: str | None = None) -> Dexcom:
    """Return the real client, pointed at the service by its own attribute before it logs in."""

    class Here(Dexcom):
        def _get_session(self) -> None:
            self._base_url = f"{follow.url}{SHARE}/"
            super()._get_session()

    return Here(username=user, password=password or follow.password)


def age_s(reading: Json) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(reading["time"])).total_seconds()


def subscriber_session(follow: Follow, user: str = "follower") -> str:
    body = {"accountName": user, "password": follow.password, "applicationId": "x"}
    return str(share(follow, "General/LoginSubscriberAccount", body).json())


def fresh_state(follow: Follow) -> Json:
    return follow.faults().json
