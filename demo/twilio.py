"""A Twilio account: who may ask, signed callbacks, and what phones write back."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Mapping
from urllib.parse import urlencode

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from demo.broken import Excuses
from demo.credentials import Credentials
from demo.faults import Board, FaultRefused, iso
from demo.ledger import Entry, Ledger, Provider
from demo.pages import Handler, form_of, is_foreign_form, read_json, refusal, utc_now
from demo.phones import PhoneBook

# Messages on their way to "delivered"; beyond it Twilio would queue, we refuse with 20429.
PENDING_MAX = 20_000
CALLBACKS_AT_ONCE = 32
CALLBACK_TIMEOUT_S = 10.0
BASE = "/2010-04-01/Accounts/{account}"

E164 = re.compile(r"\+[1-9]\d{6,14}")


class TwilioRefused(Exception):
    """A request that Twilio refuses with one of its codes."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def twilio_error(
    status: int, code: int, message: str, retry_after_s: int | None = None
) -> web.Response:
    """Return an error in Twilio's form."""
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    more = f"https://www.twilio.com/docs/errors/{code}"
    answer = {"code": code, "message": message, "more_info": more, "status": status}
    return web.json_response(answer, status=status, headers=headers)


def too_many(retry_after_s: int) -> web.Response:
    """Say that too much was asked at once."""
    return twilio_error(429, 20429, "Too Many Requests", retry_after_s)


def out_of_order() -> web.Response:
    """Say that it is Twilio's own fault."""
    return twilio_error(500, 20500, "Internal Server Error")


EXCUSES = Excuses(too_many, {"500": out_of_order})


def twilio_signature(token: str, url: str, form: Mapping[str, str]) -> str:
    """Sign a callback: https://www.twilio.com/docs/usage/security#validating-requests."""
    signed = url + "".join(name + form[name] for name in sorted(form))
    digest = hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


class TwilioAccount:
    """One account: its token, its numbers' other ends, and its callbacks."""

    def __init__(
        self,
        credentials: Credentials,
        ledger: Ledger,
        board: Board,
        *,
        step_s: float,
        replies_url: str = "",
    ) -> None:
        self.sid = credentials.twilio_sid
        self.ledger = ledger
        self.board = board
        self.step_s = step_s
        self.replies_url = replies_url
        self.phones = PhoneBook()
        self._token = credentials.twilio_token
        self._under_way: set[asyncio.Task[None]] = set()
        self._client: ClientSession | None = None

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the paths that are ours, not Twilio's."""
        return [
            web.get("/phones", self._show_phones),
            web.put("/phones", self._put_phones),
            web.post("/inbound", self._inbound),
        ]

    async def calling_back(self, app: web.Application) -> AsyncIterator[None]:
        """Keep the client for callbacks while the application runs."""
        connector = TCPConnector(limit=CALLBACKS_AT_ONCE)
        timeout = ClientTimeout(total=CALLBACK_TIMEOUT_S)
        async with ClientSession(connector=connector, timeout=timeout) as client:
            self._client = client
            yield
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    def known(self, handler: Handler) -> Handler:
        """Return `handler` for those who show the token, with refusals in Twilio's form."""

        async def answer(request: web.Request) -> web.Response:
            try:
                self._check_account(request)
                return await handler(request)
            except TwilioRefused as refused:
                return twilio_error(refused.status, refused.code, refused.message)

        return answer

    def _check_account(self, request: web.Request) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        try:
            shown = base64.b64decode(given, validate=True) if scheme == "Basic" else b""
        except binascii.Error:
            shown = b""
        if not hmac.compare_digest(shown, f"{self.sid}:{self._token}".encode()):
            raise TwilioRefused(20003, "Authenticate", 401)
        if request.match_info["account"] != self.sid:
            raise TwilioRefused(20404, "The requested resource was not found", 404)

    def entry(self, provider: Provider, request: web.Request) -> Entry:
        """Return the entry that the path names, or refuse."""
        entry = self.ledger.get(provider, request.match_info["sid"])
        if entry is None:
            raise TwilioRefused(20404, "The requested resource was not found", 404)
        return entry

    # What is under way, and what is told of it.

    @property
    def is_full(self) -> bool:
        """Tell whether too much is under way to take more."""
        return len(self._under_way) >= PENDING_MAX

    def start(self, work: Awaitable[None]) -> None:
        """Go on with a message or a call after it was answered."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def tell(self, entry: Entry, status: str, form: Mapping[str, str]) -> None:
        """Post one callback; as with Twilio, a callback that fails is not tried again."""
        if not entry.callback_url:
            return
        try:
            answered: object = (await self.signed(entry.callback_url, form, "POST"))[0]
        except (ClientError, TimeoutError, ValueError) as error:
            answered = type(error).__name__
        entry.callbacks.append({"status": status, "answered": answered, "at": iso(utc_now())})

    async def signed(self, url: str, form: Mapping[str, str], method: str) -> tuple[int, str]:
        """Ask the product, signed; return the status and the text of its answer."""
        assert self._client is not None
        filled = {"AccountSid": self.sid, "ApiVersion": "2010-04-01", **form}
        if method.upper() == "GET":
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(filled)}"
            filled = {}
        headers = {"X-Twilio-Signature": twilio_signature(self._token, url, filled)}
        posted = filled or None
        async with self._client.request(method, url, data=posted, headers=headers) as response:
            return response.status, await response.text()

    # The other ends of the line.

    async def _show_phones(self, request: web.Request) -> web.Response:
        return web.json_response(self.phones.as_json())

    async def _put_phones(self, request: web.Request) -> web.Response:
        try:
            self.phones.put(await read_json(request))
        except FaultRefused as refused:
            return refusal(str(refused))
        return await self._show_phones(request)

    async def _inbound(self, request: web.Request) -> web.Response:
        """Let a phone write to us, by a button of the page or as JSON: from, to, body, url."""
        is_form = request.content_type == "application/x-www-form-urlencoded"
        if is_foreign_form(request):
            return refusal("The buttons work from this page only.", 403)
        try:
            given = await form_of(request) if is_form else await read_json(request)
            if not isinstance(given, dict) or not E164.fullmatch(str(given.get("from", ""))):
                raise FaultRefused("from must be a number such as +15005550010.")
        except FaultRefused as refused:
            return refusal(str(refused))
        url = self.replies_url if is_form else str(given.get("url") or "")
        number, body = str(given["from"]), str(given.get("body", ""))
        try:
            answered = await self._reply(number, str(given.get("to", "")), body, url)
        except (ClientError, TimeoutError) as error:
            return refusal(f"{url} was not reached: {type(error).__name__}.", 502)
        if is_form:
            return web.Response(status=303, headers={"Location": "/"})
        stopped = sorted(self.phones.stopped)
        return web.json_response({"answered": answered, "stopped": stopped})

    async def _reply(self, number: str, to: str, body: str, url: str) -> int | None:
        """Pass on what a phone wrote; return the status of the answer, or None without a `url`."""
        kind = self.phones.hear(number, body)
        if not url:
            return None
        sid = "SM" + secrets.token_hex(16)
        form = {"MessageSid": sid, "SmsSid": sid, "SmsMessageSid": sid}
        form |= {"From": number, "To": to, "Body": body, "NumMedia": "0"}
        if kind is not None:
            form["OptOutType"] = kind
        answered, _ = await self.signed(url, form, "POST")
        return answered
