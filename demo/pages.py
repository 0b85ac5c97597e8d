"""What the stand-ins share towards the outside: a calm page, and a server in a thread or process."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from http.client import HTTPConnection
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from aiohttp import web

from demo.faults import Board, FaultRefused, iso

T = TypeVar("T")

# An open request may finish, a hanging one may not hold up the stop (bound: 2 s in all).
SHUTDOWN_S = 0.5
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
ASK_TIMEOUT_S = 10.0
BACKLOG = 1024
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


def bound_socket(host: str, port: int, fd: int | None) -> socket.socket:
    """Return a bound socket: the one inherited as `fd`, or a new one."""
    if fd is not None:
        return socket.socket(fileno=fd)
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    return sock


def address_of(sock: socket.socket) -> str:
    """Return HOST:PORT of a bound socket."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@asynccontextmanager
async def serving(app: web.Application, sock: socket.socket) -> AsyncIterator[str]:
    """Serve `app` on `sock` while the block runs; give its URL."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        await web.SockSite(runner, sock, backlog=BACKLOG).start()
        yield f"http://{address_of(sock)}"
    finally:
        await runner.cleanup()


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


class _ServerThread(threading.Thread, Generic[T]):
    """One server in its own loop and thread, for tests."""

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        super().__init__(daemon=True, name="demo-server")
        self._opened = opened
        self._ready: Future[T] = Future()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()

    def run(self) -> None:
        """Serve until told to stop."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    def wait_ready(self) -> T:
        """Return the opened server, or raise what kept it from opening."""
        return self._ready.result(START_TIMEOUT_S)

    def stop(self) -> None:
        """Stop serving and wait for the thread."""
        if self.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self.join(STOP_TIMEOUT_S)

    async def _serve(self) -> None:
        try:
            async with self._opened() as server:
                self._ready.set_result(server)
                await self._end.wait()
        except OSError as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)


@contextmanager
def in_thread(opened: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    """Run an async server in a thread with its own loop while the block runs."""
    thread = _ServerThread(opened)
    thread.start()
    try:
        yield thread.wait_ready()
    finally:
        thread.stop()


def arguments(description: str, example: str) -> argparse.ArgumentParser:
    """Return the arguments that every stand-in takes."""
    parser = argparse.ArgumentParser(description=description, epilog=f"Example: {example}")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--fd", type=int, help="a listening socket that was inherited instead")
    return parser


def run_until_stopped(
    opened: Callable[[], AbstractAsyncContextManager[T]], ready: Callable[[T], str]
) -> int:
    """Serve in this process until SIGTERM or SIGINT; print one `ready` line."""
    logging.basicConfig(level=logging.WARNING)
    try:
        asyncio.run(_until_stopped(opened, ready))
    except OSError as error:
        print(f"Cannot listen: {error}.", file=sys.stderr)
        return 1
    return 0


async def _until_stopped(
    opened: Callable[[], AbstractAsyncContextManager[T]], ready: Callable[[T], str]
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with opened() as server:
        print(f"ready {ready(server)}", flush=True)
        await stop.wait()
