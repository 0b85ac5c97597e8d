"""A mailbox that catches everything: an SMTP server, and a web page of what arrived."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.errors import HeaderParseError, MessageError
from email.header import decode_header, make_header
from email.message import EmailMessage
from fnmatch import fnmatchcase
from html import escape
from itertools import islice
from time import time

from aiohttp import web

from demo.faults import Board, FaultRefused, Menu, NumberOption, Strike, TextOption, iso
from demo.pages import (
    BACKLOG,
    CSP,
    Answer,
    address_of,
    arguments,
    ask,
    bound_socket,
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

# Whole messages kept, and the light form of older ones: about 0.5 KB each.
WHOLE_MAX = 5_000
WHOLE_BYTES_MAX = 128 * 2**20
LIGHT_MAX = 200_000
SHOWN_MAX = 200
LIMIT_MAX = 10_000

# RFC 5321, section 4.5.3.1: a command line has 512 octets; extensions may need more.
LINE_BYTES_MAX = 4096
MESSAGE_BYTES_MAX = 10 * 2**20
RECIPIENTS_MAX = 1000
CONNECTIONS_MAX = 500
IDLE_S = 300.0
SLOW_S = 1.0

SHAPES = ("550", "451", "drop-after-data", "slow")
MENU = Menu(
    shapes={"smtp": SHAPES},
    options={"delay_s": NumberOption(0, 120), "address": TextOption()},
)
ANSWERS: Mapping[str, bytes] = {
    "550": b"550 5.1.1 No such mailbox here\r\n",
    "451": b"451 4.3.0 Try again later\r\n",
}

WANTED = (
    "subject",
    "from",
    "message-id",
    "list-unsubscribe",
    "auto-submitted",
    "references",
)
HEADER = re.compile(
    rb"^(%s):[ \t]*(.*(?:\r?\n[ \t].*)*)" % "|".join(WANTED).encode(),
    re.IGNORECASE | re.MULTILINE,
)
END_OF_MESSAGE = b"\r\n.\r\n"
URL_IN_TEXT = re.compile(r"https?://[^\s<>\"']+")


@dataclass(frozen=True, slots=True)
class Light:
    """What is kept of an old message: enough to count what was lost or sent twice."""

    number: int
    accepted_s: float
    to: tuple[str, ...]
    subject: str
    message_id: str
    references: str


@dataclass(frozen=True, slots=True)
class Whole:
    """A message as it arrived."""

    light: Light
    sender: str
    raw: bytes
    headers: Mapping[str, str]


class Store:
    """What arrived: the newest whole, older ones light, both bounded."""

    def __init__(
        self, *, whole_max: int = WHOLE_MAX, whole_bytes_max: int = WHOLE_BYTES_MAX
    ) -> None:
        self.whole_max = whole_max
        self.whole_bytes_max = whole_bytes_max
        self.count = 0
        self._whole: OrderedDict[int, Whole] = OrderedDict()
        self._whole_bytes = 0
        self._light: deque[Light] = deque(maxlen=LIGHT_MAX)
        self._same: dict[str, str] = {}

    def add(self, sender: str, recipients: tuple[str, ...], raw: bytes) -> None:
        """Keep one message."""
        headers = wanted_headers(raw)
        self.count += 1
        light = Light(
            number=self.count,
            accepted_s=time(),
            to=recipients,
            subject=self._shared(headers.get("subject", "")),
            message_id=headers.get("message-id", ""),
            references=self._shared(headers.get("references", "")),
        )
        self._light.append(light)
        self._whole[light.number] = Whole(light, sender, raw, headers)
        self._whole_bytes += len(raw)
        while len(self._whole) > self.whole_max or self._whole_bytes > self.whole_bytes_max:
            self._whole_bytes -= len(self._whole.popitem(last=False)[1].raw)

    def _shared(self, text: str) -> str:
        """Return one copy of a text that thousands of messages have in common."""
        if len(self._same) > WHOLE_MAX:
            self._same.clear()
        return self._same.setdefault(text, text)

    def clear(self) -> None:
        """Forget all messages; numbers go on, so that `since` stays true."""
        self._whole.clear()
        self._light.clear()
        self._whole_bytes = 0

    def kept(self) -> int:
        """Return how many messages are still known."""
        return len(self._light)

    def whole(self, number: int) -> Whole | None:
        """Return a message that is still kept whole."""
        return self._whole.get(number)

    def newest_first(self, limit: int) -> list[Light]:
        """Return the newest messages."""
        return list(islice(reversed(self._light), limit))

    def after(self, number: int, limit: int) -> list[Light]:
        """Return the messages after `number`, oldest first."""
        if not self._light:
            return []
        skip = max(0, number + 1 - self._light[0].number)
        if skip <= len(self._light) // 2:
            return list(islice(self._light, skip, skip + limit))
        tail = list(islice(reversed(self._light), max(0, len(self._light) - skip)))
        return tail[::-1][:limit]

    def metadata(self, light: Light) -> dict[str, object]:
        """Return the metadata of one message; an old one has fewer fields."""
        found: dict[str, object] = {
            "n": light.number,
            "time": iso(datetime.fromtimestamp(light.accepted_s, UTC)),
            "to": list(light.to),
            "subject": readable(light.subject),
            "message_id": light.message_id,
            "references": light.references,
            "is_whole": False,
        }
        whole = self._whole.get(light.number)
        if whole is not None:
            found |= {
                "is_whole": True,
                "envelope_from": whole.sender,
                "from": readable(whole.headers.get("from", "")),
                "list_unsubscribe": whole.headers.get("list-unsubscribe", ""),
                "auto_submitted": whole.headers.get("auto-submitted", ""),
                "bytes": len(whole.raw),
            }
        return found


def wanted_headers(raw: bytes) -> dict[str, str]:
    """Return the headers we list, unfolded. A whole parse would cost ten times as much."""
    end = raw.find(b"\r\n\r\n")
    head = raw if end < 0 else raw[:end]
    return {
        name.decode("ascii").lower(): re.sub(
            r"\r?\n[ \t]+", " ", value.decode("utf-8", "replace")
        ).strip()
        for name, value in HEADER.findall(head)
    }


def readable(header: str) -> str:
    """Return a header with its encoded words decoded; a broken one as it is."""
    if "=?" not in header:
        return header
    try:
        return str(make_header(decode_header(header)))
    except (HeaderParseError, LookupError, ValueError):
        return header


class Receiver(asyncio.Protocol):
    """One SMTP conversation (RFC 5321), with PIPELINING, 8BITMIME, SIZE and SMTPUTF8."""

    def __init__(self, store: Store, board: Board, connections: set[Receiver], hello: bytes):
        self.store = store
        self.board = board
        self.connections = connections
        self.hello = hello
        self.buffer = bytearray()
        self.searched = 0
        self.sender: str | None = None
        self.recipients: list[str] = []
        self.in_message = False
        self.is_over = False
        self.waiting: asyncio.TimerHandle | None = None
        self.idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, or send away when there are too many."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if len(self.connections) >= CONNECTIONS_MAX:
            self.is_over = True
            transport.write(b"421 4.7.0 Too many connections\r\n")
            transport.close()
            return
        self.connections.add(self)
        self._watch_idle()
        transport.write(b"220 mailbox.invalid ESMTP\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the conversation."""
        self.connections.discard(self)
        for timer in (self.waiting, self.idle):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what came and answer all that is complete, in one write."""
        self.buffer += data
        self.last_s = asyncio.get_running_loop().time()
        if self.waiting is None:
            self._work()
        elif len(self.buffer) > MESSAGE_BYTES_MAX:
            self.transport.abort()

    def _watch_idle(self) -> None:
        loop = asyncio.get_running_loop()
        self.last_s = loop.time()

        def look() -> None:
            left_s = self.last_s + IDLE_S - loop.time()
            if left_s <= 0:
                self.transport.close()
            else:
                self.idle = loop.call_later(left_s, look)

        self.idle = loop.call_later(IDLE_S, look)

    def _work(self) -> None:
        answers: list[bytes] = []
        while self.waiting is None and not self.is_over:
            answer = self._message() if self.in_message else self._command()
            if answer is None:
                break
            answers.append(answer)
        if self.transport.is_closing():
            return
        self.transport.write(b"".join(answers))
        if self.is_over:
            self.transport.close()

    # Commands. Each returns its answer, or None when more has to come first.

    def _command(self) -> bytes | None:
        end = self.buffer.find(b"\r\n")
        if end < 0:
            return self._cut_off() if len(self.buffer) > LINE_BYTES_MAX else None
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        verb = line[:4].upper()
        match verb:
            case b"MAIL":
                return self._mail(line)
            case b"RCPT":
                return self._rcpt(line)
            case b"DATA":
                return self._data()
            case b"EHLO":
                self._forget()
                return self.hello
            case b"HELO" | b"RSET" | b"NOOP":
                if verb != b"NOOP":
                    self._forget()
                return b"250 OK\r\n"
            case b"QUIT":
                self.is_over = True
                return b"221 2.0.0 Bye\r\n"
            case _:
                return b"502 5.5.1 Command not known\r\n"

    def _mail(self, line: bytes) -> bytes:
        address = path_of(line)
        if address is None:
            return b"501 5.5.4 MAIL FROM:<address> was expected\r\n"
        self._forget()
        self.sender = address
        return b"250 2.1.0 OK\r\n"

    def _rcpt(self, line: bytes) -> bytes:
        address = path_of(line)
        if self.sender is None:
            return b"503 5.5.1 MAIL comes first\r\n"
        if not address:
            return b"501 5.5.4 RCPT TO:<address> was expected\r\n"
        if len(self.recipients) >= RECIPIENTS_MAX:
            return b"452 4.5.3 Too many recipients\r\n"
        strike = self._strike(address, ("550", "451"))
        if strike is not None:
            return ANSWERS[strike.shape]
        self.recipients.append(address)
        return b"250 2.1.5 OK\r\n"

    def _data(self) -> bytes:
        if not self.recipients:
            return b"503 5.5.1 RCPT comes first\r\n"
        self.in_message, self.searched = True, 0
        return b"354 End with a dot on a line\r\n"

    def _message(self) -> bytes | None:
        raw = self._take_message()
        if raw is None:
            return self._cut_off() if len(self.buffer) > MESSAGE_BYTES_MAX else None
        self.in_message = False
        sender, recipients = self.sender or "", tuple(self.recipients)
        self._forget()
        self.store.add(sender, recipients, raw)
        self.board.requests["smtp"] += 1
        strike = self._strike(recipients[0], ("drop-after-data", "slow"))
        if strike is None:
            return b"250 2.0.0 Taken\r\n"
        if strike.shape == "drop-after-data":
            self.is_over = True
            self.transport.abort()
            return None
        self._answer_later(strike.fault.number("delay_s", SLOW_S))
        return None

    def _take_message(self) -> bytes | None:
        """Cut one message off the buffer, dots unstuffed, or return None."""
        if self.buffer.startswith(END_OF_MESSAGE[2:]):
            del self.buffer[:3]
            return b""
        end = self.buffer.find(END_OF_MESSAGE, self.searched)
        if end < 0:
            self.searched = max(0, len(self.buffer) - len(END_OF_MESSAGE))
            return None
        raw = bytes(self.buffer[: end + 2])
        del self.buffer[: end + len(END_OF_MESSAGE)]
        if raw.startswith(b".."):
            raw = raw[1:]
        return raw.replace(b"\r\n..", b"\r\n.")

    def _answer_later(self, delay_s: float) -> None:
        def answer() -> None:
            self.waiting = None
            self.transport.write(b"250 2.0.0 Taken\r\n")
            self._work()

        self.waiting = asyncio.get_running_loop().call_later(delay_s, answer)

    def _strike(self, address: str, shapes: tuple[str, ...]) -> Strike | None:
        standing = self.board.fault_of("smtp")
        if standing is None or standing.shape not in shapes:
            return None
        if not fnmatchcase(address.lower(), standing.fault.word("address", "*").lower()):
            return None
        return self.board.strike("smtp", utc_now())

    def _cut_off(self) -> bytes:
        self.is_over = True
        return b"552 5.3.4 Too long\r\n"

    def _forget(self) -> None:
        self.sender = None
        self.recipients = []


def path_of(line: bytes) -> str | None:
    """Return the address of a MAIL or RCPT line, or None when there is none."""
    start, end = line.find(b"<"), line.find(b">")
    if not 0 <= start < end:
        return None
    return line[start + 1 : end].decode("utf-8", "replace")


def hello(*, pipelining: bool) -> bytes:
    """Return the answer to EHLO."""
    lines = ["mailbox.invalid", f"SIZE {MESSAGE_BYTES_MAX}", "8BITMIME", "SMTPUTF8"]
    if pipelining:
        lines.append("PIPELINING")
    lines.append("ENHANCEDSTATUSCODES")
    marks = ["-"] * (len(lines) - 1) + [" "]
    return "".join(f"250{mark}{line}\r\n" for mark, line in zip(marks, lines, strict=True)).encode()


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
        smtp_socket = bound_socket(addresses.host, addresses.smtp_port, addresses.smtp_fd)
        web_socket = bound_socket(addresses.host, addresses.port, addresses.fd)
        async with (
            receiving(service, smtp_socket, hello(pipelining=pipelining)) as smtp_url,
            serving(service.app(), web_socket) as url,
        ):
            yield Mailbox(url, smtp_url, service.store)

    return opening


@asynccontextmanager
async def receiving(
    service: MailboxService, sock: socket.socket, greeting: bytes
) -> AsyncIterator[str]:
    """Take mail on `sock` while the block runs; give its URL."""
    connections: set[Receiver] = set()
    server = await asyncio.get_running_loop().create_server(
        lambda: Receiver(service.store, service.board, connections, greeting),
        sock=sock,
        backlog=BACKLOG,
    )
    try:
        yield f"smtp://{address_of(sock)}"
    finally:
        server.close()
        for receiver in list(connections):
            receiver.transport.abort()


@contextmanager
def running(*, pipelining: bool = True) -> Iterator[Mailbox]:
    """Run the mailbox in a thread on free ports while the block runs."""
    with in_thread(opened(Addresses(), pipelining=pipelining)) as mailbox:
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
