"""A site on loopback that answers as it is told, for probes that ask real questions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(*routes: tuple[str, str, Answer]) -> AsyncIterator[str]:
    """Serve on a free port; yield the address."""
    app = web.Application()
    for method, path, answer in routes:
        app.router.add_route(method, path, answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def says(document: Any, status: int = 200) -> Answer:
    """Answer with JSON."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(document, status=status)

    return answer


def sends(body: bytes, content_type: str = "application/json", **headers: str) -> Answer:
    """Answer with bytes."""

    async def answer(_: web.Request) -> web.StreamResponse:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=body, headers=names | {"Content-Type": content_type})

    return answer


async def hangs(_: web.Request) -> web.StreamResponse:
    """Take the request and never answer."""
    await asyncio.sleep(60)
    raise AssertionError("nobody waits a minute")
