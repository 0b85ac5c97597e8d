"""The Dexcom Share calls, by the publisher's path and by the subscriber's."""

from __future__ import annotations

import uuid

from aiohttp import web

from demo.accounts import ZERO_UUID, Account, Accounts, Refused, subscription_id
from demo.gate import Call, Gate, Handler, session_id_of
from demo.pages import utc_now
from demo.sensor import COUNT_MAX, MINUTES_MAX, TRENDS, Reading, Sensors

SHARE = "/ShareWebServices/Services"


class Share:
    """The calls that clients of both paths make."""

    def __init__(self, gate: Gate, accounts: Accounts, sensors: Sensors) -> None:
        self.gate = gate
        self.accounts = accounts
        self.sensors = sensors

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the Share calls."""
        call = self.gate.guarded
        calls: list[tuple[str, str, str, Handler]] = [
            ("publisher", "login", "General/AuthenticatePublisherAccount", self._authenticate),
            ("publisher", "login", "General/LoginPublisherAccountById", self._login_by_id),
            ("publisher", "read", "Publisher/ReadPublisherLatestGlucoseValues", self._read),
            ("subscriber", "login", "General/LoginSubscriberAccount", self._login_subscriber),
            ("subscriber", "read", "Subscriber/ListSubscriberAccountSubscriptions", self._list),
            ("subscriber", "read", "Subscriber/ReadSubscriptionLatestGlucoseValues", self._read),
        ]
        routes: list[web.AbstractRouteDef] = [
            web.post(f"{SHARE}/{name}", call(target, path, handler))
            for path, target, name, handler in calls
        ]
        clock = call("clock", "publisher", self._system_time)
        return [*routes, web.get(f"{SHARE}/General/SystemUtcTime", clock)]

    async def _authenticate(self, request: web.Request, call: Call) -> web.Response:
        if not call.body.get("accountName"):
            raise Refused("InvalidArgument", "Parameter accountName must not be empty.")
        account = self._checked(call, "AccountPasswordInvalid")
        return web.json_response(account.account_id)

    async def _login_by_id(self, request: web.Request, call: Call) -> web.Response:
        try:
            uuid.UUID(str(call.body.get("accountId")))
        except ValueError as error:
            raise Refused("InvalidArgument", "Parameter accountId must be a UUID.") from error
        return web.json_response(
            self.accounts.open_session(self._checked(call, "SSO_InternalError"))
        )

    async def _login_subscriber(self, request: web.Request, call: Call) -> web.Response:
        return web.json_response(
            self.accounts.open_session(self._checked(call, "AccountPasswordInvalid"))
        )

    async def _read(self, request: web.Request, call: Call) -> web.Response:
        session_id = session_id_of(request)
        if session_id == ZERO_UUID:
            return web.Response(content_type="application/json")
        account = self.accounts.holder_of(session_id)
        if call.path == "subscriber":
            account = self.accounts.followed(account, request.query.get("subscriptionId", ""))
        minutes = bounded_int(request, "minutes", MINUTES_MAX)
        count = bounded_int(request, "maxCount", COUNT_MAX)
        readings = self.sensors.shown(account, call.strike, minutes=minutes, count=count)
        drifted = call.shape() == "F12"
        return web.json_response([share_reading(reading, drifted=drifted) for reading in readings])

    async def _list(self, request: web.Request, call: Call) -> web.Response:
        account = self.accounts.holder_of(session_id_of(request))
        if call.shape() in ("F8", "F20"):
            return web.json_response([])
        return web.json_response(
            [
                {
                    "SubscriptionId": subscription_id(account, followed),
                    "DisplayName": followed.name,
                    "State": 1,
                    "IsEnabled": True,
                }
                for followed in self.accounts.followed_by(account)
            ]
        )

    async def _system_time(self, request: web.Request, call: Call) -> web.Response:
        return web.json_response(f"/Date({int(utc_now().timestamp() * 1000)})/")

    def _checked(self, call: Call, wrong: str) -> Account:
        return self.accounts.checked(call.account, call.body, wrong=wrong)


def share_reading(reading: Reading, *, drifted: bool) -> dict[str, object]:
    """Write a reading as the Share calls do; drifted, the trend is a number as it once was."""
    stamp = int(reading.at.timestamp() * 1000)
    trend: object = TRENDS[reading.trend] if drifted else reading.trend
    slash = "/" if drifted else ""
    return {
        "WT": f"{slash}Date({stamp}){slash}",
        "ST": f"{slash}Date({stamp}){slash}",
        "DT": f"{slash}Date({stamp}+0000){slash}",
        "Value": reading.value,
        "Trend": trend,
    }


def bounded_int(request: web.Request, name: str, highest: int) -> int:
    """Return a whole number of the query from 1 to `highest`, or refuse."""
    text = request.query.get(name, str(highest))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= highest:
        raise Refused("InvalidArgument", f"Parameter {name} must be from 1 to {highest}.")
    return int(text)
