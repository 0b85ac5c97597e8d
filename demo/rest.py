"""The plain REST calls of the Follow service: log in, read, upload, register a device."""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from demo.accounts import ZERO_UUID, Accounts, Refused
from demo.alerts import DEVICES_MAX, LOW_MG_DL, Alerts, Device
from demo.faults import iso
from demo.gate import Call, Gate, session_id_of
from demo.sensor import (
    MINUTES_MAX,
    TRENDS,
    VALUE_MAX,
    VALUE_MIN,
    Reading,
    Sensors,
    read_reading,
)

# Two hours of a sensor that uploads every five minutes.
LATEST_COUNT = 24


class Rest:
    """The calls of the product's own probe, and of the canary."""

    def __init__(self, gate: Gate, accounts: Accounts, sensors: Sensors, alerts: Alerts) -> None:
        self.gate = gate
        self.accounts = accounts
        self.sensors = sensors
        self.alerts = alerts

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the REST calls."""
        call = self.gate.guarded
        return [
            web.post("/auth/login", call("login", "rest", self._log_in)),
            web.get("/follow/latest", call("read", "rest", self._latest)),
            web.post("/readings", call("upload", "rest", self._upload)),
            web.put("/devices", call("devices", "rest", self._register)),
        ]

    async def _log_in(self, request: web.Request, call: Call) -> web.Response:
        account = self.accounts.checked(call.account, call.body, wrong="AccountPasswordInvalid")
        token = self.accounts.open_session(account)
        return web.json_response(
            {
                "token": token,
                "user": account.name,
                "expires_in_s": int(self.accounts.session_s),
            }
        )

    async def _latest(self, request: web.Request, call: Call) -> web.Response:
        session_id = session_id_of(request)
        if session_id == ZERO_UUID:
            return web.Response(content_type="application/json")
        account = self.accounts.holder_of(session_id)
        readings = self.sensors.shown(account, call.strike, minutes=MINUTES_MAX, count=LATEST_COUNT)
        drifted = call.shape() == "F12"
        return web.json_response([rest_reading(reading, drifted=drifted) for reading in readings])

    async def _upload(self, request: web.Request, call: Call) -> web.Response:
        account = self.accounts.holder_of(session_id_of(request))
        reading = read_reading(call.body)
        if call.shape() == "F18":  # Taken with thanks, and lost.
            return web.json_response({"accepted": True}, status=201)
        self.sensors.keep(account, reading)
        self.alerts.hear(account, reading)
        return web.json_response({"accepted": True}, status=201)

    async def _register(self, request: web.Request, call: Call) -> web.Response:
        follower = self.accounts.holder_of(session_id_of(request))
        url = str(call.body.get("url", ""))
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise Refused("InvalidArgument", "url must be an http address of the device.")
        low = call.body.get("low_mg_dl", LOW_MG_DL)
        if not isinstance(low, int) or not VALUE_MIN <= low <= VALUE_MAX:
            raise Refused("InvalidArgument", f"low_mg_dl must be {VALUE_MIN} to {VALUE_MAX}.")
        if len(self.alerts.devices) >= DEVICES_MAX:
            raise Refused("InvalidArgument", f"There are {DEVICES_MAX} devices already.")
        for account in self.accounts.followed_by(follower):
            self.alerts.register(Device(url, account, low))
        return web.json_response({"url": url, "low_mg_dl": low})


def rest_reading(reading: Reading, *, drifted: bool) -> dict[str, object]:
    """Write a reading as the REST call does; drifted, a number has become a text."""
    if drifted:
        return {
            "glucose": {"mg_dl": str(reading.value)},
            "time": iso(reading.at),
            "trend": TRENDS[reading.trend],
        }
    return {"value": reading.value, "time": iso(reading.at), "trend": reading.trend}
