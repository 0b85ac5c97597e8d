"""The way of every call to the Follow service: understand it, let the fault strike, answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from demo.accounts import ACCOUNTS, REFUSALS, ZERO_UUID, Account, Accounts, Refused
from demo.faults import Board, Fault, FaultRefused, Strike, iso
from demo.pages import Handler as PlainHandler
from demo.pages import abort, read_json, utc_now
from demo.shapes import DEFAULT_COHORT, ONE_ACCOUNT_SHAPES, SLOW_S

# What a shape does unless its options say otherwise.
REFUSE_AFTER_S = 0.2
RETRY_AFTER_S = 60


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


Handler = Callable[[web.Request, Call], Awaitable[web.Response]]


class Gate:
    """Stands before every call: the switchboard and the accounts decide what gets through."""

    def __init__(self, board: Board, accounts: Accounts) -> None:
        self.board = board
        self.accounts = accounts

    def guarded(self, target: str, path: str, handler: Handler) -> PlainHandler:
        """Return `handler` behind the switch of its target, with refusals in the path's form."""

        async def answer(request: web.Request) -> web.Response:
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
            account = self.accounts.named_in(body)
        else:
            account = self.accounts.known_by(session_id_of(request))
        return Call(target, path, account, body, self.strike(target, path, account))

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

    def strike(self, target: str, path: str, account: Account | None) -> Strike | None:
        """Return the fault that hits this very call, rolling its dice."""
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


def session_id_of(request: web.Request) -> str:
    """Return the session: a Bearer token, or a query argument on the Share calls."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme == "Bearer" else request.query.get("sessionId", "").lower()


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
