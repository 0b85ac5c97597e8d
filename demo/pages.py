"""What the stand-ins share on the web: a calm page, what requests bring, and the faults' switch."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from http.client import HTTPConnection
from urllib.parse import urlsplit

from aiohttp import web

from demo.faults import Board, FaultRefused, iso

Handler = Callable[[web.Request], Awaitable[web.Response]]

ASK_TIMEOUT_S = 10.0
BODY_BYTES_MAX = 4 * 2**20

CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

STYLE = """
:root{color-scheme:light dark;--ink:#1c2127;--quiet:#55606b;--paper:#fbfbf9;--card:#fff;
--line:#d5d9dd;--bad:#a11212;--good:#12612f;--accent:#0b4f8a}
@media (prefers-color-scheme:dark){:root{--ink:#e8eaed;--quiet:#a7b0ba;--paper:#14171b;
--card:#1d2227;--line:#39414a;--bad:#ff9d94;--good:#8fdca6;--accent:#8ec5ff}}
*{box-sizing:border-box}
body{margin:0 auto;padding:16px;max-width:44rem;background:var(--paper);color:var(--ink);
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.25rem;margin:0 0 8px}h2{font-size:1.25rem;margin:24px 0 8px}
a{color:var(--accent)}.quiet{color:var(--quiet);font-size:.9rem}
.state{font-size:1.25rem;margin:16px 0}.bad{color:var(--bad)}.good{color:var(--good)}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px;
margin:8px 0}.card p{margin:0 0 4px}.said{white-space:pre-wrap}
ul.plain{list-style:none;margin:0;padding:0}
.bubble{border-radius:16px 16px 16px 4px;max-width:34rem}.reply{margin-left:20px}
label{display:block;margin:12px 0 4px}
select,button{font:inherit;min-height:44px;padding:8px 12px;border-radius:8px;max-width:100%;
border:1px solid var(--line);background:var(--card);color:var(--ink)}
select{width:100%}button{cursor:pointer;margin:12px 8px 0 0}
button.main{border-color:var(--accent);border-width:2px}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 12px;margin:8px 0}
dt{color:var(--quiet)}dd{margin:0}
iframe{width:100%;height:34rem;border:1px solid var(--line);border-radius:8px;background:#fff}
pre{white-space:pre-wrap;font:inherit;margin:0}
"""


def utc_now() -> datetime:
    """Return the instant, aware and in UTC."""
    return datetime.now(UTC)


def page(title: str, body: str, *, status: int = 200, csp: str = CSP) -> web.Response:
    """Return one whole page; `body` is HTML that is already escaped."""
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    headers = {
        "Content-Security-Policy": csp,
        "X-Content-Type-Options": "nosniff",
        # With no-referrer a browser would send our own forms as from "null".
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
    return web.Response(text=text, content_type="text/html", status=status, headers=headers)


def moment(at: datetime) -> str:
    """Return an instant as a <time> in UTC, named so."""
    return f'<time datetime="{iso(at)}">{at:%d %b %H:%M:%S} UTC</time>'


def refusal(sentence: str, status: int = 400) -> web.Response:
    """Return a refusal as one sentence in JSON."""
    return web.json_response({"error": sentence}, status=status)


async def read_json(request: web.Request) -> object:
    """Return the JSON body, or raise FaultRefused with one sentence."""
    try:
        found: object = json.loads(await request.text() or "null")
    except (ValueError, LookupError, RecursionError) as error:
        raise FaultRefused(f"The body is not JSON: {error}.") from error
    return found


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


def is_foreign_form(request: web.Request) -> bool:
    """Tell whether another site's page sent this form: only our own may press the buttons."""
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site", "same-origin") not in (
            "same-origin",
            "none",
        )
    return urlsplit(origin).netloc != request.host


def abort(request: web.Request) -> web.Response:
    """Close the connection at once, without a word: what a client sees of a dead server."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def fault_routes(
    board: Board, on_change: Callable[[], None] | None = None
) -> list[web.AbstractRouteDef]:
    """Return GET and PUT /faults for `board`."""

    async def show(request: web.Request) -> web.Response:
        return web.json_response(board.as_json())

    async def put(request: web.Request) -> web.Response:
        try:
            board.put(await read_json(request), utc_now())
        except FaultRefused as refused:
            return refusal(str(refused))
        if on_change is not None:
            on_change()
        return web.json_response(board.as_json())

    return [web.get("/faults", show), web.put("/faults", put)]


def new_app() -> web.Application:
    """Return an empty application with the body bound of all stand-ins."""
    return web.Application(client_max_size=BODY_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a stand-in answered to `ask`."""

    status: int
    text: str

    @property
    def json(self) -> object:
        """Return the body, read as JSON."""
        found: object = json.loads(self.text)
        return found


def ask(method: str, url: str, body: object = None) -> Answer:
    """Send one JSON request to a stand-in and wait for its answer."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = HTTPConnection(parts.hostname, parts.port, timeout=ASK_TIMEOUT_S)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = None if body is None else json.dumps(body).encode()
        connection.request(method, path or "/", sent, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return Answer(response.status, response.read().decode("utf-8", "replace"))
    finally:
        connection.close()
