"""A Follow service that can be broken: its REST calls, the Dexcom Share calls, its alerts."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from demo.accounts import LOCKED_S, SESSION_S, Accounts
from demo.alerts import Alerts
from demo.doors import Doors
from demo.faults import Board
from demo.gate import Gate
from demo.pages import Answer, ask, fault_routes, new_app
from demo.rest import Rest
from demo.sensor import Sensors
from demo.shapes import MENU
from demo.share import Share
from demo.stage import arguments, bound_socket, in_thread, run_until_stopped, serving
from demo.switch import Switch


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """How the service behaves when it is well."""

    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    upload_every_s: float = 5.0
    no_data_after_s: float = 900.0
    session_s: float = SESSION_S
    locked_s: float = LOCKED_S


class FollowService:
    """The whole service: one switchboard, and the calls behind its gate."""

    def __init__(self, options: FollowOptions) -> None:
        self.options = options
        self.board = Board(MENU)
        accounts = Accounts(
            options.password, session_s=options.session_s, locked_s=options.locked_s
        )
        gate = Gate(self.board, accounts)
        sensors = Sensors(self.board, options.upload_every_s)
        self.alerts = Alerts(gate, sensors, options.no_data_after_s)
        self.rest = Rest(gate, accounts, sensors, self.alerts)
        self.share = Share(gate, accounts, sensors)
        self.switch = Switch(self.board, accounts, self.alerts)
        self.doors = Doors(self.board)

    def app(self) -> web.Application:
        """Return the web application with every call."""
        app = new_app()
        app.add_routes(fault_routes(self.board))
        for part in (self.rest, self.share, self.switch, self.doors):
            app.add_routes(part.routes())
        app.cleanup_ctx.append(self.alerts.posting)
        return app

    def app_behind_doors(self) -> web.Application:
        """Return the service's own calls alone: what is broken there cannot be mended there."""
        app = new_app()
        for part in (self.rest, self.share):
            app.add_routes(part.routes())
        return app


@dataclass(frozen=True, slots=True)
class Follow:
    """A running Follow service, as tests and the demo hold it."""

    url: str
    service: FollowService

    @property
    def password(self) -> str:
        """Return the password of every account."""
        return self.service.options.password

    def put_faults(self, faults: Mapping[str, object]) -> Answer:
        """Break or mend, as anybody does it from outside."""
        return ask("PUT", f"{self.url}/faults", dict(faults))

    def faults(self) -> Answer:
        """Return what is broken, since when, and the counts."""
        return ask("GET", f"{self.url}/faults")


def opened(
    options: FollowOptions,
    host: str = "127.0.0.1",
    port: int = 0,
    fd: int | None = None,
) -> Callable[[], AbstractAsyncContextManager[Follow]]:
    """Return what opens the service on an address."""

    @asynccontextmanager
    async def opening() -> AsyncIterator[Follow]:
        service = FollowService(options)
        sock = bound_socket(host, port, fd)
        async with (
            serving(service.app(), sock) as url,
            service.doors.open(service.app_behind_doors(), host),
        ):
            yield Follow(url, service)

    return opening


@contextmanager
def running(options: FollowOptions | None = None) -> Iterator[Follow]:
    """Run the service in a thread on a free port while the block runs."""
    with in_thread(opened(options or FollowOptions())) as follow:
        yield follow


def main() -> int:
    """Run the service until SIGTERM."""
    parser = arguments("A Follow service that can be broken.", "python -m demo.follow --port 8001")
    parser.add_argument(
        "--upload-every-s", type=float, default=5.0, help="how often the sensor uploads"
    )
    parser.add_argument(
        "--no-data-after-s",
        type=float,
        default=900.0,
        help="silence that raises an alert",
    )
    given = parser.parse_args()
    if not 0.1 <= given.upload_every_s <= 3600:
        parser.error("--upload-every-s must be from 0.1 to 3600.")
    password = os.environ.get("FOLLOW_PASSWORD") or secrets.token_urlsafe(12)
    options = FollowOptions(
        password=password,
        upload_every_s=given.upload_every_s,
        no_data_after_s=given.no_data_after_s,
    )
    start = opened(options, given.host, given.port, given.fd)
    return run_until_stopped(start, lambda follow: follow.url)


if __name__ == "__main__":
    sys.exit(main())
