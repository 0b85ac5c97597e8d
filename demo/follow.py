"""A Follow service that can be broken: its REST calls, the Dexcom Share calls, its alerts."""

from __future__ import annotations

import asyncio
import math
import os
import re
import secrets
import sys
import uuid
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import escape
from time import monotonic
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from demo.faults import (
    HANG_S,
    Board,
    Fault,
    FaultRefused,
    Menu,
    NumberOption,
    Strike,
    TextOption,
    iso,
)
from demo.pages import (
    Answer,
    abort,
    arguments,
    ask,
    bound_socket,
    fault_routes,
    in_thread,
    is_foreign_form,
    moment,
    new_app,
    page,
    read_json,
    refusal,
    run_until_stopped,
    serving,
    utc_now,
)

ZERO_UUID = "00000000-0000-0000-0000-000000000000"
SHARE = "/ShareWebServices/Services"

# Bounds of the Share calls, as pydexcom 0.5.1 checks them (follow-service.md 1.2).
MINUTES_MAX = 1440
COUNT_MAX = 288
# Sessions live about a day (follow-service.md 1.2); older ones go when there are too many.
SESSION_S = 24 * 3600.0
SESSIONS_MAX = 10_000
# The real bounds are not published: three wrong passwords, ten minutes.
WRONG_PASSWORDS_MAX = 3
LOCKED_S = 600.0

LOW_MG_DL = 70
VALUE_MIN, VALUE_MAX = 20, 600
DEVICES_MAX = 100
ALERTS_MAX = 100
ALERT_TIMEOUT_S = 5.0
WATCH_EVERY_S = 0.2

# What a shape does unless its options say otherwise.
REFUSE_AFTER_S = 0.2
SLOW_S = 8.0
FROZEN_AGE_S = 1200.0
SKEW_S = 3600.0
RETRY_AFTER_S = 60

COMMON = ("F1", "F2", "F3", "F10", "F11", "F15", "F16", "F22")
MENU = Menu(
    shapes={
        "login": (*COMMON, "F4", "F5", "F6", "F7", "F13", "F14"),
        "read": (*COMMON, "F8", "F9", "F12", "F13", "F19", "F20"),
        "all": COMMON,
        "alerts": ("F17", "F15", "F16"),
        "upload": ("F18", "F1", "F2", "F3", "F15", "F16", "F22"),
    },
    options={
        "hang_s": HANG_S,
        "delay_s": NumberOption(0, 120),
        "age_s": NumberOption(0, 86_400),
        "skew_s": NumberOption(-86_400, 86_400),
        "retry_after_s": NumberOption(0, 86_400),
        "status": NumberOption(200, 599, whole=True),
        "cohort": TextOption(),
        "account": TextOption(),
        "path": TextOption(("rest", "publisher", "subscriber")),
    },
    unshowable={"F21": "it is about certificates, and this server speaks plain http"},
    default_ratio={"F15": 0.4},
)

SHAPES_IN_WORDS: Mapping[str, str] = {
    "F1": "closes the connection without an answer",
    "F2": "is overloaded: 503 after a while",
    "F3": "answers with a general fault (500)",
    "F4": "says the probe's password is wrong",
    "F5": "says everybody's password is wrong",
    "F6": "says the probe is locked out",
    "F7": "logs in with an all-zero session",
    "F8": "gives no readings at all",
    "F9": "gives the same old reading for ever",
    "F10": "answers 200 with nothing in it",
    "F11": "answers 200 with a web page",
    "F12": "changes the form of a reading",
    "F13": "fails for accounts outside the US only",
    "F14": "fails for unusual account names only",
    "F15": "fails now and then",
    "F16": "is right but slow",
    "F17": "sends no alerts",
    "F18": "loses what the sensor uploads",
    "F19": "gives readings from the future",
    "F20": "has sharing switched off on the probe's account",
    "F22": "says too many requests (429)",
}
# These shapes concern one account unless told otherwise.
ONE_ACCOUNT_SHAPES = ("F4", "F6", "F20")
DEFAULT_COHORT = "ous"
NIGHT: Mapping[str, object] = {"login": "F2", "read": "F9", "alerts": "F17"}

TRENDS: Mapping[str, int] = {"FortyFiveUp": 3, "Flat": 4, "FortyFiveDown": 5}


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who can log in; without `wears` no synthetic sensor uploads for them."""

    name: str
    region: str = "us"
    generation: str = "g7"
    wears: bool = True
    follows: tuple[str, ...] = ()

    @property
    def account_id(self) -> str:
        """Return the stable id that the Share calls know the account by."""
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.name}.follow.invalid"))

    @property
    def is_awkward(self) -> bool:
        """Tell whether the name has more in it than lower-case letters and digits (F14)."""
        return re.fullmatch(r"[a-z0-9]+", self.name) is None

    def is_in(self, cohort: str) -> bool:
        """Tell whether the account is of a region, a generation, or both as `ous/g5`."""
        return all(part in (self.region, self.generation) for part in cohort.split("/"))


ACCOUNTS = (
    Account("probe"),
    Account("probe2", generation="g6"),
    Account("old", generation="g5"),
    Account("europe", region="ous"),
    Account("europeold", region="ous", generation="g5"),
    Account("ana.maria+share", generation="g6"),
    Account("a.rather.long+name.of.an.account.0123456789@example.org"),
    Account("canary", wears=False),
    Account("follower", wears=False, follows=("probe", "europe", "canary")),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One glucose value and when it was measured."""

    at: datetime
    value: int
    trend: str = "Flat"


@dataclass(frozen=True, slots=True)
class Device:
    """Where the alerts for one account go: a follower's device."""

    url: str
    account: Account
    low_mg_dl: int = LOW_MG_DL


@dataclass(frozen=True, slots=True)
class Session:
    """A log-in that has not run out."""

    account: Account
    opened_s: float


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it was understood: which target, which path, for whom, and what hits it."""

    target: str
    path: str
    account: Account | None
    body: Mapping[str, object]
    strike: Strike | None

    def shape(self) -> str | None:
        """Return the shape that hits this call, or None."""
        return self.strike.shape if self.strike else None


class Refused(Exception):
    """A call that the service refuses, by its own code."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.message = message or REFUSALS[code][1]


# Code -> status on the plain REST calls, and the message. Share answers 500 to all of them.
REFUSALS: Mapping[str, tuple[int, str]] = {
    "AccountPasswordInvalid": (401, "Publisher account password failed."),
    "SSO_AuthenticateAccountNotFound": (401, "No such account."),
    "SSO_AuthenticatePasswordInvalid": (401, "Account password is invalid."),
    "SSO_AuthenticateMaxAttemptsExceeded": (
        423,
        "Too many attempts: the account is locked.",
    ),
    "SSO_InternalError": (500, "Cannot Authenticate by AccountName."),
    "SessionIdNotFound": (401, "Session ID not found."),
    "SessionNotValid": (401, "Session not active or timed out."),
    "InvalidArgument": (400, "An argument is not valid."),
    "MonitoredReceiverNotAssigned": (409, "No receiver is assigned to this account."),
    "InternalError": (500, "The service is not available."),
}

Handler = Callable[[web.Request, Call], Awaitable[web.Response]]


def wearer_readings(account: Account, until: datetime, every_s: float) -> Iterator[Reading]:
    """Yield what the synthetic sensor has uploaded by `until`, newest first, without end.

    The curve is a function of time alone, so after a break the gap is back-filled, as it
    really is: the graph hides the outage.
    """
    phase = sum(account.name.encode()) % 97
    step = math.floor(until.timestamp() / every_s)
    while True:
        at_s = step * every_s
        slope = math.cos(at_s / 1700 + phase)
        trend = "FortyFiveUp" if slope > 0.7 else "FortyFiveDown" if slope < -0.7 else "Flat"
        value = round(120 + 35 * math.sin(at_s / 1700 + phase))
        yield Reading(datetime.fromtimestamp(at_s, UTC), value, trend)
        step -= 1


def newest(readings: Iterator[Reading], now: datetime, minutes: int, count: int) -> list[Reading]:
    """Return at most `count` readings of the last `minutes`."""
    found: list[Reading] = []
    for reading in readings:
        if len(found) >= count or reading.at < now - timedelta(minutes=minutes):
            break
        found.append(reading)
    return found


def rest_reading(reading: Reading, *, drifted: bool) -> dict[str, object]:
    """Write a reading as the REST call does; drifted, a number has become a text."""
    if drifted:
        return {
            "glucose": {"mg_dl": str(reading.value)},
            "time": iso(reading.at),
            "trend": TRENDS[reading.trend],
        }
    return {"value": reading.value, "time": iso(reading.at), "trend": reading.trend}


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


@dataclass(slots=True)
class Lock:
    """Wrong passwords of one account, and until when it is locked for them."""

    wrong: int = 0
    until_s: float = 0.0


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """How the service behaves when it is well."""

    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    upload_every_s: float = 5.0
    no_data_after_s: float = 900.0
    session_s: float = SESSION_S
    locked_s: float = LOCKED_S


class FollowService:
    """The service: accounts, sessions, readings, devices, and the switchboard of faults."""

    def __init__(self, options: FollowOptions) -> None:
        self.options = options
        self.board = Board(MENU)
        self.accounts = {account.name: account for account in ACCOUNTS}
        self.by_id = {account.account_id: account for account in ACCOUNTS}
        self.sessions: OrderedDict[str, Session] = OrderedDict()
        self.locks: dict[str, Lock] = {}
        self.uploaded: dict[str, deque[Reading]] = {}
        self.devices: dict[tuple[str, str], Device] = {}
        self.alerts: deque[dict[str, object]] = deque(maxlen=ALERTS_MAX)
        self._told_no_data: set[str] = set()
        self._posting: set[asyncio.Task[None]] = set()
        self._client: ClientSession | None = None

    # The application.

    def app(self) -> web.Application:
        """Return the web application with every call."""
        app = new_app()
        app.add_routes(self._rest_routes() + self._share_routes() + fault_routes(self.board))
        app.add_routes([web.get("/", self._home), web.post("/switch", self._switch)])
        app.cleanup_ctx.append(self._alerting)
        return app

    def _rest_routes(self) -> list[web.AbstractRouteDef]:
        call = self._guarded
        return [
            web.post("/auth/login", call("login", "rest", self._rest_login)),
            web.get("/follow/latest", call("read", "rest", self._rest_latest)),
            web.post("/readings", call("upload", "rest", self._upload)),
            web.put("/devices", call("devices", "rest", self._register)),
        ]

    def _share_routes(self) -> list[web.AbstractRouteDef]:
        call = self._guarded
        calls: list[tuple[str, str, str, Handler]] = [
            (
                "General/AuthenticatePublisherAccount",
                "login",
                "publisher",
                self._authenticate,
            ),
            (
                "General/LoginPublisherAccountById",
                "login",
                "publisher",
                self._login_by_id,
            ),
            (
                "Publisher/ReadPublisherLatestGlucoseValues",
                "read",
                "publisher",
                self._share_read,
            ),
            (
                "General/LoginSubscriberAccount",
                "login",
                "subscriber",
                self._login_subscriber,
            ),
            (
                "Subscriber/ListSubscriberAccountSubscriptions",
                "read",
                "subscriber",
                self._subscriptions,
            ),
            (
                "Subscriber/ReadSubscriptionLatestGlucoseValues",
                "read",
                "subscriber",
                self._share_read,
            ),
        ]
        routes: list[web.AbstractRouteDef] = [
            web.post(f"{SHARE}/{name}", call(target, path, handler))
            for name, target, path, handler in calls
        ]
        clock = call("clock", "publisher", self._system_time)
        return [*routes, web.get(f"{SHARE}/General/SystemUtcTime", clock)]

    # From a request to an answer: understand, strike, answer.

    def _guarded(
        self, target: str, path: str, handler: Handler
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            self.board.requests[target] += 1
            try:
                call = await self._understand(request, target, path)
                broken = await self._break(request, call)
                return await handler(request, call) if broken is None else broken
            except Refused as refused:
                return refuse(path, refused.code, refused.message)

        return answer

    async def _understand(self, request: web.Request, target: str, path: str) -> Call:
        body = await self._body(request) if request.method != "GET" else {}
        if target == "login":
            account = self._named_in(body)
        else:
            session = self.sessions.get(session_id_of(request))
            account = session.account if session else None
        return Call(target, path, account, body, self._strike(target, path, account))

    async def _body(self, request: web.Request) -> Mapping[str, object]:
        try:
            body = await read_json(request)
        except FaultRefused as refused:
            raise Refused("InvalidArgument", str(refused)) from refused
        if body is None:
            return {}
        if not isinstance(body, dict):
            raise Refused("InvalidArgument", "The body must be a JSON object.")
        return body

    def _named_in(self, body: Mapping[str, object]) -> Account | None:
        name = body.get("user", body.get("accountName", ""))
        by_id = self.by_id.get(str(body.get("accountId", "")).lower())
        return by_id or self.accounts.get(str(name))

    def _strike(self, target: str, path: str, account: Account | None) -> Strike | None:
        for broken in ("all", target):
            standing = self.board.fault_of(broken)
            if standing and concerns(standing.fault, path, account):
                strike = self.board.strike(broken, utc_now())
                if strike:
                    return strike
        return None

    async def _break(self, request: web.Request, call: Call) -> web.Response | None:
        """Return the broken answer, or None when the handler has to answer."""
        if call.strike is None:
            return None
        fault = call.strike.fault
        match fault.shape:
            case "F1":
                return abort(request)
            case "F2":
                await asyncio.sleep(fault.number("hang_s", REFUSE_AFTER_S))
                return web.Response(text="overloaded", status=int(fault.number("status", 503)))
            case "F15":
                return web.Response(text="try again", status=int(fault.number("status", 503)))
            case "F16":
                await asyncio.sleep(fault.number("delay_s", SLOW_S))
                return None
            case "F10":
                return web.Response(content_type="application/json")
            case "F11":
                return challenge_page(int(fault.number("status", 200)))
            case "F22":
                retry_after = str(int(fault.number("retry_after_s", RETRY_AFTER_S)))
                headers = {"Retry-After": retry_after}
                return web.json_response({"error": "Rate limit"}, status=429, headers=headers)
            case "F3":
                raise Refused("InternalError")
            case shape if call.target == "login":
                return self._break_login(shape, call)
            case _:
                return None

    def _break_login(self, shape: str, call: Call) -> web.Response | None:
        match shape:
            case "F4":
                raise Refused("AccountPasswordInvalid")
            case "F5":
                raise Refused("SSO_AuthenticatePasswordInvalid")
            case "F6":
                raise Refused("SSO_AuthenticateMaxAttemptsExceeded")
            case "F13":
                raise Refused("InternalError", "Accounts of this region are being moved.")
            case "F14" if call.path == "rest":
                raise Refused("InvalidArgument", "The user name has characters not allowed.")
            case _:  # F7, and F14 on the Share calls: success, with a session of zeros.
                return web.json_response({"token": ZERO_UUID} if call.path == "rest" else ZERO_UUID)

    # Log in.

    async def _rest_login(self, request: web.Request, call: Call) -> web.Response:
        account = self._checked(call, wrong="AccountPasswordInvalid")
        token = self._open(account)
        return web.json_response(
            {
                "token": token,
                "user": account.name,
                "expires_in_s": int(self.options.session_s),
            }
        )

    async def _authenticate(self, request: web.Request, call: Call) -> web.Response:
        if not call.body.get("accountName"):
            raise Refused("InvalidArgument", "Parameter accountName must not be empty.")
        account = self._checked(call, wrong="AccountPasswordInvalid")
        return web.json_response(account.account_id)

    async def _login_by_id(self, request: web.Request, call: Call) -> web.Response:
        try:
            uuid.UUID(str(call.body.get("accountId")))
        except ValueError as error:
            raise Refused("InvalidArgument", "Parameter accountId must be a UUID.") from error
        return web.json_response(self._open(self._checked(call, wrong="SSO_InternalError")))

    async def _login_subscriber(self, request: web.Request, call: Call) -> web.Response:
        return web.json_response(self._open(self._checked(call, wrong="AccountPasswordInvalid")))

    def _checked(self, call: Call, *, wrong: str) -> Account:
        """Return the account when its password is right; count the wrong ones and lock."""
        if not call.body.get("password"):
            raise Refused("InvalidArgument", "Parameter password must not be empty.")
        if call.account is None:
            raise Refused("SSO_AuthenticateAccountNotFound")
        lock = self.locks.setdefault(call.account.name, Lock())
        if lock.until_s > monotonic():
            raise Refused("SSO_AuthenticateMaxAttemptsExceeded")
        if not secrets.compare_digest(
            str(call.body["password"]).encode(), self.options.password.encode()
        ):
            lock.wrong += 1
            if lock.wrong >= WRONG_PASSWORDS_MAX:
                self.locks[call.account.name] = Lock(0, monotonic() + self.options.locked_s)
            raise Refused(wrong)
        lock.wrong = 0
        return call.account

    def _open(self, account: Account) -> str:
        session_id = str(uuid.uuid4())
        self.sessions[session_id] = Session(account, monotonic())
        if len(self.sessions) > SESSIONS_MAX:
            self.sessions.popitem(last=False)
        return session_id

    def _session_account(self, session_id: str) -> Account:
        session = self.sessions.get(session_id)
        if session is None:
            raise Refused("SessionIdNotFound")
        if monotonic() - session.opened_s > self.options.session_s:
            raise Refused("SessionNotValid")
        return session.account

    # Read.

    async def _rest_latest(self, request: web.Request, call: Call) -> web.Response:
        session_id = session_id_of(request)
        if session_id == ZERO_UUID:
            return web.Response(content_type="application/json")
        account = self._session_account(session_id)
        readings = self._read(account, call, minutes=MINUTES_MAX, count=24)
        drifted = call.shape() == "F12"
        return web.json_response([rest_reading(reading, drifted=drifted) for reading in readings])

    async def _share_read(self, request: web.Request, call: Call) -> web.Response:
        session_id = session_id_of(request)
        if session_id == ZERO_UUID:
            return web.Response(content_type="application/json")
        account = self._session_account(session_id)
        if call.path == "subscriber":
            account = self._followed(account, request.query.get("subscriptionId", ""))
        minutes = bounded_int(request, "minutes", MINUTES_MAX)
        count = bounded_int(request, "maxCount", COUNT_MAX)
        readings = self._read(account, call, minutes=minutes, count=count)
        drifted = call.shape() == "F12"
        return web.json_response([share_reading(reading, drifted=drifted) for reading in readings])

    async def _subscriptions(self, request: web.Request, call: Call) -> web.Response:
        account = self._session_account(session_id_of(request))
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
                for followed in self._all_followed(account)
            ]
        )

    async def _system_time(self, request: web.Request, call: Call) -> web.Response:
        return web.json_response(f"/Date({int(utc_now().timestamp() * 1000)})/")

    def _all_followed(self, account: Account) -> list[Account]:
        return [self.accounts[name] for name in account.follows or (account.name,)]

    def _followed(self, account: Account, wanted: str) -> Account:
        for followed in self._all_followed(account):
            if subscription_id(account, followed) == wanted.lower():
                return followed
        raise Refused("InvalidArgument", "Parameter subscriptionId must be one of the list.")

    def _read(self, account: Account, call: Call, *, minutes: int, count: int) -> list[Reading]:
        """Return what this call is shown: the truth, or what the fault makes of it."""
        now = utc_now()
        if call.strike is None:
            return newest(self._known(account, now), now, minutes, count)
        fault = call.strike.fault
        match fault.shape:
            case "F8" | "F20":
                return []
            case "F9" | "F13":
                age = timedelta(seconds=fault.number("age_s", FROZEN_AGE_S))
                frozen = self._known(account, call.strike.since - age)
                return newest(frozen, now, minutes, count)
            case "F19":
                skew = timedelta(seconds=fault.number("skew_s", SKEW_S))
                strange = newest(self._known(account, now), now, minutes, count)
                return [Reading(r.at + skew, r.value + 100, r.trend) for r in strange]
            case _:
                return newest(self._known(account, now), now, minutes, count)

    def _known(self, account: Account, until: datetime) -> Iterator[Reading]:
        """Yield the readings that have arrived by `until`, newest first."""
        lost = self.board.fault_of("upload")
        if lost and lost.shape == "F18":
            until = min(until, lost.since)
        if account.wears:
            return wearer_readings(account, until, self.options.upload_every_s)
        uploaded = self.uploaded.get(account.name, deque())
        return (reading for reading in list(uploaded) if reading.at <= until)

    # Upload and alert.

    async def _upload(self, request: web.Request, call: Call) -> web.Response:
        account = self._session_account(session_id_of(request))
        reading = read_reading(call.body)
        if call.shape() == "F18":  # Taken with thanks, and lost.
            return web.json_response({"accepted": True}, status=201)
        kept = self.uploaded.setdefault(account.name, deque(maxlen=COUNT_MAX))
        kept.appendleft(reading)
        ordered = sorted(kept, key=lambda known: known.at, reverse=True)
        self.uploaded[account.name] = deque(ordered, maxlen=COUNT_MAX)
        self._told_no_data.discard(account.name)
        for device in self._devices_of(account):
            if reading.value < device.low_mg_dl:
                self._alert(device, "low", reading)
        return web.json_response({"accepted": True}, status=201)

    async def _register(self, request: web.Request, call: Call) -> web.Response:
        follower = self._session_account(session_id_of(request))
        url = str(call.body.get("url", ""))
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise Refused("InvalidArgument", "url must be an http address of the device.")
        low = call.body.get("low_mg_dl", LOW_MG_DL)
        if not isinstance(low, int) or not VALUE_MIN <= low <= VALUE_MAX:
            raise Refused("InvalidArgument", f"low_mg_dl must be {VALUE_MIN} to {VALUE_MAX}.")
        if len(self.devices) >= DEVICES_MAX:
            raise Refused("InvalidArgument", f"There are {DEVICES_MAX} devices already.")
        for account in self._all_followed(follower):
            self.devices[url, account.name] = Device(url, account, low)
        return web.json_response({"url": url, "low_mg_dl": low})

    def _devices_of(self, account: Account) -> list[Device]:
        return [device for device in self.devices.values() if device.account == account]

    def _alert(self, device: Device, kind: str, reading: Reading) -> None:
        self.board.requests["alerts"] += 1
        strike = self._strike("alerts", "rest", device.account)
        if strike and strike.shape in ("F17", "F15"):
            return
        delay_s = strike.fault.number("delay_s", SLOW_S) if strike else 0.0
        task = asyncio.create_task(self._post(device, kind, reading, delay_s))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def _post(self, device: Device, kind: str, reading: Reading, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        alert: dict[str, object] = {
            "kind": kind,
            "user": device.account.name,
            "value": reading.value,
            "time": iso(reading.at),
            "sent_at": iso(utc_now()),
        }
        assert self._client is not None
        try:
            async with self._client.post(device.url, json=alert) as response:
                outcome = f"answered {response.status}"
        except (ClientError, TimeoutError) as error:
            outcome = f"not reached: {type(error).__name__}"
        self.alerts.appendleft({**alert, "url": device.url, "outcome": outcome})

    async def _alerting(self, app: web.Application) -> AsyncIterator[None]:
        """Keep the client and the watcher for missing data while the application runs."""
        async with ClientSession(timeout=ClientTimeout(total=ALERT_TIMEOUT_S)) as client:
            self._client = client
            watcher = asyncio.create_task(self._watch_for_silence())
            yield
            for task in (watcher, *self._posting):
                task.cancel()
            await asyncio.gather(watcher, *self._posting, return_exceptions=True)

    async def _watch_for_silence(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            now = utc_now()
            for account in {device.account for device in self.devices.values()}:
                self._tell_of_silence(account, now)

    def _tell_of_silence(self, account: Account, now: datetime) -> None:
        reading = next(self._known(account, now), None)
        if reading is None:
            return
        if (now - reading.at).total_seconds() <= self.options.no_data_after_s:
            self._told_no_data.discard(account.name)
        elif account.name not in self._told_no_data:
            self._told_no_data.add(account.name)
            for device in self._devices_of(account):
                self._alert(device, "no_data", reading)

    # The page with the switches.

    async def _home(self, request: web.Request) -> web.Response:
        return page("Follow service (demo)", self._home_html())

    def _home_html(self) -> str:
        board = self.board
        broken = [
            f"<li>■ {TARGETS_IN_WORDS[target]} {escape(SHAPES_IN_WORDS[strike.shape])} "
            f'<span class="quiet">({strike.shape}, since {moment(strike.since)})</span></li>'
            for target in MENU.shapes
            if (strike := board.fault_of(target))
        ]
        state = (
            f'<ul class="plain state bad">{"".join(broken)}</ul>'
            if broken
            else '<p class="state good">● Everything works.</p>'
        )
        return (
            '<p class="quiet">A synthetic sensor service, for trying out. Nobody is harmed.</p>'
            + state
            + self._buttons_html()
            + self._figures_html()
        )

    def _buttons_html(self) -> str:
        selects = "".join(self._select_html(target) for target in MENU.shapes)
        return (
            '<form method="post" action="/switch">'
            '<button class="main" name="press" value="night">Break it as on 30 November</button>'
            '<button name="press" value="mend">Mend everything</button></form>'
            '<h2>Break one thing</h2><form method="post" action="/switch">'
            f'{selects}<button name="press" value="apply">Apply</button></form>'
        )

    def _select_html(self, target: str) -> str:
        standing = self.board.fault_of(target)
        options = "".join(
            f'<option value="{shape}"{_selected(standing, shape)}>'
            f"{escape(SHAPES_IN_WORDS[shape])} ({shape})</option>"
            for shape in MENU.shapes[target]
        )
        return (
            f'<label for="{target}">{TARGETS_IN_WORDS[target]}</label>'
            f'<select id="{target}" name="{target}"><option value="">works</option>'
            f"{options}</select>"
        )

    def _figures_html(self) -> str:
        board = self.board
        rows = {
            "Last broken": moment(board.fault_at) if board.fault_at else "never",
            "Last mended": moment(board.mended_at) if board.mended_at else "not yet",
            "Requests": ", ".join(f"{name} {n}" for name, n in sorted(board.requests.items())),
            "Broken answers": str(sum(board.struck.values())),
            "Accounts": escape(", ".join(self.accounts)),
            "Password": escape(self.options.password),
        }
        figures = "".join(f"<dt>{name}</dt><dd>{value or '0'}</dd>" for name, value in rows.items())
        alerts = "".join(
            f"<li>{escape(str(alert['kind']))} for {escape(str(alert['user']))}: "
            f"{escape(str(alert['outcome']))}</li>"
            for alert in list(self.alerts)[:10]
        )
        return (
            f'<h2>So far</h2><dl>{figures}</dl><p><a href="/">Look again</a> · '
            f'<a href="/faults">As JSON</a></p>'
            + (f'<h2>Alerts sent</h2><ul class="plain">{alerts}</ul>' if alerts else "")
        )

    async def _switch(self, request: web.Request) -> web.Response:
        if is_foreign_form(request):
            return refusal("The switches work from this page only.", 403)
        form = await request.post()
        chosen: Mapping[str, object]
        match form.get("press"):
            case "mend":
                chosen = {}
            case "night":
                chosen = NIGHT
            case _:
                chosen = {target: form[target] for target in MENU.shapes if form.get(target)}
        try:
            self.board.put(dict(chosen), utc_now())
        except FaultRefused as refused:
            return refusal(str(refused))
        return web.Response(status=303, headers={"Location": "/"})


TARGETS_IN_WORDS: Mapping[str, str] = {
    "login": "Log in",
    "read": "Reading values",
    "all": "The whole service",
    "alerts": "Alerts to followers",
    "upload": "Upload from the sensor",
}


def _selected(standing: Strike | None, shape: str) -> str:
    return " selected" if standing and standing.shape == shape else ""


def concerns(fault: Fault, path: str, account: Account | None) -> bool:
    """Tell whether `fault` hits this path and account, before any dice are rolled."""
    if fault.word("path", path) != path:
        return False
    name = fault.word("account", ACCOUNTS[0].name if fault.shape in ONE_ACCOUNT_SHAPES else "")
    cohort = fault.word("cohort", DEFAULT_COHORT if fault.shape == "F13" else "")
    if account is None:
        return not (name or cohort or fault.shape == "F14")
    if name and account.name != name:
        return False
    if cohort and not account.is_in(cohort):
        return False
    return fault.shape != "F14" or account.is_awkward


def subscription_id(follower: Account, followed: Account) -> str:
    """Return the stable id of one following another."""
    return str(uuid.uuid5(uuid.UUID(follower.account_id), followed.account_id))


def session_id_of(request: web.Request) -> str:
    """Return the session: a Bearer token, or a query argument on the Share calls."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme == "Bearer" else request.query.get("sessionId", "").lower()


def bounded_int(request: web.Request, name: str, highest: int) -> int:
    """Return a whole number of the query from 1 to `highest`, or refuse."""
    text = request.query.get(name, str(highest))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= highest:
        raise Refused("InvalidArgument", f"Parameter {name} must be from 1 to {highest}.")
    return int(text)


def read_reading(body: Mapping[str, object]) -> Reading:
    """Read an uploaded reading, or refuse with what was expected."""
    value, trend = body.get("value"), body.get("trend", "Flat")
    if not isinstance(value, int) or not VALUE_MIN <= value <= VALUE_MAX:
        raise Refused("InvalidArgument", f"value must be {VALUE_MIN} to {VALUE_MAX} mg/dL.")
    if trend not in TRENDS:
        raise Refused("InvalidArgument", f"trend must be one of {', '.join(TRENDS)}.")
    try:
        at = datetime.fromisoformat(str(body.get("time")))
    except ValueError as error:
        raise Refused("InvalidArgument", "time must be an ISO 8601 instant.") from error
    if at.tzinfo is None:
        raise Refused("InvalidArgument", "time must name its zone, as 2019-11-30T06:00:00Z.")
    return Reading(at, value, str(trend))


def refuse(path: str, code: str, message: str) -> web.Response:
    """Answer a refusal: plain JSON on the REST calls, a WCF fault in a 500 on the Share calls."""
    if path == "rest":
        return web.json_response({"error": code, "message": message}, status=REFUSALS[code][0])
    sub_code = f'<OnlineException DateThrownLocal="{iso(utc_now())}" Code="{code}" />'
    return web.json_response(
        {
            "Code": code,
            "Message": message,
            "SubCode": sub_code,
            "TypeName": "FaultException",
        },
        status=500,
    )


def challenge_page(status: int) -> web.Response:
    """Return what a wall in front of the service shows to machines (F11)."""
    text = "<!doctype html><title>One moment</title><h1>Checking your browser</h1>"
    return web.Response(text=text, content_type="text/html", status=status)


@dataclass(frozen=True, slots=True)
class Follow:
    """A running Follow service, as tests and the demo hold it."""

    url: str
    service: FollowService

    @property
    def password(self) -> str:
        """Return the password of every account."""
        return self.service.options.password

    def put_faults(self, faults: Mapping[str, object]) -> Answer:
        """Break or mend, as anybody does it from outside."""
        return ask("PUT", f"{self.url}/faults", dict(faults))

    def faults(self) -> Answer:
        """Return what is broken, since when, and the counts."""
        return ask("GET", f"{self.url}/faults")


def opened(
    options: FollowOptions,
    host: str = "127.0.0.1",
    port: int = 0,
    fd: int | None = None,
) -> Callable[[], AbstractAsyncContextManager[Follow]]:
    """Return what opens the service on an address."""

    @asynccontextmanager
    async def opening() -> AsyncIterator[Follow]:
        service = FollowService(options)
        async with serving(service.app(), bound_socket(host, port, fd)) as url:
            yield Follow(url, service)

    return opening


@contextmanager
def running(options: FollowOptions | None = None) -> Iterator[Follow]:
    """Run the service in a thread on a free port while the block runs."""
    with in_thread(opened(options or FollowOptions())) as follow:
        yield follow


def main() -> int:
    """Run the service until SIGTERM."""
    parser = arguments("A Follow service that can be broken.", "python -m demo.follow --port 8001")
    parser.add_argument(
        "--upload-every-s", type=float, default=5.0, help="how often the sensor uploads"
    )
    parser.add_argument(
        "--no-data-after-s",
        type=float,
        default=900.0,
        help="silence that raises an alert",
    )
    given = parser.parse_args()
    if not 0.1 <= given.upload_every_s <= 3600:
        parser.error("--upload-every-s must be from 0.1 to 3600.")
    password = os.environ.get("FOLLOW_PASSWORD") or secrets.token_urlsafe(12)
    options = FollowOptions(
        password=password,
        upload_every_s=given.upload_every_s,
        no_data_after_s=given.no_data_after_s,
    )
    start = opened(options, given.host, given.port, given.fd)
    return run_until_stopped(start, lambda follow: follow.url)


if __name__ == "__main__":
    sys.exit(main())
