"""How a stand-in runs: on a socket, in a thread of a test, or as a process until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Generic, TypeVar

from aiohttp import web

T = TypeVar("T")

# An open request may finish, a hanging one may not hold up the stop (bound: 2 s in all).
SHUTDOWN_S = 0.5
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
BACKLOG = 1024


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
