"""Stand-ins for what stands behind an address: Slack, Discord, Teams, a webhook's receiver, a push service.

Each answers as its provider's description says. What arrived is at /ledger.json.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from secrets import token_hex

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from demo.faults import Board, Menu, NumberOption
from demo.pages import Answer, abort, ask, fault_routes, new_app, utc_now
from demo.stage import arguments, bound_socket, in_thread, run_until_stopped, serving

ENTRIES_MAX = 20_000
# Slack's text, Discord's content and description, a push's body: what each refuses beyond.
SLACK_BLOCKS_MAX = 50
DISCORD_CONTENT_MAX, DISCORD_TEXT_MAX = 2000, 4096
PUSH_BYTES_MAX = 4096
# RFC 8292 §2: a signature lives 24 hours at most.
SIGNED_FOR_MAX_S = 24 * 3600
TARGETS = ("slack", "discord", "teams", "webhook", "push")
SHAPES = ("302", "404", "410", "429", "500", "drop", "slow", "drip", "bomb")
MENU = Menu(
    shapes=dict.fromkeys(TARGETS, SHAPES),
    options={"retry_after_s": NumberOption(0, 86_400), "delay_s": NumberOption(0, 120)},
)


class HooksService:
    """All of them in one application, with one ledger and one switch."""

    def __init__(self) -> None:
        self.board = Board(MENU)
        self.arrived: deque[dict[str, object]] = deque(maxlen=ENTRIES_MAX)

    def app(self) -> web.Application:
        """Return the web application."""
        app = new_app()
        app.add_routes(fault_routes(self.board))
        app.add_routes(
            [
                web.get("/ledger.json", self._ledger),
                web.post("/services/{team}/{bot}/{token}", self._guarded("slack", self._slack)),
                web.post("/api/webhooks/{id}/{token}", self._guarded("discord", self._discord)),
                web.post("/workflows/{id}", self._guarded("teams", self._teams)),
                web.post("/hook/{name}", self._guarded("webhook", self._webhook)),
                web.post("/push/{id}", self._guarded("push", self._push)),
            ]
        )
        return app

    async def _ledger(self, request: web.Request) -> web.Response:
        return web.json_response(list(self.arrived))

    def _guarded(
        self, target: str, answer: Callable[[web.Request, bytes], web.Response]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            self.board.requests[target] += 1
            strike = self.board.strike(target, utc_now())
            if strike is not None:
                return await _broken(request, strike.shape, strike.fault.numbers)
            said = answer(request, body)
            if said.status < 300:
                self._keep(target, request, body)
            return said

        return guarded

    def _keep(self, target: str, request: web.Request, body: bytes) -> None:
        self.arrived.append(
            {
                "target": target,
                "path": request.path_qs,
                "headers": {name.lower(): value for name, value in request.headers.items()},
                "body": base64.b64encode(body).decode(),
            }
        )

    def _slack(self, request: web.Request, body: bytes) -> web.Response:
        words = _object(body)
        if words is None:
            return web.Response(text="invalid_payload", status=400)
        blocks = words.get("blocks", [])
        if not words.get("text") and not blocks:
            return web.Response(text="no_text", status=400)
        if not isinstance(blocks, list) or len(blocks) > SLACK_BLOCKS_MAX:
            return web.Response(text="invalid_blocks", status=400)
        return web.Response(text="ok")

    def _discord(self, request: web.Request, body: bytes) -> web.Response:
        words = _object(body)
        if words is None:
            return web.json_response(
                {"message": "The request body contains invalid JSON.", "code": 50109}, status=400
            )
        told = words.get("embeds")
        embeds = told if isinstance(told, list) else []
        texts = [str(embed.get("description", "")) for embed in embeds]
        is_long = len(str(words.get("content", ""))) > DISCORD_CONTENT_MAX or any(
            len(text) > DISCORD_TEXT_MAX for text in texts
        )
        if is_long or not (words.get("content") or embeds):
            return web.json_response({"message": "Invalid Form Body", "code": 50035}, status=400)
        if request.query.get("wait") != "true":
            return web.Response(status=204)
        return web.json_response({"id": str(int(token_hex(7), 16)), "type": 0})

    def _teams(self, request: web.Request, body: bytes) -> web.Response:
        words = _object(body)
        cards = (words or {}).get("attachments")
        if not isinstance(cards, list) or not cards:
            return web.json_response({"error": {"code": "InvalidRequestContent"}}, status=400)
        return web.Response(status=202)

    def _webhook(self, request: web.Request, body: bytes) -> web.Response:
        words = _object(body)
        said = (words or {}).get("data")
        challenge = said.get("challenge") if isinstance(said, dict) else None
        if challenge and "echo" in request.query:
            return web.json_response({"challenge": challenge})
        return web.Response(status=204)

    def _push(self, request: web.Request, body: bytes) -> web.Response:
        problem = _push_problem(request, body)
        if problem:
            return web.Response(status=problem[0], text=problem[1])
        where = f"{_origin(request)}/message/{token_hex(8)}"
        return web.Response(status=201, headers={"Location": where, "TTL": request.headers["TTL"]})


def _push_problem(request: web.Request, body: bytes) -> tuple[int, str] | None:
    """Return what a push service refuses (RFC 8030, 8188, 8292), None when nothing."""
    if len(body) > PUSH_BYTES_MAX:
        return 413, "The payload is too large."
    if not request.headers.get("TTL", "").isdecimal():
        return 400, "TTL is missing."
    if request.headers.get("Content-Encoding") != "aes128gcm":
        return 400, "Content-Encoding must be aes128gcm."
    if not _is_signed(request):
        return 403, "The VAPID signature is not valid."
    return None


def _is_signed(request: web.Request) -> bool:
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    try:
        head, claims, signature = fields["t"].split(".")
        said = json.loads(_decoded(claims))
        raw = _decoded(signature)
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _decoded(fields["k"]))
        pair = utils.encode_dss_signature(
            int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        )
        key.verify(pair, f"{head}.{claims}".encode(), ec.ECDSA(SHA256()))
    except (KeyError, ValueError, binascii.Error, InvalidSignature):
        return False
    left_s = float(said.get("exp", 0)) - time.time()
    return (
        scheme == "vapid" and said.get("aud") == _origin(request) and 0 < left_s <= SIGNED_FOR_MAX_S
    )


def _origin(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _object(body: bytes) -> dict[str, object] | None:
    try:
        words = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return words if isinstance(words, dict) else None


async def _broken(
    request: web.Request, shape: str, numbers: Mapping[str, float]
) -> web.StreamResponse:
    match shape:
        case "302":
            return web.Response(status=302, headers={"Location": "http://169.254.169.254/latest/"})
        case "429":
            wait_s = numbers.get("retry_after_s", 30)
            return web.json_response(
                {"retry_after": wait_s}, status=429, headers={"Retry-After": str(int(wait_s))}
            )
        case "drop":
            return abort(request)
        case "slow":
            await asyncio.sleep(numbers.get("delay_s", 30))
            return web.Response(status=204)
        case "drip":
            return await _dripped(request, numbers.get("delay_s", 30))
        case "bomb":
            return web.Response(body=b"x" * 4 * 2**20, headers={"Content-Type": "text/plain"})
        case _:
            return web.Response(status=int(shape))


async def _dripped(request: web.Request, delay_s: float) -> web.StreamResponse:
    """Answer a byte at a time: what a client that bounds each read alone waits for without end."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    ends = time.monotonic() + delay_s
    with suppress(ConnectionError):  # the client has had enough
        while time.monotonic() < ends:
            await response.write(b"x")
            await asyncio.sleep(0.1)
    return response


@dataclass(frozen=True, slots=True)
class Hooks:
    """The running stand-ins, as tests and benchmarks hold them."""

    url: str

    def put_faults(self, faults: Mapping[str, object]) -> Answer:
        """Break or mend, as anybody does it from outside."""
        return ask("PUT", f"{self.url}/faults", dict(faults))

    def arrived(self) -> list[dict[str, object]]:
        """Return what was taken, oldest first; `body` is base64."""
        found: list[dict[str, object]] = json.loads(ask("GET", f"{self.url}/ledger.json").text)
        return found


def opened(
    host: str = "127.0.0.1", port: int = 0, fd: int | None = None
) -> Callable[[], AbstractAsyncContextManager[Hooks]]:
    """Return what opens the stand-ins on an address."""

    @asynccontextmanager
    async def opening() -> AsyncIterator[Hooks]:
        async with serving(HooksService().app(), bound_socket(host, port, fd)) as url:
            yield Hooks(url)

    return opening


@contextmanager
def running() -> Iterator[Hooks]:
    """Run the stand-ins in a thread on a free port while the block runs."""
    with in_thread(opened()) as hooks:
        yield hooks


def main() -> int:
    """Run the stand-ins until SIGTERM."""
    parser = arguments(
        "Stand-ins for Slack, Discord, Teams, webhooks and web push.",
        "python -m demo.hooks --port 8004",
    )
    given = parser.parse_args()
    return run_until_stopped(opened(given.host, given.port, given.fd), lambda hooks: hooks.url)


if __name__ == "__main__":
    sys.exit(main())
