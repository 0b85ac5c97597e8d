"""Twilio's calls: they ring, are heard to the end of their TwiML, and a key is pressed."""

from __future__ import annotations

import asyncio
import secrets
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from urllib.parse import urljoin

from aiohttp import ClientError, web

from demo.broken import RETRY_AFTER_S, guarded
from demo.ledger import Entry, Provider
from demo.pages import form_of, pairs_of, utc_now
from demo.phones import Phone
from demo.twilio import BASE, E164, EXCUSES, TwilioAccount, TwilioRefused, too_many

# A call walks through at most so many TwiML documents.
DOCUMENTS_MAX = 10


class Calls:
    """The calls of an account."""

    def __init__(self, account: TwilioAccount) -> None:
        self.account = account

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the paths of calls."""
        known, board = self.account.known, self.account.board
        create = guarded(board, Provider.VOICE, EXCUSES, known(self._create))
        return [
            web.post(f"{BASE}/Calls.json", create),
            web.get(f"{BASE}/Calls/{{sid}}.json", known(self._one)),
        ]

    async def _create(self, request: web.Request) -> web.Response:
        form = await form_of(request)
        events = [value for name, value in await pairs_of(request) if name == "StatusCallbackEvent"]
        self._check(form)
        if self.account.is_full:
            return too_many(RETRY_AFTER_S)
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
        self.account.ledger.add(entry)
        answer = self._shown(entry)
        wanted = frozenset(word for event in events for word in event.split()) or {"completed"}
        self.account.start(self._ring(entry, form, frozenset(wanted)))
        return web.json_response(answer, status=201)

    def _check(self, form: Mapping[str, str]) -> None:
        if not form.get("To"):
            raise TwilioRefused(21201, "No 'To' number is specified")
        if not form.get("From"):
            raise TwilioRefused(21213, "No 'From' number is specified")
        if not form.get("Url") and not form.get("Twiml"):
            raise TwilioRefused(21205, "Url parameter is required.")
        if not E164.fullmatch(form["To"]):
            raise TwilioRefused(21211, f"Invalid 'To' Phone Number: {form['To'][:20]}")

    async def _ring(self, entry: Entry, form: Mapping[str, str], events: frozenset[str]) -> None:
        phone = self.account.phones.called(entry.to)
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
        await asyncio.sleep(self.account.step_s)
        entry.status = status
        if event in events:
            form = call_form(entry, status)
            form |= {
                "CallbackSource": "call-progress-events",
                "Timestamp": format_datetime(utc_now()),
            }
            form["SequenceNumber"] = str(len(entry.callbacks))
            if event == "completed":
                form |= {
                    "CallDuration": "0" if status in ("busy", "no-answer") else "1",
                    "Duration": "1",
                }
            await self.account.tell(entry, status, form)

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
        status, text = await self.account.signed(url, form, method)
        if status >= 400:
            raise ClientError(f"{url} answered {status}")
        return text

    def _shown(self, entry: Entry) -> dict[str, object]:
        uri = f"/2010-04-01/Accounts/{self.account.sid}/Calls/{entry.id}.json"
        finished = entry.status in ("completed", "busy", "no-answer", "failed")
        shown = "queued" if entry.status == "initiated" else entry.status
        return {
            "account_sid": self.account.sid,
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

    async def _one(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self.account.entry(Provider.VOICE, request)))


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
