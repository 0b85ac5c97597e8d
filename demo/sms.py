"""Twilio's messages: accepted, on their way, delivered or not, and found again."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import urlencode

from aiohttp import web

from demo.broken import RETRY_AFTER_S, guarded
from demo.ledger import ENTRIES_MAX, Entry, Provider
from demo.pages import form_of, utc_now, whole_number
from demo.twilio import BASE, E164, EXCUSES, TwilioAccount, TwilioRefused, too_many

# https://www.twilio.com/docs/api/errors/21617 and the other codes of the same list.
SMS_CHARS_MAX = 1600
SENDER = re.compile(r"\+[1-9]\d{6,14}|\d{3,8}|[A-Za-z0-9 ]{1,11}")


class Messages:
    """The messages of an account."""

    def __init__(self, account: TwilioAccount) -> None:
        self.account = account

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the paths of messages."""
        known, board = self.account.known, self.account.board
        create = guarded(board, Provider.SMS, EXCUSES, known(self._create))
        return [
            web.post(f"{BASE}/Messages.json", create),
            web.get(f"{BASE}/Messages.json", known(self._list)),
            web.get(f"{BASE}/Messages/{{sid}}.json", known(self._one)),
            web.get(f"{BASE}/Balance.json", known(self._balance)),
        ]

    async def _create(self, request: web.Request) -> web.Response:
        form = await form_of(request)
        self._check(form)
        if self.account.is_full:
            return too_many(RETRY_AFTER_S)
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
        self.account.ledger.add(entry)
        answer = self._shown(entry)
        self.account.start(self._deliver(entry))
        return web.json_response(answer, status=201)

    async def _balance(self, request: web.Request) -> web.Response:
        answer = {"account_sid": self.account.sid, "balance": "42.00", "currency": "USD"}
        return web.json_response(answer)

    def _check(self, form: Mapping[str, str]) -> None:
        to, sender, body = (form.get(name, "") for name in ("To", "From", "Body"))
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
        if to in self.account.phones.stopped:
            raise TwilioRefused(21610, "Attempt to send to unsubscribed recipient")

    async def _deliver(self, entry: Entry) -> None:
        last = self.account.phones.of(entry.to).sms
        for status in ("queued", "sent", last) if last != "sent" else ("queued", "sent"):
            await asyncio.sleep(self.account.step_s)
            entry.status = status
            form = {"MessageSid": entry.id, "SmsSid": entry.id, "MessageStatus": status}
            form |= {"SmsStatus": status, "To": entry.to, "From": entry.sender}
            if status in ("undelivered", "failed"):
                form["ErrorCode"] = "30003" if status == "undelivered" else "30008"
            await self.account.tell(entry, status, form)

    def _shown(self, entry: Entry) -> dict[str, object]:
        is_through = entry.status in ("sent", "delivered", "undelivered", "failed")
        uri = f"/2010-04-01/Accounts/{self.account.sid}/Messages/{entry.id}.json"
        has_number = not entry.sender.startswith("MG")
        return {
            "account_sid": self.account.sid,
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

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        size = whole_number(query.get("PageSize"), default=50, highest=1000)
        number = whole_number(query.get("Page"), default=0, highest=ENTRIES_MAX)
        found = [
            e for e in self.account.ledger.newest_first(Provider.SMS) if is_asked_for(e, query)
        ]
        shown = found[number * size : (number + 1) * size]
        path = request.path
        others = [(key, value) for key, value in query.items() if key != "Page"]
        following = f"{path}?{urlencode([*others, ('Page', str(number + 1))])}"
        return web.json_response(
            {
                "messages": [self._shown(entry) for entry in shown],
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

    async def _one(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self.account.entry(Provider.SMS, request)))


def is_asked_for(entry: Entry, query: Mapping[str, str]) -> bool:
    """Tell whether an entry fits To, From and the bounds on DateSent.

    `DateSent>=X` arrives as the name "DateSent>" and the value X.
    """
    if query.get("To", entry.to) != entry.to or query.get("From", entry.sender) != entry.sender:
        return False
    after, before, on = (query.get(f"DateSent{sign}") for sign in (">", "<", ""))
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
