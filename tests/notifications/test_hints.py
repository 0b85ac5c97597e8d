"""Hints over a line to the broker that is cut on the way."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import redis
from django.conf import settings

from notifications.hints import AHEAD, Hinter
from statuspage.celery import app

WAIT_S = 20.0  # far above what the client takes for its own tries
LINES_MAX = 50


class Line:
    """A TCP line to Valkey that hangs up where a queue is asked for its length, while it is `cut`."""

    def __init__(self) -> None:
        self.cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with self._listener, suppress(OSError):
            for _ in range(LINES_MAX):
                client, _address = self._listener.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(settings.REDIS_URL.removeprefix("unix://"))
            back = threading.Thread(target=self._carry, args=(server, client), daemon=True)
            back.start()
            self._carry(client, server)
            back.join()

    def _carry(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while (said := here.recv(65536)) and not (self.cut and b"LLEN" in said):
                there.sendall(said)
        for each in (here, there):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def line() -> Iterator[Line]:
    """Lead the app's hints over a line that can be cut."""
    app.set_default()
    line, before = Line(), app.conf.broker_url
    app.conf.update(broker_url=line.url)
    yield line
    app.conf.update(broker_url=before)
    line.close()


def _waiting() -> int:
    with _client() as client:
        return int(client.llen("send.email"))


@contextmanager
def _client() -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(settings.REDIS_URL)
    try:
        yield client
    finally:
        client.close()


def _until(look: Callable[[], bool]) -> bool:
    ends = time.monotonic() + WAIT_S
    while not look() and time.monotonic() < ends:
        time.sleep(0.02)
    return look()


def test_hints_come_back_with_the_broker_that_went_in_mid_knock(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    with _client() as client:
        client.delete("send.email")
    hinter = Hinter()
    line.cut = True
    hinter.hint("email")
    assert _until(lambda: hinter.is_down)
    hinter.hint("email")
    line.cut = False
    assert _until(lambda: not hinter.is_down)
    assert _until(lambda: _waiting() == AHEAD)
    said = [record for record in caplog.records if "the broker takes no hints" in record.message]
    assert len(said) == 1
