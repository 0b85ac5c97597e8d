"""A mailbox that catches everything: what the SMTP server took, as a web page."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import EmailMessage
from html import escape

from aiohttp import web

from demo.faults import Board, FaultRefused
from demo.pages import CSP, Answer, ask, moment, new_app, page, read_json, refusal, utc_now
from demo.smtp import MENU, hello, receiving
from demo.stage import arguments, bound_socket, in_thread, run_until_stopped, serving
from demo.store import Light, Store, Whole, readable

SHOWN_MAX = 200
LIMIT_MAX = 10_000

URL_IN_TEXT = re.compile(r"https?://[^\s<>\"']+")


class MailboxService:
    """The store, its switchboard and its web page."""

    def __init__(self) -> None:
        self.store = Store()
        self.board = Board(MENU)

    def app(self) -> web.Application:
        """Return the web application."""
        app = new_app()
        app.add_routes(
            [
                web.get("/", self._home),
                web.get(r"/messages/{n:\d{1,12}}", self._one),
                web.get(r"/messages/{n:\d{1,12}}.eml", self._raw),
                web.get("/messages.json", self._listing),
                web.get("/count", self._count),
                web.delete("/messages", self._clear),
                web.get("/faults", self._show_faults),
                web.put("/faults", self._put_faults),
            ]
        )
        return app

    async def _show_faults(self, request: web.Request) -> web.Response:
        return web.json_response(self.board.as_json())

    async def _put_faults(self, request: web.Request) -> web.Response:
        """There is one target here, so its fault stands by itself: {"shape": "550"}."""
        try:
            raw = await read_json(request)
            is_bare = raw != {} and not (isinstance(raw, dict) and "smtp" in raw)
            self.board.put({"smtp": raw} if is_bare else raw, utc_now())
        except FaultRefused as refused:
            return refusal(str(refused))
        return web.json_response(self.board.as_json())

    async def _count(self, request: web.Request) -> web.Response:
        return web.json_response({"count": self.store.kept(), "accepted": self.store.count})

    async def _clear(self, request: web.Request) -> web.Response:
        self.store.clear()
        return web.json_response({"count": 0})

    async def _listing(self, request: web.Request) -> web.Response:
        try:
            since = asked_number(request, "since", 0, 10**12)
            limit = asked_number(request, "limit", 1000, LIMIT_MAX)
        except FaultRefused as refused:
            return refusal(str(refused))
        found = self.store.after(since, limit)
        return web.json_response({"messages": [self.store.metadata(light) for light in found]})

    async def _raw(self, request: web.Request) -> web.Response:
        whole = self.store.whole(int(request.match_info["n"]))
        if whole is None:
            return refusal("This message is not kept.", 404)
        headers = {
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox",
        }
        return web.Response(body=whole.raw, content_type="message/rfc822", headers=headers)

    async def _home(self, request: web.Request) -> web.Response:
        rows = "".join(self._row_html(light) for light in self.store.newest_first(SHOWN_MAX))
        count = self.store.kept()
        shown = f"the newest {SHOWN_MAX} of " if count > SHOWN_MAX else ""
        return page(
            "Mailbox (demo)",
            f'<p class="quiet">Every message ends here; none left this machine. Showing {shown}'
            f'{count}. <a href="/">Look again</a> · <a href="/messages.json">As JSON</a></p>'
            f'<ul class="plain">{rows or "<li>No message yet.</li>"}</ul>',
        )

    def _row_html(self, light: Light) -> str:
        subject = escape(readable(light.subject)) or "(no subject)"
        if self.store.whole(light.number) is not None:
            subject = f'<a href="/messages/{light.number}">{subject}</a>'
        at = moment(datetime.fromtimestamp(light.accepted_s, UTC))
        about = f"{at} · to {escape(', '.join(light.to))}"
        return f'<li class="card"><p>{subject}</p><p class="quiet">{about}</p></li>'

    async def _one(self, request: web.Request) -> web.Response:
        number = int(request.match_info["n"])
        whole = self.store.whole(number)
        if whole is None:
            body = f"<p>Message {number} is not kept.</p><p><a href='/'>All messages</a></p>"
            return page("Mailbox (demo)", body, status=404)
        return page("Message", message_html(whole), csp=MESSAGE_CSP)


# A message is a stranger's page: no script, and its links open outside the frame.
SANDBOX = "allow-popups allow-popups-to-escape-sandbox"
MESSAGE_CSP = f"{CSP}; img-src data:; sandbox {SANDBOX} allow-same-origin"


def message_html(whole: Whole) -> str:
    """Draw one message: headers, then its HTML part in a frame, then its text part."""
    found = message_from_bytes(whole.raw, policy=policy.default)
    assert isinstance(found, EmailMessage)
    headers = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(readable(value))}</dd>" for name, value in heads(found)
    )
    text, html = part_of(found, "plain"), part_of(found, "html")
    parts = []
    if html is not None:
        framed = escape(f'<base target="_blank">{html}', quote=True)
        parts.append(
            f'<h2>As a reader sees it</h2><iframe title="HTML part" sandbox="{SANDBOX}" '
            f'srcdoc="{framed}"></iframe>'
        )
    if text is not None:
        parts.append(f'<h2>As text</h2><div class="card"><pre>{linked(text)}</pre></div>')
    number = whole.light.number
    return (
        f'<p><a href="/">All messages</a> · <a href="/messages/{number}.eml">Raw</a></p>'
        f"<p class='state'>{escape(readable(whole.light.subject)) or '(no subject)'}</p>"
        f"{''.join(parts) or '<p>This message has no text.</p>'}"
        f"<h2>Headers</h2><dl>{headers}</dl>"
    )


def heads(message: EmailMessage) -> list[tuple[str, str]]:
    """Return the headers as they came; reading them one by one would stumble over broken ones."""
    return [(name, re.sub(r"\r?\n[ \t]+", " ", str(value))) for name, value in message.raw_items()]


def part_of(message: EmailMessage, kind: str) -> str | None:
    """Return the first part of a kind as text, or None."""
    part = message.get_body(preferencelist=(kind,))
    if part is None:
        return None
    try:
        return str(part.get_content())
    except (KeyError, LookupError, UnicodeError, MessageError):
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""


def linked(text: str) -> str:
    """Return a text with its addresses as links, for those who try out the confirm link."""
    pieces, last = [], 0
    for found in URL_IN_TEXT.finditer(text):
        url = found.group().rstrip(".,;:!?)")
        pieces.append(escape(text[last : found.start()]))
        pieces.append(
            f'<a href="{escape(url, quote=True)}" target="_blank" rel="noreferrer">'
            f"{escape(url)}</a>"
        )
        last = found.start() + len(url)
    return "".join(pieces) + escape(text[last:])


def asked_number(request: web.Request, name: str, default: int, highest: int) -> int:
    """Read a whole number of the query, or refuse in one sentence."""
    text = request.query.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,13}", text) or int(text) > highest:
        raise FaultRefused(f"{name} must be a whole number from 0 to {highest}.")
    return int(text)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """The running mailbox, as tests and the demo hold it."""

    url: str
    smtp_url: str
    store: Store

    @property
    def smtp_address(self) -> tuple[str, int]:
        """Return host and port of the SMTP server."""
        host, _, port = self.smtp_url.removeprefix("smtp://").rpartition(":")
        return host.strip("[]"), int(port)

    def put_faults(self, fault: Mapping[str, object]) -> Answer:
        """Break or mend, as anybody does it from outside."""
        return ask("PUT", f"{self.url}/faults", dict(fault))

    def messages(self, since: int = 0, limit: int = 1000) -> list[dict[str, object]]:
        """Return the metadata of what arrived after `since`, oldest first."""
        answer = ask("GET", f"{self.url}/messages.json?since={since}&limit={limit}")
        found: list[dict[str, object]] = json.loads(answer.text)["messages"]
        return found

    def raw(self, number: int) -> str:
        """Return one message as it arrived."""
        return ask("GET", f"{self.url}/messages/{number}.eml").text


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where to listen; an inherited socket wins over a port."""

    host: str = "127.0.0.1"
    port: int = 0
    fd: int | None = None
    smtp_port: int = 0
    smtp_fd: int | None = None


def opened(
    addresses: Addresses, *, pipelining: bool = True
) -> Callable[[], AbstractAsyncContextManager[Mailbox]]:
    """Return what opens the mailbox."""

    @asynccontextmanager
    async def opening() -> AsyncIterator[Mailbox]:
        service = MailboxService()
        greeting = hello(pipelining=pipelining)
        smtp_socket = bound_socket(addresses.host, addresses.smtp_port, addresses.smtp_fd)
        web_socket = bound_socket(addresses.host, addresses.port, addresses.fd)
        async with (
            receiving(service.store.add, service.board, smtp_socket, greeting) as smtp_url,
            serving(service.app(), web_socket) as url,
        ):
            yield Mailbox(url, smtp_url, service.store)

    return opening


@contextmanager
def running(*, host: str = "127.0.0.1", pipelining: bool = True) -> Iterator[Mailbox]:
    """Run the mailbox in a thread on free ports while the block runs."""
    with in_thread(opened(Addresses(host), pipelining=pipelining)) as mailbox:
        yield mailbox


def main() -> int:
    """Run the mailbox until SIGTERM."""
    parser = arguments("A mailbox that catches everything.", "python -m demo.mailbox --port 8025")
    parser.add_argument(
        "--smtp-port", type=int, default=0, help="port for SMTP; 0 takes a free one"
    )
    parser.add_argument("--smtp-fd", type=int, help="a listening socket for SMTP, inherited")
    parser.add_argument(
        "--no-pipelining",
        action="store_true",
        help="do not offer PIPELINING to senders",
    )
    given = parser.parse_args()
    addresses = Addresses(given.host, given.port, given.fd, given.smtp_port, given.smtp_fd)
    start = opened(addresses, pipelining=not given.no_pipelining)
    return run_until_stopped(start, lambda mailbox: f"{mailbox.url} {mailbox.smtp_url}")


if __name__ == "__main__":
    sys.exit(main())
