"""Stand-ins for Twilio, X and Facebook's Graph API on loopback, as their descriptions say."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import itertools
import json
import os
import re
import secrets
import sys
import unicodedata
import xml.etree.ElementTree as ET
from collections import OrderedDict
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import StrEnum
from html import escape
from time import time
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from demo.faults import Board, Fault, FaultRefused, Menu, NumberOption, iso
from demo.pages import (
    Answer,
    abort,
    arguments,
    ask,
    bound_socket,
    fault_routes,
    in_thread,
    moment,
    new_app,
    page,
    read_json,
    refusal,
    run_until_stopped,
    serving,
    utc_now,
)

# Of each provider the newest are kept.
ENTRIES_MAX = 20_000
SHOWN_MAX = 100
# Messages on their way to "delivered"; beyond it Twilio would queue, we refuse with 20429.
PENDING_MAX = 20_000
CALLBACKS_AT_ONCE = 32
CALLBACK_TIMEOUT_S = 10.0
# A call walks through at most so many TwiML documents.
DOCUMENTS_MAX = 10
RETRY_AFTER_S = 30
SLOW_S = 5.0

# https://www.twilio.com/docs/api/errors/21617 and the other codes of the same list.
SMS_CHARS_MAX = 1600
E164 = re.compile(r"\+[1-9]\d{6,14}")
SENDER = re.compile(r"\+[1-9]\d{6,14}|\d{3,8}|[A-Za-z0-9 ]{1,11}")
STOP_WORDS = frozenset(
    [
        "stop",
        "stopall",
        "unsubscribe",
        "cancel",
        "end",
        "quit",
        "revoke",
        "optout",
    ]  # channels.md 4.1
)
START_WORDS = frozenset(["start", "yes", "unstop"])

# https://docs.x.com/fundamentals/counting-characters
POST_WEIGHT_MAX = 280
URL_WEIGHT = 23
URL_IN_TEXT = re.compile(r"https?://\S+")
LIGHT_RANGES = ((0, 4351), (8192, 8205), (8208, 8223), (8242, 8247))
EMOJI_PART = (
    r"(?:[\U0001F1E6-\U0001F1FF]{2}|[\U0001F300-\U0001FAFF\u2600-\u27BF\u2B00-\u2BFF]"
    r"[\uFE0F\U0001F3FB-\U0001F3FF]*)"
)
EMOJI = re.compile(rf"{EMOJI_PART}(?:\u200D{EMOJI_PART})*")
OAUTH_AGE_S = 300
NONCES_MAX = 10_000
X_HOSTS = ("api.twitter.com", "api.x.com")
POST_FIELDS = frozenset(
    [
        "card_uri",
        "community_id",
        "direct_message_deep_link",
        "edit_options",
        "for_super_followers_only",
        "geo",
        "made_with_ai",
        "media",
        "nullcast",
        "paid_partnership",
        "poll",
        "quote_tweet_id",
        "reply",
        "reply_settings",
        "share_with_followers",
        "text",
    ]
)


class Provider(StrEnum):
    """Who was asked to send: the names of the targets in /faults and of the ledger."""

    SMS = "twilio-sms"
    VOICE = "twilio-voice"
    X = "x"
    FACEBOOK = "facebook"


SHAPES = (
    "429",
    "500",
    "slow",
    "accept-then-drop",
    "drop",
    "html",
    "nonsense",
    "bad-json",
)
MENU = Menu(
    shapes={provider.value: SHAPES for provider in Provider},
    options={"retry_after_s": NumberOption(0, 86_400), "delay_s": NumberOption(0, 120)},
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a caller must show; whoever starts the stand-ins makes them up."""

    twilio_sid: str = field(default_factory=lambda: "AC" + secrets.token_hex(16))
    twilio_token: str = field(default_factory=lambda: secrets.token_hex(16))
    x_consumer_key: str = field(default_factory=lambda: secrets.token_hex(12))
    x_consumer_secret: str = field(default_factory=lambda: secrets.token_hex(24))
    x_access_token: str = field(default_factory=lambda: "1000-" + secrets.token_hex(16))
    x_access_token_secret: str = field(default_factory=lambda: secrets.token_hex(24))
    facebook_page_id: str = "1029384756"
    facebook_page_token: str = field(default_factory=lambda: secrets.token_hex(24))

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Credentials:
        """Return the credentials named as in the product's environment; missing ones are made."""
        names = {
            "twilio_sid": "TWILIO_ACCOUNT_SID",
            "twilio_token": "TWILIO_AUTH_TOKEN",
            "x_consumer_key": "X_CONSUMER_KEY",
            "x_consumer_secret": "X_CONSUMER_SECRET",
            "x_access_token": "X_ACCESS_TOKEN",
            "x_access_token_secret": "X_ACCESS_TOKEN_SECRET",
            "facebook_page_id": "FACEBOOK_PAGE_ID",
            "facebook_page_token": "FACEBOOK_PAGE_TOKEN",
        }
        given = {key: environ[name] for key, name in names.items() if environ.get(name)}
        return cls(**given)


@dataclass(slots=True)
class Entry:
    """One thing that a provider accepted, and what became of it."""

    provider: Provider
    id: str
    at: datetime
    to: str
    sender: str
    body: str
    status: str
    callback_url: str = ""
    in_reply_to: str = ""
    link: str = ""
    said: list[str] = field(default_factory=list)
    pressed: str = ""
    callbacks: list[dict[str, object]] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """Return the entry for /ledger.json."""
        return {
            "provider": self.provider.value,
            "id": self.id,
            "time": iso(self.at),
            "to": self.to,
            "from": self.sender,
            "body": self.body,
            "status": self.status,
            "callback_url": self.callback_url,
            "in_reply_to": self.in_reply_to,
            "link": self.link,
            "said": self.said,
            "pressed": self.pressed,
            "callbacks": self.callbacks,
        }


class Ledger:
    """What each provider accepted, newest last, bounded."""

    def __init__(self) -> None:
        self._entries: dict[Provider, OrderedDict[str, Entry]] = {
            provider: OrderedDict() for provider in Provider
        }

    def add(self, entry: Entry) -> None:
        """Keep `entry`; the oldest goes when there are too many."""
        kept = self._entries[entry.provider]
        kept[entry.id] = entry
        if len(kept) > ENTRIES_MAX:
            kept.popitem(last=False)

    def get(self, provider: Provider, entry_id: str) -> Entry | None:
        """Return one entry by its id."""
        return self._entries[provider].get(entry_id)

    def newest_first(self, provider: Provider) -> list[Entry]:
        """Return all of one provider's."""
        return list(reversed(self._entries[provider].values()))

    def remove(self, entry: Entry) -> None:
        """Forget one entry."""
        self._entries[entry.provider].pop(entry.id, None)

    def clear(self) -> None:
        """Forget everything."""
        for kept in self._entries.values():
            kept.clear()

    def as_json(self) -> dict[str, object]:
        """Return all entries, newest first, per provider."""
        return {
            provider.value: [entry.as_json() for entry in self.newest_first(provider)]
            for provider in Provider
        }


Handler = Callable[[web.Request], Awaitable[web.Response]]


def guarded(board: Board, provider: Provider, handler: Handler) -> Handler:
    """Return `handler` behind the switch of its provider. Only what sends is broken."""

    async def answer(request: web.Request) -> web.Response:
        board.requests[provider.value] += 1
        strike = board.strike(provider.value, utc_now())
        if strike is None:
            return await handler(request)
        if strike.shape == "accept-then-drop":
            await handler(request)
            return abort(request)
        if strike.shape == "slow":
            await asyncio.sleep(strike.fault.number("delay_s", SLOW_S))
            return await handler(request)
        return broken_answer(provider, strike.fault, request)

    return answer


def broken_answer(provider: Provider, fault: Fault, request: web.Request) -> web.Response:
    """Return the answer of a provider that accepted nothing."""
    match fault.shape:
        case "429":
            return too_many(provider, int(fault.number("retry_after_s", RETRY_AFTER_S)))
        case "500":
            return out_of_order(provider)
        case "html":
            text = "<html><body><h1>502 Bad Gateway</h1></body></html>"
            return web.Response(text=text, content_type="text/html", status=502)
        case "nonsense":
            return web.json_response({"ok": True})
        case "bad-json":
            return web.Response(text='{"id": ', content_type="application/json")
        case _:
            return abort(request)


def too_many(provider: Provider, retry_after_s: int) -> web.Response:
    """Say "too many requests" in the provider's own form."""
    match provider:
        case Provider.SMS | Provider.VOICE:
            return twilio_error(429, 20429, "Too Many Requests", retry_after_s)
        case Provider.X:
            reset = str(int(time()) + retry_after_s)
            headers = {
                "x-rate-limit-limit": "100",
                "x-rate-limit-remaining": "0",
                "x-rate-limit-reset": reset,
            }
            return x_problem(429, "Too Many Requests", "Too Many Requests", headers)
        case Provider.FACEBOOK:
            return graph_error(400, 32, "(#32) Page request limit reached", is_transient=True)


def out_of_order(provider: Provider) -> web.Response:
    """Say "internal error" in the provider's own form."""
    match provider:
        case Provider.SMS | Provider.VOICE:
            return twilio_error(500, 20500, "Internal Server Error")
        case Provider.X:
            kind = "https://api.x.com/2/problems/internal-error"
            return x_problem(500, "Internal Server Error", "Something went wrong.", kind=kind)
        case Provider.FACEBOOK:
            message = "An unexpected error has occurred. Please retry your request later."
            return graph_error(500, 2, message, is_transient=True)


# Twilio: messages and calls.


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


def twilio_signature(token: str, url: str, form: Mapping[str, str]) -> str:
    """Sign a callback: https://www.twilio.com/docs/usage/security#validating-requests."""
    signed = url + "".join(name + form[name] for name in sorted(form))
    digest = hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


@dataclass(frozen=True, slots=True)
class Phone:
    """What happens at the other end of a number."""

    sms: str = "delivered"
    answer: str = "yes"
    digits: str = "1"


PHONE_WORDS: Mapping[str, tuple[str, ...]] = {
    "sms": ("delivered", "undelivered", "failed", "sent"),
    "answer": ("yes", "no", "busy", "hang"),
}
EVERY_PHONE = "*"


def read_phones(raw: object) -> dict[str, Phone]:
    """Read what PUT /phones sends, or raise FaultRefused with one sentence."""
    if not isinstance(raw, dict):
        raise FaultRefused('Phones must be an object such as {"*": {"answer": "no"}}.')
    return {str(number): _read_phone(str(number), given) for number, given in raw.items()}


def _read_phone(number: str, given: object) -> Phone:
    if not isinstance(given, dict) or not set(given) <= {"sms", "answer", "digits"}:
        raise FaultRefused(f"{number[:20]} must be an object of sms, answer and digits.")
    for name, words in PHONE_WORDS.items():
        if given.get(name, words[0]) not in words:
            raise FaultRefused(f"{number[:20]}.{name} must be one of {', '.join(words)}.")
    if not re.fullmatch(r"[0-9*#]{1,10}", str(given.get("digits", "1"))):
        raise FaultRefused(f"{number[:20]}.digits must be keys of a telephone.")
    return replace(Phone(), **{name: str(value) for name, value in given.items()})


class Twilio:
    """Twilio's messages and calls, with signed callbacks."""

    def __init__(
        self, credentials: Credentials, ledger: Ledger, board: Board, step_s: float
    ) -> None:
        self.sid = credentials.twilio_sid
        self.token = credentials.twilio_token
        self.ledger = ledger
        self.board = board
        self.step_s = step_s
        self.phones: dict[str, Phone] = {}
        self.stopped: set[str] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._client: ClientSession | None = None

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return Twilio's paths."""
        base = "/2010-04-01/Accounts/{account}"
        sms = guarded(self.board, Provider.SMS, self._known(self._create_message))
        voice = guarded(self.board, Provider.VOICE, self._known(self._create_call))
        return [
            web.post(f"{base}/Messages.json", sms),
            web.get(f"{base}/Messages.json", self._known(self._list_messages)),
            web.get(f"{base}/Messages/{{sid}}.json", self._known(self._one_message)),
            web.post(f"{base}/Calls.json", voice),
            web.get(f"{base}/Calls/{{sid}}.json", self._known(self._one_call)),
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

    def _known(self, handler: Handler) -> Handler:
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
        if not hmac.compare_digest(shown, f"{self.sid}:{self.token}".encode()):
            raise TwilioRefused(20003, "Authenticate", 401)
        if request.match_info["account"] != self.sid:
            raise TwilioRefused(20404, "The requested resource was not found", 404)

    # Messages.

    async def _create_message(self, request: web.Request) -> web.Response:
        form = await form_of(request)
        self._check_message(form)
        if len(self._under_way) >= PENDING_MAX:
            return too_many(Provider.SMS, RETRY_AFTER_S)
        service = form.get("MessagingServiceSid", "")
        entry = Entry(
            provider=Provider.SMS,
            id="SM" + secrets.token_hex(16),
            at=utc_now(),
            to=form["To"],
            sender=form.get("From", "") or service,
            body=form.get("Body", ""),
            status="accepted" if service and not form.get("From") else "queued",
            callback_url=form.get("StatusCallback", ""),
        )
        self.ledger.add(entry)
        answer = self._message_json(entry)
        self._start(self._deliver(entry))
        return web.json_response(answer, status=201)

    def _check_message(self, form: Mapping[str, str]) -> None:
        to, sender, body = (
            form.get("To", ""),
            form.get("From", ""),
            form.get("Body", ""),
        )
        if not to:
            raise TwilioRefused(21604, "A 'To' phone number is required.")
        if not sender and not form.get("MessagingServiceSid"):
            raise TwilioRefused(21603, "A 'From' phone number is required.")
        if not body and not form.get("MediaUrl") and not form.get("ContentSid"):
            raise TwilioRefused(21602, "Message body is required.")
        if not E164.fullmatch(to):
            raise TwilioRefused(21211, f"Invalid 'To' Phone Number: {to[:20]}")
        if sender and not SENDER.fullmatch(sender):
            raise TwilioRefused(21212, f"Invalid 'From' Phone Number: {sender[:20]}")
        if len(body) > SMS_CHARS_MAX:
            raise TwilioRefused(21617, "The concatenated message body exceeds 1600 characters.")
        if to in self.stopped:
            raise TwilioRefused(21610, "Attempt to send to unsubscribed recipient")

    async def _deliver(self, entry: Entry) -> None:
        last = self._phone(entry.to).sms
        for status in ("queued", "sent", last) if last != "sent" else ("queued", "sent"):
            await asyncio.sleep(self.step_s)
            entry.status = status
            form = {"MessageSid": entry.id, "SmsSid": entry.id, "MessageStatus": status}
            form |= {"SmsStatus": status, "To": entry.to, "From": entry.sender}
            if status in ("undelivered", "failed"):
                form["ErrorCode"] = "30003" if status == "undelivered" else "30008"
            await self._tell(entry, status, form)

    def _message_json(self, entry: Entry) -> dict[str, object]:
        is_through = entry.status in ("sent", "delivered", "undelivered", "failed")
        uri = f"/2010-04-01/Accounts/{self.sid}/Messages/{entry.id}.json"
        has_number = not entry.sender.startswith("MG")
        return {
            "account_sid": self.sid,
            "api_version": "2010-04-01",
            "body": entry.body,
            "date_created": format_datetime(entry.at),
            "date_sent": format_datetime(entry.at) if is_through else None,
            "date_updated": format_datetime(entry.at),
            "direction": "outbound-api",
            "error_code": {"undelivered": 30003, "failed": 30008}.get(entry.status),
            "error_message": None,
            "from": entry.sender if has_number else None,
            "messaging_service_sid": None if has_number else entry.sender,
            "num_media": "0",
            "num_segments": "1",
            "price": None,
            "price_unit": "USD",
            "sid": entry.id,
            "status": entry.status,
            "subresource_uris": {"media": uri.replace(".json", "/Media.json")},
            "to": entry.to,
            "uri": uri,
        }

    async def _list_messages(self, request: web.Request) -> web.Response:
        query = request.query
        size = whole_number(query.get("PageSize"), default=50, highest=1000)
        number = whole_number(query.get("Page"), default=0, highest=ENTRIES_MAX)
        found = [e for e in self.ledger.newest_first(Provider.SMS) if is_asked_for(e, query)]
        shown = found[number * size : (number + 1) * size]
        path = request.path
        others = [(key, value) for key, value in query.items() if key != "Page"]
        following = f"{path}?{urlencode([*others, ('Page', str(number + 1))])}"
        return web.json_response(
            {
                "messages": [self._message_json(entry) for entry in shown],
                "page": number,
                "page_size": size,
                "start": number * size,
                "end": number * size + max(0, len(shown) - 1),
                "uri": request.path_qs,
                "first_page_uri": f"{path}?{urlencode([*others, ('Page', '0')])}",
                "next_page_uri": following if len(found) > (number + 1) * size else None,
                "previous_page_uri": None,
            }
        )

    async def _one_message(self, request: web.Request) -> web.Response:
        return web.json_response(self._message_json(self._entry(Provider.SMS, request)))

    def _entry(self, provider: Provider, request: web.Request) -> Entry:
        entry = self.ledger.get(provider, request.match_info["sid"])
        if entry is None:
            raise TwilioRefused(20404, "The requested resource was not found", 404)
        return entry

    # Calls.

    async def _create_call(self, request: web.Request) -> web.Response:
        form = await form_of(request)
        events = [value for name, value in await pairs_of(request) if name == "StatusCallbackEvent"]
        self._check_call(form)
        if len(self._under_way) >= PENDING_MAX:
            return too_many(Provider.VOICE, RETRY_AFTER_S)
        entry = Entry(
            provider=Provider.VOICE,
            id="CA" + secrets.token_hex(16),
            at=utc_now(),
            to=form["To"],
            sender=form["From"],
            body=form.get("Twiml", "") or form.get("Url", ""),
            status="queued",
            callback_url=form.get("StatusCallback", ""),
        )
        self.ledger.add(entry)
        answer = self._call_json(entry)
        wanted = frozenset(word for event in events for word in event.split()) or {"completed"}
        self._start(self._ring(entry, form, frozenset(wanted)))
        return web.json_response(answer, status=201)

    def _check_call(self, form: Mapping[str, str]) -> None:
        if not form.get("To"):
            raise TwilioRefused(21201, "No 'To' number is specified")
        if not form.get("From"):
            raise TwilioRefused(21213, "No 'From' number is specified")
        if not form.get("Url") and not form.get("Twiml"):
            raise TwilioRefused(21205, "Url parameter is required.")
        if not E164.fullmatch(form["To"]):
            raise TwilioRefused(21211, f"Invalid 'To' Phone Number: {form['To'][:20]}")

    async def _ring(self, entry: Entry, form: Mapping[str, str], events: frozenset[str]) -> None:
        phone = self._phone(entry.to)
        for event in ("initiated", "ringing"):
            await self._progress(entry, event, event, events)
        if phone.answer in ("no", "busy"):
            last = "busy" if phone.answer == "busy" else "no-answer"
            await self._progress(entry, "completed", last, events)
            return
        await self._progress(entry, "answered", "in-progress", events)
        try:
            await self._listen(entry, form, phone)
            last = "completed"
        except (ClientError, TimeoutError, ET.ParseError, UnicodeError) as error:
            entry.said.append(f"[an application error has occurred: {type(error).__name__}]")
            last = "failed"
        await self._progress(entry, "completed", last, events)

    async def _progress(
        self, entry: Entry, event: str, status: str, events: frozenset[str]
    ) -> None:
        await asyncio.sleep(self.step_s)
        entry.status = status
        if event in events:
            await self._tell(entry, status, call_form(entry, status))

    async def _listen(self, entry: Entry, form: Mapping[str, str], phone: Phone) -> None:
        """Hear the TwiML to its end, pressing the phone's digits where it gathers some."""
        url, document = form.get("Url", ""), form.get("Twiml", "")
        if not document:
            document = await self._fetch(entry, url, form.get("Method", "POST"), {})
        for _ in range(DOCUMENTS_MAX):
            onward = follow_twiml(ET.fromstring(document), url, phone, entry.said)
            if onward is None:
                return
            if onward.digits:
                entry.pressed += onward.digits
            url = onward.url
            pressed = {"Digits": onward.digits} if onward.digits else {}
            document = await self._fetch(entry, url, onward.method, pressed)

    async def _fetch(self, entry: Entry, url: str, method: str, extra: Mapping[str, str]) -> str:
        form = {**call_form(entry, "in-progress"), **extra}
        status, text = await self._signed(url, form, method)
        if status >= 400:
            raise ClientError(f"{url} answered {status}")
        return text

    def _call_json(self, entry: Entry) -> dict[str, object]:
        uri = f"/2010-04-01/Accounts/{self.sid}/Calls/{entry.id}.json"
        finished = entry.status in ("completed", "busy", "no-answer", "failed")
        shown = "queued" if entry.status == "initiated" else entry.status
        return {
            "account_sid": self.sid,
            "answered_by": None,
            "api_version": "2010-04-01",
            "date_created": format_datetime(entry.at),
            "date_updated": format_datetime(entry.at),
            "direction": "outbound-api",
            "duration": "1" if finished else None,
            "start_time": format_datetime(entry.at) if finished else None,
            "end_time": format_datetime(utc_now()) if finished else None,
            "from": entry.sender,
            "from_formatted": entry.sender,
            "parent_call_sid": None,
            "price": None,
            "price_unit": "USD",
            "sid": entry.id,
            "status": shown,
            "subresource_uris": {},
            "to": entry.to,
            "to_formatted": entry.to,
            "uri": uri,
        }

    async def _one_call(self, request: web.Request) -> web.Response:
        return web.json_response(self._call_json(self._entry(Provider.VOICE, request)))

    # The other ends of the line.

    def _phone(self, number: str) -> Phone:
        return self.phones.get(number) or self.phones.get(EVERY_PHONE) or Phone()

    async def _show_phones(self, request: web.Request) -> web.Response:
        phones = {
            number: {"sms": phone.sms, "answer": phone.answer, "digits": phone.digits}
            for number, phone in self.phones.items()
        }
        return web.json_response({"phones": phones, "stopped": sorted(self.stopped)})

    async def _put_phones(self, request: web.Request) -> web.Response:
        try:
            self.phones = read_phones(await read_json(request))
        except FaultRefused as refused:
            return refusal(str(refused))
        return await self._show_phones(request)

    async def _inbound(self, request: web.Request) -> web.Response:
        """Let a phone write to us: {"from", "to", "body", "url"}; STOP and START are obeyed."""
        try:
            given = await read_json(request)
            if not isinstance(given, dict) or not E164.fullmatch(str(given.get("from", ""))):
                raise FaultRefused("from must be a number such as +15005550010.")
        except FaultRefused as refused:
            return refusal(str(refused))
        number, body = str(given["from"]), str(given.get("body", ""))
        word = body.strip().lower()
        if word in STOP_WORDS:
            self.stopped.add(number)
        elif word in START_WORDS:
            self.stopped.discard(number)
        answered: int | None = None
        if given.get("url"):
            sid = "SM" + secrets.token_hex(16)
            form = {
                "MessageSid": sid,
                "SmsSid": sid,
                "SmsMessageSid": sid,
                "From": number,
            }
            form |= {"To": str(given.get("to", "")), "Body": body, "NumMedia": "0"}
            if word in STOP_WORDS | START_WORDS:
                form["OptOutType"] = "STOP" if word in STOP_WORDS else "START"
            try:
                answered, _ = await self._signed(str(given["url"]), form, "POST")
            except (ClientError, TimeoutError) as error:
                return refusal(f"{given['url']} was not reached: {type(error).__name__}.", 502)
        return web.json_response({"answered": answered, "stopped": sorted(self.stopped)})

    # Callbacks.

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _tell(self, entry: Entry, status: str, form: Mapping[str, str]) -> None:
        """Post one callback; as with Twilio, a callback that fails is not tried again."""
        if not entry.callback_url:
            return
        try:
            answered: object = (await self._signed(entry.callback_url, form, "POST"))[0]
        except (ClientError, TimeoutError, ValueError) as error:
            answered = type(error).__name__
        entry.callbacks.append({"status": status, "answered": answered, "at": iso(utc_now())})

    async def _signed(self, url: str, form: Mapping[str, str], method: str) -> tuple[int, str]:
        assert self._client is not None
        filled = {"AccountSid": self.sid, "ApiVersion": "2010-04-01", **form}
        if method.upper() == "GET":
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(filled)}"
            filled = {}
        headers = {"X-Twilio-Signature": twilio_signature(self.token, url, filled)}
        posted = filled or None
        async with self._client.request(method, url, data=posted, headers=headers) as response:
            return response.status, await response.text()


def call_form(entry: Entry, status: str) -> dict[str, str]:
    """Return what every request about a call carries."""
    return {
        "CallSid": entry.id,
        "CallStatus": status,
        "To": entry.to,
        "From": entry.sender,
        "Direction": "outbound-api",
    }


@dataclass(frozen=True, slots=True)
class Onward:
    """Where a call goes on after a TwiML document."""

    url: str
    method: str
    digits: str = ""


def follow_twiml(response: ET.Element, url: str, phone: Phone, said: list[str]) -> Onward | None:
    """Hear one document; note what is said, and return where the call goes on."""
    for verb in response:
        text = (verb.text or "").strip()
        match verb.tag:
            case "Say":
                said.append(text)
            case "Gather":
                said.extend((say.text or "").strip() for say in verb.iter("Say"))
                if phone.answer == "yes":
                    action = urljoin(url, verb.get("action", "") or url)
                    return Onward(action, verb.get("method", "POST"), phone.digits)
            case "Redirect":
                return Onward(urljoin(url, text), verb.get("method", "POST"))
            case "Hangup" | "Reject":
                return None
    return None


def is_asked_for(entry: Entry, query: Mapping[str, str]) -> bool:
    """Tell whether an entry fits To, From and the bounds on DateSent.

    `DateSent>=X` arrives as the name "DateSent>" and the value X.
    """
    if query.get("To", entry.to) != entry.to or query.get("From", entry.sender) != entry.sender:
        return False
    after, before, on = (
        query.get("DateSent>"),
        query.get("DateSent<"),
        query.get("DateSent"),
    )
    if after and entry.at < twilio_instant(after):
        return False
    if before and entry.at > twilio_instant(before):
        return False
    return not on or entry.at.date() == twilio_instant(on).date()


def twilio_instant(text: str) -> datetime:
    """Read a date or an instant of a query."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise TwilioRefused(20001, f"DateSent must be a date, not {text[:30]!r}") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


# X: posts.


def x_problem(
    status: int,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    *,
    kind: str = "about:blank",
) -> web.Response:
    """Return an error in X's problem form."""
    problem = {"title": title, "detail": detail, "type": kind, "status": status}
    return web.json_response(
        problem, status=status, headers=headers, content_type="application/problem+json"
    )


def x_invalid(message: str) -> web.Response:
    """Return a 400 that says which parameter is wrong."""
    return web.json_response(
        {
            "errors": [{"parameters": {}, "message": message}],
            "title": "Invalid Request",
            "detail": "One or more parameters to your request was invalid.",
            "type": "https://api.x.com/2/problems/invalid-request",
            "status": 400,
        },
        status=400,
        content_type="application/problem+json",
    )


def post_weight(text: str) -> int:
    """Count a post as X does: a URL 23, an emoji 2, most of Latin 1, all else 2."""
    text = unicodedata.normalize("NFC", text)
    text, urls = URL_IN_TEXT.subn("", text)
    text, emojis = EMOJI.subn("", text)
    letters = sum(
        1 if any(low <= ord(letter) <= high for low, high in LIGHT_RANGES) else 2 for letter in text
    )
    return urls * URL_WEIGHT + emojis * 2 + letters


def oauth_signature(
    method: str,
    url: str,
    arguments: Sequence[tuple[str, str]],
    secrets_of: tuple[str, str],
) -> str:
    """Sign a request as RFC 5849, section 3.4, says."""
    encoded = sorted((percent(name), percent(value)) for name, value in arguments)
    joined = "&".join(f"{name}={value}" for name, value in encoded)
    base = "&".join((method.upper(), percent(url), percent(joined)))
    key = "&".join(percent(secret) for secret in secrets_of)
    return base64.b64encode(hmac.new(key.encode(), base.encode(), hashlib.sha1).digest()).decode()


def percent(text: str) -> str:
    """Encode as RFC 5849, section 3.6, says."""
    return quote(text, safe="-._~")


class X:
    """X's posts, with OAuth 1.0a checked against the address that the client signed."""

    def __init__(self, credentials: Credentials, ledger: Ledger, board: Board) -> None:
        self.credentials = credentials
        self.ledger = ledger
        self.board = board
        self.user_id = credentials.x_access_token.partition("-")[0]
        self._ids = itertools.count(int(time() * 1000) << 22, 7)
        self._nonces: OrderedDict[str, None] = OrderedDict()

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return X's paths."""
        return [
            web.post("/2/tweets", guarded(self.board, Provider.X, self._signed(self._create))),
            web.delete("/2/tweets/{id}", self._signed(self._delete)),
            web.get("/2/users/me", self._signed(self._me)),
            web.get("/2/users/{id}/tweets", self._signed(self._posts_of)),
        ]

    def _signed(self, handler: Handler) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            if not self._is_ours(request):
                return x_problem(401, "Unauthorized", "Unauthorized")
            return await handler(request)

        return answer

    def _is_ours(self, request: web.Request) -> bool:
        """Check key, token, age, nonce and signature of an Authorization: OAuth header."""
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        host = request.headers.get("X-Original-Host", X_HOSTS[0])
        if scheme != "OAuth" or host not in X_HOSTS:
            return False
        pairs = [part.strip().partition("=") for part in rest.split(",")]
        shown = {unquote(name): unquote(value.strip('"')) for name, _, value in pairs}
        signature = shown.pop("oauth_signature", "")
        shown.pop("realm", None)
        if not self._is_fresh(shown):
            return False
        query = parse_qsl(request.query_string, keep_blank_values=True)
        keys = self.credentials
        expected = oauth_signature(
            request.method,
            f"https://{host}{request.rel_url.raw_path}",
            [*shown.items(), *query],
            (keys.x_consumer_secret, keys.x_access_token_secret),
        )
        return hmac.compare_digest(signature.encode(), expected.encode())

    def _is_fresh(self, shown: Mapping[str, str]) -> bool:
        keys = self.credentials
        stamp, nonce = shown.get("oauth_timestamp", ""), shown.get("oauth_nonce", "")
        if shown.get("oauth_consumer_key") != keys.x_consumer_key:
            return False
        if shown.get("oauth_token") != keys.x_access_token:
            return False
        if not re.fullmatch(r"\d{1,12}", stamp) or abs(time() - int(stamp)) > OAUTH_AGE_S:
            return False
        if not nonce or nonce in self._nonces:
            return False
        self._nonces[nonce] = None
        if len(self._nonces) > NONCES_MAX:
            self._nonces.popitem(last=False)
        return True

    async def _create(self, request: web.Request) -> web.Response:
        try:
            asked = await read_json(request)
        except FaultRefused as refused:
            return x_invalid(str(refused))
        if not isinstance(asked, dict) or not set(asked) <= POST_FIELDS:
            return x_invalid("The body must be an object of the described fields.")
        text, reply = asked.get("text", ""), asked.get("reply") or {}
        parent = str(reply.get("in_reply_to_tweet_id", "")) if isinstance(reply, dict) else "?"
        refused_post = self._refused(text, parent)
        if refused_post is not None:
            return refused_post
        entry = Entry(
            provider=Provider.X,
            id=str(next(self._ids)),
            at=utc_now(),
            to=self.user_id,
            sender=self.user_id,
            body=text,
            status="posted",
            in_reply_to=parent,
        )
        self.ledger.add(entry)
        shown = {"id": entry.id, "text": text, "edit_history_tweet_ids": [entry.id]}
        return web.json_response({"data": shown}, status=201)

    def _refused(self, text: object, parent: str) -> web.Response | None:
        if not isinstance(text, str) or not text.strip():
            return x_invalid("text must not be empty")
        if post_weight(text) > POST_WEIGHT_MAX:
            return x_invalid("Your Tweet text is too long.")
        if parent and self.ledger.get(Provider.X, parent) is None:
            return x_invalid("You attempted to reply to a Tweet that is deleted or not visible.")
        if any(entry.body == text for entry in self.ledger.newest_first(Provider.X)):
            detail = "You are not allowed to create a Tweet with duplicate content."
            return x_problem(403, "Forbidden", detail)
        return None

    async def _delete(self, request: web.Request) -> web.Response:
        entry = self.ledger.get(Provider.X, request.match_info["id"])
        if entry is not None:
            self.ledger.remove(entry)
        return web.json_response({"data": {"deleted": entry is not None}})

    async def _me(self, request: web.Request) -> web.Response:
        me = {"id": self.user_id, "name": "Follow status", "username": "followstatus"}
        return web.json_response({"data": me})

    async def _posts_of(self, request: web.Request) -> web.Response:
        if request.match_info["id"] != self.user_id:
            kind = "https://api.x.com/2/problems/resource-not-found"
            return x_problem(404, "Not Found Error", "Could not find that user.", kind=kind)
        count = whole_number(request.query.get("max_results"), default=10, highest=100)
        found = self.ledger.newest_first(Provider.X)[:count]
        meta: dict[str, object] = {"result_count": len(found)}
        if found:
            meta |= {"newest_id": found[0].id, "oldest_id": found[-1].id}
        return web.json_response({"data": [post_json(entry) for entry in found], "meta": meta})


def post_json(entry: Entry) -> dict[str, object]:
    """Return a post as a reader sees it."""
    shown: dict[str, object] = {
        "id": entry.id,
        "text": entry.body,
        "created_at": iso(entry.at),
        "edit_history_tweet_ids": [entry.id],
    }
    if entry.in_reply_to:
        shown["referenced_tweets"] = [{"type": "replied_to", "id": entry.in_reply_to}]
    return shown


# Facebook: the feed of a page.


def graph_error(
    status: int,
    code: int,
    message: str,
    subcode: int | None = None,
    *,
    is_transient: bool = False,
) -> web.Response:
    """Return an error in the Graph API's form."""
    error: dict[str, object] = {
        "message": message,
        "type": "OAuthException",
        "code": code,
        "fbtrace_id": "A" + secrets.token_urlsafe(16),
    }
    if subcode is not None:
        error["error_subcode"] = subcode
    if is_transient:
        error["is_transient"] = True
    return web.json_response({"error": error}, status=status)


class Facebook:
    """The feed of one page: posts, edits and comments."""

    def __init__(self, credentials: Credentials, ledger: Ledger, board: Board) -> None:
        self.page_id = credentials.facebook_page_id
        self.token = credentials.facebook_page_token
        self.ledger = ledger
        self.board = board
        self._numbers = itertools.count(100_000_000_000_001)

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the Graph API's paths, of any version."""
        version = r"/{version:v\d+\.\d+}"

        def sends(handler: Handler) -> Handler:
            return guarded(self.board, Provider.FACEBOOK, self._held(handler))

        return [
            web.get("/debug_token", self._held(self._debug_token)),
            web.get(f"{version}/debug_token", self._held(self._debug_token)),
            web.post(f"{version}/{{id}}/feed", sends(self._post)),
            web.get(f"{version}/{{id}}/feed", self._held(self._feed)),
            web.post(f"{version}/{{id}}/comments", sends(self._comment)),
            web.get(f"{version}/{{id}}/comments", self._held(self._comments)),
            web.post(f"{version}/{{id}}", sends(self._edit)),
            web.get(f"{version}/{{id}}", self._held(self._one)),
        ]

    def _held(self, handler: Handler) -> Handler:
        """Answer only to whoever holds the page's token."""

        async def answer(request: web.Request) -> web.Response:
            form = await form_of(request)
            scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
            shown = form.get("access_token") or request.query.get("access_token", "")
            if scheme == "Bearer":
                shown = bearer
            if not shown:
                message = "An access token is required to request this resource."
                return graph_error(400, 104, message)
            if not hmac.compare_digest(shown.encode(), self.token.encode()):
                message = "Invalid OAuth access token - Cannot parse access token"
                return graph_error(400, 190, message)
            return await handler(request)

        return answer

    async def _debug_token(self, request: web.Request) -> web.Response:
        is_valid = request.query.get("input_token", "") == self.token
        scopes = [
            "pages_manage_posts",
            "pages_read_engagement",
            "pages_manage_engagement",
        ]
        data = {
            "type": "PAGE",
            "is_valid": is_valid,
            "expires_at": 0,
            "profile_id": self.page_id,
            "scopes": scopes if is_valid else [],
        }
        return web.json_response({"data": data})

    async def _post(self, request: web.Request) -> web.Response:
        if request.match_info["id"] not in (self.page_id, "me"):
            return unknown_object(request)
        form = await form_of(request)
        if not form.get("message") and not form.get("link"):
            return graph_error(400, 100, "(#100) The post is empty. Please enter a message.")
        entry_id = f"{self.page_id}_{next(self._numbers)}"
        self._keep(entry_id, self.page_id, form)
        return web.json_response({"id": entry_id})

    async def _comment(self, request: web.Request) -> web.Response:
        parent = self._entry(request)
        form = await form_of(request)
        if parent is None:
            return unknown_object(request)
        if not form.get("message"):
            return graph_error(400, 100, "(#100) A comment must have a message.")
        entry_id = f"{parent.id.partition('_')[2]}_{next(self._numbers)}"
        self._keep(entry_id, parent.id, form)
        return web.json_response({"id": entry_id})

    def _keep(self, entry_id: str, to: str, form: Mapping[str, str]) -> None:
        entry = Entry(
            provider=Provider.FACEBOOK,
            id=entry_id,
            at=utc_now(),
            to=to,
            sender=self.page_id,
            body=form.get("message", ""),
            status="posted",
            in_reply_to="" if to == self.page_id else to,
            link=form.get("link", ""),
        )
        self.ledger.add(entry)

    async def _edit(self, request: web.Request) -> web.Response:
        entry = self._entry(request)
        form = await form_of(request)
        if entry is None:
            return unknown_object(request)
        if not form.get("message"):
            return graph_error(400, 100, "(#100) message must not be empty.")
        entry.body, entry.status = form["message"], "edited"
        return web.json_response({"success": True})

    async def _feed(self, request: web.Request) -> web.Response:
        if request.match_info["id"] not in (self.page_id, "me"):
            return unknown_object(request)
        return self._listing(request, "")

    async def _comments(self, request: web.Request) -> web.Response:
        entry = self._entry(request)
        return unknown_object(request) if entry is None else self._listing(request, entry.id)

    async def _one(self, request: web.Request) -> web.Response:
        entry = self._entry(request)
        if request.match_info["id"] in (self.page_id, "me"):
            return web.json_response({"id": self.page_id, "name": "Follow status"})
        return unknown_object(request) if entry is None else web.json_response(graph_json(entry))

    def _listing(self, request: web.Request, parent: str) -> web.Response:
        limit = whole_number(request.query.get("limit"), default=25, highest=100)
        entries = self.ledger.newest_first(Provider.FACEBOOK)
        found = [entry for entry in entries if entry.in_reply_to == parent][:limit]
        return web.json_response({"data": [graph_json(entry) for entry in found], "paging": {}})

    def _entry(self, request: web.Request) -> Entry | None:
        return self.ledger.get(Provider.FACEBOOK, request.match_info["id"])


def graph_json(entry: Entry) -> dict[str, object]:
    """Return a post or a comment as the Graph API shows it."""
    created = entry.at.strftime("%Y-%m-%dT%H:%M:%S+0000")
    return {"id": entry.id, "message": entry.body, "created_time": created}


def unknown_object(request: web.Request) -> web.Response:
    """Say that there is no such object, or that it may not be written to."""
    named = request.match_info["id"][:60]
    message = f"Unsupported request. Object with ID '{named}' does not exist."
    return graph_error(400, 100, message, 33)


# What all of them share.


async def pairs_of(request: web.Request) -> list[tuple[str, str]]:
    """Return the form of a request in order; an empty list when there is none."""
    form = await request.post()
    return [(name, value) for name, value in form.items() if isinstance(value, str)]


async def form_of(request: web.Request) -> dict[str, str]:
    """Return the form of a request by name."""
    return dict(await pairs_of(request))


def whole_number(text: str | None, *, default: int, highest: int) -> int:
    """Read a bounded whole number of a query; anything else is the default."""
    if text is None or not re.fullmatch(r"[0-9]{1,9}", text):
        return default
    return min(int(text), highest)


class ProvidersService:
    """All stand-ins in one application, with one ledger and one switchboard."""

    def __init__(self, credentials: Credentials, step_s: float) -> None:
        self.board = Board(MENU)
        self.ledger = Ledger()
        self.twilio = Twilio(credentials, self.ledger, self.board, step_s)
        self.x = X(credentials, self.ledger, self.board)
        self.facebook = Facebook(credentials, self.ledger, self.board)

    def app(self) -> web.Application:
        """Return the web application."""
        app = new_app()
        app.add_routes(fault_routes(self.board))
        app.add_routes(
            [
                web.get("/", self._home),
                web.get("/ledger.json", self._show_ledger),
                web.delete("/ledger", self._clear_ledger),
            ]
        )
        app.add_routes(self.twilio.routes() + self.x.routes() + self.facebook.routes())
        app.cleanup_ctx.append(self.twilio.calling_back)
        return app

    async def _show_ledger(self, request: web.Request) -> web.Response:
        return web.json_response(self.ledger.as_json())

    async def _clear_ledger(self, request: web.Request) -> web.Response:
        self.ledger.clear()
        return web.json_response({})

    async def _home(self, request: web.Request) -> web.Response:
        sections = "".join(
            section_html(title, self.ledger.newest_first(provider), draw, empty)
            for title, provider, draw, empty in SECTIONS
        )
        broken = " Some of them are broken on purpose." if self.board.is_broken else ""
        return page(
            "Phones and social accounts (demo)",
            f'<p class="quiet">Nothing here left this machine.{broken} '
            f'<a href="/">Look again</a> · <a href="/ledger.json">As JSON</a></p>{sections}',
        )


def section_html(
    title: str, entries: Sequence[Entry], draw: Callable[[Entry], str], empty: str
) -> str:
    """Return one provider's part of the page, newest first."""
    drawn = "".join(draw(entry) for entry in entries[:SHOWN_MAX])
    more = f'<p class="quiet">… and {len(entries) - SHOWN_MAX} older ones</p>'
    return (
        f"<section><h2>{title} <span class='quiet'>{len(entries)}</span></h2>"
        f"{drawn or f'<p class=quiet>{empty}</p>'}"
        f"{more if len(entries) > SHOWN_MAX else ''}</section>"
    )


def sms_html(entry: Entry) -> str:
    """Draw a text message."""
    return card_html(entry, f"to {escape(entry.to)}, {escape(entry.status)}", "card bubble")


def call_html(entry: Entry) -> str:
    """Draw a call with what was said."""
    said = "\n".join(entry.said) or "(nothing was said)"
    pressed = f", pressed {escape(entry.pressed)}" if entry.pressed else ""
    about = f"called {escape(entry.to)}, {escape(entry.status)}{pressed}"
    return card_html(replace(entry, body=said), about, "card")


def post_html(entry: Entry) -> str:
    """Draw a post; a reply or a comment is set in."""
    about = {"edited": "edited since"}.get(entry.status, "")
    if entry.in_reply_to:
        about = f"in reply to …{escape(entry.in_reply_to[-6:])}"
    return card_html(entry, about, "card reply" if entry.in_reply_to else "card")


def card_html(entry: Entry, about: str, css: str) -> str:
    """Draw one entry as a card."""
    link = f"<p>{escape(entry.link)}</p>" if entry.link else ""
    apart = f" · {about}" if about else ""
    return (
        f'<article class="{css}"><p class="quiet">{moment(entry.at)}{apart}</p>'
        f'<p class="said">{escape(entry.body)}</p>{link}</article>'
    )


SECTIONS: tuple[tuple[str, Provider, Callable[[Entry], str], str], ...] = (
    ("Text messages", Provider.SMS, sms_html, "No text message yet."),
    ("Calls", Provider.VOICE, call_html, "No call yet."),
    ("X", Provider.X, post_html, "Nothing posted yet."),
    ("Facebook page", Provider.FACEBOOK, post_html, "Nothing posted yet."),
)


@dataclass(frozen=True, slots=True)
class Providers:
    """The running stand-ins, as tests and the demo hold them."""

    url: str
    credentials: Credentials

    def put_faults(self, faults: Mapping[str, object]) -> Answer:
        """Break or mend, as anybody does it from outside."""
        return ask("PUT", f"{self.url}/faults", dict(faults))

    def put_phones(self, phones: Mapping[str, object]) -> Answer:
        """Say what happens at the other end of numbers."""
        return ask("PUT", f"{self.url}/phones", dict(phones))

    def ledger(self) -> dict[str, list[dict[str, object]]]:
        """Return what was accepted, per provider, newest first."""
        found: dict[str, list[dict[str, object]]] = json.loads(
            ask("GET", f"{self.url}/ledger.json").text
        )
        return found


# From one state of a message to the next; the real one takes longer.
STEP_S = 0.05


def opened(
    credentials: Credentials,
    host: str = "127.0.0.1",
    port: int = 0,
    fd: int | None = None,
    step_s: float = STEP_S,
) -> Callable[[], AbstractAsyncContextManager[Providers]]:
    """Return what opens the stand-ins on an address."""

    @asynccontextmanager
    async def opening() -> AsyncIterator[Providers]:
        service = ProvidersService(credentials, step_s)
        async with serving(service.app(), bound_socket(host, port, fd)) as url:
            yield Providers(url, credentials)

    return opening


@contextmanager
def running(credentials: Credentials | None = None, step_s: float = 0.005) -> Iterator[Providers]:
    """Run the stand-ins in a thread on a free port while the block runs."""
    with in_thread(opened(credentials or Credentials(), step_s=step_s)) as providers:
        yield providers


def main() -> int:
    """Run the stand-ins until SIGTERM; credentials come from the product's own variables."""
    example = "TWILIO_AUTH_TOKEN=… python -m demo.providers --port 8002"
    given = arguments("Stand-ins for Twilio, X and Facebook.", example).parse_args()
    credentials = Credentials.from_environ(os.environ)
    start = opened(credentials, given.host, given.port, given.fd)
    return run_until_stopped(start, lambda providers: providers.url)


if __name__ == "__main__":
    sys.exit(main())
