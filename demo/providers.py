"""Stand-ins for Twilio, X and Facebook's Graph API on loopback, as their descriptions say."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass

from aiohttp import web

from demo.broken import MENU
from demo.credentials import Credentials
from demo.faults import Board
from demo.graph import Facebook
from demo.ledger import Ledger
from demo.ledgerpage import home
from demo.pages import Answer, ask, fault_routes, new_app
from demo.sms import Messages
from demo.stage import arguments, bound_socket, in_thread, run_until_stopped, serving
from demo.twilio import TwilioAccount
from demo.voice import Calls
from demo.x import X


class ProvidersService:
    """All stand-ins in one application, with one ledger and one switchboard."""

    def __init__(self, credentials: Credentials, step_s: float, replies_url: str = "") -> None:
        self.board = Board(MENU)
        self.ledger = Ledger()
        self.twilio = TwilioAccount(
            credentials, self.ledger, self.board, step_s=step_s, replies_url=replies_url
        )
        self.messages = Messages(self.twilio)
        self.calls = Calls(self.twilio)
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
        for part in (self.twilio, self.messages, self.calls, self.x, self.facebook):
            app.add_routes(part.routes())
        app.cleanup_ctx.append(self.twilio.calling_back)
        return app

    async def _show_ledger(self, request: web.Request) -> web.Response:
        return web.json_response(self.ledger.as_json())

    async def _clear_ledger(self, request: web.Request) -> web.Response:
        self.ledger.clear()
        return web.json_response({})

    async def _home(self, request: web.Request) -> web.Response:
        stopped = self.twilio.phones.stopped
        return home(self.ledger, stopped, is_broken=self.board.is_broken)


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
    replies_url: str = "",
) -> Callable[[], AbstractAsyncContextManager[Providers]]:
    """Return what opens the stand-ins on an address."""

    @asynccontextmanager
    async def opening() -> AsyncIterator[Providers]:
        service = ProvidersService(credentials, step_s, replies_url)
        async with serving(service.app(), bound_socket(host, port, fd)) as url:
            yield Providers(url, credentials)

    return opening


@contextmanager
def running(
    credentials: Credentials | None = None, step_s: float = 0.005, replies_url: str = ""
) -> Iterator[Providers]:
    """Run the stand-ins in a thread on a free port while the block runs."""
    start = opened(credentials or Credentials(), step_s=step_s, replies_url=replies_url)
    with in_thread(start) as providers:
        yield providers


def usual_replies_url(environ: Mapping[str, str]) -> str:
    """Return the product's own address for replies, or nothing when SITE_URL is not set."""
    site = environ.get("SITE_URL", "")
    return f"{site.rstrip('/')}/receipts/twilio" if site else ""


def main() -> int:
    """Run the stand-ins until SIGTERM; credentials come from the product's own variables."""
    example = "TWILIO_AUTH_TOKEN=… python -m demo.providers --port 8002"
    parser = arguments("Stand-ins for Twilio, X and Facebook.", example)
    parser.add_argument(
        "--replies-to",
        default=usual_replies_url(os.environ),
        help="where replies by SMS go; usually SITE_URL/receipts/twilio",
    )
    given = parser.parse_args()
    credentials = Credentials.from_environ(os.environ)
    start = opened(credentials, given.host, given.port, given.fd, replies_url=given.replies_to)
    return run_until_stopped(start, lambda providers: providers.url)


if __name__ == "__main__":
    sys.exit(main())
